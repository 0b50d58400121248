"""What the report of a training shows: gathered here, drawn by ``onelook.report``."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.fit import Fitted
from onelook.calibration.rows import familiarity_rows
from onelook.card import TrainingMetrics
from onelook.data.episodes import sample_episodes
from onelook.errors import DataError
from onelook.explain import ALIKE, APART, explain_pixels
from onelook.recipe import Recipe
from onelook.report.inputs import ReportInputs, ShownPair
from onelook.report.pictures import Picture, tint
from onelook.tables import Rows
from onelook.training.data import HeldOut, TrainingData
from onelook.training.loop import TrainingState
from onelook.training.validation import FIGURE_NAMES, HeldOutPairs
from onelook.verifier import Verifier

# Pairs of each kind, same and different.
N_TYPICAL, N_HARDEST = 4, 6
MOST_WAYS = 20
N_MAP_ITEMS, N_MAP_CLASSES = 600, 24
# No further pair is explained after this time: a large network is slow on a CPU.
SECONDS_TO_EXPLAIN = 15.0


def report_inputs(
    recipe: Recipe,
    material: TrainingData,
    verifier: Verifier,
    state: TrainingState,
    *,
    embeddings: NDArray[np.float32],
    pairs: HeldOutPairs | None,
    fitted: Fitted | None,
) -> ReportInputs:
    """What the report of a training shows, with embeddings (N, D) of held-out items."""
    held_out = material.held_out
    inputs = ReportInputs(
        title=recipe.name,
        recipe=recipe.model_dump(mode="json", exclude_none=True),
        data=material.about,
        history=state.history,
        figure=FIGURE_NAMES[recipe.validation.figure],
    )
    is_one_side = held_out.right is held_out.left
    shows_images = is_one_side and held_out.left.store.pixels is not None
    if held_out.class_names:
        shown = choose_for_map(held_out.labels)
        inputs.embeddings, inputs.labels = embeddings[shown], held_out.labels[shown]
        inputs.class_names = list(held_out.class_names)
        if shows_images:
            inputs.pixels = _pictures(verifier, held_out, shown)
    if pairs is None:
        return inputs
    inputs.scores, inputs.is_same = pairs.scores, pairs.is_same
    inputs.threshold = None if verifier.decision is None else verifier.decision.threshold
    inputs.dissimilarity = verifier.dissimilarities(pairs.scores)
    if fitted is not None:
        inputs.add_decision(fitted.decision, fitted.check)
    if shows_images:
        mixed = np.random.default_rng(0).permutation(len(pairs.scores))
        by_score = np.argsort(pairs.scores, kind="stable")
        typical = _in_turn(pairs, mixed, mixed, N_TYPICAL)
        hardest = _in_turn(pairs, by_score, by_score[::-1], N_HARDEST)
        until = time.monotonic() + SECONDS_TO_EXPLAIN
        inputs.typical = [_shown_pair(verifier, held_out, pairs, i) for i in typical]
        inputs.hardest = [_shown_pair(verifier, held_out, pairs, i, until) for i in hardest]
        inputs.confusion = _confusion(verifier, held_out, embeddings, recipe.seed)
    return inputs


def headline_rows(verifier: Verifier) -> Rows:
    """The figures of a training that people read first, in a terminal and in the report."""
    metrics, decision = verifier.card.metrics or TrainingMetrics(), verifier.decision
    figures = {
        metrics.figure: metrics.value,
        "held-out AUC": None if metrics.compared else metrics.auc,
        "held-out EER": metrics.eer,
        **metrics.compared,
    }
    rows = [(name, f"{value:.4f}") for name, value in figures.items() if value is not None]
    rows.append(("minutes of training", f"{(metrics.seconds or 0) / 60:.1f}"))
    if metrics.best_epoch is not None:
        rows.append(("best epoch", str(metrics.best_epoch)))
    threshold = "none: too few classes were held out to support one"
    if decision is not None:
        threshold = f"score {decision.threshold:.4f} at false-accept rate {decision.far:g}"
    return [*rows, ("threshold", threshold), *familiarity_rows(verifier.card.calibration)]


def choose_for_map(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted indices of at most 600 items of 24 classes, those of 3 or more items first."""
    rng = np.random.default_rng(0)
    names, counts = np.unique(labels, return_counts=True)
    mixed = rng.permutation(len(names))
    mixed = mixed[np.argsort(counts[mixed] < 3, kind="stable")][:N_MAP_CLASSES]
    most = N_MAP_ITEMS // len(mixed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == names[i]))[:most] for i in np.sort(mixed)
    ]
    return np.sort(np.concatenate(chosen))


