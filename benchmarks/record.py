"""Write results.json, the one home of every figure; it is never edited by hand."""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"


def record(
    benchmark: str,
    model: str,
    metric: str,
    value: float,
    *,
    interval: tuple[float, float] | None,
    seeds: list[int],
    minutes: float,
    command: str,
    values: Sequence[float] = (),
) -> None:
    """Put one row into results.json in place of an older one of the same name.

    Args:
        benchmark, model, metric: Names of the figure, as in the docs' page of results.
        value: The figure; rates are fractions, times are in seconds.
        interval: 95% interval.
        seeds: Seeds of the trainings.
        minutes: Wall time of training and measuring one seed.
        command: Command that printed the figure.
        values: Figures of the seeds, if ``value`` is their mean.
    """
    row: dict[str, Any] = {
        "benchmark": benchmark,
        "model": model,
        "metric": metric,
        "value": _short(value),
        "interval": None if interval is None else [_short(end) for end in interval],
        "seeds": seeds,
        "minutes": round(minutes, 1),
        "machine": machine(),
        "command": command,
        "date": date.today().isoformat(),
    }
    if len(values) > 1:
        row["values"] = [_short(one) for one in values]
    rows = read_results()
    rows = [r for r in rows if _name(r) != _name(row)] + [row]
    rows.sort(key=_name)
    temporary = RESULTS.with_suffix(f".{os.getpid()}")
    temporary.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n", "utf-8")
    os.replace(temporary, RESULTS)


def record_all(
    benchmark: str,
    model: str,
    figures: Mapping[str, float],
    *,
    seeds: list[int],
    minutes: float,
) -> None:
    """``record`` of figures by name that have no intervals, with the command that runs."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    for metric, value in figures.items():
        record(
            *(benchmark, model, metric, value),
            interval=None,
            seeds=seeds,
            minutes=minutes,
            command=command,
        )


def read_results() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []


def _name(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["benchmark"], row["model"], row["metric"]


def machine() -> str:
    """The number of cores, and the instructions that matrix products use."""
    flags = ""
    if Path("/proc/cpuinfo").exists():
        known = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
        text = Path("/proc/cpuinfo").read_text("utf-8")
        flags = next((flag for flag in known if flag in text), "")
    return f"{os.cpu_count()} cores {platform.machine()} {flags}".strip()


class Clock:
    """Minutes since its creation, and those that a resumed training took before."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def count_training(self, begun_minutes: float, seconds: float) -> None:
        """Count a training that began at ``begun_minutes`` and took ``seconds`` in all."""
        missing = begun_minutes + seconds / 60 - self.minutes
        self._begun -= 60 * max(0.0, missing)

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._begun) / 60


def _short(value: float) -> float:
    """Six decimals, or six digits of a smaller number."""
    return round(value, 6) if abs(value) >= 1e-3 else float(f"{value:.6g}")
