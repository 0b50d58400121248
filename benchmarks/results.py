"""Write docs/results.md and the README's table from results.json: make results."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from record import read_results

Row = dict[str, Any]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
START, END = "<!-- results -->", "<!-- end of results -->"


class Headline(NamedTuple):
    """A row of the README's table: what was measured, and where results.json has it."""

    about: str
    benchmark: str
    model: str
    metric: str


# The README's table, at most ten rows; no training that was cut short.
HEADLINES = (
    Headline(
        "Omniglot, the official 20 one-shot runs, error",
        *("omniglot-20-runs", "omniglot-compact", "error"),
    ),
    Headline(
        "Omniglot, verification of Koch et al., accuracy",
        *("koch-verification-150k", "omniglot-compact", "accuracy"),
    ),
    Headline(
        "Omniglot, Vinyals' split, 20-way 1-shot, accuracy",
        *("vinyals-20w1s", "omniglot-vinyals", "accuracy"),
    ),
    Headline(
        "LFW View 2, labelled outside data, accuracy",
        *("lfw-view2", "dlib-faces-mirrored", "accuracy"),
    ),
    Headline(
        "LFW View 2, unrestricted, no outside data, accuracy",
        *("lfw-view2-unrestricted", "lfw-compact, mirrored", "accuracy"),
    ),
    Headline(
        "AT&T faces, eight folds of people, equal error rate",
        *("att-8-fold", "att-compact", "eer"),
    ),
    Headline(
        "False accepts on 20 other alphabets where 1% is stated",
        *("calibration", "omniglot", "far_stated_0.01"),
    ),
    Headline(
        "Training time to 92% on Omniglot, two cores",
        *("time-to-92", "omniglot-fast", "seconds"),
    ),
    Headline(
        "Identify among 100,000 images, 99th percentile",
        *("gallery-100k", "omniglot", "identify_p99_seconds"),
    ),
    Headline(
        "Comparisons a second over HTTP, 32 clients",
        *("service-32-clients", "omniglot", "requests_per_second"),
    ),
)

# What others published: the metric it is of, and the figure, by the beginning of a
# benchmark's name; the longest beginning counts.
PUBLISHED = {
    "omniglot-20-runs": (
        "error",
        "8.0% (Koch et al. 2015), people 4.5% and BPL 3.3% (Lake et al. 2015), "
        "ARC 1.5% (Shyam et al. 2017)",
    ),
    "omniglot-20-runs-small1": (
        "error",
        "4.3% BPL, 24% convolutional network (Lake et al. 2015)",
    ),
    "omniglot-20-runs-small2": (
        "error",
        "4.0% BPL, 22.3% convolutional network (Lake et al. 2015)",
    ),
    "koch-one-shot": ("accuracy", "92.0% (Koch et al. 2015)"),
    "koch-verification": ("accuracy", "93.42% from 150,000 pairs (Koch et al. 2015)"),
    "mnist-10w1s": ("accuracy", "70.3% on MNIST itself (Koch et al. 2015)"),
    "vinyals-20w1s": ("accuracy", "97.64% (SNAIL, Mishra et al. 2018)"),
    "vinyals-5w1s": ("accuracy", "99.07% (SNAIL, Mishra et al. 2018)"),
    "vinyals-20w5s": ("accuracy", "99.36% (SNAIL, Mishra et al. 2018)"),
    "vinyals-5w5s": ("accuracy", "99.78% (SNAIL, Mishra et al. 2018)"),
    "lfw-view1": ("accuracy", "60% to 71% (re-implementations of the 19-layer network)"),
    "lfw-view2-unrestricted": (
        "accuracy",
        "none listed; restricted: 95.89% (MRF-Fusion-CSKDA)",
    ),
    "lfw-view2": ("accuracy", "99.38% (dlib, King 2017)"),
    "att": ("eer", "3.33% on another split (Khalil-Hani and Liew 2014)"),
    "sick-test": ("pearson", "0.882, pretrained (Mueller and Thyagarajan 2016)"),
}

# Sections of docs/results.md, and how the names of their benchmarks begin.
ACCURACY = {
    "Characters": ("omniglot", "vinyals", "koch", "mnist", "strokes", "digits"),
    "Faces": ("lfw", "att"),
    "Texts": ("sick",),
}
BY_METRIC = {
    "Photographs of things, and a head of your own": ("photos", "class-folder"),
    "Decisions, galleries and the service": (
        *("calibration", "identify", "find", "gallery", "service", "place"),
        *("familiarity", "review", "soak"),
    ),
    "Speed": ("time-to", "train", "embed", "export", "cold", "bulk", "gradient"),
}
CUT_SHORT = re.compile(r"\b\d+ (epochs?|steps)\b")
RATES = (
    *("error", "accuracy", "standard_error", "eer", "best_is_right", "named_rightly"),
    *("unknown_", "dir_", "far_", "frr_", "fpir_", "found", "ece_", "one_shot", "tar_"),
    *("catalogue_", "flagged_"),
)
WORDS = {
    **{name: name.upper() for name in ("auc", "ece", "eer", "far", "fpir", "frr")},
    **{"cpu": "CPU", "p50": "median", "p99": "99th percentile", "pearson": "Pearson"},
    **{"seconds": "", "bytes": "", "pml": "to pytorch-metric-learning"},
}


