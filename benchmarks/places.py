"""Does a stated rate hold in places that a decision was never fitted on?

python benchmarks/places.py omniglot
python benchmarks/places.py omniglot faces faces-aligned dlib-faces photos

A place is a set of classes under one set of conditions: an alphabet, a studio. Its images
are split at random into a cohort, whose labels are not looked at, and the rest, at most 500
images, of which all pairs are scored; figures are means over five draws. A gallery holds 10
or 20 of a place's identities with one image each, or three, and is probed with others of
these and with as many strangers. The decisions were fitted on none of these places; that of
photos, which ships fitted on both, on products for things and on things for products.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.fit import fit_items
from onelook.cohort import Cohort
from onelook.data.sources import find, open_source
from onelook.data.sources.digits import digits_upscaled
from onelook.data.sources.lfw import lfw_people
from onelook.data.sources.omniglot import omniglot
from onelook.errors import DataError
from onelook.loading import load
from onelook.metrics import roc_auc
from onelook.verifier import Verifier
from onelook.votes import identity_scores
from record import Clock, record_all

SIZES = (0, 20, 50, 200)  # of cohorts; 0 is the plain score
N_DRAWS, MOST_SCORED, MOST_ENROLLED = 5, 500, 20
ENROLLED_IMAGES = (1, 3)  # of each identity
# A stated rate of 0.01 holds in a place where the measured one lies between.
LOWEST, HIGHEST = 0.005, 0.02


@dataclass(frozen=True, eq=False)
class Place:
    """Embeddings (N, D) and labels (N,) of the images of a place."""

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]


Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="+", choices=PLACES)
    parser.add_argument("--only", help="the name of one kind of places")
    arguments = parser.parse_args()
    for model in arguments.models:
        verifier = load(model).plain
        for name, open_places in PLACES[model].items():
            if arguments.only in (None, name):
                measure(verifier, name, open_places(verifier))


def alphabets(verifier: Verifier) -> list[Place]:
    """Each of Omniglot's 20 evaluation alphabets."""
    items = omniglot(find("omniglot"), "evaluation")
    embeddings, groups = verifier.embed(items.paths), items.groups
    assert groups is not None
    rows = [groups == group for group in np.unique(groups)]
    return [Place(embeddings[here], items.labels[here]) for here in rows]


def digits(verifier: Verifier) -> list[Place]:
    """Handwritten digits of other writers."""
    items = digits_upscaled()
    return [Place(verifier.embed(items.paths), items.labels)]


def studio(verifier: Verifier) -> list[Place]:
    """The AT&T faces, all before one wall."""
    items = open_source("att", "all")
    return [Place(verifier.embed(items.paths), items.labels)]


def news(verifier: Verifier) -> list[Place]:
    """People of LFW's View 1 test part, those with two photographs or more."""
    items = lfw_people(find("lfw"), "DevTest")
    several = np.bincount(items.labels)[items.labels] > 1
    items = items.subset(several)
    return [Place(verifier.embed(items.paths), items.labels)]


def things(verifier: Verifier) -> list[Place]:
    """Objects and pets, by a decision that products fitted."""
    fitted_on, measured = photographs(verifier)
    fit(verifier, fitted_on)
    return [measured]


def shelf(verifier: Verifier) -> list[Place]:
    """Products in shops, by a decision that things fitted."""
    measured, fitted_on = photographs(verifier)
    fit(verifier, fitted_on)
    return [measured]


def photographs(verifier: Verifier) -> list[Place]:
    """Products and things."""
    sources = open_source("grocery", "photos"), open_source("things")
    return [Place(verifier.embed(items.paths), items.labels) for items in sources]


def fit(verifier: Verifier, place: Place) -> None:
    """Give the model the decision that a place fits, and no other."""
    vectors = place.embeddings
    verifier.decision = fit_items(verifier, vectors, vectors, place.labels).decision


Open = Callable[[Verifier], list[Place]]
FACES: dict[str, Open] = {"att": studio, "lfw": news}
PLACES: dict[str, dict[str, Open]] = {
    "omniglot": {"alphabets": alphabets, "digits": digits},
    "faces": FACES,
    "faces-aligned": FACES,
    "dlib-faces": FACES,
    "photos": {"things": things, "shelf": shelf},
}


