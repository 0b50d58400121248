"""Review: what is wrong with a folder of images, by one pass of a model over it."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.bulk import read_shards
from onelook.data.archives import open_tree
from onelook.data.parts import recurring, split_off
from onelook.data.reading import escaped
from onelook.decision import Decision
from onelook.errors import DataError
from onelook.review.groups import Sets, group
from onelook.review.neighbours import Neighbours, edges, neighbours, without_copies
from onelook.review.pixels import Pictures
from onelook.tables import Rows, aligned, counted, html_table
from onelook.vectors import encode_files
from onelook.verifier import Verifier

MUTUAL = 3  # neighbours of two images among which each has the other, in a group
FEWEST_VOTES = 2  # of neighbours in another class, for a label to look wrong
CLEARLY = 3  # times as large a share of another class than of its own
OF_CLASS = 0.2  # of another class, at least
FEWEST_OF_CLASS = 3  # images, for one to be unlike the others
MOST_OF_CLASS = 1000  # images that each is compared with

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Rows of images that are one picture; ``exact`` if their bytes are the same."""

    rows: tuple[int, ...]
    exact: bool
    contradicts: bool  # their classes differ


@dataclass(frozen=True)
class WrongLabel:
    """An image whose neighbours are of another class, with the nearest of these."""

    row: int
    looks_like: str
    nearest: int
    score: float


@dataclass(frozen=True)
class Stranger:
    """An image that is like nothing in its class, or of a kind that the model knows not."""

    row: int
    reason: str
    nearest: int
    score: float


