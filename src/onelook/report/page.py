"""The report of a training or an evaluation: one HTML file that needs nothing else, and
pictures.

A report asks no network for anything: figures are inline SVG, pictures are base64 PNG, and
a content policy forbids the rest. It reads on a phone and follows the reader's light or
dark.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from onelook.comparison import data_address
from onelook.files import write_whole
from onelook.metrics import Reliability, far_at, frr_at, roc_curve
from onelook.report.figures import (
    draw_confusion,
    draw_curve,
    draw_det,
    draw_histogram,
    draw_map,
    draw_reliability,
    draw_roc,
    place_on_map,
    to_svg,
)
from onelook.report.pictures import as_rgb

Picture = NDArray[np.uint8]  # (H, W) or (H, W, C)

MAP_POINTS = 600
MAP_CLASSES = 24
CONFUSION_CLASSES = 30
HEADLINES = 4
# Columns of a history that are no validation figures.
NOT_VALIDATION = {
    "step", "epoch", "loss", "learning_rate", "images_per_second", "seconds", "minutes",
}  # fmt: skip
LOWER_IS_BETTER = ("error", "loss", "eer", "mse", "far", "frr")


@dataclass(frozen=True, eq=False)
class WrongPair:
    """A pair that the model judges worst; pictures are (H, W) or (H, W, C) uint8.

    ``marked``: the left and right picture with the parts marked that misled the model.
    """

    left: Picture
    right: Picture
    left_name: str
    right_name: str
    is_same: bool
    dissimilarity: float
    probability: float | None = None
    marked: tuple[Picture, Picture] | None = None


@dataclass(eq=False)
class ReportInputs:
    """What a report is made from; a part left empty leaves its section out, and the report
    says so.

    Args:
        title: Heading of the page.
        recipe: The recipe as a plain mapping, nested blocks and all.
        data: What the data is: name and text or number.
        history: Rows of the training with ``step``, ``epoch``, ``loss``, ``learning_rate``,
            ``images_per_second`` and validation figures under their own names; any may be
            missing.
        result_lines: Figures measured, as (name, text), the most important first.
        scores: (N,) of pairs of unseen classes, larger = more alike.
        is_same: (N,) bool, the truth of these pairs.
        threshold: The decision's, in score units.
        dissimilarity: (N,) what people read instead of the scores, smaller = more alike.
        embeddings: (M, D) of items of unseen classes.
        labels: (M,) int64, their classes.
        class_names: Names of the classes.
        pixels: (M, H, W[, C]) uint8, pictures of these items for the map.
        confusion: Names and (C, C) counts over episodes: row = true class, column = answer.
        worst: The most wrong pairs, worst first.
        calibration: What the decision says, as (name, text).
        reliability: Of the probability, on classes that did not fit it.
        identify: Thresholds for galleries, as (size, text).
        by_group: Errors of each group, as (name, text).
    """

    title: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    result_lines: Sequence[tuple[str, str]] = ()
    scores: NDArray[Any] | None = None
    is_same: NDArray[np.bool_] | None = None
    threshold: float | None = None
    dissimilarity: NDArray[Any] | None = None
    embeddings: NDArray[Any] | None = None
    labels: NDArray[np.int64] | None = None
    class_names: Sequence[str] = ()
    pixels: Picture | None = None
    confusion: tuple[Sequence[str], NDArray[Any]] | None = None
    worst: Sequence[WrongPair] = ()
    calibration: Sequence[tuple[str, str]] = ()
    reliability: Reliability | None = None
    identify: Sequence[tuple[str, str]] = ()
    by_group: Sequence[tuple[str, str]] = ()


def write_report(inputs: ReportInputs, path: str | Path) -> Path:
    """Write the report; a reader of ``path`` sees the old file or the whole new one."""
    sections = [
        ("results", "Results", _results(inputs)),
        ("recipe", "Recipe and data", _recipe_and_data(inputs)),
        ("training", "Loss and validation", _training(inputs)),
        ("roc", "ROC and DET", _roc_and_det(inputs)),
        ("distances", "Distances", _distances(inputs)),
        ("calibration", "Calibration", _calibration(inputs)),
        ("confusion", "Confusion", _confusion(inputs)),
        ("map", "Map of unseen classes", _map(inputs)),
        ("wrong", "Most wrong pairs", _wrong_pairs(inputs)),
    ]
    present = [(key, name, body) for key, name, body in sections if body.startswith("<")]
    absent = [(name, body) for _, name, body in sections if not body.startswith("<")]
    if absent:
        items = "".join(f"<li><b>{name}</b>: {escape(why)}</li>" for name, why in absent)
        present.append(("left-out", "Left out", f"<ul>{items}</ul>"))
    contents = "".join(f'<a href="#{key}">{name}</a>' for key, name, _ in present)
    bodies = "\n".join(
        f'<section id="{key}"><h2>{name}</h2>\n{body}\n</section>'
        for key, name, body in present
    )
    about = "".join(
        f"<p>{lead}{escape(str(inputs.recipe[key]))}</p>"
        for key, lead in (("about", ""), ("published", "Published: "))
        if inputs.recipe.get(key)
    )
    template = Template(
        (resources.files("onelook.report") / "page.html").read_text("utf-8")
    )
    page = template.substitute(
        title=escape(inputs.title), about=about, contents=contents, bodies=bodies
    )
    return write_whole(Path(path), page)


# Sections: each gives HTML, or the plain line that says why it is left out.


def _results(inputs: ReportInputs) -> str:
    if not inputs.result_lines:
        return "no figure was measured"
    cards = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value in inputs.result_lines[:HEADLINES]
    )
    rest = inputs.result_lines[HEADLINES:]
    return f'<div class="cards">{cards}</div>' + (_table(rest) if rest else "")


def _recipe_and_data(inputs: ReportInputs) -> str:
    if not inputs.recipe and not inputs.data:
        return "neither recipe nor data was given"
    blocks = {"data used": list(inputs.data.items())} if inputs.data else {}
    plain = [
        (key, value)
        for key, value in inputs.recipe.items()
        if not isinstance(value, Mapping) and key not in ("about", "published")
    ]
    if plain:
        blocks["recipe"] = plain
    for key, value in inputs.recipe.items():
        if isinstance(value, Mapping) and value:
            blocks[key] = list(_flatten(value))
    parts = [
        f"<div><h3>{escape(name.replace('_', ' '))}</h3>{_table(rows)}</div>"
        for name, rows in blocks.items()
    ]
    return f'<div class="blocks">{"".join(parts)}</div>'


def _training(inputs: ReportInputs) -> str:
    names = list(dict.fromkeys(key for row in inputs.history for key in row))
    figures = []
    columns = [name for name in names if name not in NOT_VALIDATION][:4]
    for name in [*("loss",) * ("loss" in names), *columns, "learning_rate"]:
        x_name, x, y = _column(inputs.history, name)
        if not np.isfinite(y).any():
            continue
        best = ""
        if name in columns:
            words = name.lower().replace("_", " ").replace("-", " ").split()
            best = "lowest" if set(words) & set(LOWER_IS_BETTER) else "highest"
        text = name.replace("_", " ")
        first, last = y[np.isfinite(y)][[0, -1]]
        alt = f"{text} by {x_name}, from {first:.4g} to {last:.4g}"
        figures.append(_figure(draw_curve(x, y, x_name, text, best), alt))
    if not figures:
        return "no training history was given"
    speeds = _column(inputs.history, "images_per_second")[2]
    note = ""
    if np.isfinite(speeds).any():
        note = f"<p>Median speed: {np.nanmedian(speeds):,.0f} images a second.</p>"
    return f'<div class="figures">{"".join(figures)}</div>{note}'


def _roc_and_det(inputs: ReportInputs) -> str:
    pairs = _pairs_of(inputs)
    if isinstance(pairs, str):
        return pairs
    scores, is_same = pairs
    curve = roc_curve(scores, is_same)
    point = None
    note = ""
    if inputs.threshold is not None:
        decide = scores, is_same, inputs.threshold
        point = far_at(*decide), frr_at(*decide)
        note = (
            f"<p>The dot is the threshold in use: it accepts {point[0]:.4f} of the "
            f"different pairs and rejects {point[1]:.4f} of the same pairs shown here.</p>"
        )
    figures = _figure(draw_roc(curve, point), "ROC curve of pairs of unseen classes")
    figures += _figure(draw_det(curve, point), "DET curve of pairs of unseen classes")
    counts = (
        f"<p>{int(is_same.sum()):,} same and {int((~is_same).sum()):,} different pairs. "
        "On the DET curve, down and left is better; the dashed line is where both rates "
        "are equal.</p>"
    )
    return f'<div class="figures">{figures}</div>{counts}{note}'


def _distances(inputs: ReportInputs) -> str:
    pairs = _pairs_of(inputs)
    if isinstance(pairs, str):
        return pairs
    scores, is_same = pairs
    if inputs.dissimilarity is None:
        return "no dissimilarities were given"
    dissimilarity = np.asarray(inputs.dissimilarity, dtype=np.float64)
    threshold = None
    note = ""
    if inputs.threshold is not None:
        # A dissimilarity falls as the score rises: read the threshold's off the pairs' own.
        order = np.argsort(scores)
        threshold = float(np.interp(inputs.threshold, scores[order], dissimilarity[order]))
        missed = int((scores[is_same] < inputs.threshold).sum())
        taken = int((scores[~is_same] >= inputs.threshold).sum())
        note = (
            f"<p>At the threshold {missed:,} of {int(is_same.sum()):,} same pairs are "
            f"judged different, and {taken:,} of {int((~is_same).sum()):,} different pairs "
            "are judged the same.</p>"
        )
    alt = "Histograms of the dissimilarities of same and of different pairs"
    return _figure(draw_histogram(dissimilarity, is_same, threshold), alt, "wide") + note


def _calibration(inputs: ReportInputs) -> str:
    if not inputs.calibration:
        return "no decision was fitted"
    figure = ""
    if inputs.reliability is not None:
        drawn = draw_reliability(inputs.reliability)
        alt = "Reliability diagram: stated probabilities and shares of same pairs"
        figure = (
            f'<div class="figures">{_figure(drawn, alt)}</div><p>On the dashed line the '
            "probability is what happens. ECE is the mean distance from it; each class was "
            "judged by a decision that other classes fitted.</p>"
        )
    parts = [_table(inputs.calibration), figure]
    if inputs.identify:
        parts.append(
            "<h3>Who is it? (1:N)</h3><p>Simulated galleries: the more are enrolled, the "
            "higher the score from which the best match is believed.</p>"
            + _table(inputs.identify)
        )
    if inputs.by_group:
        parts.append("<h3>By group</h3>" + _table(inputs.by_group))
    return "".join(parts)


def _confusion(inputs: ReportInputs) -> str:
    if inputs.confusion is None:
        return "no episodes were given"
    names, matrix = list(inputs.confusion[0]), np.asarray(inputs.confusion[1])
    if not matrix.sum():
        return "the episodes hold no answer"
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    wrong = np.where(np.eye(len(names), dtype=bool), 0, matrix)
    chosen = np.arange(len(names))
    note = ""
    if len(names) > CONFUSION_CLASSES:
        worst = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
        chosen = np.sort(worst[:CONFUSION_CLASSES])
        note = f"<p>The {CONFUSION_CLASSES} most confused of {len(names)} classes.</p>"
    figure = draw_confusion([names[i] for i in chosen], shares[np.ix_(chosen, chosen)])
    alt = f"Confusion of {len(chosen)} classes: rows are true classes, columns are answers"
    lines = [
        f"<li>{escape(names[row])} taken for {escape(names[column])}: "
        f"{wrong[row, column]:,} of {matrix[row].sum():,}</li>"
        for row, column in _largest(wrong, 5)
    ]
    listing = f"<ul>{''.join(lines)}</ul>" if lines else "<p>No answer was wrong.</p>"
    return note + _figure(figure, alt, "square") + listing


def _map(inputs: ReportInputs) -> str:
    if inputs.embeddings is None or inputs.labels is None:
        return "no embeddings were given"
    if len(inputs.embeddings) < 6:
        return f"a map needs 6 items, and there are {len(inputs.embeddings)}"
    chosen = choose_for_map(inputs.labels)
    places = place_on_map(np.asarray(inputs.embeddings)[chosen])
    pixels = None if inputs.pixels is None else inputs.pixels[chosen]
    labels = inputs.labels[chosen]
    names = inputs.class_names or [str(i) for i in range(int(labels.max()) + 1)]
    n_classes = len(np.unique(labels))
    alt = f"Map of {len(chosen)} items of {n_classes} unseen classes"
    figure = draw_map(places, labels, names, pixels)
    note = (
        f"<p>{len(chosen)} items of {n_classes} classes that training did not see, a "
        "colour and a mark for each class. Items near each other have like embeddings; how "
        "far apart two far groups lie means little (t-SNE).</p>"
    )
    return _figure(figure, alt, "wide") + note


def _wrong_pairs(inputs: ReportInputs) -> str:
    if not inputs.worst:
        return "no pairs with pictures were given"
    cards = []
    for pair in inputs.worst:
        kind = "same" if pair.is_same else "different"
        shown = [(pair.left, pair.left_name), (pair.right, pair.right_name)]
        if pair.marked is not None:
            what = "told apart" if pair.is_same else "made alike"
            marks = zip(pair.marked, shown, strict=True)
            shown += [(mark, f"{what}: {name}") for mark, (_, name) in marks]
        pictures = "".join(
            f'<img src="{_data_address(picture)}" alt="{escape(name)}"{_tiny(picture)}>'
            for picture, name in shown
        )
        names = escape(pair.left_name)
        if pair.right_name != pair.left_name:
            names += f" <i>and</i> {escape(pair.right_name)}"
        probability = ""
        if pair.probability is not None:
            probability = f"<br>Probability of the same: {pair.probability:.4f}"
        cards.append(
            f'<figure class="pair"><div>{pictures}</div><figcaption>'
            f'<span class="{kind}">{kind}</span> Dissimilarity: {pair.dissimilarity:.4f}'
            f"{probability}<br><small>{names}</small></figcaption></figure>"
        )
    note = (
        "<p>Same pairs that look least alike to the model, and different pairs that look "
        "most alike. Wrong labels in the data often show up here first.</p>"
    )
    if any(pair.marked is not None for pair in inputs.worst):
        note += (
            "<p>Marked: orange told a same pair apart, blue made a different pair "
            "alike; covering these parts would mend the score.</p>"
        )
    return f'{note}<div class="pairs">{"".join(cards)}</div>'


def choose_for_map(labels: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Sorted indices of at most 600 items of at most 24 classes, classes of 3 items
    preferred."""
    rng = np.random.default_rng(seed)
    names, counts = np.unique(labels, return_counts=True)
    mixed = rng.permutation(len(names))
    mixed = mixed[np.argsort(counts[mixed] < 3, kind="stable")][:MAP_CLASSES]
    most = MAP_POINTS // len(mixed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == names[i]))[:most] for i in np.sort(mixed)
    ]
    return np.sort(np.concatenate(chosen))


