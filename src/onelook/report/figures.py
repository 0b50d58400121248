"""The figures of a report: arrays in, matplotlib figures out, and a figure as inline SVG.

Colours are names of the page's CSS variables in disguise (``INK`` and its like), so that a
figure follows the page from light to dark.
"""

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.stats import norm

from onelook.metrics import Reliability, RocCurve, auc_of, eer_of
from onelook.report.pictures import as_rgb, shorten

# Stand-ins that ``to_svg`` turns into var(--ink), var(--muted), ...
INK, MUTED, RULE, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
SAME, DIFFERENT = "#0a0b05", "#0a0b06"
CLASSES = tuple(f"#0a0b1{i}" for i in range(8))
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
_VARIABLES |= {SAME: "same", DIFFERENT: "different"}
_VARIABLES |= {colour: f"class-{i}" for i, colour in enumerate(CLASSES)}
_MARKERS = "osD^vP"
# Rates worth a tick on a DET axis, as fractions.
_DET_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
_TEXT_POINTS = 9.0


def new_figure(
    x_label: str, y_label: str, width: float = 340, height: float = 230
) -> tuple[Figure, Axes]:
    """An empty figure of ``width`` x ``height`` points in the house style."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(RULE)
    axes.tick_params(
        which="both", colors=MUTED, labelcolor=MUTED, labelsize=_TEXT_POINTS, length=3
    )
    axes.set_xlabel(x_label, color=MUTED, size=_TEXT_POINTS)
    axes.set_ylabel(y_label, color=MUTED, size=_TEXT_POINTS)
    axes.grid(True, color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
    return figure, axes


def draw_curve(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_label: str,
    name: str,
    best: str = "",
) -> Figure:
    """A figure of training against steps or epochs, smoothed where it is noisy.

    Args:
        x: (N,) steps or epochs.
        y: (N,) values; not finite ones leave gaps.
        x_label: What x is.
        name: What y is.
        best: ``"lowest"`` or ``"highest"`` marks that value with its number.
    """
    figure, axes = new_figure(x_label, name)
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(y) > 60:
        window = max(5, len(y) // 40)
        kernel = np.ones(window)
        smooth = np.convolve(y, kernel, "same") / np.convolve(
            np.ones_like(y), kernel, "same"
        )
        keep = np.unique(np.linspace(0, len(y) - 1, min(len(y), 800)).astype(int))
        axes.plot(x[keep], y[keep], color=SAME, alpha=0.25, linewidth=0.8)
        axes.plot(x[keep], smooth[keep], color=SAME, linewidth=1.6)
    else:
        axes.plot(x, y, color=SAME, linewidth=1.6, marker="o", markersize=3)
    if name == "loss" and len(y) and y.min() > 0 and y.max() > 50 * y.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.margins(x=0.04, y=0.16 if best else 0.05)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if best and len(y):
        at = int(y.argmin() if best == "lowest" else y.argmax())
        axes.plot(x[at], y[at], "o", color=DIFFERENT, markersize=6)
        right = x[at] > (x[0] + x[-1]) / 2
        axes.annotate(
            f"{y[at]:.4g}",
            (x[at], y[at]),
            xytext=(-3 if right else 3, -7 if best == "lowest" else 7),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top" if best == "lowest" else "bottom",
            color=INK,
            size=_TEXT_POINTS,
            weight="bold",
        )
    return figure


def draw_roc(curve: RocCurve, point: tuple[float, float] | None) -> Figure:
    """Same pairs accepted against different pairs accepted; ``point`` is (FAR, FRR) in
    use."""
    figure, axes = new_figure(
        "different pairs accepted (FAR)", "same pairs accepted (TAR)", height=270
    )
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    # Points closer than a hair's breadth draw as one.
    hair = np.round(np.stack([curve.far, curve.tar], axis=1), 3)
    keep = np.append(True, (hair[1:] != hair[:-1]).any(axis=1))
    axes.plot(curve.far[keep], curve.tar[keep], color=SAME, linewidth=1.8, clip_on=False)
    if point is not None:
        axes.plot(
            point[0],
            1 - point[1],
            "o",
            color=DIFFERENT,
            clip_on=False,
            zorder=3,
            markersize=6,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(
        0.97,
        0.06,
        f"AUC {auc_of(curve):.4f}",
        ha="right",
        color=INK,
        size=_TEXT_POINTS + 2,
        weight="bold",
        transform=axes.transAxes,
    )
    return figure


def draw_det(curve: RocCurve, point: tuple[float, float] | None) -> Figure:
    """False rejects against false accepts on normal deviates; ``point`` is (FAR, FRR) in
    use."""
    figure, axes = new_figure(
        "different pairs accepted (FAR)", "same pairs rejected (FRR)", height=270
    )
    # A rate of 0 or 1 lies at infinity; it is drawn just outside the axes.
    far, frr = (np.clip(rate, 1e-6, 1 - 1e-6) for rate in (curve.far, 1 - curve.tar))
    axes.plot(norm.ppf(far), norm.ppf(frr), color=SAME, linewidth=1.8)
    low, high = _det_limits(curve)
    limits = norm.ppf([low, high])
    axes.plot(limits, limits, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    if point is not None:
        at = norm.ppf(np.clip(point, low, high))
        axes.plot(*at, "o", color=DIFFERENT, clip_on=False, zorder=3, markersize=6)
    ticks = [rate for rate in _DET_TICKS if low <= rate <= high]
    names = [f"{rate:g}" for rate in ticks]
    axes.set_xticks(norm.ppf(ticks), names)
    axes.set_yticks(norm.ppf(ticks), names)
    axes.set(xlim=limits, ylim=limits)
    axes.text(
        0.97,
        0.92,
        f"EER {eer_of(curve):.4f}",
        ha="right",
        color=INK,
        size=_TEXT_POINTS + 2,
        weight="bold",
        transform=axes.transAxes,
    )
    return figure


def _det_limits(curve: RocCurve) -> tuple[float, float]:
    rates = np.concatenate([curve.far, 1 - curve.tar])
    inside = rates[(rates > 0) & (rates < 1)]
    smallest = float(inside.min()) if len(inside) else 0.01
    low = max([5e-5, *(tick for tick in (5e-4, 5e-3, 0.03) if tick <= smallest)])
    return low, 0.6 if eer_of(curve) < 0.4 else 0.96


def draw_histogram(
    dissimilarity: NDArray[np.float64],
    is_same: NDArray[np.bool_],
    threshold: float | None,
) -> Figure:
    """Dissimilarities of same and of different pairs, each as shares of its own kind."""
    figure, axes = new_figure("dissimilarity", "share of the pairs", 390, 250)
    low, high = np.quantile(dissimilarity, [0.001, 0.999])
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, 49)
    # Both kinds in bins of equal width; the outermost values fall into the outermost bins.
    clipped = np.clip(dissimilarity, low, high)
    for mask, colour, name in ((is_same, SAME, "same"), (~is_same, DIFFERENT, "different")):
        shares = np.histogram(clipped[mask], edges)[0] / max(int(mask.sum()), 1)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(shares, edges, color=colour, linewidth=1.4, label=name)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.07),
        ncols=2,
        frameon=False,
        fontsize=_TEXT_POINTS + 1,
        labelcolor=INK,
        borderaxespad=0.2,
    )
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            f"threshold {threshold:.4f}",
            (threshold, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right" if threshold > (low + high) / 2 else "left",
            color=INK,
            size=_TEXT_POINTS,
        )
    axes.margins(x=0.01)
    axes.set_ylim(bottom=0)
    return figure


def draw_reliability(bins: Reliability) -> Figure:
    """What was stated against what happened; the marks are as large as their share of the
    pairs."""
    figure, axes = new_figure("probability stated", "share that is the same", height=270)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.plot(bins.stated, bins.happened, color=SAME, linewidth=1.4, clip_on=False)
    axes.scatter(
        bins.stated,
        bins.happened,
        s=16 + 180 * np.sqrt(bins.weight / bins.weight.max()),
        color=SAME,
        alpha=0.45,
        linewidths=0,
        clip_on=False,
        zorder=3,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(
        0.97,
        0.06,
        f"ECE {bins.error:.3f}",
        ha="right",
        color=INK,
        size=_TEXT_POINTS + 2,
        weight="bold",
        transform=axes.transAxes,
    )
    return figure


def draw_confusion(names: Sequence[str], shares: NDArray[np.float64]) -> Figure:
    """Shares (C, C) of each true class (row) that were taken for each class (column)."""
    n = len(names)
    side = 150 + 20 * max(n, 6)
    figure, axes = new_figure("taken for", "was", side, side - 20)
    axes.grid(False)
    for row, column in zip(*np.nonzero(shares), strict=True):
        share = float(shares[row, column])
        colour = SAME if row == column else DIFFERENT
        axes.add_patch(
            Rectangle(
                (column - 0.46, row - 0.46),
                0.92,
                0.92,
                color=colour,
                alpha=0.15 + 0.85 * share,
                lw=0,
            )
        )
        if n <= 12:
            axes.text(
                column,
                row,
                f"{share:.2f}".lstrip("0") if share < 1 else "1",
                ha="center",
                va="center",
                size=7,
                color=PAPER if share > 0.55 else INK,
            )
    shown = [shorten(name, 22) for name in names]
    axes.set_xticks(range(n), shown, rotation=90)
    axes.set_yticks(range(n), shown)
    axes.tick_params(length=0, labelsize=7.5)
    axes.set(xlim=(-0.6, n - 0.4), ylim=(n - 0.4, -0.6), aspect="equal")
    return figure


def place_on_map(embeddings: NDArray[Any], seed: int = 0) -> NDArray[np.float64]:
    """Embeddings (M, D) on a plane, (M, 2): PCA to 50 dimensions, then t-SNE."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    values = np.asarray(embeddings, dtype=np.float64)
    # Few points: more threads than one only wait for each other on a busy machine.
    with threadpool_limits(1):
        if values.shape[1] > 50 and len(values) > 50:
            values = PCA(50, random_state=seed).fit_transform(values)
        values = (values - values.mean(axis=0)) / (values.std() or 1.0)
        start = values[:, :2] if values.shape[1] >= 2 else np.pad(values, ((0, 0), (0, 1)))
        start = start / (np.std(start[:, 0]) or 1.0) * 1e-4
        perplexity = min(30.0, max(2.0, (len(values) - 1) / 3))
        tsne = TSNE(perplexity=perplexity, init=start, random_state=seed)
        return np.asarray(tsne.fit_transform(values), dtype=np.float64)


