"""Groups of items, and error rates of all classes and of groups at a given threshold."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.pairs import ClassPairs, score_drawn_pairs
from onelook.data.items import Dataset
from onelook.data.reading import address_parts
from onelook.errors import DataError
from onelook.evaluation.scorer import Scorer
from onelook.files import expanded
from onelook.metrics import (
    CLASSES_NEEDED,
    FALSE_ACCEPTS_NEEDED,
    Interval,
    bootstrap_interval,
    far_at,
    frr_at,
    wilson_interval,
)

N_RESAMPLES = 200
DRAWS_OF_GROUP = 20_000
# A stated rate holds if the measured one is at most this many times larger or smaller.
FACTOR = 2.0
UNDECIDED = "too few pairs to say"


@dataclass(frozen=True)
class Rates:
    """Errors at a threshold on pairs that did not choose it; without intervals if few."""

    far: float
    frr: float
    far_interval: Interval | None
    frr_interval: Interval | None
    n_classes: int
    n_same: int
    n_different: int

    def verdict(self, far: float) -> str:
        """Whether the rate ``far`` still holds."""
        # Pairs of one class err together: of few classes each counts as one trial.
        low, high = self.far_interval or wilson_interval(
            self.far * self.n_classes, self.n_classes
        )
        if low > far and self.far > FACTOR * far:
            return "too lax"
        few = self.n_different < FALSE_ACCEPTS_NEEDED / far - 1e-6
        if few or self.far_interval is None:
            return UNDECIDED
        if high < far and self.far < far / FACTOR:
            return "too strict"
        return "holds" if far / FACTOR <= self.far <= FACTOR * far else UNDECIDED


@dataclass(frozen=True)
class GroupRates:
    """The errors of one group; None where it has no same or no different pair."""

    name: str
    n_items: int
    rates: Rates | None
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        rates = None if self.rates is None else dict(vars(self.rates))
        return {**vars(self), "rates": rates}


def rates_at(drawn: ClassPairs, threshold: float, seed: int = 0) -> Rates:
    """FAR and FRR of pairs at ``threshold``."""
    intervals: list[Interval | None] = [None, None]
    if drawn.n_classes >= CLASSES_NEEDED:
        columns = (drawn.scores, drawn.is_same, drawn.left, drawn.right)
        intervals[:] = bootstrap_interval(
            lambda curve: curve.errors_at(threshold),
            *columns,
            seed=seed,
            n_resamples=N_RESAMPLES,
        )
    return Rates(
        far=far_at(drawn.scores, drawn.is_same, threshold),
        frr=frr_at(drawn.scores, drawn.is_same, threshold),
        far_interval=intervals[0],
        frr_interval=intervals[1],
        n_classes=drawn.n_classes,
        n_same=drawn.n_same,
        n_different=drawn.n_different,
    )


def rates_by_group(
    scorer: Scorer,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: NDArray[np.int64],
    grouping: tuple[NDArray[np.int64], tuple[str, ...]],
    *,
    threshold: float,
    far: float,
    seed: int = 0,
) -> tuple[GroupRates, ...]:
    """Errors of pairs within each group, at the threshold that stands for ``far``."""
    group_of, names = grouping
    rows = []
    for number, name in enumerate(names):
        items = np.flatnonzero(group_of == number)
        columns = (scorer, left[items], right[items], labels[items], None)
        try:
            drawn = score_drawn_pairs(*columns, seed=seed, n_different=DRAWS_OF_GROUP)
        except ValueError:  # no same or no different pair in this group
            rows.append(GroupRates(name, len(items), None, UNDECIDED))
            continue
        rates = rates_at(drawn, threshold, seed)
        rows.append(GroupRates(name, len(items), rates, rates.verdict(far)))
    return tuple(rows)


def groups_of(
    dataset: Dataset, group_by: str | Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) group of every item, and the names of the groups.

    ``group_by`` is "folder" for the folder above the class folder (Omniglot's alphabet), or
    a CSV or TSV file of ``NAME,GROUP`` lines: NAME is a class, CLASS/IMAGE or a file's
    name.
    """
    if str(group_by) == "folder":
        if dataset.groups is None:
            raise DataError(
                f"{dataset.name} has no folders above its class folders; sort it into "
                "GROUP/CLASS/IMAGE and pass --depth 1, or pass a CSV file of NAME,GROUP"
            )
        return dataset.groups, dataset.group_names
    table = _read_groups(expanded(group_by))
    found = []
    for path, label in zip(dataset.paths, dataset.labels.tolist(), strict=True):
        parts = address_parts(path)
        names = (path, "/".join(parts[-2:]), parts[-1], dataset.class_names[label])
        found.append(next((table[name] for name in names if name in table), ""))
    if not any(found):
        raise DataError(
            f"{group_by}: none of its {len(table)} names is here; it should name classes "
            f"such as {dataset.class_names[0]!r} or files such as "
            f"{dataset.paths[0].rsplit('/', 1)[-1]!r}"
        )
    named, groups = np.unique([name or "(no group)" for name in found], return_inverse=True)
    return groups.astype(np.int64), tuple(named.tolist())


def _read_groups(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--group-by {path} cannot be read: {error}") from error
    table = {}
    delimiter = "\t" if any("\t" in line for line in lines[:1]) else ","
    for number, fields in enumerate(csv.reader(lines, delimiter=delimiter), 1):
        if not fields:
            continue
        if len(fields) != 2:
            raise DataError(
                f"{path}:{number}: expected NAME,GROUP, got {len(fields)} fields"
            )
        table[fields[0].strip()] = fields[1].strip()
    return table
