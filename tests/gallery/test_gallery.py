"""Gallery: enroll, identify, forget with a real verifier above a real store."""

import io

import numpy as np
import pytest
from PIL import Image

from onelook.card import TrainingCard
from onelook.data.inputs import RawInput
from onelook.decision import Decision, IdentifyRow
from onelook.errors import DataError, GalleryError, UnfitError, UnknownIdentityError
from onelook.gallery.gallery import Gallery
from onelook.gallery.store import redact_url, validate_name
from onelook.gallery.stores import open_store
from onelook.loading import load
from onelook.models.similarity import WeightedL1Head
from onelook.runtime.encoder import FunctionEncoder
from onelook.runtime.torch import torch_scores
from onelook.verifier import Verifier, from_function


def mean_colour(images):
    return np.stack([np.asarray(i.convert("RGB")).mean((0, 1)) / 255 for i in images])


def picture(*colour) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100), colour).save(buffer, "PNG")
    return buffer.getvalue()


RED, ORANGE, GREEN, BLUE = (
    picture(250, 0, 0),
    picture(240, 60, 0),
    picture(0, 250, 0),
    picture(0, 0, 250),
)


@pytest.fixture
def verifier():
    return from_function(mean_colour, "euclidean", "mean colour")


@pytest.fixture
def gallery(verifier, tmp_path):
    with Gallery(verifier, tmp_path / "g.db") as gallery:
        yield gallery


def test_what_is_enrolled_is_identified(gallery, tmp_path):
    (tmp_path / "green.png").write_bytes(GREEN)
    assert gallery.enroll("red", [RED, ORANGE]).n_new == 2
    assert gallery.enroll("green", [tmp_path / "green.png"]).n_new == 1
    found = gallery.identify(picture(245, 30, 0), k=2)
    assert [match.identity for match in found.matches] == ["red", "green"]
    assert found.matches[0].n_images == 2 and found.gallery_size == 3
    vector = gallery.verifier.embed([GREEN])[0]
    by_vector = gallery.identify(vector)
    assert by_vector.matches[0].identity == "green" and by_vector.matches[0].score == 0
    assert gallery.identities() == {"green": 1, "red": 2}
    assert gallery.stats()["images"] == 3


def test_many_images_of_one_identity_do_not_hide_the_others(gallery):
    for shade in range(120):
        gallery.enroll("red", [picture(130 + shade, 0, 0)])
    gallery.enroll("blue", [BLUE])
    found = gallery.identify(RED, k=2)
    assert [match.identity for match in found.matches] == ["red", "blue"]


def test_the_same_image_twice_is_one_entry_and_is_not_encoded_again(tmp_path):
    calls = []

    def counted(images):
        calls.append(len(images))
        return mean_colour(images)

    with Gallery(from_function(counted, "euclidean", "counted"), tmp_path / "g") as gallery:
        gallery.stats()  # creating the gallery asks for the size of an embedding
        calls.clear()
        assert gallery.enroll("red", [RED, RED]) == gallery.enroll("red", [ORANGE, RED])
        assert gallery.enroll("red", [RED]).n_known == 1
        assert calls == [1, 1]
        assert gallery.enroll("also red", [RED]).n_new == 1


def test_thumbnails_are_small_and_originals_are_kept_only_when_asked(verifier, tmp_path):
    for keep in (False, True):
        with Gallery(verifier, tmp_path / f"{keep}.db", keep_originals=keep) as gallery:
            gallery.enroll("red", [RED], {"camera": 3})
            entry = gallery.images("red")[0]
        thumbnail = Image.open(io.BytesIO(entry.thumbnail))
        assert thumbnail.size == (96, 48)
        assert entry.original == (RED if keep else None)
        assert entry.metadata == {"camera": 3}


def test_forgetting_and_renaming_name_who_is_unknown(gallery):
    gallery.enroll("red", [RED, ORANGE])
    assert gallery.rename("red", "rouge") == 2
    assert gallery.forget("rouge") == 2
    assert gallery.identities() == {} and gallery.identify(RED).matches == ()
    for call in (gallery.forget, gallery.images, lambda who: gallery.rename(who, "x")):
        with pytest.raises(UnknownIdentityError, match="no identity 'rouge'"):
            call("rouge")