def page() -> str:
    """docs/results.md: every figure in a cell of its own, with its command."""
    rows = read_results()
    lines = [
        "# Results",
        "",
        "Measured by the exact protocols, on classes that no training saw; thresholds and "
        "epochs are chosen",
        "on classes held out of the training classes. Several seeds give their mean. "
        "Intervals are 95%.",
        "*Cut short* marks trainings that ended before the recipe's last epoch. "
        "[Records](records.md) says what was tried.",
        "This page is written by `make results` from `benchmarks/results.json`.",
        "",
    ]
    for heading, names in ACCURACY.items():
        lines += [f"## {heading}", "", *_accuracy_table(_of(rows, names))]
        lines += ["", *_commands(_of(rows, names)), ""]
    for heading, names in BY_METRIC.items():
        lines += [f"## {heading}", ""]
        for family in dict.fromkeys(_family(row) for row in _of(rows, names)):
            of_family = [row for row in _of(rows, names) if _family(row) == family]
            lines += [f"### {family}", "", *_metric_table(of_family)]
            lines += ["", *_commands(of_family), ""]
    machines = sorted({row["machine"] for row in rows})
    return "\n".join([*lines, f"Machine: {'; '.join(machines)}.", ""])


def headlines() -> str:
    """The README's table."""
    found = {_key(row): row for row in read_results()}
    table = [("measured", "model", "onelook", "published", "python benchmarks/")]
    for about, *key in HEADLINES:
        row = found[tuple(key)]
        assert not CUT_SHORT.search(row["model"]), f"{row['model']} was cut short"
        measured = _measured(row)
        command = row["command"].removeprefix("python benchmarks/")
        table.append(
            (about, f"`{row['model']}`", measured, _published(row), f"`{command}`")
        )
    return "\n".join(_lines(table))


def _of(rows: list[Row], beginnings: tuple[str, ...]) -> list[Row]:
    return [row for row in rows if row["benchmark"].startswith(beginnings)]


def _key(row: Row) -> tuple[str, str, str]:
    return row["benchmark"], row["model"], row["metric"]


def _family(row: Row) -> str:
    """Benchmarks that share a table: galleries of several sizes, times to several marks."""
    return re.sub(r"-(att-|omniglot-)?[\d.]+[km]?$", "", row["benchmark"])


def _accuracy_table(rows: list[Row]) -> list[str]:
    """A row for each figure of a model."""
    head = ("benchmark", "model", "figure", "value", "95%", "seeds", "minutes a seed")
    table: list[tuple[str, ...]] = [(*head, "published")]
    for row in rows:
        cut = " *cut short*" if CUT_SHORT.search(row["model"]) else ""
        table.append(
            (
                row["benchmark"],
                row["model"] + cut,
                _title(row["metric"]),
                _text(row["value"], row["metric"]),
                _interval(row),
                str(len(row["seeds"]) or ""),
                str(row["minutes"]),
                _published(row),
            )
        )
    return _lines(table)


def _metric_table(rows: list[Row]) -> list[str]:
    """A row for each metric, a column for each benchmark and model."""
    columns = list(dict.fromkeys((row["benchmark"], row["model"]) for row in rows))
    cells = {_key(row): _measured(row) for row in rows}
    several = len({benchmark for benchmark, _ in columns}) > 1
    heads = [f"{b}, {model}" if several else model for b, model in columns]
    table: list[tuple[str, ...]] = [("figure", *heads)]
    for metric in dict.fromkeys(row["metric"] for row in rows):
        values = [cells.get((*column, metric), "") for column in columns]
        table.append((_title(metric), *values))
    return _lines(table)


def _commands(rows: Iterable[Row]) -> list[str]:
    return ["```text", *dict.fromkeys(row["command"] for row in rows), "```"]


def _lines(table: list[tuple[str, ...]]) -> list[str]:
    """Markdown of a table whose first row is its head; a bar in a text would end a cell."""
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in table]
    rows = [f"| {' | '.join(cells)} |" for cells in escaped]
    return [rows[0], "|" + "---|" * len(table[0]), *rows[1:]]


def _published(row: Row) -> str:
    names = [name for name in PUBLISHED if row["benchmark"].startswith(name)]
    metric, text = PUBLISHED[max(names, key=len)] if names else ("", "")
    return text if row["metric"] == metric else ""


def _measured(row: Row) -> str:
    interval = _interval(row)
    return _text(row["value"], row["metric"]) + (interval and f" ({interval})")


def _interval(row: Row) -> str:
    return " to ".join(_text(end, row["metric"]) for end in row["interval"] or [])


def _title(metric: str) -> str:
    """A metric's name in words: "frr_at_far_0.01" becomes "FRR at FAR 1%"."""
    if metric == "dir_at_fpir_1":
        return "named rightly at FPIR 1%"
    words = [WORDS.get(word, word) for word in metric.split("_")]
    text = re.sub(r"(FAR|stated) (0\.\d+)$", _in_percent, " ".join(filter(None, words)))
    return re.sub(r"(found|FPIR) (\d+)", r"\1 among \2", text)


def _in_percent(match: re.Match[str]) -> str:
    return f"{match[1]} {100 * float(match[2]):g}%"


def _text(value: float, metric: str) -> str:
    """A figure as people read it: rates in percent, short times in milliseconds."""
    if metric.startswith(RATES):
        return f"{100 * value:.2f}%"
    if metric.endswith("seconds"):
        return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.2f} ms"
    if metric.endswith("bytes"):
        return f"{value / 1e6:,.0f} MB"
    if metric.endswith(("per_second", "within")) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 5e-4:
        return f"{value:.1e}"
    return f"{value:.3f}"


def main() -> None:
    PAGE.write_text(page(), "utf-8")
    _replace(README, headlines)


def _replace(path: Path, table: Callable[[], str]) -> None:
    """Write a table between the markers of a page."""
    before, found, rest = path.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    if found:
        path.write_text(f"{before}{START}\n{table()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
