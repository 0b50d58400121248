"""Open-set identification: known identities must be named, unknown ones not."""

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelook.metrics import wilson_interval

LOW_FPIR = 0.01


@dataclass(frozen=True)
class OpenSet:
    """How probes of known (enrolled) and of unknown identities were answered.

    ``n_best`` counts known probes whose best match is right, accepted or not.
    ``dir_at_low_fpir`` is the fraction of known probes identified at the threshold where 1%
    of the unknown ones are falsely accepted; None with fewer than 100 of these. ``fpir`` is
    what the model states, by extrapolation if no gallery of this size was simulated.
    """

    n_known: int
    n_right: int
    n_rejected: int
    n_best: int
    n_unknown: int
    n_falsely_accepted: int
    dir_at_low_fpir: float | None
    fpir: float | None
    extrapolated: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = []
        if self.n_known:
            wrong = self.n_known - self.n_right - self.n_rejected
            right, best = (_share(n, self.n_known) for n in (self.n_right, self.n_best))
            lines = [
                f"known:   {self.n_known:,} images, {right} right, "
                f"{self.n_rejected:,} answered unknown, {wrong:,} with another identity",
                f"         the best match is right for {best}",
            ]
        if self.n_unknown:
            stated = "" if self.fpir is None else f"; the model states {self.fpir:.2g}"
            stated += " by extrapolation" if self.extrapolated else ""
            accepted = _share(self.n_falsely_accepted, self.n_unknown)
            lines.append(
                f"unknown: {self.n_unknown:,} images, {accepted} falsely accepted{stated}"
            )
        if self.n_known and self.dir_at_low_fpir is not None:
            lines.append(
                f"         at {100 * LOW_FPIR:g}% falsely accepted, "
                f"{100 * self.dir_at_low_fpir:.1f}% of the known are identified"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def open_set(
    is_known: ArrayLike,
    best_is_right: ArrayLike,
    is_named: ArrayLike,
    best_scores: ArrayLike,
    *,
    fpir: float | None,
    extrapolated: bool,
) -> OpenSet:
    """Count N answers: is the probe enrolled, its best match right, the answer a name?"""
    known, right = np.asarray(is_known, bool), np.asarray(best_is_right, bool)
    named, scores = np.asarray(is_named, bool), np.asarray(best_scores, np.float64)
    n_unknown, rate = int((~known).sum()), None
    if n_unknown >= 1 / LOW_FPIR and known.any():
        rate = dir_at_fpir(scores[known], right[known], scores[~known], LOW_FPIR)
    return OpenSet(
        n_known=int(known.sum()),
        n_right=int((known & right & named).sum()),
        n_rejected=int((known & ~named).sum()),
        n_best=int((known & right).sum()),
        n_unknown=n_unknown,
        n_falsely_accepted=int((~known & named).sum()),
        dir_at_low_fpir=rate,
        fpir=fpir,
        extrapolated=extrapolated,
    )


def dir_at_fpir(
    known_scores: NDArray[np.float64],
    known_right: NDArray[np.bool_],
    unknown_scores: NDArray[np.float64],
    fpir: float,
) -> float:
    """Detection and identification rate at a false-positive identification rate.

    The threshold is the lowest score at which at most a fraction ``fpir`` of the unknown
    probes' best matches are accepted; the rate is the fraction of the known probes whose
    best match is right and accepted.

    Reference:
        Phillips, Grother, Micheals. Evaluation Methods in Face Recognition. Handbook of
        Face Recognition, 2011.
    """
    falling = np.sort(unknown_scores)[::-1]
    n_accepted = int(np.floor(fpir * len(falling) + 1e-9))
    # Above the first unknown probe that must not pass: ties with it do not pass either.
    limit = falling[n_accepted] if n_accepted < len(falling) else -np.inf
    return float((known_right & (known_scores > limit)).mean())


def _share(n: int, n_all: int) -> str:
    low, high = wilson_interval(n, n_all)
    return f"{n:,} ({n / n_all:.1%}, 95% {100 * low:.1f} to {100 * high:.1f})"
