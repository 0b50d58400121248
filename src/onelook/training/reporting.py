"""What the report of a training shows: gathered here, drawn by ``onelook.report``."""

import time
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.fit import Fitted
from onelook.calibration.rows import check_rows, identify_rows, summary_rows
from onelook.card import TrainingMetrics
from onelook.data.episodes import sample_episodes
from onelook.errors import DataError
from onelook.explain import ALIKE, APART, explain_pixels
from onelook.recipe import Recipe
from onelook.report.inputs import Picture, ReportInputs, ShownPair
from onelook.report.pictures import tint
from onelook.tables import Rows
from onelook.training.data import HeldOut, TrainingData
from onelook.training.loop import Position
from onelook.training.validation import FIGURE_NAMES, HeldOutPairs
from onelook.verifier import Verifier

# Pairs of each kind, same and different.
N_TYPICAL, N_HARDEST = 4, 6
N_CONFUSED_CLASSES = 20
N_MAP_ITEMS = 600
# No further pair is explained after this time: a large network is slow on a CPU.
SECONDS_TO_EXPLAIN = 15.0


def report_inputs(
    recipe: Recipe,
    material: TrainingData,
    verifier: Verifier,
    position: Position,
    *,
    embeddings: NDArray[np.float32],
    pairs: HeldOutPairs | None,
    fitted: Fitted | None,
) -> ReportInputs:
    """Gather what the report of a training shows.

    Args:
        recipe: The recipe that was trained.
        material: The data that it was trained on.
        verifier: The trained model with its decision and its card.
        position: The end of the training, with its history.
        embeddings: (N, D) of the held-out items on the left side.
        pairs: Scored pairs of held-out items.
        fitted: The decision that was fitted on them, and how well it holds.
    """
    held_out = material.held_out
    inputs = ReportInputs(
        title=recipe.name,
        recipe=recipe.model_dump(mode="json", exclude_none=True),
        data=material.about,
        history=position.history,
        figure=FIGURE_NAMES[recipe.validation.figure],
    )
    shown = np.sort(np.random.default_rng(0).permutation(len(embeddings))[:N_MAP_ITEMS])
    if held_out.class_names:
        inputs.embeddings, inputs.labels = embeddings[shown], held_out.labels[shown]
        inputs.class_names = list(held_out.class_names)
    if _shows_images(held_out):
        inputs.pixels = _pictures(verifier, held_out, shown)
    if pairs is None:
        return inputs
    inputs.scores, inputs.is_same = pairs.scores, pairs.is_same
    inputs.threshold = None if verifier.decision is None else verifier.decision.threshold
    inputs.dissimilarity = verifier.dissimilarities(pairs.scores)
    if fitted is not None:
        inputs.calibration = [*summary_rows(fitted.decision), *check_rows(fitted.check)]
        inputs.identify = identify_rows(fitted.decision)
        inputs.reliability = None if fitted.check is None else fitted.check.reliability
    if _shows_images(held_out):
        inputs.typical = [
            _shown_pair(verifier, held_out, pairs, i, explain=False)
            for i in _typical(pairs)
        ]
        begun = time.monotonic()
        inputs.hardest = [
            _shown_pair(
                verifier,
                held_out,
                pairs,
                i,
                explain=time.monotonic() - begun < SECONDS_TO_EXPLAIN,
            )
            for i in _hardest(pairs)
        ]
        inputs.confusion = _confusion(verifier, held_out, embeddings, recipe.seed)
    return inputs


def headline_rows(verifier: Verifier) -> Rows:
    """The figures of a training that people read first, on the terminal and in the report.

    Args:
        verifier: From ``train``: its card holds the figures.
    """
    metrics, decision = verifier.card.metrics or TrainingMetrics(), verifier.decision
    figures = {
        metrics.figure: metrics.value,
        "held-out AUC": metrics.auc,
        "held-out EER": metrics.eer,
    }
    rows = [(name, f"{value:.4f}") for name, value in figures.items() if value is not None]
    rows.append(("minutes of training", f"{(metrics.seconds or 0) / 60:.1f}"))
    rows.append(("best epoch", str(metrics.best_epoch)))
    threshold = "none: too few classes were held out to support one"
    if decision is not None:
        threshold = f"score {decision.threshold:.4f} at false-accept rate {decision.far:g}"
    return [*rows, ("threshold", threshold)]


def _typical(pairs: HeldOutPairs) -> Iterable[int]:
    """Pairs drawn at random, same and different in turn."""
    mixed = np.random.default_rng(0).permutation(len(pairs.is_same))
    return _in_turn(mixed[pairs.is_same[mixed]], mixed[~pairs.is_same[mixed]], N_TYPICAL)


