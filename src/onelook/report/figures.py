"""Figures of a report: arrays in, matplotlib figures out.

Figures are drawn for light paper; the page inverts them for readers who prefer dark.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from onelook.metrics import Reliability, RocCurve
from onelook.report.pictures import DIFFERENT, INK, SAME, as_rgb, shorten

MUTED, RULE = "#5f676f", "#e0ddd6"
CLASSES = (
    "#1f6f9f", "#c2512b", "#3d8b54", "#8a5aa8", "#b8860b", "#2a9d9a", "#b5446e", "#6b7280",
)  # fmt: skip
MARKERS = "osD^vP"
# Rates worth a tick on a DET axis, as fractions.
DET_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
DASHED: Any = {"color": MUTED, "linewidth": 0.8, "linestyle": (0, (3, 3))}
FAR, FRR = "different pairs accepted (FAR)", "same pairs rejected (FRR)"
# A dot at the threshold in use.
IN_USE: Any = {"color": DIFFERENT, "marker": "o", "markersize": 6, "clip_on": False}
# Text beside a point.
BESIDE: Any = {"textcoords": "offset points"}
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.sans-serif": ["Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "onelook",
    "text.color": INK,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
}


def to_address(figure: Figure) -> str:
    """The figure as a ``data:`` address of an SVG."""
    buffer = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _new_figure(
    x_label: str, y_label: str, width: float = 340, height: float = 270
) -> tuple[Figure, Axes]:
    """An empty figure of ``width`` x ``height`` points."""
    figure = Figure(figsize=(width / 72, height / 72))
    return figure, figure.add_subplot(xlabel=x_label, ylabel=y_label)


def _note(axes: Axes, y: float, text: str) -> None:
    """A bold figure at the right edge of a plot, ``y`` as a share of its height."""
    look: Any = {"ha": "right", "size": 11, "weight": "bold"}
    axes.text(0.97, y, text, transform=axes.transAxes, **look)


@rc_context(STYLE)
def draw_curve(
    epochs: NDArray[np.float64],
    values: NDArray[np.float64],
    name: str,
    *,
    mark_highest: bool = False,
) -> Figure:
    """Finite values (N,) by epochs (N,), smoothed where they are many."""
    figure, axes = _new_figure("epoch", name, height=230)
    if len(values) > 60:
        kernel = np.ones(max(5, len(values) // 40))
        counts = np.convolve(np.ones_like(values), kernel, "same")
        smooth = np.convolve(values, kernel, "same") / counts
        keep = np.unique(np.linspace(0, len(values) - 1, 800).astype(int))
        axes.plot(epochs[keep], values[keep], color=SAME, alpha=0.25, linewidth=0.8)
        axes.plot(epochs[keep], smooth[keep], color=SAME)
    else:
        axes.plot(epochs, values, color=SAME, marker="o", markersize=3)
    if name == "loss" and values.min() > 0 and values.max() > 50 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.margins(x=0.04, y=0.16 if mark_highest else 0.05)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if mark_highest:
        at = int(values.argmax())
        axes.plot(epochs[at], values[at], **IN_USE)
        is_late = epochs[at] > (epochs[0] + epochs[-1]) / 2
        look: Any = {"xytext": (-3, 7), "ha": "right"} if is_late else {"xytext": (3, 7)}
        place = epochs[at], values[at]
        axes.annotate(f"{values[at]:.4g}", place, weight="bold", **look, **BESIDE)
    return figure


@rc_context(STYLE)
def draw_roc(curve: RocCurve, point: tuple[float, float] | None) -> Figure:
    """Same pairs accepted by different pairs accepted; ``point`` is (FAR, FRR) in use."""
    figure, axes = _new_figure(FAR, "same pairs accepted (TAR)")
    axes.plot([0, 1], [0, 1], **DASHED)
    # Points closer than a hair's breadth draw as one.
    hair = np.round(np.stack([curve.far, curve.tar], axis=1), 3)
    keep = np.append(True, (hair[1:] != hair[:-1]).any(axis=1))
    axes.plot(curve.far[keep], curve.tar[keep], color=SAME, clip_on=False)
    if point is not None:
        axes.plot(point[0], 1 - point[1], **IN_USE)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    _note(axes, 0.06, f"AUC {curve.auc:.4f}")
    return figure


@rc_context(STYLE)
def draw_det(curve: RocCurve, point: tuple[float, float] | None) -> Figure:
    """False rejects by false accepts on normal deviates; ``point`` is (FAR, FRR) in use."""
    from scipy.special import ndtri

    figure, axes = _new_figure(FAR, FRR)
    # A rate of 0 or 1 lies at infinity; it is drawn just outside the axes.
    far, frr = (np.clip(rate, 1e-6, 1 - 1e-6) for rate in (curve.far, 1 - curve.tar))
    axes.plot(ndtri(far), ndtri(frr), color=SAME)
    low, high = _det_limits(curve)
    limits = ndtri([low, high])
    axes.plot(limits, limits, **DASHED)
    if point is not None:
        axes.plot(*ndtri(np.clip(point, low, high)), **IN_USE)
    ticks = [rate for rate in DET_TICKS if low <= rate <= high]
    names = [f"{rate:g}" for rate in ticks]
    axes.set_xticks(ndtri(ticks), names)
    axes.set_yticks(ndtri(ticks), names)
    axes.set(xlim=limits, ylim=limits)
    _note(axes, 0.92, f"EER {curve.eer:.4f}")
    return figure


def _det_limits(curve: RocCurve) -> tuple[float, float]:
    rates = np.concatenate([curve.far, 1 - curve.tar])
    inside = rates[(rates > 0) & (rates < 1)]
    smallest = float(inside.min()) if len(inside) else 0.01
    low = max([5e-5, *(tick for tick in (5e-4, 5e-3, 0.03) if tick <= smallest)])
    return low, 0.6 if curve.eer < 0.4 else 0.96


@rc_context(STYLE)
def draw_histogram(
    dissimilarity: NDArray[np.float64], is_same: NDArray[np.bool_], threshold: float | None
) -> Figure:
    """Dissimilarities of same and of different pairs, each as shares of its own kind."""
    figure, axes = _new_figure("dissimilarity", "share of the pairs", 390, 250)
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
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.07), ncols=2, borderaxespad=0.2)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        look: Any = {"ha": "right" if threshold > (low + high) / 2 else "left"}
        look |= {"xycoords": ("data", "axes fraction"), "xytext": (0, 5)}
        axes.annotate(f"threshold {threshold:.4f}", (threshold, 1), **look, **BESIDE)
    axes.margins(x=0.01)
    axes.set_ylim(bottom=0)
    return figure


@rc_context(STYLE)
def draw_reliability(bins: Reliability) -> Figure:
    """Stated probability and share that is the same; larger marks stand for more pairs."""
    figure, axes = _new_figure("probability stated", "share that is the same")
    axes.plot([0, 1], [0, 1], **DASHED)
    axes.plot(bins.stated, bins.happened, color=SAME, linewidth=1.4, clip_on=False)
    sizes = 16 + 180 * np.sqrt(bins.weight / bins.weight.max())
    look: Any = {"color": SAME, "alpha": 0.45, "linewidths": 0, "clip_on": False}
    axes.scatter(bins.stated, bins.happened, s=sizes, zorder=3, **look)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    _note(axes, 0.06, f"ECE {bins.error:.3f}")
    return figure


@rc_context(STYLE)
def draw_confusion(names: Sequence[str], shares: NDArray[np.float64]) -> Figure:
    """Shares (C, C) of each true class (row) answered with each class (column)."""
    n = len(names)
    side = 150 + 20 * max(n, 6)
    figure, axes = _new_figure("answer", "true class", side, side - 20)
    axes.grid(False)
    for row, column in zip(*np.nonzero(shares), strict=True):
        share, corner = float(shares[row, column]), (column - 0.46, row - 0.46)
        look: Any = {"color": SAME if row == column else DIFFERENT, "linewidth": 0}
        axes.add_patch(Rectangle(corner, 0.92, 0.92, alpha=0.15 + 0.85 * share, **look))
        if n <= 12:
            text = f"{share:.2f}".lstrip("0") if share < 1 else "1"
            place: Any = {"ha": "center", "va": "center", "size": 7}
            axes.text(column, row, text, color="white" if share > 0.55 else INK, **place)
    shown = [shorten(name, 22) for name in names]
    axes.set_xticks(range(n), shown, rotation=90)
    axes.set_yticks(range(n), shown)
    axes.tick_params(length=0, labelsize=7.5)
    axes.set(xlim=(-0.6, n - 0.4), ylim=(n - 0.4, -0.6), aspect="equal")
    return figure


def place_on_map(embeddings: NDArray[Any]) -> NDArray[np.float64]:
    """Embeddings (M, D) on a plane, (M, 2): PCA to 50 dimensions, then t-SNE."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    values = np.asarray(embeddings, dtype=np.float64)
    # For few points several threads only wait for each other on a busy machine.
    with threadpool_limits(1):
        if values.shape[1] > 50 and len(values) > 50:
            values = PCA(50, random_state=0).fit_transform(values)
        values = (values - values.mean(axis=0)) / (values.std() or 1.0)
        start = np.pad(values, ((0, 0), (0, 1)))[:, :2]
        start *= 1e-4 / (np.std(start[:, 0]) or 1.0)
        perplexity = min(30.0, max(2.0, (len(values) - 1) / 3))
        tsne = TSNE(perplexity=perplexity, init=start, random_state=0)
        return np.asarray(tsne.fit_transform(values), dtype=np.float64)


