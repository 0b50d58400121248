"""A gallery answers by the model, the decision and the cohort that it was made with."""

import dataclasses
import os
import shutil
import stat

import numpy as np
import pytest
from PIL import Image, ImageDraw

from onelook import load
from onelook.cli import main
from onelook.errors import DataError, GalleryError
from onelook.gallery.gallery import Gallery
from onelook.gallery.moving import copy
from onelook.gallery.place import read_place
from onelook.gallery.sqlite_file import open_file
from onelook.gallery.stores import open_store, opened


def drawing(seed):
    image = Image.new("L", (105, 105), 255)
    points = np.random.default_rng(seed).integers(15, 90, (5, 2)).flatten().tolist()
    ImageDraw.Draw(image).line(points, fill=0, width=3)
    return image


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A copy of a shipped model with a threshold of its own."""
    verifier = load("omniglot")
    assert verifier.decision is not None
    rows = [dataclasses.replace(row, threshold=0.99) for row in verifier.decision.identify]
    verifier.decision = dataclasses.replace(verifier.decision, identify=tuple(rows))
    return verifier.save(tmp_path_factory.mktemp("models") / "mine")


@pytest.fixture
def people(calibrated, tmp_path):
    with Gallery(load(calibrated), tmp_path / "people.db") as gallery:
        gallery.enroll("Ada", [drawing(1)])
        gallery.enroll("Bo", [drawing(2)])
    return tmp_path / "people.db"


def test_a_gallery_answers_by_the_decision_that_it_was_made_with(people, calibrated):
    with Gallery.open(people) as gallery:
        answer = gallery.identify(drawing(1))
        assert gallery.verifier.folder == calibrated
    assert answer.threshold == pytest.approx(0.99)


def test_it_does_so_where_the_copy_is_gone(people, calibrated, tmp_path):
    other = tmp_path / "elsewhere" / "mine"
    shutil.copytree(calibrated, other)
    with Gallery(load(other), tmp_path / "g.db") as gallery:
        gallery.enroll("Ada", [drawing(1)])
    shutil.rmtree(other)
    with Gallery.open(tmp_path / "g.db") as gallery:
        assert gallery.identify(drawing(1)).threshold == pytest.approx(0.99)


def test_another_decision_answers_only_where_it_is_named_and_says_so(people, caplog):
    with Gallery(load("omniglot"), people) as gallery:
        assert gallery.identify(drawing(1)).threshold < 0.99
    assert "other thresholds" in caplog.text


def test_a_gallery_answers_beside_its_cohort_until_it_is_told_otherwise(people):
    with Gallery.open(people) as gallery:
        gallery.use_cohort([drawing(seed) for seed in range(30, 60)], "the shop")
    with Gallery.open(people) as gallery:
        assert gallery.identify(drawing(1)).cohort == "centred by 30 images: the shop"
        assert gallery.stats()["cohort"] == "centred by 30 images: the shop"
        gallery.use_cohort(None)
    with Gallery.open(people) as gallery:
        assert gallery.identify(drawing(1)).cohort == ""


def test_a_gallery_learns_from_its_last_probes_where_it_is_told_to(people):
    with Gallery.open(people) as gallery:
        gallery.identify(drawing(1))
        gallery.learn_from_probes()
        for seed in range(30, 49):
            assert gallery.identify(drawing(seed)).cohort == ""
        strange = gallery.verifier.embed([drawing(70)])
        gallery.identify_embedded(strange, ["unlike all others"], 1)
        assert gallery.identify(drawing(30)).cohort == ""  # a copy is no other probe
    with Gallery.open(people) as gallery:
        assert gallery.identify(drawing(49)).cohort == ""
    with Gallery.open(people) as gallery:
        assert (
            gallery.identify(drawing(1)).cohort == "centred by 20 images: the last probes"
        )
        kept = read_place(gallery.store).probes
        plain = gallery.verifier.plain
        np.testing.assert_allclose(kept[0], plain.embed([drawing(30)])[0], atol=1e-5)
        for seed in range(100, 130):
            gallery.identify_many([drawing(seed)] * 40)
        assert len(read_place(gallery.store).probes) == 1000
        gallery.use_cohort(None)
    with Gallery.open(people) as gallery:
        assert gallery.identify(drawing(1)).cohort == ""
        assert read_place(gallery.store).probes is None


def test_a_cohort_that_is_too_small_changes_nothing(people):
    with Gallery.open(people) as gallery:
        with pytest.raises(DataError, match="at least 20"):
            gallery.use_cohort([drawing(3)])
        assert gallery.identify(drawing(1)).cohort == ""


def test_a_model_with_a_cohort_makes_a_gallery_with_one(tmp_path):
    here = load("omniglot").with_cohort([drawing(seed) for seed in range(30)], "here")
    with Gallery(here, tmp_path / "g.db") as gallery:
        gallery.enroll("Ada", [drawing(1)])
        first = gallery.identify(drawing(2)).to_dict()
    with Gallery.open(tmp_path / "g.db") as gallery:
        assert gallery.identify(drawing(2)).to_dict() == first


def test_a_copy_answers_as_the_original(people, tmp_path):
    copy(people, tmp_path / "copy.db")
    with Gallery.open(people) as one, Gallery.open(tmp_path / "copy.db") as other:
        assert one.identify(drawing(1)).to_dict() == other.identify(drawing(1)).to_dict()


def test_what_is_kept_is_never_read_damaged(people):
    with opened(people) as store:
        kept = store.settings()["decision"]
        for place in np.random.default_rng(0).integers(8 * len(kept), size=50).tolist():
            flipped = bytearray(kept)
            flipped[place // 8] ^= 1 << place % 8
            store.keep("decision", bytes(flipped))
            with pytest.raises(GalleryError, match="damaged"):
                read_place(store)


def test_an_older_gallery_keeps_nothing_and_can_begin_to(people):
    connection = open_file(people)
    connection.execute("DROP TABLE setting")
    connection.close()
    with Gallery.open(people) as gallery:
        assert gallery.identify(drawing(1)).threshold is not None
        gallery.use_cohort([drawing(seed) for seed in range(30, 60)], "the shop")
    with opened(people) as store:
        assert read_place(store).cohort is not None


def test_the_command_keeps_a_cohort(people, calibrated, tmp_path, capsys):
    folder = tmp_path / "place"
    folder.mkdir()
    for seed in range(25):
        drawing(seed).save(folder / f"{seed}.png")
    with pytest.raises(SystemExit, match="0"):
        main(["gallery", "cohort", str(people), str(folder)])
    assert "centred by 25 images: place" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["gallery", "stats", str(people)])
    printed = capsys.readouterr().out
    assert "25 images: place" in printed and str(calibrated) in printed
    with pytest.raises(SystemExit, match="0"):
        main(["gallery", "cohort", str(people), "--none", "--json"])
    assert '"cohort":""' in capsys.readouterr().out.replace(" ", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_others_may_not_read_a_gallery(people):
    store = open_store(people)
    for file in people.parent.glob("people.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    store.close()


def test_one_name_in_two_unicode_forms_is_one_identity(people):
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    with Gallery.open(people) as gallery:
        gallery.enroll(decomposed, [drawing(3)])
        assert gallery.enroll(composed, [drawing(3)]).n_new == 0
        assert gallery.has(composed) and gallery.has(decomposed)
        assert gallery.forget(decomposed) == 1 and not gallery.has(composed)


def test_an_older_gallery_forgets_every_form_of_a_name(people):
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    with Gallery.open(people) as gallery:
        gallery.enroll("Zoe", [drawing(3)])
        gallery.enroll(composed, [drawing(4)])
        gallery.store.rename("Zoe", decomposed)  # as an older onelook kept it
        assert gallery.forget(composed) == 2
        assert set(gallery.identities()) == {"Ada", "Bo"}
