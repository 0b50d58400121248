"""Fit what familiar images look like: on some of them, on others, and on other kinds."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from onelook.data.inputs import ImageInput, Input, Item
from onelook.data.items import Dataset
from onelook.errors import DataError
from onelook.familiarity import (
    Familiarity,
    Flagged,
    Floats,
    Images,
    Subspace,
    features_of,
    standardised,
)
from onelook.verifier import REACHED, Verifier

FEWEST, MOST = 100, 1500  # images of each half
MOST_FLAGGED = 0.02  # of the images of a new calibration, where the old limits still hold
MOST_DIRECTIONS = 60
QUANTILE, SLACK = 0.998, 1.15  # of familiar images that pass, and room for other classes
PENALTY = 60.0  # of the logistic regression, in images
N_STEPS = 30  # of Newton's method
SMALLEST_SPREAD = 1e-4
# Other pictures that are drawn of each kind; fewer where each takes a while to encode.
N_OF_KIND, FEWER, LARGE = 200, 60, 100_000  # numbers of an image
PICTURE = 160  # their sides, in pixels

Embed = Callable[[Images], NDArray[np.float32]]


def fit_familiarity(
    embed: Embed, images: Images, others: Images, strangers: Images
) -> Familiarity | None:
    """What images (C, H, W) look like, with a limit from others of other classes.

    None if there are fewer than 100 of either. ``strangers`` are images of other kinds.
    """
    if min(len(images), len(others)) < FEWEST:
        return None
    vectors = [embed(some) for some in (images, others, strangers)]
    spaces = _subspace(standardised(images)[0]), _subspace(vectors[0].astype(np.float64))
    own, held, strange = (
        features_of(*spaces, some, of_some)
        for some, of_some in zip((images, others, strangers), vectors, strict=True)
    )
    weights, offset = _fit_line(own, held, strange)
    return Familiarity(
        *spaces,
        weights=weights.astype(np.float32),
        offset=np.array([offset], np.float32),
        flagged=_flagged(own, held, strange),
    )


def _fit_line(own: Floats, held: Floats, strange: Floats) -> tuple[Floats, float]:
    """Weights (F,) and an offset: 0 at the median of ``held``, 1 at its end."""
    centre, spread = own.mean(0), np.maximum(own.std(0), SMALLEST_SPREAD)
    weights = _logistic((own - centre) / spread, (strange - centre) / spread) / spread
    scores = held @ weights
    middle, limit = np.median(scores), np.quantile(scores, QUANTILE)
    scale = 1 / max(SLACK * float(limit - middle), SMALLEST_SPREAD)
    return weights * scale, -middle * scale


def _flagged(own: Floats, held: Floats, strange: Floats) -> Flagged:
    """Shares of one half beyond limits that the other half fitted, both ways."""
    halves = [(held[half::2], strange[half::2]) for half in (0, 1)]
    beyond: list[list[NDArray[np.bool_]]] = [[], []]
    for (fitted, drawn), others in (halves, halves[::-1]):
        weights, offset = _fit_line(own, fitted, drawn)
        for found, rows in zip(beyond, others, strict=True):
            found.append(rows @ weights + offset > 1)
    return Flagged(*(float(np.concatenate(found).mean()) for found in beyond))


def _subspace(points: Floats) -> Subspace:
    mean = points.mean(0)
    variances, columns = np.linalg.eigh(np.cov((points - mean).T))
    kept = np.argsort(-variances)[: min(MOST_DIRECTIONS, len(points) // 4)]
    spreads = np.sqrt(np.maximum(variances[kept], SMALLEST_SPREAD**2))
    arrays = mean, columns.T[kept], spreads
    return Subspace(*(array.astype(np.float32) for array in arrays))


def _logistic(familiar: Floats, strange: Floats) -> Floats:
    """Weights (F,) of a logistic regression for being strange; both kinds count alike."""
    features = np.vstack([familiar, strange])
    features = np.hstack([features, np.ones((len(features), 1))])
    target = np.arange(len(features)) >= len(familiar)
    share = np.where(target, 0.5 / max(1, len(strange)), 0.5 / len(familiar))
    share *= len(features)
    penalty = np.full(features.shape[1], PENALTY)
    penalty[-1] = 0
    weights = np.zeros(features.shape[1])
    for _ in range(N_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        gradient = features.T @ (share * (chance - target)) + penalty * weights
        curvature = features.T * (share * chance * (1 - chance)) @ features
        curvature += np.diag(penalty + 1e-6)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:
            break
    return weights[:-1]


def fits(verifier: Verifier) -> bool:
    """Whether the model takes images, the same on both sides, that no detector frames.

    A detector refuses what is not its kind.
    """
    return verifier.shared and isinstance(getattr(verifier, "input", None), ImageInput)


def familiarity_for(
    verifier: Verifier, items: Dataset, seed: int = 0
) -> Familiarity | None:
    """What the model has, where it passes these images too; else fitted on them.

    That of a shipped model was fitted beside photographs of other things, which notices
    more of these than one that is fitted beside drawn pictures alone. Where the images are
    too few to fit one, the limit of the model is widened until they pass.
    """
    known = verifier.familiarity if fits(verifier) else None
    if known is None:
        return familiarity_of_items(verifier, items, seed)
    rows = some(np.arange(len(items)), seed)
    loaded = verifier.input.load_many([items.paths[row] for row in rows])
    unlike = known.unlike(loaded, verifier.embed_loaded(loaded))
    share = float((unlike > 1).mean())
    if share <= MOST_FLAGGED:
        return replace(known, flagged=Flagged(share, None))
    reach = np.float32(np.quantile(unlike, REACHED))
    wide = replace(known, weights=known.weights / reach, offset=known.offset / reach)
    return familiarity_of_items(verifier, items, seed) or wide


def familiarity_of_items(
    verifier: Verifier, items: Dataset, seed: int = 0
) -> Familiarity | None:
    """As ``fit_familiarity``, of the images of one half of the classes and of the other."""
    halves = _load_halves(verifier, items, seed)
    return halves and familiarity_of_loaded(verifier, *halves)


def familiarity_of_pixels(
    verifier: Verifier, items: Dataset, seed: int = 0
) -> Familiarity | None:
    """``familiarity_of_items`` where embeddings say nothing: all classes fitted them."""
    halves = _load_halves(verifier, items, seed)
    size = verifier.embedding_size

    def nothing(images: Images) -> NDArray[np.float32]:
        return np.zeros((len(images), size), np.float32)

    return halves and fit_familiarity(nothing, *halves, _strangers(verifier.input))


def familiarity_of_loaded(
    verifier: Verifier, images: Images, others: Images, strangers: list[Item] | None = None
) -> Familiarity | None:
    """As ``fit_familiarity``, with drawn pictures of other kinds for strangers."""
    strange = _strangers(verifier.input, strangers)
    return fit_familiarity(verifier.embed_loaded, images, others, strange)


def _load_halves(
    verifier: Verifier, items: Dataset, seed: int
) -> tuple[Images, Images] | None:
    """Images of one half of the classes and of the other; None if they are too few."""
    if not fits(verifier):
        return None
    classes = np.random.default_rng(seed).permutation(items.n_classes)
    half = np.isin(items.labels, classes[: items.n_classes // 2])
    rows = [some(np.flatnonzero(one), seed) for one in (half, ~half)]
    if min(map(len, rows)) < FEWEST:
        return None
    load = verifier.input.load_many
    first, second = (load([items.paths[i] for i in part]) for part in rows)
    return first, second


def _strangers(taken: Input, others: list[Item] | None = None) -> Images:
    """Drawn pictures of other kinds than the model takes, and others."""
    n_of_kind = FEWER if math.prod(taken.input_shape or ()) > LARGE else N_OF_KIND
    drawn = other_pictures(0, taken.subject == "drawing", n_of_kind)
    return readable(taken, drawn + (others or []))


def some(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most 1,500 of these rows, drawn at random."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:MOST])


def readable(taken: Input, items: list[Item]) -> Images:
    """The pictures that the model takes; a blank one holds no drawing, say."""
    loaded = []
    for item in items:
        try:
            loaded.append(taken.load(item))
        except DataError:
            continue
    return loaded


def other_pictures(
    seed: int, for_drawings: bool = False, n_of_kind: int = N_OF_KIND
) -> list[Item]:
    """Noise, paper, clouds, printed words, and strokes, unless these are for drawings."""
    rng = np.random.default_rng(seed)
    kinds = (_noise, _paper, _clouds, _words, *(() if for_drawings else (_strokes,)))
    return [draw(rng) for draw in kinds for _ in range(n_of_kind)]


def _noise(rng: np.random.Generator) -> Item:
    return rng.integers(0, 256, (PICTURE, PICTURE, 3), dtype=np.uint8)


def _paper(rng: np.random.Generator) -> Item:
    """One shade, or one that falls off to a side, with a little noise."""
    slope = np.linspace(0, rng.choice([0, 20, 120]), PICTURE)[:, None, None]
    shade = rng.integers(0, 200) + slope + rng.normal(0, 2, (PICTURE, PICTURE, 3))
    return np.clip(shade, 0, 255).astype(np.uint8)


def _clouds(rng: np.random.Generator) -> Item:
    size = int(rng.integers(2, 12))
    coarse = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
    return coarse.resize((PICTURE, PICTURE), Image.Resampling.BICUBIC)


def _words(rng: np.random.Generator) -> Item:
    """Some lines of printed letters, as on a sheet or a screen."""
    page = Image.new("L", (int(rng.integers(120, 500)), int(rng.integers(60, 300))), 255)
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    lines = [
        " ".join("".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(n))
        for n in rng.integers(1, 4, rng.integers(1, 4))
    ]
    font = ImageFont.load_default(size=int(rng.integers(14, 70)))
    ImageDraw.Draw(page).multiline_text((8, 8), "\n".join(lines), 0, font)
    return page


def _strokes(rng: np.random.Generator) -> Item:
    """A drawing of some lines."""
    sheet = Image.new("L", (PICTURE, PICTURE), 255)
    for _ in range(int(rng.integers(1, 6))):
        points = [tuple(point) for point in rng.integers(10, PICTURE - 10, (4, 2))]
        ImageDraw.Draw(sheet).line(points, 0, int(rng.integers(2, 9)), "curve")
    return sheet