def test_poor_examples_are_enrolled_with_a_warning_or_refused(gallery, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (60, 60), np.uint8)).save(tmp_path / "good.png")
    images = [RED, str(tmp_path / "good.png")]
    with pytest.raises(UnfitError, match="^image 1: blank: one shade all over; give a pic"):
        gallery.enroll("red", images, strict=True)
    assert len(gallery) == 0
    done = gallery.enroll("red", images)
    assert done.n_new == 2
    assert [name for name, _ in done.warnings] == ["image 1"]
    assert gallery.enroll("red", images, strict=True).n_known == 2


def test_what_is_unlike_all_that_a_model_knows_is_a_poor_example(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (250, 250, 3), np.uint8)
    with Gallery(load("faces"), tmp_path / "faces.db") as faces:
        ((name, reason),) = faces.enroll("noise", [noise]).warnings
    assert name == "image 1"
    assert reason.startswith("it is unlike what faces was calibrated on")


def test_a_broken_image_enrolls_none_of_its_call(gallery, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"bad\.png"):
        gallery.enroll("red", [RED, tmp_path / "bad.png"])
    assert gallery.identities() == {}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda g: g.enroll(" ", [RED]), "an identity needs a name .*got ' '"),
        (lambda g: g.enroll("red", []), "at least one image of 'red', got 0"),
        (lambda g: g.identify(RED, k=0), "k must be positive, got 0"),
        (lambda g: g.rename("red", ""), "an identity needs a name .*got ''"),
    ],
)
def test_wrong_arguments_say_so(gallery, call, message):
    with pytest.raises(ValueError, match=message):
        call(gallery)


def test_an_embedding_of_another_size_is_refused(gallery):
    gallery.enroll("red", [RED])
    with pytest.raises(GalleryError, match=r"shape \(N, 3\).*got \(1, 4\)"):
        gallery.identify(np.zeros(4))


def test_another_model_is_refused_by_name(gallery, tmp_path):
    gallery.enroll("red", [RED])
    other = from_function(mean_colour, "cosine", "other colour")
    other.network = {"similarity": "cosine"}
    with pytest.raises(GalleryError, match="made with the model 'mean colour'"):
        Gallery(other, tmp_path / "g.db")
    assert open_store(tmp_path / "g.db").header.model == "mean colour"


def test_a_pair_head_ranks_a_shortlist_and_says_so(tmp_path):
    # The head likes pairs that differ in blue and ignores the rest.
    head = WeightedL1Head(3)
    head.linear.weight.data[:] = head.linear.weight.new_tensor([[0.0, 0.0, 5.0]])
    encoder = FunctionEncoder(mean_colour)
    odd = Verifier(encoder, torch_scores(head), RawInput(), card=TrainingCard(name="odd"))
    with Gallery(odd, tmp_path / "g") as g:
        g.enroll("red", [RED])
        g.enroll("blue", [BLUE])
        assert g.identify(RED).matches[0].identity == "blue"
        assert "then ranked by weighted-l1 scores" in g.stats()["search"]


def test_messages_name_a_server_without_its_secrets():
    secret = "postgresql://ada:secret@db:5432/things?password=secret&gallery=g"
    assert redact_url(secret) == "postgresql://db:5432/things"
    assert redact_url("/tmp/g.db") == "/tmp/g.db"


def test_an_entry_is_found_by_its_number_and_an_identity_by_its_name(gallery):
    gallery.enroll("red", [RED])
    gallery.enroll("green", [GREEN])
    assert gallery.has("red") and not gallery.has("blue")
    (match,) = gallery.identify(GREEN, k=1).matches
    assert gallery.entry(match.entry).identity == "green"
    gallery.forget("green")
    for number in (match.entry, 99):
        with pytest.raises(UnknownIdentityError, match=f"no image {number} in"):
            gallery.entry(number)


