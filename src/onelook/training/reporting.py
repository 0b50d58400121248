"""What the report of a training shows: gathered here, drawn by ``onelook.report``."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.calibrate import Calibration
from onelook.calibration.fit import Fitted
from onelook.calibration.rows import check_rows, group_rows, identify_rows, summary_rows
from onelook.data.episodes import sample_episodes
from onelook.errors import DataError
from onelook.explain import ALIKE, APART, explain_pixels
from onelook.recipe import Recipe
from onelook.report.page import ReportInputs, WrongPair
from onelook.report.pictures import tint
from onelook.training.data import HeldOut, TrainingData
from onelook.training.loop import Position
from onelook.training.validation import FIGURE_NAMES, HeldOutPairs
from onelook.verifier import Verifier

N_WRONG_PAIRS = 12
N_CONFUSED_CLASSES = 20
N_MAP_ITEMS = 600
# After so many seconds no further pair is explained: a large network is slow on a CPU.
SECONDS_TO_EXPLAIN = 15.0
Picture = NDArray[np.uint8]


def report_inputs(
    recipe: Recipe,
    material: TrainingData,
    verifier: Verifier,
    position: Position,
    embeddings: NDArray[np.float32],
    pairs: HeldOutPairs | None,
    fitted: Fitted | None,
) -> ReportInputs:
    held_out = material.held_out
    figure = FIGURE_NAMES[recipe.validation.figure]
    history = [
        {figure if key == "validation" else key: value for key, value in row.items()}
        for row in position.history
    ]
    inputs = ReportInputs(
        title=recipe.name,
        recipe=recipe.model_dump(mode="json", exclude_none=True),
        data=material.about,
        history=history,
        result_lines=_result_lines(verifier),
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
    inputs.worst = _worst_pairs(verifier, held_out, pairs)
    if _shows_images(held_out):
        inputs.confusion = _confusion(verifier, held_out, embeddings, recipe.seed)
    return inputs


def calibration_inputs(verifier: Verifier, found: Calibration) -> ReportInputs:
    """What the report of ``onelook calibrate`` shows."""
    drawn, decision = found.drawn, found.decision
    lines = [("false-accept rate", f"{decision.far:g}")]
    if decision.frr is not None:
        lines.append(("false-reject rate", f"{decision.frr:.4f}"))
    if found.check is not None:
        error = found.check.reliability.error
        lines.append(("calibration error, classes left out", f"{error:.3f}"))
    return ReportInputs(
        title=f"{verifier.name}: calibration",
        data={"data": found.data, "items": found.n_items},
        result_lines=[*lines, ("threshold", f"{decision.threshold:.4f}")],
        scores=drawn.scores,
        is_same=drawn.is_same,
        threshold=decision.threshold,
        dissimilarity=verifier.dissimilarities(drawn.scores),
        calibration=[*summary_rows(decision), *check_rows(found.check)],
        reliability=None if found.check is None else found.check.reliability,
        identify=identify_rows(decision),
        by_group=group_rows(found.groups),
    )


def _result_lines(verifier: Verifier) -> list[tuple[str, str]]:
    """The figures, the most important first, and what the decision stands for."""
    metrics, decision = verifier.card["metrics"], verifier.decision
    lines = [(metrics["held-out figure"], f"{metrics['held-out value']:.4f}")]
    lines += [
        (name, f"{metrics[name]:.4f}")
        for name in ("held-out AUC", "held-out EER")
        if name in metrics and name != metrics["held-out figure"]
    ]
    lines.append(("minutes of training", f"{metrics['seconds'] / 60:.1f}"))
    lines.append(("best epoch", str(metrics["best epoch"])))
    if decision is None:
        return [*lines, ("threshold", "none: too few classes were held out to support one")]
    return [
        *lines,
        (
            "threshold",
            f"score {decision.threshold:.4f} at a false-accept rate of {decision.far:g}",
        ),
    ]


def _worst_pairs(
    verifier: Verifier, held_out: HeldOut, pairs: HeldOutPairs
) -> list[WrongPair]:
    """The same pairs that look least alike and the different pairs that look most alike."""
    if not _shows_images(held_out):
        return []
    order = np.argsort(pairs.scores, kind="stable")
    least_alike = [i for i in order if pairs.is_same[i]][: N_WRONG_PAIRS // 2]
    most_alike = [i for i in order[::-1] if not pairs.is_same[i]][: N_WRONG_PAIRS // 2]
    worst = []
    start = time.monotonic()
    for i in _interleave(least_alike, most_alike):
        a, b = int(pairs.left[i]), int(pairs.right[i])
        answer = verifier.judge(
            held_out.addresses[a], held_out.addresses[b], float(pairs.scores[i])
        )
        pictures = _pictures(verifier, held_out, np.array([a, b]))
        in_time = time.monotonic() - start < SECONDS_TO_EXPLAIN
        worst.append(
            WrongPair(
                left=pictures[0],
                right=pictures[1],
                left_name=_name(held_out, a),
                right_name=_name(held_out, b),
                is_same=bool(pairs.is_same[i]),
                dissimilarity=answer.dissimilarity,
                probability=answer.probability,
                marked=_marked(verifier, held_out, (a, b), bool(pairs.is_same[i]))
                if in_time
                else None,
            )
        )
    return worst


def _marked(
    verifier: Verifier, held_out: HeldOut, pair: tuple[int, int], is_same: bool
) -> tuple[Picture, Picture]:
    """Both pictures of a pair, marked where the model was misled."""
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
    """The class of an item, or its file where classes are not known."""
    if held_out.class_names:
        return held_out.class_names[int(held_out.labels[item])]
    return held_out.addresses[item].rsplit("/", 1)[-1]


def _interleave(first: Sequence[int], second: Sequence[int]) -> list[int]:
    return [i for pair in zip(first, second, strict=False) for i in pair]


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
    """Names and counts (C, C) of one-shot answers among the classes most often mistaken."""
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
