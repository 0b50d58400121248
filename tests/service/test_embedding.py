"""Embedder: batched answers are the single ones; too much is refused, not queued."""

import asyncio
import io
import threading

import numpy as np
import pytest
from asking import drawing, omniglot
from fastapi import HTTPException
from PIL import Image

from onelook.errors import DataError, TooLargeError
from onelook.runtime.scores import build_scores
from onelook.service.batching import Upload
from onelook.service.embedding import Embedder
from onelook.service.settings import ServiceSettings
from onelook.verifier import from_function


def run(embedder: Embedder, scenario) -> object:
    """What a coroutine function gives; the embedder is closed after it."""

    async def whole():
        try:
            return await scenario(embedder)
        finally:
            await asyncio.to_thread(embedder.close)

    return asyncio.run(whole())


def uploads(*images: bytes) -> list[Upload]:
    return [Upload(f"image {i}", data) for i, data in enumerate(images, 1)]


def test_many_requests_at_once_get_what_each_gets_alone():
    verifier = omniglot()
    images = [drawing(seed) for seed in range(40)]
    alone = np.concatenate([verifier.embed([image]) for image in images])
    sizes = []
    embedder = Embedder(verifier, ServiceSettings(), sizes.append)

    async def scenario(embedder):
        groups = [images[i : i + 1 + i % 3] for i in range(len(images))]
        vectors = await asyncio.gather(
            *(embedder.embed(uploads(*group), ["left"] * len(group)) for group in groups)
        )
        return groups, vectors

    _, vectors = run(embedder, scenario)
    for i, found in enumerate(vectors):
        np.testing.assert_allclose(found, alone[i : i + len(found)], atol=1e-5)
    assert max(sizes) > 1
    assert embedder.n_waiting == 0


