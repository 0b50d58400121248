"""The exported page, run by Node: its pixels, vectors and answers beside Python's."""

import base64
import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from onelook.data.inputs import ImageInput
from onelook.data.sources.fetch import NetworkError
from onelook.errors import CheckpointError
from onelook.loading import load
from onelook.page import write_page
from onelook.recipe import ImageSettings
from onelook.runtime.scores import build_scores
from onelook.verifier import Verifier

NODE = shutil.which("node")
SCRIPT = Path(__file__).with_name("answer.mjs")
STROKES = [(0.3, 0.8, 0.3, 0.25, 0.7, 0.25, 0.7, 0.8), (0.2, 0.3, 0.8, 0.3, 0.25, 0.75)]


def drawing(seed: int) -> Image.Image:
    """A flat drawing, a bold one, or one under uneven light, of some size."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(60, 400))
    image = Image.new("L", (side, side + 20), 245)
    points = [(x * side, y * side) for x, y in rng.uniform(0.15, 0.85, (5, 2))]
    ImageDraw.Draw(image).line(points, fill=20, width=max(1, side // (8 + 8 * (seed % 4))))
    if seed % 3 == 2 and side >= 100:
        light = np.linspace(0.5, 1, side)[None] * np.asarray(image.filter(ImageFilter.BLUR))
        noisy = light + rng.normal(0, 2, light.shape)
        image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    return image


def colours(seed: int) -> Image.Image:
    """Noise in colour, of some size."""
    rng = np.random.default_rng(seed)
    shape = *rng.integers(20, 300, 2), 3
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))


def ask_node(folder: Path, images: list[Image.Image]) -> dict:
    """What the page in a folder answers."""
    if NODE is None:
        pytest.skip("no node on this machine")
    (folder / "package.json").write_text('{"type": "module"}')
    pictures = folder / "pictures.json"
    pictures.write_text(
        json.dumps(
            [
                {
                    "width": image.width,
                    "height": image.height,
                    "data": base64.b64encode(image.convert("RGBA").tobytes()).decode(),
                }
                for image in images
            ]
        )
    )
    done = subprocess.run(
        [NODE, SCRIPT, folder, pictures], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_or_skip(verifier: Verifier, folder: Path) -> None:
    try:
        write_page(verifier, folder)
    except NetworkError as error:
        pytest.skip(str(error))


def check(verifier: Verifier, folder: Path, images: list[Image.Image]) -> None:
    found = ask_node(folder, images)
    pixels = verifier.input.load_many(images)
    vectors = verifier.embed(images)
    looks = found["looks"]
    seen = np.array([one["pixels"] for one in looks]).reshape(pixels.shape)
    far = np.abs(seen - pixels.astype(int))
    near = np.array([one["embedding"] for one in looks])
    apart = np.linalg.norm(near - vectors, axis=1) / np.linalg.norm(vectors, axis=1)
    print(f"pixels differ by up to {far.max()}, vectors by {apart.max():.1e}")
    assert far.max() <= 1
    assert apart.max() <= 1e-3
    if verifier.familiarity is not None:
        unlike = verifier.familiarity.unlike(pixels, vectors)
        np.testing.assert_allclose([one["unlike"] for one in looks], unlike, atol=1e-3)
    for left, right, answer in zip(images, images[1:], found["pairs"], strict=False):
        expected = verifier.compare(left, right)
        assert answer["score"] == pytest.approx(expected.score, abs=1e-3)
        assert answer["verdict"] == expected.verdict
        assert (answer["reason"] != "") == (expected.reason != "")
        if expected.probability is not None:
            assert answer["probability"] == pytest.approx(expected.probability, abs=5e-3)


@pytest.mark.slow
def test_drawings_are_answered_as_python_answers_them(tmp_path: Path) -> None:
    verifier = load("omniglot")
    write_or_skip(verifier, tmp_path)
    check(verifier, tmp_path, [drawing(seed) for seed in range(20)])


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos", "box"])
def test_pictures_are_resized_as_pillow_does(tmp_path: Path, fit, resample) -> None:
    verifier = load("omniglot")
    settings = ImageSettings(
        height=48, width=48, fit=fit, resample=resample, crop=0.9 if fit == "pad" else 0
    )
    verifier = Verifier(verifier.encoder, build_scores("cosine"), ImageInput(settings))
    write_or_skip(verifier, tmp_path)
    check(verifier, tmp_path, [colours(seed) for seed in range(4)])


def test_what_cannot_answer_in_a_browser_is_refused(tmp_path: Path) -> None:
    verifier = load("omniglot")
    verifier.scores = dataclasses.replace(verifier.scores, name="weighted-l1")
    with pytest.raises(CheckpointError, match="not weighted-l1"):
        write_page(verifier, tmp_path / "page")
    assert not (tmp_path / "page").exists()