def measure(verifier: Verifier, name: str, places: list[Place]) -> None:
    """Print and record the figures of one kind of places."""
    assert verifier.decision is not None
    clock = Clock()
    smallest = min(len(place.labels) for place in places)
    for size in (size for size in SIZES if 2 * size <= smallest):
        try:
            found = [list(of_place(verifier, place, size)) for place in places]
        except DataError as error:
            print(f"{verifier.name} in {name}, cohort of {size}: {error}")
            continue
        figures = summary(found) | {"far_stated": verifier.decision.far}
        model = f"{verifier.name}, " + (f"cohort of {size}" if size else "plain")
        texts = [f"{metric} {value:.4f}" for metric, value in figures.items()]
        print(f"{name}: {model}: {', '.join(texts)}", flush=True)
        record_all(f"place-{name}", model, figures, seeds=[], minutes=clock.minutes)


def of_place(verifier: Verifier, place: Place, size: int) -> Iterator[Figures]:
    """Figures of each draw of a cohort from one place."""
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([draw, size])
        order = rng.permutation(len(place.labels))
        answering = verifier
        if size:
            answering = verifier.with_cohort(Cohort(place.embeddings[order[:size]]))
        rest = order[size : size + MOST_SCORED]
        labels = place.labels[rest]
        scores = answering.score_matrix(place.embeddings[rest], place.embeddings[rest])
        upper = np.triu_indices(len(rest), 1)
        is_same = (labels[:, None] == labels)[upper]
        pairs, decision = scores[upper].astype(np.float64), answering.decision
        assert decision is not None
        yield {
            "far_measured": float((pairs[~is_same] >= decision.threshold).mean()),
            "found": float((pairs[is_same] >= decision.threshold).mean()),
            "auc": roc_auc(pairs, is_same),
            **{
                name: value
                for n in ENROLLED_IMAGES
                for name, value in of_galleries(
                    answering, place.embeddings[rest], labels, rng, n
                ).items()
            },
        }


def of_galleries(
    verifier: Verifier,
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    n_images: int,
) -> Figures:
    """So many images each of up to 20 identities are enrolled; all others are probes."""
    classes, counts = np.unique(labels, return_counts=True)
    classes = rng.permutation(classes[counts > n_images])
    n_enrolled = min(MOST_ENROLLED, len(classes) // 2)
    known, unknown = classes[:n_enrolled], classes[n_enrolled : 2 * n_enrolled]
    decision = verifier.decision
    assert decision is not None
    limit = decision.identify_threshold(n_enrolled, n_images)
    if limit is None or n_images > decision.most_images or not n_enrolled:
        return {}
    enrolled = np.stack(
        [rng.permutation(np.flatnonzero(labels == one))[:n_images] for one in known]
    )
    scores = identity_scores(
        verifier.score_matrix,
        embeddings,
        embeddings[enrolled.ravel()],
        n_images * np.arange(n_enrolled),
        decision.vote,
    )
    probes = np.isin(labels, known)
    probes[enrolled] = False
    accepted, owner = scores.max(1) >= limit.threshold, known[scores.argmax(1)]
    suffix = "" if n_images == 1 else f"_of_{n_images}_images"
    return {
        f"fpir_stated{suffix}": limit.fpir,
        f"fpir_measured{suffix}": float(accepted[np.isin(labels, unknown)].mean()),
        f"named_rightly{suffix}": float((accepted & (owner == labels))[probes].mean()),
    }


def summary(found: list[list[Figures]]) -> Figures:
    """Means over draws, then over places; and how many of several places hold."""
    names = found[0][0]
    means = {
        name: np.array([np.mean([draw[name] for draw in draws]) for draws in found])
        for name in names
    }
    figures = {name: float(values.mean()) for name, values in means.items()}
    if len(found) > 1:
        far = means["far_measured"]
        figures["far_highest"] = float(far.max())
        figures["places_within"] = float(((far >= LOWEST) & (far <= HIGHEST)).sum())
        for name in [name for name in names if name.startswith("fpir_measured")]:
            figures[name.replace("measured", "highest")] = float(means[name].max())
    return figures


if __name__ == "__main__":
    main()