@dataclass(frozen=True, eq=False)
class Review:
    """What was found in N images.

    Args:
        name: Name of the folder.
        model: Name of the model, with what it is centred or normalised by.
        paths: N addresses.
        labels: N names of class folders; "" for images in none.
        duplicates: Pictures that are there more than once, contradictions first.
        wrong_labels: Labels that the neighbours contradict, the clearest first.
        strangers: Images unlike all others of their class, the clearest first.
        groups: Rows of unlabelled images that show one thing, largest group first.
        bad: Files that cannot be read, and why.
        map: (N, 2) places of the images on a map, alike ones near each other.
    """

    name: str
    model: str
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    duplicates: tuple[Duplicates, ...]
    wrong_labels: tuple[WrongLabel, ...]
    strangers: tuple[Stranger, ...]
    groups: tuple[tuple[int, ...], ...]
    bad: tuple[tuple[str, str], ...]
    map: NDArray[np.float32] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self) -> Rows:
        """Names and texts for people."""
        n_classes = len({label for label in self.labels if label})
        contradicting = sum(one.contradicts for one in self.duplicates)
        n_grouped = sum(map(len, self.groups))
        n_unlabelled = self.labels.count("")
        found = [
            ("images", f"{len(self):,} in {counted(n_classes, 'class', 'classes')}"),
            (
                "duplicates",
                counted(len(self.duplicates), "picture is", "pictures are")
                + " there more than once, "
                f"{sum(one.exact for one in self.duplicates):,} as the same file; "
                f"{contradicting:,} in several classes",
            ),
            ("labels that look wrong", f"{len(self.wrong_labels):,}"),
            ("strangers", f"{len(self.strangers):,}"),
        ]
        if n_unlabelled:
            found.append(
                (
                    "without a class",
                    f"{n_unlabelled:,}: {n_grouped:,} show one of {len(self.groups):,} "
                    f"things, {n_unlabelled - n_grouped:,} what no other image shows",
                )
            )
        if self.bad:
            found.append(("cannot be read", f"{len(self.bad):,}"))
        return [*found, ("by", self.model)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: files in place of rows."""
        at = self.paths.__getitem__
        return {
            "name": self.name,
            "model": self.model,
            "images": len(self),
            "duplicates": [
                {**dataclasses.asdict(one), "rows": list(map(at, one.rows))}
                for one in self.duplicates
            ],
            "wrong_labels": [
                {**_named(one, at), "label": self.labels[one.row]}
                for one in self.wrong_labels
            ],
            "strangers": [_named(one, at) for one in self.strangers],
            "groups": [list(map(at, rows)) for rows in self.groups],
            "bad": [list(one) for one in self.bad],
        }

    def __str__(self) -> str:
        return aligned(self.rows())

    def _repr_html_(self) -> str:
        return html_table(f"Review of {self.name}", self.rows())


def _named(one: WrongLabel | Stranger, at: Any) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "row": at(one.row), "nearest": at(one.nearest)}


def review(
    verifier: Verifier,
    folder: str | Path,
    *,
    labelled: bool = True,
    vectors: str | Path | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> Review:
    """Duplicates, labels that look wrong, strangers and groups in a folder of images.

    Args:
        verifier: The model, perhaps beside a cohort.
        folder: A folder or an archive. The folder of an image is its class; an image in
            none has no label.
        labelled: False: folders are no classes, and no image has a label.
        vectors: What ``onelook embed`` wrote of these images, not to embed them again. Then
            images of an unfamiliar kind are not among the strangers.
        skip_bad: Go on without files that cannot be read.
        progress: Draw a bar on a terminal.

    Raises:
        DataError: If there are fewer than two images, one cannot be read or has no vector,
            the vectors are of another model, or the model has two encoders or no decision.

    Example:
        >>> print(review(onelook.load("photos"), "products/"))  # doctest: +SKIP
    """
    decision = _usable(verifier)
    tree = open_tree(folder)
    names = {tree.address(one): one for one in tree.files(verifier.input.suffixes, folder)}
    if len(names) < 2:
        raise DataError(f"{folder}: a review needs two images or more, found {len(names)}")

    known = None if vectors is None else _kept(verifier, vectors)

    def encode(some: Any) -> Any:
        if known is not None:
            return [(known(one), None) for one in some]
        return zip(*verifier.look(some, some), strict=True)

    paths, encoded, bad = encode_files(list(names), encode, skip_bad, progress)
    embeddings = np.stack([embedding for embedding, _ in encoded])
    if len(paths) < 2:
        raise DataError(f"{folder}: fewer than two images can be read")
    labels = _labels([names[path] for path in paths] if labelled else [""] * len(paths))
    near = neighbours(verifier, embeddings, progress)
    duplicates = _duplicates(paths, labels, near, decision.threshold)
    wrong = _wrong_labels(labels, near, decision.threshold, _copies(duplicates))
    reasons = [reason or "" for _, reason in encoded]
    is_wrong = {one.row for one in wrong}
    return Review(
        name=Path(str(folder).rstrip("!/")).name,
        model=", ".join(filter(None, [verifier.name, verifier.normalised_by])),
        paths=paths,
        labels=labels,
        duplicates=duplicates,
        wrong_labels=wrong,
        strangers=_strangers(verifier, embeddings, labels, reasons, is_wrong),
        groups=_groups(verifier, decision, embeddings, labels, near, duplicates),
        bad=tuple(bad),
        map=_map(embeddings),
    )


def _kept(verifier: Verifier, vectors: str | Path) -> Callable[[str], NDArray[np.float32]]:
    """The vector of an address, from a file or a folder of shards."""
    kept: dict[str, NDArray[np.float32]] = {}
    for part in read_shards(vectors):
        if part.fingerprint != verifier.fingerprint:
            raise DataError(
                f"{vectors} is of the model {part.fingerprint}, not of {verifier.name} "
                f"({verifier.fingerprint}); embed the images again, or name its --model"
            )
        kept.update(zip(part.paths, part.vectors, strict=True))

    def vector_of(address: str) -> NDArray[np.float32]:
        if address not in kept:
            raise DataError(f"{address}: has no vector in {vectors}")
        return kept[address]

    return vector_of


def _usable(verifier: Verifier) -> Decision:
    if not verifier.shared:
        raise DataError(
            f"{verifier.name} has an encoder for each side, so it cannot compare images of "
            "one folder; use a model of one kind of images"
        )
    if verifier.decision is None:
        raise DataError(
            f"{verifier.name} has no threshold, so it cannot tell what is the same; "
            "add one with onelook calibrate"
        )
    return verifier.decision


def _labels(names: list[str]) -> tuple[str, ...]:
    """The class folder of each file, without folders called train or test."""
    folders = [name.rpartition("/")[0] for name in names]
    if recurring(folders):
        folders = [split_off(folder)[0] for folder in folders]
    return tuple(map(escaped, folders))


def _duplicates(
    paths: tuple[str, ...], labels: tuple[str, ...], near: Neighbours, threshold: float
) -> tuple[Duplicates, ...]:
    pictures, sets = Pictures(paths), Sets(len(paths))
    for left, right in edges(near, threshold):
        if sets.of(left) != sets.of(right) and pictures.are_one(left, right):
            sets.join(left, right)
    found = [
        Duplicates(
            rows=tuple(rows),
            exact=all(pictures.same_bytes(rows[0], row) for row in rows[1:]),
            contradicts=len({labels[row] for row in rows}) > 1,
        )
        for rows in sets.several()
    ]
    return tuple(sorted(found, key=lambda one: (not one.contradicts, -len(one.rows))))


def _copies(duplicates: tuple[Duplicates, ...]) -> dict[int, int]:
    """Rows of duplicates, with the first of each: copies are one vote."""
    return {row: one.rows[0] for one in duplicates for row in one.rows}


def _wrong_labels(
    labels: tuple[str, ...], near: Neighbours, threshold: float, copies: dict[int, int]
) -> tuple[WrongLabel, ...]:
    """Images whose neighbours make up far more of another class than of their own.

    A share is that of a class, or of as many of it as there are neighbours.
    """
    sizes, k = Counter(labels), near.rows.shape[1]
    found = []
    for row in range(len(labels)):
        if not labels[row]:
            continue
        same = near.rows[row][near.scores[row] >= threshold].tolist()
        votes = Counter(
            labels[first]
            for first in {copies.get(one, one) for one in same} - {copies.get(row, row)}
        )
        own = votes[labels[row]] / max(1, min(sizes[labels[row]] - 1, k))
        others = [label for label in votes if label not in ("", labels[row])]
        shares = {label: votes[label] / min(sizes[label], k) for label in others}
        best = max(others, key=lambda label: (shares[label], label), default="")
        if not best or votes[best] < FEWEST_VOTES or shares[best] < OF_CLASS:
            continue
        if shares[best] < CLEARLY * own:
            continue
        at = next(i for i, one in enumerate(near.rows[row]) if labels[one] == best)
        nearest, score = int(near.rows[row, at]), float(near.scores[row, at])
        found.append(WrongLabel(row, best, nearest, score))
    return tuple(sorted(found, key=lambda one: -one.score))


def _strangers(
    verifier: Verifier,
    embeddings: NDArray[np.float32],
    labels: tuple[str, ...],
    reasons: list[str],
    is_wrong: set[int],
) -> tuple[Stranger, ...]:
    """Images that are different from all others of their class, or of another kind.

    Without labels, only the latter: most things are there once.
    """
    assert verifier.decision is not None
    best, score = _best_of_class(verifier, embeddings, labels)
    found = []
    for row, reason in enumerate(reasons):
        is_alone = score[row] < verifier.decision.reject_below and row not in is_wrong
        if reason or is_alone:
            of_another_kind = f"of another kind than {verifier.name} was calibrated on"
            reason = of_another_kind if reason else f"unlike all others in {labels[row]}"
            found.append(Stranger(row, reason, int(best[row]), float(score[row])))
    return tuple(sorted(found, key=lambda one: one.score))


def _best_of_class(
    verifier: Verifier, embeddings: NDArray[np.float32], labels: tuple[str, ...]
) -> tuple[Indices, NDArray[np.float32]]:
    """(N,) row and score of the most alike image of the same class.

    The row itself and infinity where the class has too few images, or there is none. Of a
    very large class a part is looked at.
    """
    best = np.arange(len(labels))
    score = np.full(len(labels), np.inf, np.float32)
    _, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(of_class, kind="stable")
    for rows in np.split(order, np.cumsum(sizes)[:-1]):
        if not labels[rows[0]] or len(rows) < FEWEST_OF_CLASS:
            continue
        others = rows[:: -(-len(rows) // MOST_OF_CLASS)]
        for start in range(0, len(rows), MOST_OF_CLASS):
            some = rows[start : start + MOST_OF_CLASS]
            found = verifier.score_matrix(embeddings[some], embeddings[others])
            found[some[:, None] == others] = -np.inf
            at = found.argmax(1)
            best[some], score[some] = others[at], found[np.arange(len(some)), at]
    return best, score


def _groups(
    verifier: Verifier,
    decision: Decision,
    embeddings: NDArray[np.float32],
    labels: tuple[str, ...],
    near: Neighbours,
    duplicates: tuple[Duplicates, ...],
) -> tuple[tuple[int, ...], ...]:
    """Rows of unlabelled images that show one thing; copies of a picture are together."""
    unlabelled = [[row for row in one.rows if not labels[row]] for one in duplicates]
    copies = [(rows[0], row) for rows in unlabelled for row in rows[1:]]
    originals = without_copies(near, {copy for _, copy in copies})
    unnamed = copies + [
        (left, right)
        for left, right in edges(originals, decision.threshold, MUTUAL)
        if not labels[left] and not labels[right]
    ]
    # A threshold beyond the measured sizes is too strict for anything to reach.
    measured = max((row.gallery_size for row in decision.identify), default=1)
    threshold = decision.threshold_among(min(len(labels) - 1, measured)).threshold
    groups = group(verifier, embeddings, unnamed, threshold)
    return tuple(map(tuple, groups))


def _map(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 2): the two directions in which embeddings differ most."""
    centred = embeddings - embeddings.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    places: NDArray[np.float32] = (centred @ directions[:, -2:]).astype(np.float32)
    return places