def draw_map(
    places: NDArray[np.float64],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    pixels: NDArray[np.uint8] | None = None,
) -> Figure:
    """Items on the plane, a colour and a mark for each class.

    Args:
        places: (M, 2) from ``place_on_map``.
        labels: (M,) indices into ``class_names``.
        class_names: Names; those of few classes are written beside their points.
        pixels: (M, H, W[, C]) uint8. When given, one item of each class is shown as a
            picture.
    """
    figure, axes = new_figure("", "", 560, 440)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    present = np.unique(labels)
    taken: list[NDArray[np.float64]] = []
    extent = np.ptp(places, axis=0) + 1e-9
    for rank, label in enumerate(present):
        points = places[labels == label]
        colour = CLASSES[rank % len(CLASSES)]
        marker = _MARKERS[rank // len(CLASSES) % len(_MARKERS)]
        dots = axes.scatter(
            points[:, 0],
            points[:, 1],
            s=16,
            color=colour,
            marker=marker,
            linewidths=0,
            alpha=0.85,
        )
        dots.set_gid(f"class {class_names[label]}")
        # The name or picture of a class goes above the thick of its points.
        centre = np.median(points, axis=0)
        by_distance = np.square(points - centre).sum(axis=1).argsort()
        thick = points[by_distance[: max(1, len(points) * 4 // 5)]]
        at = np.array([centre[0], thick[:, 1].max()])
        box = extent * ([0.06, 0.08] if pixels is not None else [0.15, 0.045])
        if any((np.abs(at - other) < box).all() for other in taken):
            continue
        taken.append(at)
        if pixels is not None:
            picture = pixels[np.flatnonzero(labels == label)[by_distance[0]]]
            _add_thumbnail(axes, picture, at, colour)
        else:
            axes.annotate(
                shorten(class_names[label], 20),
                (at[0], at[1]),
                ha="center",
                va="bottom",
                size=8,
                color=INK,
                xytext=(0, 5),
                textcoords="offset points",
            )
    axes.margins(0.06)
    return figure


def _add_thumbnail(
    axes: Axes, picture: NDArray[np.uint8], at: NDArray[np.float64], colour: str
) -> None:
    image = OffsetImage(
        as_rgb(picture), zoom=26 / max(picture.shape[:2]), interpolation="antialiased"
    )
    frame = {"edgecolor": colour, "facecolor": "white", "linewidth": 1.4}
    # Above its point, so that the points stay in sight.
    axes.add_artist(
        AnnotationBbox(
            image,
            (float(at[0]), float(at[1])),
            xybox=(0, 22),
            boxcoords="offset points",
            bboxprops=frame,
            pad=0.1,
        )
    )


def to_svg(figure: Figure, alt: str) -> str:
    """The figure as an ``<svg>`` element that takes fonts and colours from its page.

    Args:
        figure: Drawn with the colours of this module.
        alt: What it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": alt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    # Several figures share a page: keep only the ids that something refers to.
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r'<g id="class ([^"]*)">', r"<g><title>\1</title>", svg)
    svg = re.sub(
        r' id="([^"]*)"', lambda found: found.group() if found[1] in used else "", svg
    )
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"(font: [^;\"']*?[0-9.]+px) [^;\"]*", r"\1 var(--sans)", svg)
    svg = re.sub(r"\n\s*", " ", svg)
    width, height = 72 * figure.get_size_inches()
    tag = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="--width: {width:g}px" role="img" '
        f'aria-label="{escape(alt)}">'
    )
    return tag + svg[svg.index(">") + 1 :]
