"""What a calibration promises, measured on other classes.

python benchmarks/calibration.py
python benchmarks/calibration.py --only faces

Characters: calibrated on the alphabets held out of the training of ``omniglot``, measured
on Omniglot's 20 evaluation alphabets. Faces: calibrated on the people held out of the
training of ``faces``, measured on the people of View 1's test part. Every class counts
alike; two different characters are of one alphabet. Intervals are from resampled classes.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.calibrate import calibrate
from onelook.calibration.galleries import simulate_galleries
from onelook.calibration.groups import rates_at
from onelook.calibration.pairs import ClassPairs, score_drawn_pairs
from onelook.data.items import Dataset
from onelook.data.sources import find
from onelook.data.sources.lfw import lfw_people
from onelook.data.sources.omniglot import omniglot
from onelook.decision import Decision
from onelook.loading import load
from onelook.metrics import Interval, reliability
from onelook.verifier import Verifier
from record import Clock, record

FARS = (0.1, 0.01, 0.001)
GALLERY_SIZES = (20, 100)
N_RESAMPLES = 400
Figure = tuple[str, float, Interval | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=["omniglot", "faces"])
    only = parser.parse_args().only
    for name in ("omniglot", "faces"):
        if only in (None, name):
            measure(load(name), others(name))


def others(name: str) -> Dataset:
    """Classes that neither trained nor calibrated the model of that name."""
    if name == "omniglot":
        return omniglot(find("omniglot"), "evaluation")
    return lfw_people(find("lfw"), "DevTest")


def measure(verifier: Verifier, data: Dataset) -> None:
    """Print the stated and the measured rates, and record the measured ones."""
    clock = Clock()
    assert verifier.decision is not None
    embeddings = verifier.embed(data.paths)
    drawn = score_drawn_pairs(
        verifier, embeddings, embeddings, data.labels, data.groups, seed=0
    )
    print(f"{verifier.name} on {data.name}: {data.n_classes} classes, {drawn.pairs}")
    figures = [*pair_figures(verifier, drawn)]
    figures += gallery_figures(verifier, verifier.decision, embeddings, data)
    for metric, value, interval in figures:
        ends = "" if interval is None else f"  95% {interval[0]:.4f} to {interval[1]:.4f}"
        print(f"  {metric:28} {value:.4f}{ends}", flush=True)
        record(
            "calibration",
            verifier.name,
            metric,
            value,
            interval=interval,
            seeds=[],
            minutes=clock.minutes,
            command=shlex.join(["python", "benchmarks/calibration.py", *sys.argv[1:]]),
        )


def pair_figures(verifier: Verifier, drawn: ClassPairs) -> Iterator[Figure]:
    """FAR and FRR at thresholds chosen elsewhere, and the error of the probability."""
    for far in FARS:
        decision = calibrate(verifier, far=far).decision
        rates = rates_at(drawn, decision.threshold)
        yield f"far_stated_{far:g}", rates.far, rates.far_interval
        yield f"frr_at_far_{far:g}", rates.frr, rates.frr_interval
    assert verifier.decision is not None
    for prior in (0.5, 0.1):
        probability = verifier.decision.probability(drawn.scores, prior)
        yield (
            f"ece_prior_{prior:g}",
            reliability(probability, drawn.is_same, prior).error,
            None,
        )


def gallery_figures(
    verifier: Verifier, decision: Decision, embeddings: NDArray[np.float32], data: Dataset
) -> Iterator[Figure]:
    """Unknown probes accepted and known probes found, by size of the gallery."""
    kinds = {"": data.groups} if data.groups is None else {"": data.groups, "_random": None}
    for kind, groups in kinds.items():
        found = simulate_galleries(
            *(verifier.score_matrix, embeddings, embeddings, data.labels, groups),
            sizes=GALLERY_SIZES,
        )
        for i, size in enumerate(GALLERY_SIZES):
            limit = decision.identify_threshold(size)
            assert limit is not None and not limit.extrapolated
            taken = found.unknown[i] >= limit.threshold
            known = (found.own >= limit.threshold) & (found.own > found.others[i])
            name = f"{size}{kind}_stated_{limit.fpir:.2g}"
            yield f"fpir_{name}", taken.mean(), _interval(taken, found.unknown_classes)
            yield f"found_{size}{kind}", known.mean(), None


def _interval(taken: NDArray[np.bool_], classes: NDArray[np.int64]) -> Interval:
    """95% interval of the fraction accepted, by resampling classes."""
    _, of = np.unique(classes, return_inverse=True)
    counts, hits = np.bincount(of), np.bincount(of, taken)
    chosen = np.random.default_rng(0).integers(len(counts), size=(N_RESAMPLES, len(counts)))
    shares = hits[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