@rc_context(STYLE)
def draw_map(
    places: NDArray[np.float64],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    pixels: NDArray[np.uint8] | None = None,
) -> Figure:
    """Items at places (M, 2), a colour and a mark for each class.

    A class has one of its ``pixels`` (M, H, W[, C]) beside it, or else its name.
    """
    figure, axes = _new_figure("", "", 560, 440)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    marked: list[NDArray[np.float64]] = []
    extent = np.ptp(places, axis=0) + 1e-9
    for rank, label in enumerate(np.unique(labels)):
        points = places[labels == label]
        colour = CLASSES[rank % len(CLASSES)]
        marker = MARKERS[rank // len(CLASSES) % len(MARKERS)]
        look: Any = {"color": colour, "alpha": 0.85, "linewidths": 0}
        axes.scatter(points[:, 0], points[:, 1], s=16, marker=marker, **look)
        # The name or picture of a class goes above most of its points.
        centre = np.median(points, axis=0)
        by_distance = np.square(points - centre).sum(axis=1).argsort()
        near = points[by_distance[: max(1, len(points) * 4 // 5)]]
        at = np.array([centre[0], near[:, 1].max()])
        box = extent * ([0.06, 0.08] if pixels is not None else [0.15, 0.045])
        if any((np.abs(at - other) < box).all() for other in marked):
            continue
        marked.append(at)
        if pixels is not None:
            picture = pixels[np.flatnonzero(labels == label)[by_distance[0]]]
            _add_thumbnail(axes, picture, at, colour)
        else:
            look = {"ha": "center", "size": 8, "xytext": (0, 5)}
            axes.annotate(shorten(class_names[label], 20), (at[0], at[1]), **look, **BESIDE)
    axes.margins(0.06)
    return figure


def _add_thumbnail(
    axes: Axes, picture: NDArray[np.uint8], at: NDArray[np.float64], colour: str
) -> None:
    """Add a framed picture above a point, so that the points stay in sight."""
    zoom = 26 / max(picture.shape[:2])
    image = OffsetImage(as_rgb(picture), zoom=zoom, interpolation="antialiased")
    frame = {"edgecolor": colour, "facecolor": "white", "linewidth": 1.4}
    place: Any = {"xybox": (0, 22), "boxcoords": "offset points", "pad": 0.1}
    axes.add_artist(AnnotationBbox(image, (at[0], at[1]), bboxprops=frame, **place))