def test_a_score_is_the_verifiers():
    verifier = omniglot()
    pairs = [(drawing(i), drawing(i + 1)) for i in range(6)]
    expected = [
        float(verifier.score(verifier.embed([a]), verifier.embed([b]))[0]) for a, b in pairs
    ]

    async def scenario(embedder):
        return await asyncio.gather(
            *(embedder.compare(Upload("left", a), Upload("right", b)) for a, b in pairs)
        )

    found = [one.score for one in run(Embedder(verifier, ServiceSettings()), scenario)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_pixels_that_wait_are_counted():
    settings = ServiceSettings(max_pixels=20_000)  # 8 of these may wait
    held = threading.Event()

    def work(images):
        return np.ones((len(images), 2))

    verifier = from_function(work)
    load = verifier.input.load
    object.__setattr__(verifier.input, "load", lambda *args: held.wait(9) and load(*args))
    one = drawing(1)  # 105 x 105

    async def scenario(embedder):
        with pytest.raises(
            TooLargeError, match="165,375 pixels, more than the limit of 160,0"
        ):
            await embedder.embed(uploads(*[one] * 15), ["left"] * 15)
        with embedder.checked(uploads(*[one] * 10)):
            with pytest.raises(HTTPException, match="images of 110,250 pixels are waiting"):
                await embedder.embed(uploads(*[one] * 5), ["left"] * 5)
        held.set()
        return await embedder.embed(uploads(*[one] * 5), ["left"] * 5)

    embedder = Embedder(verifier, settings)
    assert len(run(embedder, scenario)) == 5 and embedder._pixels.total == 0


def test_two_encoders_each_get_their_side():
    def colour(image: Image.Image) -> list[float]:
        return [float(np.asarray(image.convert("L")).mean()), 1.0]

    verifier = from_function(lambda images: np.array([colour(i) for i in images]))
    # As a pseudo-siamese model does, whose right side has preprocessing of its own.
    verifier.right_input = type(verifier.input)()
    assert not verifier.shared

    async def scenario(embedder):
        sides = ["right", "left", "right"]
        return await embedder.embed(uploads(*(drawing(i) for i in range(3))), sides)

    expected = verifier.embed([drawing(i) for i in range(3)])
    found = run(Embedder(verifier, ServiceSettings()), scenario)
    np.testing.assert_allclose(found, expected)


def test_one_bad_image_fails_its_own_request_only():
    async def scenario(embedder):
        good = [embedder.embed(uploads(drawing(i)), ["left"]) for i in range(4)]
        bad = embedder.embed(uploads(drawing(9), b"GIF89a"), ["left", "left"])
        return await asyncio.gather(*good, bad, return_exceptions=True)

    *good, bad = run(Embedder(omniglot(), ServiceSettings()), scenario)
    assert all(vectors.shape == (1, 256) for vectors in good)
    assert isinstance(bad, DataError) and str(bad).startswith("image 2: ")


def test_pixels_are_counted_before_they_are_decoded(monkeypatch):
    buffer = io.BytesIO()
    Image.new("1", (3000, 3000), 1).save(buffer, "PNG")
    monkeypatch.setattr(
        "onelook.data.inputs.decoding._plain", lambda *_: pytest.fail("it was decoded")
    )

    async def scenario(embedder):
        await embedder.embed(uploads(buffer.getvalue()), ["left"])

    embedder = Embedder(omniglot(), ServiceSettings(max_pixels=1_000_000))
    with pytest.raises(TooLargeError, match="3000 x 3000 pixels.*1,000,000"):
        run(embedder, scenario)


def test_a_large_image_does_not_hold_up_small_ones(monkeypatch):
    verifier, release = omniglot(), threading.Event()
    preprocess = verifier.input
    load = type(preprocess).load

    def slowly(self, data, address):
        if address == "large":
            assert release.wait(20)
        return load(self, data, address)

    monkeypatch.setattr(type(preprocess), "load", slowly)

    async def scenario(embedder):
        large = Upload("large", drawing(1, side=1200))
        first = asyncio.create_task(embedder.embed([large], ["left"]))
        await asyncio.sleep(0.05)
        small = await asyncio.wait_for(embedder.embed(uploads(drawing(2)), ["left"]), 15)
        assert not first.done()
        release.set()
        return small, await first

    small, large = run(Embedder(verifier, ServiceSettings()), scenario)
    np.testing.assert_allclose(small, verifier.embed([drawing(2)]), atol=1e-5)
    assert large.shape == (1, 256)


def test_more_than_may_wait_is_refused_at_once_and_room_comes_back(monkeypatch):
    verifier, release = omniglot(), threading.Event()
    embed_loaded = type(verifier).embed_loaded

    def slowly(self, loaded, side="left"):
        assert release.wait(20)
        return embed_loaded(self, loaded, side)

    monkeypatch.setattr(type(verifier), "embed_loaded", slowly)

    async def scenario(embedder):
        accepted = [
            asyncio.create_task(embedder.embed(uploads(drawing(i)), ["left"]))
            for i in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="2 images are waiting") as refusal:
            await embedder.embed(uploads(drawing(1), drawing(2)), ["left", "left"])
        release.set()
        await asyncio.gather(*accepted)
        await embedder.embed(uploads(drawing(1), drawing(2)), ["left", "left"])
        return refusal.value

    refusal = run(
        Embedder(verifier, ServiceSettings(max_waiting=4, max_images=2)), scenario
    )
    assert refusal.status_code == 503


def test_warming_up_runs_the_model_at_both_sizes():
    sizes = []

    async def scenario(embedder):
        await embedder.warm_up()

    run(Embedder(omniglot(), ServiceSettings(batch_size=8), sizes.append), scenario)
    assert sizes == [2, 16]


def test_the_similarity_is_the_models_own():
    """A head with weights scores pairs through the embedder as the verifier does."""
    verifier = from_function(lambda images: np.array([[i.width, 1.0] for i in images]))
    verifier.scores = build_scores("euclidean")

    async def scenario(embedder):
        left, right = drawing(1, side=50), drawing(1, side=53)
        answer = await embedder.compare(Upload("left", left), Upload("right", right))
        return answer.score

    assert run(Embedder(verifier, ServiceSettings()), scenario) == pytest.approx(-3.0)
