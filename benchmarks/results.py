"""Write the README's tables of results from results.json: python benchmarks/results.py."""

from pathlib import Path
from typing import Any

from record import read_results

Row = dict[str, Any]

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- results -->", "<!-- end of results -->"

# Headings, and how the names of their benchmarks begin. The first kind shows the figure
# that a benchmark is known by beside what others published, the second all figures of a
# model.
ACCURACY = {
    "Characters": ("omniglot", "vinyals", "koch", "mnist", "strokes", "digits"),
    "Faces": ("lfw", "att"),
    "Texts": ("sick",),
}
ALL_FIGURES = {
    "Decisions, galleries, service": (
        "calibration",
        "identify",
        "find",
        "gallery",
        "service",
    ),
    "Speed": ("time-to", "train", "embed"),
}
# The figure that a benchmark is known by; results.json has the others too.
KNOWN_BY = {"omniglot-20-runs": "error", "att": "eer", "sick": "pearson"}
USUAL = "accuracy"

# What others have published for a benchmark; each recipe is headed by its source.
PUBLISHED = {
    "omniglot-20-runs": "8.0 % siamese network, 4.5 % people, 3.3 % BPL, 1.5 % ARC",
    "omniglot-20-runs-small1": "4.3 % BPL, 24 % convolutional network",
    "omniglot-20-runs-small2": "4.0 % BPL, 22.3 % convolutional network",
    "koch-one-shot": "92.0 %",
    "koch-verification-150k": "93.42 %",
    "koch-verification": "93.42 % (150,000 pairs)",
    "mnist-10w1s": "70.3 % (MNIST itself)",
    "vinyals-20w1s": "97.64 %",
    "vinyals-5w1s": "99.07 %",
    "vinyals-20w5s": "99.36 %",
    "vinyals-5w5s": "99.78 %",
    "lfw-view1": "60 to 71 % (re-implementations)",
    "lfw-view2-unrestricted": "none; restricted 95.89, 88.97, 87.47 %",
    "lfw-view2": "99.38 %",
    "att-8-fold": "3.33 % (another split)",
    "att-s5-s7": "3.33 % (another split)",
    "sick-test": "0.882 (pretrained vectors, more data)",
}
FRACTIONS = {
    *("error", "accuracy", "eer", "auc", "best_is_right", "named_rightly"),
    *("unknown_accepted", "unknown_accepted_stated", "dir_at_fpir_1"),
}


def tables() -> str:
    """Markdown: a table a section."""
    rows = read_results()
    lines = []
    for heading, beginnings in ACCURACY.items():
        of_section = _of(rows, beginnings)
        known = [row for row in of_section if row["metric"] == _known_by(row)]
        lines += [f"**{heading}**", "", *_known_figures(known), ""]
    for heading, beginnings in ALL_FIGURES.items():
        lines += [f"**{heading}**", "", *_all_figures(_of(rows, beginnings)), ""]
    machines = sorted({row["machine"] for row in rows})
    return "\n".join([*lines, f"Machine: {'; '.join(machines)}."])


def _of(rows: list[Row], beginnings: tuple[str, ...]) -> list[Row]:
    return [row for row in rows if row["benchmark"].startswith(beginnings)]


def _known_by(row: Row) -> str:
    matches = [known for known in KNOWN_BY if row["benchmark"].startswith(known)]
    return KNOWN_BY[matches[0]] if matches else USUAL


def _known_figures(rows: list[Row]) -> list[str]:
    lines = [
        "| benchmark | model | figure | 95 % | seeds | minutes a seed | published |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ends = " to ".join(_text(end, row["metric"]) for end in row["interval"] or [])
        metric, value = row["metric"], _text(row["value"], row["metric"])
        cells = [
            row["benchmark"],
            row["model"],
            f"{metric.replace('_', ' ')} {value}",
            ends,
            str(len(row["seeds"]) or ""),
            str(row["minutes"]),
            PUBLISHED.get(row["benchmark"], ""),
        ]
        lines.append(_line(cells))
    return lines


def _all_figures(rows: list[Row]) -> list[str]:
    """One line a benchmark and model."""
    lines = ["| benchmark | model | figures |", "|---|---|---|"]
    names = dict.fromkeys((row["benchmark"], row["model"]) for row in rows)
    for name in names:
        figures = [
            f"{row['metric'].replace('_', ' ')} {_text(row['value'], row['metric'])}"
            for row in rows
            if (row["benchmark"], row["model"]) == name
        ]
        lines.append(_line([*name, "; ".join(figures)]))
    return lines


def _line(cells: list[str]) -> str:
    """A bar in a text would end its cell."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text(value: float, metric: str) -> str:
    if metric in FRACTIONS:
        return f"{100 * value:.2f} %"
    if metric == "seconds":
        return f"{value:.1f}"
    if metric.endswith("_seconds"):
        return f"{1000 * value:.2f} ms"
    if metric.endswith("per_second") or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if metric == "pearson" else f"{value:.3g}"


def main() -> None:
    text = README.read_text("utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{START}\n{tables()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
