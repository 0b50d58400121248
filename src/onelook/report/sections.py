"""Sections of a report: what the template shows of each, or why it is left out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onelook.metrics import roc_curve
from onelook.report import figures
from onelook.report.inputs import ReportInputs, ShownPair

CONFUSION_CLASSES = 30
# What the template shows of a section: its figures and words.
Part = dict[str, Any]


class LeftOut(Exception):
    """Why a section is not in the report."""


def _results(inputs: ReportInputs) -> Part:
    if not inputs.result_lines:
        raise LeftOut("no figure was measured")
    return {"headlines": inputs.result_lines[:4], "rows": inputs.result_lines[4:]}


def _training(inputs: ReportInputs) -> Part:
    shown = []
    for key in ("loss", "validation", "learning_rate"):
        epochs, values = _column(inputs, key)
        if len(values) < 2 or (key == "learning_rate" and np.ptp(values) == 0):
            continue  # one point is no curve
        name = inputs.figure if key == "validation" else key.replace("_", " ")
        marks = {"mark_highest": key == "validation"}
        alt = f"{name} by epoch, from {values[0]:.4g} to {values[-1]:.4g}"
        shown.append(_figure(figures.draw_curve(epochs, values, name, **marks), alt))
    if not shown:
        raise LeftOut("no training of two steps or more was given")
    speeds = _column(inputs, "images_per_second")[1]
    return {"figures": shown, "speed": np.median(speeds) if len(speeds) else None}


def _column(
    inputs: ReportInputs, key: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs and finite values of a column of the history."""
    rows = [(row["epoch"], row[key]) for row in inputs.history if key in row]
    epochs, values = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    finite = np.isfinite(values)
    return epochs[finite], values[finite]


def _pairs(inputs: ReportInputs) -> Part:
    if not inputs.typical and not inputs.hardest:
        raise LeftOut("no pairs with pictures were given")
    cards = {"typical": inputs.typical, "hardest": inputs.hardest}
    return {name: [_card(pair) for pair in pairs] for name, pairs in cards.items()}


def _card(pair: ShownPair) -> Part:
    answer, truth = pair.answer, "same" if pair.is_same else "different"
    pictures = [(pair.left, answer.left), (pair.right, answer.right)]
    if pair.marked is not None:
        what = "set apart" if pair.is_same else "made alike"
        pictures += [
            (mark, f"{what}: {name}")
            for mark, (_, name) in zip(pair.marked, pictures, strict=True)
        ]
    mark = {"unsure": "", truth: " ✓"}.get(answer.verdict, " ✗")
    return {"answer": answer, "pictures": pictures, "truth": truth, "mark": mark}


def _roc_and_det(inputs: ReportInputs) -> Part:
    scores, is_same = _scored(inputs)
    curve, point = roc_curve(scores, is_same), None
    if inputs.threshold is not None:
        point = curve.errors_at(inputs.threshold)
    roc = f"ROC curve of pairs of unseen classes, AUC {curve.auc:.4f}"
    det = f"DET curve of pairs of unseen classes, EER {curve.eer:.4f}"
    drawn = (figures.draw_roc(curve, point), roc), (figures.draw_det(curve, point), det)
    shown = [_figure(figure, alt) for figure, alt in drawn]
    return _counts(is_same) | {"figures": shown, "point": point}


def _distances(inputs: ReportInputs) -> Part:
    scores, is_same = _scored(inputs)
    if inputs.dissimilarity is None:
        raise LeftOut("no dissimilarities were given")
    dissimilarity = np.asarray(inputs.dissimilarity, dtype=np.float64)
    part, threshold = _counts(is_same), None
    if inputs.threshold is not None:
        # A dissimilarity falls as the score rises: read the threshold's off the pairs' own.
        order = np.argsort(scores)
        threshold = float(np.interp(inputs.threshold, scores[order], dissimilarity[order]))
        part["rejected"] = int((scores[is_same] < inputs.threshold).sum())
        part["accepted"] = int((scores[~is_same] >= inputs.threshold).sum())
    alt = "Histograms of the dissimilarities of same and of different pairs"
    figure = figures.draw_histogram(dissimilarity, is_same, threshold)
    return part | {"figures": [_figure(figure, alt, "wide")]}