def _hardest(pairs: HeldOutPairs) -> Iterable[int]:
    """The least alike same pairs and the most alike different pairs in turn."""
    order = np.argsort(pairs.scores, kind="stable")
    least_alike, most_alike = (
        order[pairs.is_same[order]],
        order[~pairs.is_same[order]][::-1],
    )
    return _in_turn(least_alike, most_alike, N_HARDEST)


def _in_turn(
    first: NDArray[np.int64], second: NDArray[np.int64], count: int
) -> Iterable[int]:
    pairs = zip(first[:count].tolist(), second[:count].tolist(), strict=False)
    return [i for pair in pairs for i in pair]


def _shown_pair(
    verifier: Verifier, held_out: HeldOut, pairs: HeldOutPairs, i: int, *, explain: bool
) -> ShownPair:
    """Pair ``i`` with its answer, marked where the model is misled if that is asked for."""
    a, b, is_same = int(pairs.left[i]), int(pairs.right[i]), bool(pairs.is_same[i])
    score = float(pairs.scores[i])
    answer = verifier.judge(held_out.addresses[a], held_out.addresses[b], score)
    left, right = _pictures(verifier, held_out, np.array([a, b]))
    return ShownPair(
        left=left,
        right=right,
        left_name=_name(held_out, a),
        right_name=_name(held_out, b),
        is_same=is_same,
        dissimilarity=answer.dissimilarity,
        probability=answer.probability,
        verdict=answer.verdict or "",
        marked=_marked(verifier, held_out, (a, b), is_same) if explain else None,
    )


def _marked(
    verifier: Verifier, held_out: HeldOut, pair: tuple[int, int], is_same: bool
) -> tuple[Picture, Picture]:
    """Both pictures of a pair, marked where the model is misled."""
    items, store = np.array(pair), held_out.left.store
    rows = held_out.left.rows[items]
    pixels = store.gather(rows)  # (2, C, H, W)
    embeddings = verifier.embed_store(store, rows)
    effects = np.stack(
        [
            explain_pixels(verifier, pixels[0], embeddings[1:], "left"),
            explain_pixels(verifier, pixels[1], embeddings[:1], "right"),
        ]
    )
    misled = np.maximum(-effects if is_same else effects, 0)
    heat = misled / (misled.max() or 1)
    colour = APART if is_same else ALIKE
    left, right = _pictures(verifier, held_out, items)
    return tint(left, heat[0], colour), tint(right, heat[1], colour)


def _name(held_out: HeldOut, item: int) -> str:
    """The class of an item, or its file if classes are not known."""
    if held_out.class_names:
        return held_out.class_names[int(held_out.labels[item])]
    return held_out.addresses[item].rsplit("/", 1)[-1]


def _shows_images(held_out: HeldOut) -> bool:
    return held_out.left.store.pixels is not None and held_out.right is held_out.left


def _pictures(verifier: Verifier, held_out: HeldOut, items: NDArray[np.int64]) -> Picture:
    """(N, H, W) or (N, H, W, 3) uint8 of held-out items as a person would see them."""
    pixels = held_out.left.store.gather(held_out.left.rows[items])  # (N, C, H, W)
    pictures = [verifier.input.picture(image) for image in pixels]
    return np.stack([picture for picture in pictures if picture is not None])


def _confusion(
    verifier: Verifier, held_out: HeldOut, embeddings: NDArray[np.float32], seed: int
) -> tuple[list[str], NDArray[np.int64]] | None:
    """Names and counts (C, C) of one-shot answers among the classes most confused."""
    counts = np.bincount(held_out.labels)
    n_way = min(N_CONFUSED_CLASSES, int((counts > 1).sum()))
    if n_way < 2 or not held_out.class_names:
        return None
    try:
        episodes = sample_episodes(
            held_out.labels, n_way=n_way, n_shot=1, n_query=1, n_episodes=500, seed=seed
        )
    except DataError:
        return None
    n_classes = len(held_out.class_names)
    matrix = np.zeros((n_classes, n_classes), np.int64)
    for support, query in zip(episodes.support, episodes.query, strict=True):
        scores = verifier.score_matrix(embeddings[query], embeddings[support])
        answers = held_out.labels[support[scores.argmax(axis=1)]]
        np.add.at(matrix, (held_out.labels[query], answers), 1)
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
    shown = np.sort(order[:N_CONFUSED_CLASSES])
    return [held_out.class_names[i] for i in shown], matrix[np.ix_(shown, shown)]