@pytest.mark.parametrize("name", ["", "  ", ".", "..", "a\tb", "a\0", "\udcff", "a" * 201])
def test_a_name_that_not_every_store_and_url_can_hold_is_refused(name):
    with pytest.raises(ValueError, match="1 to 200 characters|is not UTF-8"):
        validate_name(name)
    assert validate_name("Ann/left eye.") == "Ann/left eye."


def test_a_failing_enroll_leaves_no_gallery_behind(verifier, tmp_path):
    path = tmp_path / "new.db"
    with Gallery(verifier, path) as gallery:
        with pytest.raises(DataError, match="missing.png"):
            gallery.enroll("red", [tmp_path / "missing.png"])
        with pytest.raises(ValueError, match="needs a name"):
            gallery.enroll(" ", [RED])
        with pytest.raises(GalleryError, match="shape"):
            gallery.enroll_vectors(["red"], np.ones((1, 2)))
        assert not path.exists() and len(gallery) == 0
        with Gallery(verifier, path) as other:  # another process, which is quicker
            other.enroll("green", [GREEN])
        gallery.enroll("red", [RED])
        assert gallery.identities() == {"green": 1, "red": 1}


def test_a_gallery_tells_its_place_its_model_and_its_size(gallery, tmp_path):
    assert len(gallery) == 0 and bool(gallery)
    gallery.enroll("red", [RED, ORANGE])
    assert len(gallery) == 1
    assert repr(gallery) == f"<Gallery {tmp_path / 'g.db'} of 'mean colour': 1 identities>"
    gallery.close()
    assert "not available" in repr(gallery)


def test_a_gallery_of_a_model_with_a_cohort_answers_beside_it(verifier, tmp_path):
    rng = np.random.default_rng(0)
    colours = [picture(*rng.integers(0, 256, 3).tolist()) for _ in range(30)]
    here = verifier.with_cohort(colours, "colours")
    with Gallery(verifier, tmp_path / "g.db") as plain:
        plain.enroll("red", [RED])
        plain.enroll("blue", [BLUE])
    with Gallery(here, tmp_path / "g.db") as gallery:
        found = gallery.identify(ORANGE, k=2)
    probe, red = verifier.embed([ORANGE, RED]) - here.cohort.embeddings.mean(0)
    cosine = probe @ red / np.linalg.norm(probe) / np.linalg.norm(red)
    assert found.matches[0].score == pytest.approx(cosine, abs=1e-5)
    assert [match.identity for match in found.matches] == ["red", "blue"]
    assert found.cohort == "centred by 30 images: colours"


@pytest.mark.parametrize("vote, score", [("blend", -0.25), ("either", 0.0), ("best", 0.0)])
def test_images_of_an_identity_vote_where_the_decision_has_thresholds_for_several(
    tmp_path, vote, score
):
    """Of the latest 100 images half are at 0 and half at 1; the probe is at 0."""
    rows = [IdentifyRow(10, -0.1, 0.05), IdentifyRow(10, -0.6, 0.05, n_images=5)]
    verifier = from_function(mean_colour, "euclidean", "mean colour")
    verifier.decision = Decision(
        *(-0.1, -0.2, 0.01, 0.5, 20.0, 5.0, 100, 3000, 20),
        identify=tuple(rows),
        vote=vote,
    )
    with Gallery(verifier, tmp_path / "g.db") as gallery:
        early = [[0, 0, 9.0 + i] for i in range(30)]
        latest = [[i % 2, 0, 1e-6 * i] for i in range(100)]
        gallery.enroll_vectors(["Ada"] * 130, np.array(early + latest, np.float32))
        gallery.enroll_vectors(["Bob"], np.array([[0, 0.3, 0]], np.float32))
        found = gallery.identify(np.zeros(3, np.float32))
    ada = next(match for match in found.matches if match.identity == "Ada")
    assert ada.score == pytest.approx(score, abs=1e-3) and ada.n_images == 100
    # Bob is at -0.3, below his threshold of -0.1; Ada is above hers of -0.6.
    assert (found.identity, found.threshold) == ("Ada", pytest.approx(-0.6))
    assert [match.identity for match in found.matches] == ["Ada", "Bob"]
