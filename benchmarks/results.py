"""Write the README's table of results from results.json: python benchmarks/results.py."""

from pathlib import Path

from record import read_results

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- results -->", "<!-- end of results -->"

# What others have published for a benchmark; each recipe is headed by its source.
PUBLISHED = {
    ("omniglot-20-runs", "error"): "8.0 % siamese network, 4.5 % people, 3.3 % BPL",
    ("koch-one-shot", "accuracy"): "92.0 %",
    ("koch-verification", "accuracy"): "93.4 % (150,000 pairs)",
    ("lfw-view1", "accuracy"): "60 to 71 % (re-implementations)",
    ("lfw-view2-unrestricted", "accuracy"): "none; restricted to the given pairs 95.89 %",
    ("att-8-fold", "eer"): "3.33 % (another split)",
    ("att-s5-s7", "eer"): "3.33 % (another split)",
    ("sick-test", "pearson"): "0.882 (pretrained vectors, more data)",
}
FRACTIONS = {"error", "accuracy", "eer", "auc", "standard_error"}


def table() -> str:
    """Markdown, one line a row of results.json."""
    lines = [
        "| protocol | model | figure | 95 % interval | published | minutes | command |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in read_results():
        as_percent = row["metric"] in FRACTIONS
        interval = row["interval"]
        ends = " to ".join(_text(end, as_percent) for end in interval or [])
        lines.append(
            f"| {row['benchmark']} | {_cell(row['model'])} | {row['metric']} "
            f"{_text(row['value'], as_percent)} | {ends} | "
            f"{PUBLISHED.get((row['benchmark'], row['metric']), '')} | {row['minutes']} | "
            f"`{_cell(row['command'])}` |"
        )
    machines = sorted({row["machine"] for row in read_results()})
    return "\n".join([*lines, "", f"Machine: {'; '.join(machines)}."])


def _cell(text: str) -> str:
    """Text that does not end its cell of a Markdown table."""
    return text.replace("|", "\\|")


def _text(value: float, as_percent: bool) -> str:
    return f"{100 * value:.2f} %" if as_percent else f"{value:.4f}"


def main() -> None:
    text = README.read_text("utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{START}\n{table()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