def _in_turn(
    pairs: HeldOutPairs, first: NDArray[np.int64], second: NDArray[np.int64], count: int
) -> list[int]:
    """The first same pairs of an order and different pairs of another, in turn."""
    same, different = first[pairs.is_same[first]], second[~pairs.is_same[second]]
    both = zip(same[:count].tolist(), different[:count].tolist(), strict=False)
    return [i for pair in both for i in pair]


def _shown_pair(
    verifier: Verifier, held_out: HeldOut, pairs: HeldOutPairs, i: int, until: float = 0
) -> ShownPair:
    """Pair ``i`` with its answer, marked where the model is misled if there is time."""
    items, is_same = np.array([pairs.left[i], pairs.right[i]]), bool(pairs.is_same[i])
    names = [held_out.addresses[item].rsplit("/", 1)[-1] for item in items]
    if held_out.class_names:
        names = [held_out.class_names[label] for label in held_out.labels[items]]
    answer = verifier.judge(names[0], names[1], float(pairs.scores[i]))
    has_time = time.monotonic() < until
    marked = _marked(verifier, held_out, items, is_same) if has_time else None
    left, right = _pictures(verifier, held_out, items)
    return ShownPair(left, right, is_same, answer, marked)


def _marked(
    verifier: Verifier, held_out: HeldOut, items: NDArray[np.int64], is_same: bool
) -> tuple[Picture, Picture]:
    """Both pictures of a pair, marked where the model is misled."""
    store, rows = held_out.left.store, held_out.left.rows[items]
    pixels, embeddings = store.gather(rows), verifier.embed_store(store, rows)
    left_effect = explain_pixels(verifier, pixels[0], embeddings[1:], "left")
    right_effect = explain_pixels(verifier, pixels[1], embeddings[:1], "right")
    effects = np.stack([left_effect, right_effect])
    misled = np.maximum(-effects if is_same else effects, 0)
    heat = misled / (misled.max() or 1)
    colour = APART if is_same else ALIKE
    left, right = _pictures(verifier, held_out, items)
    return tint(left, heat[0], colour), tint(right, heat[1], colour)


def _pictures(verifier: Verifier, held_out: HeldOut, items: NDArray[np.int64]) -> Picture:
    """(N, H, W) or (N, H, W, 3) uint8 of held-out items as a person would see them."""
    pixels = held_out.left.store.gather(held_out.left.rows[items])  # (N, C, H, W)
    pictures = [verifier.input.picture(image) for image in pixels]
    return np.stack([picture for picture in pictures if picture is not None])


def _confusion(
    verifier: Verifier, held_out: HeldOut, embeddings: NDArray[np.float32], seed: int
) -> tuple[Sequence[str], NDArray[np.int64]] | None:
    """Names and counts (C, C) of one-shot answers, true classes in rows."""
    labels, n_classes = held_out.labels, len(held_out.class_names)
    n_way = min(MOST_WAYS, int((np.bincount(labels) > 1).sum()))
    if n_way < 2 or not n_classes:
        return None
    try:
        episodes = sample_episodes(
            labels, n_way=n_way, n_shot=1, n_query=1, n_episodes=500, seed=seed
        )
    except DataError:
        return None
    matrix = np.zeros((n_classes, n_classes), np.int64)
    for support, query in zip(episodes.support, episodes.query, strict=True):
        scores = verifier.score_matrix(embeddings[query], embeddings[support])
        answers = labels[support[scores.argmax(axis=1)]]
        np.add.at(matrix, (labels[query], answers), 1)
    return held_out.class_names, matrix