def _pairs_of(inputs: ReportInputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | str:
    if inputs.scores is None or inputs.is_same is None or not len(inputs.scores):
        return "no scored pairs were given"
    is_same = np.asarray(inputs.is_same, dtype=np.bool_)
    if is_same.all() or not is_same.any():
        kind = "same" if is_same.all() else "different"
        return f"all {len(is_same):,} pairs are {kind} pairs; curves need both kinds"
    scores = np.asarray(inputs.scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        return f"{int((~np.isfinite(scores)).sum()):,} of the scores are not finite"
    return scores, is_same


def _column(
    history: Sequence[Mapping[str, Any]], name: str
) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """What x is, x and y of one column: x is the epoch where each row has its own, else the
    step."""
    rows = [
        row
        for row in history
        if isinstance(row.get(name), int | float) and not isinstance(row[name], bool)
    ]
    y = np.array([row[name] for row in rows], dtype=np.float64)
    for x_name in ("epoch", "step"):
        x = [row[x_name] for row in rows if x_name in row]
        if len(x) == len(rows) == len(set(x)):
            return x_name, np.array(x, dtype=np.float64), y
    return "row", np.arange(1.0, len(rows) + 1), y


def _flatten(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, "" if key == "arguments" else f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _table(rows: Sequence[tuple[str, Any]]) -> str:
    lines = []
    for name, value in rows:
        words = escape(str(name).replace("_", " "))
        lines.append(f"<tr><th>{words}</th><td>{escape(_text(value))}</td></tr>")
    return f"<table>{''.join(lines)}</table>"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, int | np.integer):
        return f"{value:,}" if abs(int(value)) >= 10_000 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value)
    return str(value)


def _largest(matrix: NDArray[Any], count: int) -> list[tuple[int, int]]:
    """Places of the largest positive entries."""
    order = np.argsort(-matrix, axis=None, kind="stable")[:count]
    rows, columns = np.unravel_index(order, matrix.shape)
    return [
        (int(row), int(column))
        for row, column in zip(rows, columns, strict=True)
        if matrix[row, column] > 0
    ]


def _figure(figure: Figure, alt: str, kind: str = "") -> str:
    return f'<figure class="plot {kind}">{to_svg(figure, alt)}</figure>'


def _tiny(picture: Picture) -> str:
    return ' class="tiny"' if max(picture.shape[:2]) < 64 else ""


def _data_address(picture: Picture) -> str:
    image = Image.fromarray(as_rgb(picture) if picture.ndim == 3 else picture)
    image.thumbnail((256, 256))
    return data_address(image)
