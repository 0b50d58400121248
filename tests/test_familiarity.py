"""Familiarity: its features beside plain loops, and what every door says of strangers."""

import json

import numpy as np
import pytest
from PIL import Image

import onelook
from onelook.calibration.familiarity import (
    familiarity_for,
    familiarity_of_pixels,
    fit_familiarity,
    other_pictures,
    readable,
)
from onelook.cli import main
from onelook.data.items import Dataset
from onelook.data.sources import find
from onelook.data.sources.lfw import lfw_people
from onelook.data.sources.omniglot import omniglot as omniglot_of
from onelook.errors import CheckpointError
from onelook.familiarity import (
    SIDE,
    Familiarity,
    Subspace,
    _averaging,
    of_both,
    standardised,
)
from onelook.zoo import FOLDER


def stripes(n, seed=0):
    """Images (1, 40, 40) of soft vertical stripes."""
    rng = np.random.default_rng(seed)
    x = np.arange(40) / 40
    waves = np.sin(2 * np.pi * (rng.uniform(1, 3, (n, 1)) * x + rng.random((n, 1))))
    images = 128 + 90 * waves[:, None, None, :] + rng.normal(0, 5, (n, 1, 40, 40))
    return np.clip(images, 0, 255).astype(np.uint8)


def strange(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 40, 40), dtype=np.uint8)


def embed(images):
    """Four numbers of each image."""
    return np.stack([i.reshape(4, -1).mean(1) / 255 for i in images]).astype(np.float32)


@pytest.fixture(scope="module")
def found():
    return fit_familiarity(embed, stripes(200), stripes(200, 1), strange(100))


def test_others_of_the_kind_pass_and_strangers_do_not(found):
    own, others = stripes(500, 2), strange(200, 3)
    assert (found.unlike(own, embed(own)) > 1).mean() < 0.03
    assert (found.unlike(others, embed(others)) > 1).all()
    assert abs(np.median(found.unlike(own, embed(own)))) < 0.3
    assert found.unlike([], embed(own)[:0]).shape == (0,)


def test_rates_are_those_of_images_that_fitted_nothing(found):
    own, others = found.flagged
    fresh, drawn = stripes(2000, 5), strange(200, 6)
    assert own == pytest.approx((found.unlike(fresh, embed(fresh)) > 1).mean(), abs=0.02)
    assert others == pytest.approx((found.unlike(drawn, embed(drawn)) > 1).mean(), abs=0.02)
    assert found.figures() == {"flagged_own": own, "flagged_others": others}


def test_one_image_is_as_unlike_alone_as_among_others(found):
    own = stripes(5, 4)
    alone = [found.unlike(own[i : i + 1], embed(own[i : i + 1]))[0] for i in range(5)]
    np.testing.assert_allclose(found.unlike(own, embed(own)), alone, rtol=1e-6)


def test_what_was_saved_is_read(found):
    again, own = Familiarity.from_tensors(found.tensors()), stripes(5)
    np.testing.assert_array_equal(
        again.unlike(own, embed(own)), found.unlike(own, embed(own))
    )


def test_features_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(6, 6)))[0][:2]
    space = Subspace(rng.normal(size=6), directions, np.array([2.0, 0.5]))
    point = rng.normal(size=6)
    along = [sum((point - space.mean) * way) for way in directions]
    beside = sum((point - space.mean) ** 2) - sum(one**2 for one in along)
    place = [along[0] / 2.0, along[1] / 0.5]
    expected = [*place, *(one**2 for one in place)]
    expected += [np.log(beside), np.log(sum(one**2 for one in place) / 2)]
    clipped = np.clip(expected[:2], -5, 5)
    expected[:4] = [*clipped, *clipped**2]
    np.testing.assert_allclose(space.features(point[None])[0], expected)


@pytest.mark.parametrize("size", [8, 32, 48, 100])
def test_shrinking_averages(size):
    weights = _averaging(size)
    assert weights.shape == (SIDE, size)
    np.testing.assert_allclose(weights.sum(1), 1)
    ramp = np.linspace(0, 1, size)
    assert np.all(np.diff(weights @ ramp) >= -1e-12)
    pixels, (means, _) = standardised(
        np.broadcast_to((255 * ramp)[None, None, None], (1, 1, size, size)).astype(np.uint8)
    )
    assert abs(pixels.mean()) < 1e-9 and abs(pixels.std() - 1) < 1e-9
    assert means[0] == pytest.approx(0.5, abs=0.01)


def test_too_few_images_fit_nothing():
    assert fit_familiarity(embed, stripes(99), stripes(200), strange(100)) is None


def test_a_pair_is_familiar_when_both_are():
    assert of_both(None, None) is None
    assert of_both("", "") == "" and of_both("", "b is odd") == "b is odd"


def test_drawn_pictures_are_of_several_kinds_and_repeat():
    first, again = other_pictures(0), other_pictures(0)
    assert len(first) == 1000 and len(other_pictures(0, for_drawings=True)) == 800
    np.testing.assert_array_equal(np.asarray(first[450]), np.asarray(again[450]))
    omniglot = onelook.load("omniglot")
    assert 0 < len(readable(omniglot.input, first[:20] + first[600:620])) < 40