def _calibration(inputs: ReportInputs) -> Part:
    if not inputs.calibration:
        raise LeftOut("no decision was fitted")
    if inputs.reliability is None:
        return {}
    figure = figures.draw_reliability(inputs.reliability)
    alt = f"Reliability of the probability, ECE {inputs.reliability.error:.3f}"
    return {"figures": [_figure(figure, alt)]}


def _confusion(inputs: ReportInputs) -> Part:
    if inputs.confusion is None:
        raise LeftOut("no episodes were given")
    names, matrix = list(inputs.confusion[0]), np.asarray(inputs.confusion[1])
    if not matrix.sum():
        raise LeftOut("the episodes hold no answer")
    totals = matrix.sum(axis=1)
    wrong = np.where(np.eye(len(names), dtype=bool), 0, matrix)
    worst = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
    chosen = np.sort(worst[:CONFUSION_CLASSES])
    shares = (matrix / np.maximum(totals, 1)[:, None])[np.ix_(chosen, chosen)]
    figure = figures.draw_confusion([names[i] for i in chosen], shares)
    alt = f"Confusion of {len(chosen)} classes: rows are true classes, columns are answers"
    largest = np.argsort(-wrong, axis=None, kind="stable")[:5]
    mistakes = [
        (names[i], names[j], int(wrong[i, j]), int(totals[i]))
        for i, j in zip(*np.unravel_index(largest, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    counts = {"n_shown": len(chosen), "n_classes": len(names), "mistakes": mistakes}
    return counts | {"figures": [_figure(figure, alt, "square")]}


def _map(inputs: ReportInputs) -> Part:
    if inputs.embeddings is None or inputs.labels is None:
        raise LeftOut("no embeddings were given")
    if len(inputs.embeddings) < 6:
        raise LeftOut(f"a map needs 6 items, and there are {len(inputs.embeddings)}")
    places = figures.place_on_map(inputs.embeddings)
    names = inputs.class_names or [str(i) for i in range(int(inputs.labels.max()) + 1)]
    figure = figures.draw_map(places, inputs.labels, names, inputs.pixels)
    counts = {"n_items": len(places), "n_classes": len(np.unique(inputs.labels))}
    alt = f"Map of {len(places)} items of {counts['n_classes']} unseen classes"
    return counts | {"figures": [_figure(figure, alt, "wide photo")]}


def _settings(inputs: ReportInputs) -> Part:
    if not inputs.recipe and not inputs.data:
        raise LeftOut("neither recipe nor data was given")
    blocks: dict[str, dict[str, Any]] = {"data used": dict(inputs.data), "recipe": {}}
    for key, value in inputs.recipe.items():
        if isinstance(value, Mapping):
            blocks[key] = _flat(value)
        elif key not in ("about", "published"):
            blocks["recipe"][key] = value
    return {"blocks": {name: rows for name, rows in blocks.items() if rows}}


def _flat(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for key, value in block.items():
        is_block = isinstance(value, Mapping)
        inner = "" if key == "arguments" else f"{prefix}{key}."
        rows |= _flat(value, inner) if is_block else {prefix + key: value}
    return rows


def _scored(inputs: ReportInputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if inputs.scores is None or inputs.is_same is None or not len(inputs.scores):
        raise LeftOut("no scored pairs were given")
    is_same = np.asarray(inputs.is_same, dtype=np.bool_)
    if is_same.all() or not is_same.any():
        kind = "same" if is_same.all() else "different"
        raise LeftOut(f"all {len(is_same):,} pairs are {kind} pairs; curves need both")
    scores = np.asarray(inputs.scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise LeftOut(f"{int((~np.isfinite(scores)).sum()):,} scores are not finite")
    return scores, is_same


def _counts(is_same: NDArray[np.bool_]) -> Part:
    return {"n_same": int(is_same.sum()), "n_different": int((~is_same).sum())}


def _figure(figure: Figure, alt: str, kind: str = "") -> Part:
    return {"address": figures.to_address(figure), "alt": alt, "kind": kind}


SECTIONS: dict[str, Callable[[ReportInputs], Part]] = {
    "Results": _results,
    "Training": _training,
    "Pairs": _pairs,
    "ROC and DET": _roc_and_det,
    "Distances": _distances,
    "Calibration": _calibration,
    "Confusion": _confusion,
    "Map": _map,
    "Settings": _settings,
}
