"""Explanations: what is marked is what moves the score, for every kind of model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import onelook
from onelook.card import TrainingCard
from onelook.cli import main
from onelook.data.inputs import ImageInput, StrokeInput, TextInput
from onelook.data.sources.att import att
from onelook.data.sources.lfw import lfw_view1
from onelook.data.sources.omniglot import omniglot
from onelook.errors import DataError
from onelook.explain import draw_explanation, explain, occlusion
from onelook.models.encoders.sequence import LstmEncoder, StrokeEncoder
from onelook.models.network import build_model
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import CosineSimilarity
from onelook.recipe import ImageSettings, SequenceSettings
from onelook.verifier import from_function, from_model

SIDE = 32
N_PAIRS, N_CONTROLS = 30, 12


@pytest.fixture
def photographs(tmp_path):
    """Three files of smooth noise, in colour."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(3):
        noise = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE, 3)), (2, 2, 0))
        pixels = np.clip(128 + 600 * noise, 0, 255).astype(np.uint8)
        paths.append(str(tmp_path / f"photo{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture
def drawings(tmp_path):
    """A cross; the same cross with a disc beside it."""
    cross = np.full((SIDE, SIDE), 255, np.uint8)
    cross[4:20, 11:13] = cross[11:13, 4:20] = 0
    both = cross.copy()
    y, x = np.mgrid[:SIDE, :SIDE]
    both[(y - 25) ** 2 + (x - 25) ** 2 <= 16] = 0
    for name, pixels in (("cross", cross), ("both", both)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return str(tmp_path / "cross.png"), str(tmp_path / "both.png")


def of_corner(images):
    """An embedding of the upper left quarter alone."""
    return np.stack([np.asarray(i.convert("RGB"))[:16, :16].ravel() / 255 for i in images])


def of_all(images):
    return np.stack([np.asarray(i.convert("L")).ravel() / 255 for i in images])


def network(encoder, similarity, channels=1, **arguments):
    torch.manual_seed(0)
    shape = [channels, SIDE, SIDE]
    arguments = {**arguments, "input_shape": shape}
    settings = {
        "encoder": {"name": encoder, "arguments": arguments},
        "similarity": {"name": similarity, "arguments": {}},
    }
    preprocess = ImageInput(ImageSettings(height=SIDE, width=SIDE, channels=channels))
    return from_model(build_model(settings), preprocess, card=TrainingCard(name=encoder))


def test_only_what_the_model_looks_at_is_marked(photographs):
    verifier = from_function(of_corner, "euclidean")
    found = explain(verifier, *photographs[:2])
    for heat in (
        found.left.alike + found.left.apart,
        found.right.alike + found.right.apart,
    ):
        assert heat[:16, :16].mean() > 0.1
        assert heat[24:].max() == heat[:, 24:].max() == 0


def test_a_part_that_one_of_two_drawings_lacks_tells_them_apart(drawings):
    cross, both = drawings
    found = explain(from_function(of_all, "euclidean"), cross, both)
    assert found.right.apart[25, 25] > 0.5 and found.right.apart[:18].max() < 0.05
    assert found.left.alike[12, 6] > 0.3 and found.right.alike[12, 6] > 0.3
    assert found.left.apart.max() < 0.05


def test_of_a_drawing_the_ink_is_marked_and_not_the_paper(drawings):
    found = explain(from_function(of_all, "euclidean"), *drawings)
    near_ink = ndimage.binary_dilation(found.right.picture < 128, np.ones((3, 3)))
    assert found.right.apart[~near_ink].max() == found.right.alike[~near_ink].max() == 0


def test_heat_maps_share_a_scale_and_the_answer_is_that_of_compare(photographs):
    verifier = network("compact", "cosine", channels=3, width=8, embedding_size=8)
    found = explain(verifier, *photographs[:2])
    assert found.comparison == verifier.compare(*photographs[:2])
    maps = [found.left.alike, found.right.alike, found.left.apart, found.right.apart]
    assert max(heat.max() for heat in maps) == 1 and min(heat.min() for heat in maps) == 0
    assert {(heat.shape, heat.dtype.name) for heat in maps} == {((SIDE, SIDE), "float32")}
    assert found.left.picture.shape == (SIDE, SIDE, 3)


def test_bytes_are_explained_as_their_files_are(photographs):
    verifier = from_function(of_corner, "cosine")
    by_name = explain(verifier, *photographs[:2])
    held = [Path(path).read_bytes() for path in photographs[:2]]
    by_bytes = explain(verifier, *held)
    assert by_bytes.comparison.score == by_name.comparison.score
    assert by_bytes.comparison.left == "left image"
    np.testing.assert_array_equal(by_bytes.right.apart, by_name.right.apart)


@pytest.mark.parametrize("size", [(20, 31), (7, 5)])
def test_occlusion_is_that_of_captum(size):
    attributions = pytest.importorskip("captum.attr")
    rng = np.random.default_rng(0)
    pixels, cover = rng.integers(0, 256, (2, 3, *size), np.uint8)
    weights = rng.normal(size=(3, *size))

    def score(pictures):
        return np.tanh((np.stack(pictures) * weights).sum((1, 2, 3)) / 1e4)

    expected = attributions.Occlusion(
        lambda x: torch.from_numpy(score(x.numpy()))
    ).attribute(
        torch.from_numpy(pixels.astype(np.float64))[None],
        sliding_window_shapes=(3, 5, 4),
        strides=(3, 2, 3),
        baselines=torch.from_numpy(cover.astype(np.float64))[None],
    )  # (1, 3, H, W), the same in every channel
    found = occlusion(score, pixels, cover, (5, 4), (2, 3))
    np.testing.assert_allclose(found, expected[0, 0], rtol=1e-4, atol=1e-6)


def test_an_inverted_model_shows_dark_ink_on_light_paper(drawings):
    found = explain(onelook.load("omniglot"), *drawings)
    assert found.left.picture.shape == (48, 48) and found.left.picture[0, 0] == 255
    assert found.left.picture.min() < 30


@pytest.mark.parametrize(
    ("encoder", "similarity", "arguments"),
    [
        ("compact", "euclidean", {"width": 8, "embedding_size": 8}),
        ("compact", "weighted-l1", {"width": 8, "embedding_size": 8}),
        ("compact", "concatenation", {"width": 8, "embedding_size": 8}),
        ("compact", "exponential", {"width": 8, "embedding_size": 8}),
    ],
)
def test_every_similarity_is_explained(encoder, similarity, arguments, photographs):
    found = explain(network(encoder, similarity, **arguments), *photographs[:2])
    assert max(found.left.alike.max(), found.left.apart.max()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["att", "lfw19", "koch"])
def test_published_encoders_are_explained(encoder, photographs):
    torch.manual_seed(0)
    settings = {
        "encoder": {"name": encoder, "arguments": {}},
        "similarity": {"name": "euclidean", "arguments": {}},
    }
    model = build_model(settings)
    channels, height, width = model.encoder.input_shape
    images = ImageSettings(height=height, width=width, channels=channels)
    found = explain(from_model(model, ImageInput(images)), *photographs[:2])
    assert found.left.alike.shape == (height, width)
    assert max(found.left.alike.max(), found.left.apart.max()) > 0


def test_identical_embeddings_leave_the_maps_empty_and_finite(photographs):
    def constant(images):
        return np.ones((len(images), 4))

    found = explain(from_function(constant, "cosine"), *photographs[:2])
    assert found.left.alike.max() == found.right.apart.max() == 0


def test_a_large_photograph_is_made_smaller_for_a_function(tmp_path):
    path = tmp_path / "large.png"
    Image.effect_noise((1200, 600), 80).save(path)

    def size(images):
        return np.stack([np.asarray(i.resize((8, 8))).ravel() / 255 for i in images])

    assert explain(from_function(size), str(path), str(path)).left.picture.shape == (
        192,
        384,
    )


def test_a_model_of_texts_is_refused():
    torch.manual_seed(0)
    preprocess = TextInput.fit(["a dog"], SequenceSettings(kind="text"))
    model = Siamese(LstmEncoder(2 + len(preprocess.vocabulary)), CosineSimilarity())
    with pytest.raises(DataError, match="does not compare pictures.*--model"):
        explain(from_model(model, preprocess), "a dog", "a cat")


def test_beside_strokes_the_image_alone_is_explained(drawings, tmp_path):
    torch.manual_seed(0)
    strokes = tmp_path / "strokes.txt"
    strokes.write_text("START\n0,0,0\n10,-10,5\nBREAK\n5,0,9\n5,-9,12\nBREAK\n")
    right = StrokeEncoder()
    image = {"width": 8, "embedding_size": right.embedding_size, "input_shape": [1, 32, 32]}
    left = network("compact", "cosine", **image).model.encoder
    verifier = from_model(
        PseudoSiamese(left, right, CosineSimilarity()),
        ImageInput(ImageSettings(height=32, width=32)),
        StrokeInput(SequenceSettings(kind="strokes")),
    )
    found = explain(verifier, drawings[0], str(strokes))
    assert found.left.picture.shape == (32, 32)
    assert found.right is None
    assert max(found.left.alike.max(), found.left.apart.max()) == 1
    assert draw_explanation(found, tmp_path / "why.png").stat().st_size > 1000


def test_an_explanation_is_drawn(photographs, tmp_path):
    found = explain(from_function(of_corner, "euclidean"), *photographs[:2])
    with Image.open(draw_explanation(found, tmp_path / "why.png")) as image:
        drawn = np.asarray(image.convert("RGB")).astype(int)
    assert drawn.shape[1] > 1000
    blue = (drawn[..., 2] - drawn[..., 0] > 60).sum()
    orange = (drawn[..., 0] - drawn[..., 2] > 60).sum()
    assert blue + orange > 500
    with pytest.raises(ValueError, match=r"must end in .*'why.txt'"):
        draw_explanation(found, tmp_path / "why.txt")


def test_the_command_draws_and_answers(drawings, tmp_path, capsys):
    out = tmp_path / "why.png"
    with pytest.raises(SystemExit) as stop:
        main(["explain", *drawings, "-m", "omniglot", "-o", str(out), "--json"])
    assert stop.value.code == 0 and out.stat().st_size > 1000
    answer = json.loads(capsys.readouterr().out)
    assert answer["out"] == str(out) and answer["score"] < 1
    with pytest.raises(SystemExit) as stop:
        main(["explain", *drawings, "-m", "omniglot", "-o", str(tmp_path / "why.doc")])
    assert stop.value.code == 1 and "must end in .png" in capsys.readouterr().err


# On real pairs: what is marked moves the score more than as much elsewhere.


def pairs_of(name, data_root):
    """Files of N_PAIRS pairs, half of them of the same class."""
    if name == "lfw":
        pairs = lfw_view1(data_root, "test")
        half = N_PAIRS // 2
        rows = [
            *np.flatnonzero(pairs.is_same)[:half],
            *np.flatnonzero(~pairs.is_same)[:half],
        ]
        return [(pairs.left[i], pairs.right[i]) for i in rows]
    data = omniglot(data_root, "evaluation") if name == "omniglot" else att(data_root)
    rng = np.random.default_rng(0)
    chosen = []
    for i, label in enumerate(rng.permutation(data.labels.max() + 1)[:N_PAIRS]):
        left, right = rng.choice(np.flatnonzero(data.labels == label), 2, replace=False)
        if i % 2:
            right = rng.choice(np.flatnonzero(data.labels != label))
        chosen.append((data.paths[left], data.paths[right]))
    return chosen


def scores_of(verifier, pictures, right):
    """Scores (N,) of what the network sees, (N, H, W[, 3]), against a right file."""
    other = verifier.embed([right])
    pixels = np.stack(pictures)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    if verifier.input.to_dict().get("invert"):
        pixels = 255 - pixels
    embeddings = verifier.embed_loaded(pixels)
    return verifier.score(embeddings, np.repeat(other, len(embeddings), 0))


def most_marked(heat, allowed, share):
    """The share of the allowed pixels that is marked most."""
    places = np.flatnonzero(allowed)
    count = max(1, int(share * len(places)))
    mask = np.zeros(heat.shape, bool)
    mask.flat[places[np.argsort(-heat.flat[places], kind="stable")[:count]]] = True
    return mask


def elsewhere(mask, ink, rng):
    """As large an area: the same shape moved, or as much ink around a random point."""
    if ink is None:
        return np.roll(mask, rng.integers(mask.shape), (0, 1))
    places = np.argwhere(ink)
    from_centre = np.square(places - places[rng.integers(len(places))]).sum(1)
    chosen = places[np.argsort(from_centre, kind="stable")[: mask.sum()]]
    moved = np.zeros_like(mask)
    moved[chosen[:, 0], chosen[:, 1]] = True
    return moved


def advantage(verifier, left, right, drawn, rng):
    """How much more a cover over the marked part lowers (alike), raises (apart) scores."""
    found = explain(verifier, left, right)
    picture = found.left.picture
    ink = picture < 128 if drawn else None
    allowed = np.ones(picture.shape[:2], bool) if ink is None else ink
    # Not the cover that explain uses: a photograph's mean colour.
    cover = np.full_like(picture, 255) if drawn else np.zeros_like(picture)
    if not drawn:
        cover += picture.mean((0, 1)).astype(np.uint8)
    differences = []
    for sign, heat in ((1, found.left.alike), (-1, found.left.apart)):
        marked = most_marked(heat, allowed, 0.25 if drawn else 0.15)
        masks = [marked, *(elsewhere(marked, ink, rng) for _ in range(N_CONTROLS))]
        pictures = [picture.copy() for _ in masks]
        for covered, mask in zip(pictures, masks, strict=True):
            covered[mask] = cover[mask]
        change = sign * (found.comparison.score - scores_of(verifier, pictures, right))
        differences.append(change[0] - change[1:].mean() if heat.max() > 0 else np.nan)
    return differences


def raw_pixels(images):
    return np.stack([np.asarray(i.convert("L").resize((23, 28))).ravel() for i in images])


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "data"),
    [("omniglot", "omniglot"), ("faces", "lfw"), ("faces", "att"), ("pixels", "att")],
)
def test_covering_what_is_marked_moves_the_score_more_than_as_much_elsewhere(
    model, data, data_root
):
    verifier = (
        from_function(raw_pixels, "cosine", model)
        if model == "pixels"
        else onelook.load(model)
    )
    rng = np.random.default_rng(1)
    rows = [
        advantage(verifier, left, right, data == "omniglot", rng)
        for left, right in pairs_of(data, data_root)
    ]
    for differences in np.array(rows).T:
        differences = differences[np.isfinite(differences)]
        assert len(differences) >= 20
        standard_error = differences.std(ddof=1) / np.sqrt(len(differences))
        assert differences.mean() > 3 * standard_error
        assert (differences > 0).mean() >= 0.8