@pytest.fixture(scope="module")
def faces():
    return onelook.load("faces")


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    path = tmp_path_factory.mktemp("noise")
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (120, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{i}.png")
    return [str(path / f"{i}.png") for i in range(2)]


def test_two_pictures_of_noise_are_not_the_same_face(faces, noise):
    answer = faces.compare(*noise)
    assert (answer.verdict, answer.is_same, answer.familiar) == ("unsure", None, False)
    assert answer.reason == (
        f"{noise[0]} is unlike what faces was calibrated on ({faces.card.purpose}): give a "
        "cohort of such images (--cohort), or another --model"
    )
    assert answer.reason in str(answer)
    assert faces.rank(noise[0], noise)[0].familiar is False


def test_looking_at_many_images_shows_progress_as_embedding_does(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then treats any stream as a terminal
    verifier = onelook.load("faces")
    verifier.shows_progress = True
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (300, 30, 30, 3), dtype=np.uint8))
    embeddings, reasons = verifier.look(images, [""] * 300)
    assert "300/300" in capfd.readouterr().err
    np.testing.assert_array_equal(verifier.embed(images), embeddings)
    assert len(reasons) == 300


def test_the_command_line_says_so(noise, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", *noise, "--model", "faces", "--json"])
    assert stop.value.code == 0
    content = json.loads(capsys.readouterr().out)
    assert content["familiar"] is False and content["verdict"] == "unsure"
    assert "is unlike what faces was calibrated on" in content["reason"]


def test_a_gallery_takes_no_strange_probe_for_anyone(faces, noise, tmp_path):
    with onelook.Gallery(faces, tmp_path / "g.db") as gallery:
        gallery.enroll("snow", noise[:1])
        answer = gallery.identify(noise[0])
    assert (answer.identity, answer.verdict, answer.familiar) == (None, "unsure", False)
    assert answer.matches[0].identity == "snow"
    assert str(answer).startswith(f"unsure: {noise[0]} is unlike")


def test_a_cohort_makes_its_kind_familiar(faces):
    rng = np.random.default_rng(5)
    place = list(rng.integers(0, 256, (24, 90, 90, 3), dtype=np.uint8))
    here = faces.with_cohort(place[:22], "snow")
    assert here.cohort.reach > 1
    answer = here.compare(place[22], place[23])
    assert answer.familiar is True or answer.reason.startswith("image")
    assert faces.compare(place[22], place[23]).familiar is False


def noise_folder(folder, n):
    """A Dataset of ``n`` pictures of noise in ten classes."""
    folder.mkdir()
    pictures = np.random.default_rng(n).integers(0, 256, (n, 60, 60, 3), dtype=np.uint8)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return Dataset(
        name="noise",
        paths=tuple(str(folder / f"{i:03d}.png") for i in range(n)),
        labels=np.arange(n) % 10,
        class_names=tuple(f"noise {i}" for i in range(10)),
    )


@pytest.mark.parametrize("n_images", [60, 240])
def test_a_calibration_makes_its_images_familiar(faces, tmp_path, n_images):
    items = noise_folder(tmp_path / "noise", n_images)
    place = faces.input.load_many(items.paths)
    embeddings = faces.embed_loaded(place)
    assert (faces.familiarity.unlike(place, embeddings) > 1).all()
    found = familiarity_for(faces, items)
    assert (found.unlike(place, embeddings) > 1).mean() <= 0.03


def test_a_calibration_on_the_same_kind_keeps_what_ships(data_root):
    omniglot = onelook.load("omniglot")
    items = omniglot_of(data_root, "evaluation")
    few = items.subset(items.labels < 20)
    found = familiarity_for(omniglot, few)
    assert found.weights is omniglot.familiarity.weights
    assert found.flagged.own <= 0.02


def test_the_reach_of_a_cohort_is_saved(faces, tmp_path):
    place = list(np.random.default_rng(6).integers(0, 256, (24, 90, 90, 3), dtype=np.uint8))
    here = faces.with_cohort(place, "snow")
    again = onelook.load(here.save(tmp_path / "here"))
    assert again.cohort.reach == here.cohort.reach
    assert again.compare(*place[:2]) == here.compare(*place[:2])


def test_a_changed_byte_is_refused(faces, tmp_path):
    folder = faces.save(tmp_path / "faces")
    path = folder / "familiarity.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"familiarity\.safetensors is not the file"):
        onelook.load(folder)


def test_models_without_it_say_nothing(faces, noise, tmp_path):
    plain = onelook.load("faces")
    plain.familiarity = None
    again = onelook.load(plain.save(tmp_path / "plain"))
    assert not (tmp_path / "plain/familiarity.safetensors").exists()
    answer = again.compare(*noise)
    assert (answer.familiar, answer.reason) == (None, "") and answer.verdict


def test_an_answer_is_no_bool(faces, noise, tmp_path):
    with pytest.raises(TypeError, match=r"ask for \.is_same .* or \.verdict"):
        bool(faces.compare(*noise))
    with onelook.Gallery(faces, tmp_path / "g.db") as gallery:
        gallery.enroll("snow", noise[:1])
        with pytest.raises(TypeError, match=r"ask for \.identity"):
            bool(gallery.identify(noise[0]))


@pytest.mark.parametrize("name", ["omniglot", "faces"])
def test_what_ships_is_small(name):
    assert (FOLDER / name / "familiarity.safetensors").stat().st_size < 500_000


def test_pixels_alone_tell_images_of_the_kind_of_other_classes():
    """As for a head, which all classes fitted."""
    start, items = onelook.load("faces"), lfw_people(find("lfw"), "DevTest")
    known = familiarity_of_pixels(start, items.subset(items.labels < 300))

    def flagged(images):
        loaded = start.input.load_many(images)
        return (known.unlike(loaded, start.embed_loaded(loaded)) > 1).mean()

    assert flagged(items.subset(items.labels >= 900).paths[:300]) < 0.03
    assert flagged(other_pictures(5, n_of_kind=20)) > 0.85
    assert familiarity_of_pixels(start, items.subset(items.labels < 60)) is None
