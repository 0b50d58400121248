"""How often one picture of a thing is enough to identify it, and to reject others.

python benchmarks/identify.py
python benchmarks/identify.py --only characters

Characters: in each of Omniglot's 20 evaluation alphabets, 20 characters are enrolled with
one drawing each; the probes are ten other people's drawings of them and as many drawings of
20 characters that are not enrolled, of the same alphabet if it has enough. Faces: one
photograph of each of AT&T's 40 people is enrolled and the other 360 are probes; then 20
people are enrolled and 20 are unknown. Each of the ten photographs is enrolled once. A
threshold does not move between cameras, so the last test calibrates the model on 20 people
of AT&T, enrolls ten others and keeps the last ten unknown.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.calibrate import calibrate
from onelook.card import TrainingCard
from onelook.data.items import Dataset
from onelook.data.sources import find
from onelook.data.sources.att import att
from onelook.data.sources.omniglot import omniglot
from onelook.evaluation.openset import OpenSet, open_set
from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Gallery
from onelook.loading import load
from onelook.metrics import Interval, wilson_interval
from onelook.verifier import Verifier
from record import Clock, record

N_WAY, N_PROBES = 20, 10
Rows = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=["characters", "faces"])
    parser.add_argument("--characters", default="omniglot", help="the model for characters")
    parser.add_argument("--faces", default="faces-aligned", help="the model for faces")
    arguments = parser.parse_args()
    if arguments.only != "faces":
        characters(load(arguments.characters))
    if arguments.only != "characters":
        faces(load(arguments.faces))


def characters(verifier: Verifier) -> None:
    clock = Clock()
    data = omniglot(find("omniglot"), "evaluation")
    assert data.groups is not None and data.drawers is not None
    embeddings = verifier.embed(data.paths)
    galleries = []
    for alphabet in range(len(data.group_names)):
        own = np.unique(data.labels[data.groups == alphabet])
        others = np.setdiff1d(np.arange(data.n_classes), own)
        others = np.random.default_rng(alphabet).permutation(others)
        enrolled = own[:N_WAY]
        unknown = np.concatenate([own[N_WAY:], others])[:N_WAY]
        drawer = np.unique(data.drawers)[0]
        first = _rows(data, enrolled, data.drawers == drawer)
        asked = (data.drawers > drawer) & (data.drawers <= drawer + N_PROBES)
        probes = _rows(data, np.concatenate([enrolled, unknown]), asked)
        galleries.append((first, probes))
    answers = identified(verifier, data, embeddings, galleries)
    report("identify-omniglot-20", verifier, answers, clock)


def faces(verifier: Verifier) -> None:
    clock = Clock()
    data = att(find("att"))
    embeddings = verifier.embed(data.paths)
    people = np.arange(data.n_classes)
    photographs = np.stack([np.flatnonzero(data.labels == one) for one in people])
    every = np.arange(len(data))
    whole, halves = [], []
    for shot in range(photographs.shape[1]):
        first = photographs[:, shot]
        whole.append((first, np.setdiff1d(every, first)))
        enrolled = first[shot % 2 :: 2]
        halves.append((enrolled, np.setdiff1d(every, enrolled)))
    print("the first photograph of each of the 40 people:")
    print(counted(identified(verifier, data, embeddings, whole[:1])))
    for benchmark, galleries in (("identify-att-40", whole), ("identify-att-20", halves)):
        answers = identified(verifier, data, embeddings, galleries)
        report(benchmark, verifier, answers, clock)
    calibrated = calibrate(verifier, data.subset(data.labels >= N_WAY))
    own = Verifier(
        verifier.encoder,
        verifier.scores,
        verifier.input,
        decision=calibrated.decision,
        card=TrainingCard(name=f"{verifier.name}, calibrated on 20 others"),
    )
    rest = np.flatnonzero(data.labels < N_WAY)
    tenths = [(first[: N_WAY // 2], np.setdiff1d(rest, first)) for first, _ in whole]
    report("identify-att-10", own, identified(own, data, embeddings, tenths), clock)


Answer = tuple[str, bool, Identification]


def identified(
    verifier: Verifier,
    data: Dataset,
    embeddings: NDArray[np.float32],
    galleries: Sequence[tuple[Rows, Rows]],
) -> list[Answer]:
    """(class, is it enrolled, answer) of the probes of each (enrolled, probes)."""
    answers: list[Answer] = []
    for enrolled, probes in galleries:
        with tempfile.TemporaryDirectory() as folder:
            with Gallery(verifier, Path(folder) / "gallery.db") as gallery:
                names = [data.class_names[data.labels[i]] for i in enrolled]
                gallery.enroll_vectors(names, embeddings[enrolled])
                found = gallery.identify_many(list(embeddings[probes]), k=1)
        for probe, answer in zip(probes, found, strict=True):
            name = data.class_names[data.labels[probe]]
            answers.append((name, name in names, answer))
    return answers


def report(
    benchmark: str, verifier: Verifier, answers: Sequence[Answer], clock: Clock
) -> None:
    """Print the counts and keep them in results.json."""
    result = counted(answers)
    print(f"{benchmark}, {verifier.name}\n{result}\n", flush=True)
    rows = [
        ("best_is_right", result.n_best, result.n_known),
        ("named_rightly", result.n_right, result.n_known),
        ("unknown_accepted", result.n_falsely_accepted, result.n_unknown),
    ]
    figures: list[tuple[str, float | None, Interval | None]] = [
        (metric, n / n_all, wilson_interval(n, n_all)) for metric, n, n_all in rows if n_all
    ]
    if result.n_unknown:
        figures += [
            ("unknown_accepted_stated", result.fpir, None),
            ("dir_at_fpir_1", result.dir_at_low_fpir, None),
        ]
    for metric, value, interval in figures:
        if value is not None:
            record(
                benchmark,
                verifier.name,
                metric,
                value,
                interval=interval,
                seeds=[],
                minutes=clock.minutes,
                command=shlex.join(["python", "benchmarks/identify.py", *sys.argv[1:]]),
            )


def counted(answers: Sequence[Answer]) -> OpenSet:
    found = [answer for _, _, answer in answers]
    return open_set(
        is_known=[known for _, known, _ in answers],
        best_is_right=[answer.matches[0].identity == who for who, _, answer in answers],
        is_named=[answer.identity is not None for answer in found],
        best_scores=[answer.matches[0].score for answer in found],
        fpir=found[0].fpir,
        extrapolated=found[0].extrapolated,
    )


def _rows(data: Dataset, classes: Rows, chosen: NDArray[np.bool_]) -> Rows:
    return np.flatnonzero(np.isin(data.labels, classes) & chosen)


if __name__ == "__main__":
    main()
