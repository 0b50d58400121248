"""One-shot: which of N classes is this, from one or a few examples of each?

The decision is the same in every protocol: each query is classified alone, and goes to the
class with the highest mean score over its ``n_shot`` support items. A tie of k classes
counts 1/k right.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.episodes import sample_episodes
from onelook.data.items import Dataset
from onelook.data.sampling import turned
from onelook.data.sources.omniglot import OneShotRun
from onelook.errors import DataError
from onelook.evaluation.scorer import ScoreMatrix, Scorer, embed_both
from onelook.metrics import Interval, mean_interval, to_numpy, wilson_interval

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OneShotResult:
    """What a one-shot protocol measured. Every rate is a fraction.

    Args:
        protocol: Where the trials come from.
        model: Name of the scorer.
        accuracy: Mean over the trials; a trial is one query.
        interval: 95 % interval of the accuracy; ``interval_kind`` says of what sort.
        n_way: Classes to choose from; the most of them where trials differ.
        n_shot: Support items a class.
        n_trials: Queries classified.
        n_classes: Classes that take part in some trial.
        chance: Accuracy of guessing.
        seed: Of the trials; ``None`` where the protocol fixes them.
        per_group: Accuracy in each group (alphabet) or official run.
        answers, predictions: (n_trials,) true and chosen class of each trial, indices into
            ``class_names``, for the confusions. Not part of ``to_dict``.
    """

    protocol: str
    model: str
    accuracy: float
    interval: Interval
    interval_kind: str
    n_way: int
    n_shot: int
    n_trials: int
    n_classes: int
    chance: float
    seed: int | None
    per_group: dict[str, float] = field(default_factory=dict)
    answers: Indices = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    predictions: Indices = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    class_names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def error(self) -> float:
        """1 - accuracy."""
        return 1.0 - self.accuracy

    def confusion(self, most: int = 30) -> tuple[tuple[str, ...], Indices]:
        """Names (C,) and counts (C, C) of the classes mistaken most often.

        A row is the true class, a column the answer; answers outside the C are left out.
        """
        wrong = self.answers != self.predictions
        mistaken = np.concatenate([self.answers[wrong], self.predictions[wrong]])
        times = np.bincount(mistaken, minlength=len(self.class_names))
        order = np.argsort(-times, kind="stable")[:most]
        kept = np.sort(order[times[order] > 0])
        place = np.full(len(self.class_names), -1)
        place[kept] = np.arange(len(kept))
        row, column = place[self.answers], place[self.predictions]
        inside = (row >= 0) & (column >= 0)
        counts = np.zeros((len(kept), len(kept)), np.int64)
        np.add.at(counts, (row[inside], column[inside]), 1)
        return tuple(self.class_names[i] for i in kept), counts

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the arrays."""
        values = asdict(self)
        for name in ("answers", "predictions", "class_names"):
            del values[name]
        return values | {"error": self.error, "interval": list(self.interval)}

    def __str__(self) -> str:
        low, high = self.interval
        seed = "" if self.seed is None else f"; seed {self.seed}"
        return (
            f"{self.model}: {self.protocol}\n"
            f"  {self.n_trials:,} trials, {self.n_way}-way {self.n_shot}-shot, "
            f"{self.n_classes} classes{seed}\n"
            f"  {'accuracy':<20} {self.accuracy:.4f}  95 % {low:.4f} to {high:.4f} "
            f"({self.interval_kind})\n"
            f"  {'error':<20} {self.error:.4f}  chance would err {1 - self.chance:.4f}"
        )


def omniglot_20_runs(
    scorer: Scorer,
    runs: Sequence[OneShotRun],
    protocol: str = "the official 20 runs of Omniglot, every drawing classified alone",
) -> OneShotResult:
    """Lake's one-shot classification: 20 runs of 20 test drawings among 20 characters.

    Args:
        scorer: A Verifier or a baseline; a query is the left side of a pair.
        runs: From ``onelook.data.sources.omniglot.omniglot_runs``.
    """
    queries = [address for run in runs for address in run.queries]
    support = [address for run in runs for address in run.support]
    query_embeddings = scorer.embed(queries, "left")
    support_embeddings = scorer.embed(support, "right")
    credits, answers, predictions, names = [], [], [], []
    first_query = first_support = 0
    for run in runs:
        rows = slice(first_query, first_query + len(run.queries))
        columns = slice(first_support, first_support + len(run.support))
        scores = scorer.score_matrix(query_embeddings[rows], support_embeddings[columns])
        credit, chosen = _decide(to_numpy(scores), run.answers)
        credits.append(credit)
        answers.append(run.answers + first_support)
        predictions.append(chosen + first_support)
        names += [f"{run.name} {i + 1}" for i in range(len(run.support))]
        first_query, first_support = rows.stop, columns.stop
    right = np.concatenate(credits)
    return OneShotResult(
        protocol=protocol,
        model=scorer.name,
        accuracy=float(right.mean()),
        interval=wilson_interval(float(right.sum()), len(right)),
        interval_kind="Wilson, over trials",
        n_way=max(len(run.support) for run in runs),
        n_shot=1,
        n_trials=len(right),
        n_classes=len(names),
        chance=float(np.mean([1 / len(run.support) for run in runs])),
        seed=None,
        per_group={r.name: float(c.mean()) for r, c in zip(runs, credits, strict=True)},
        answers=np.concatenate(answers),
        predictions=np.concatenate(predictions),
        class_names=tuple(names),
    )


def within_alphabet_trials(
    scorer: Scorer,
    dataset: Dataset,
    n_trials: int = 20_000,
    n_way: int = 20,
    seed: int = 0,
    protocol: str = "",
) -> OneShotResult:
    """Random trials like the official runs: one alphabet, one drawer shows, another asks.

    Alphabets take turns. ``n_way`` trials share the support of one draw, so ``n_trials`` is
    rounded up to a multiple of it.

    Args:
        dataset: Items with groups (alphabets), and drawers if known.

    Raises:
        DataError: If there are no groups, or one has fewer than ``n_way`` classes.
    """
    if dataset.groups is None:
        raise DataError(f"{dataset.name} has no groups to stay within; use n_way_k_shot")
    n_classes = _classes_of_groups(dataset)
    small = [name for name, n in n_classes.items() if n < n_way]
    if small:
        raise DataError(
            f"n_way={n_way} needs {n_way} classes in every group; {small[0]} has "
            f"{n_classes[small[0]]}; lower n_way or leave out {', '.join(small)}"
        )
    return _episodes_result(
        scorer,
        dataset,
        protocol or f"within-alphabet trials of {dataset.name}, two drawers each",
        n_way=n_way,
        n_episodes=-(-n_trials // n_way),
        seed=seed,
        within_groups=True,
    )


def koch_trials(scorer: Scorer, dataset: Dataset, seed: int = 0) -> OneShotResult:
    """Koch's 400 trials: twice for each of ten alphabets, 20 characters, two test drawers.

    Args:
        dataset: The test part of ``onelook.data.sources.omniglot.omniglot_koch``: ten
            alphabets by four drawers. The paper says neither which drawers nor which
            characters; both are drawn by chance.
    """
    result = within_alphabet_trials(
        scorer,
        dataset,
        n_trials=40 * len(dataset.group_names),
        seed=seed,
        protocol=f"Koch's one-shot trials, two for each alphabet of {dataset.name}",
    )
    right = result.accuracy * result.n_trials
    return replace(
        result,
        interval=wilson_interval(right, result.n_trials),
        interval_kind="Wilson, over trials",
    )


def n_way_k_shot(
    scorer: Scorer,
    dataset: Dataset,
    n_way: int,
    n_shot: int,
    n_episodes: int = 1000,
    seed: int = 0,
    n_query: int = 1,
    protocol: str = "",
) -> OneShotResult:
    """Random episodes over the classes of any data set, whatever their groups.

    Args:
        n_way: Classes an episode.
        n_shot: Support items a class.
        n_episodes: Independent episodes; the 95 % interval is of their mean.
        n_query: Queries a class and episode.

    Raises:
        DataError: If too few classes have ``n_shot + n_query`` items.
    """
    return _episodes_result(
        scorer,
        dataset,
        protocol or f"random episodes over the classes of {dataset.name}",
        n_way=n_way,
        n_shot=n_shot,
        n_query=n_query,
        n_episodes=n_episodes,
        seed=seed,
    )


def vinyals_episodes(
    scorer: Scorer,
    dataset: Dataset,
    n_way: int = 20,
    n_shot: int = 1,
    n_episodes: int = 1000,
    seed: int = 0,
    n_query: int = 1,
    rotations: int = 4,
) -> OneShotResult:
    """Vinyals' episodes: classes drawn across alphabets, quarter turns being new classes.

    Args:
        scorer: With ``rotations=4`` its ``embed`` must take ``quarter_turns``, 1 to 3
            counter-clockwise.
        dataset: The test characters.
        rotations: 4, or 1 for the characters as they are.
    """
    turns = ", each in 4 rotations" if rotations == 4 else ""
    return _episodes_result(
        scorer,
        dataset,
        f"Vinyals' episodes over the characters of {dataset.name}{turns}",
        n_way=n_way,
        n_shot=n_shot,
        n_query=n_query,
        n_episodes=n_episodes,
        seed=seed,
        rotations=rotations,
    )


def matching_trials(
    scorer: Scorer,
    pairs: Dataset,
    n_way: int = 20,
    seed: int = 0,
    protocol: str = "",
) -> OneShotResult:
    """Which of up to ``n_way`` right sides belongs to this left side?

    An item has two sides, such as a drawing and its own pen strokes. The candidates are its
    own right side and those of other classes, drawn by chance from its group (if there are
    groups) and drawer (if drawers are known): fewer than ``n_way`` where there are no more.
    One item for each class, group and drawer is asked.

    Raises:
        DataError: If the items have no ``right_paths``.
    """
    if pairs.right_paths is None:
        raise DataError(f"{pairs.name}: its items have no right side to match")
    left_embeddings = scorer.embed(pairs.paths, "left")
    right_embeddings = scorer.embed(pairs.right_paths, "right")
    generator = np.random.default_rng(seed)
    credits, asked, chosen, ways = [], [], [], []
    for items in _cells(pairs, generator):
        scores = to_numpy(
            scorer.score_matrix(left_embeddings[items], right_embeddings[items])
        )
        lots = generator.random(scores.shape)
        np.fill_diagonal(lots, -1.0)  # the right answer always takes part, in column 0
        candidates = lots.argsort(axis=1)[:, :n_way]
        answers = np.zeros(len(items), np.int64)
        credit, best = _decide(np.take_along_axis(scores, candidates, axis=1), answers)
        credits.append(credit)
        asked.append(items)
        chosen.append(items[candidates[np.arange(len(items)), best]])
        ways.append(np.full(len(items), candidates.shape[1]))
    correct, items, way_of = (np.concatenate(x) for x in (credits, asked, ways))
    return OneShotResult(
        protocol=protocol or f"both sides of {pairs.name} matched, same drawer and group",
        model=scorer.name,
        accuracy=float(correct.mean()),
        interval=wilson_interval(float(correct.sum()), len(correct)),
        interval_kind="Wilson, over items",
        n_way=int(way_of.max()),
        n_shot=1,
        n_trials=len(correct),
        n_classes=len(np.unique(pairs.labels[items])),
        chance=float(np.mean(1 / way_of)),
        seed=seed,
        per_group={}
        if pairs.groups is None
        else _per_group(correct, pairs.groups[items], pairs),
        answers=pairs.labels[items],
        predictions=pairs.labels[np.concatenate(chosen)],
        class_names=pairs.class_names,
    )


def within_group_accuracy(
    embeddings: Any,
    labels: Indices,
    groups: Indices | None,
    drawers: Indices | None,
    n_way: int,
    n_trials: int,
    seed: int,
    score_matrix: ScoreMatrix,
    right_embeddings: Any = None,
) -> float:
    """Accuracy of one-shot trials on embeddings, for validation while training.

    Trials are those of ``within_alphabet_trials``. Without groups all classes are one
    group; without drawers (or where too few classes have all drawers) any two items of a
    class are support and query; where no group has ``n_way`` classes, trials have as many
    as there are.

    Args:
        embeddings: (N, D) array or tensor.
        labels, groups, drawers: (N,) int64.
        n_trials: Rounded up to a multiple of ``n_way``.
        score_matrix: From (A, D) and (B, D) to (A, B) scores.
        right_embeddings: (N, D) of the support side, where its encoder is another.
    """
    places = np.zeros_like(labels) if groups is None else groups
    n_way = min(n_way, _most_classes(labels, places))
    n_episodes = -(-n_trials // n_way)
    try:
        episodes = sample_episodes(labels, n_way, 1, 1, n_episodes, seed, places, drawers)
    except DataError:
        usable = np.bincount(labels)[labels] > 1
        n_way = min(n_way, _most_classes(labels[usable], places[usable]))
        episodes = sample_episodes(labels, n_way, 1, 1, n_episodes, seed, places)
    others = embeddings if right_embeddings is None else right_embeddings
    credits = [
        _decide(
            to_numpy(score_matrix(embeddings[query], others[support])), np.arange(n_way)
        )[0]
        for query, support in zip(episodes.query, episodes.support, strict=True)
    ]
    return float(np.mean(credits))


def _episodes_result(
    scorer: Scorer,
    dataset: Dataset,
    protocol: str,
    *,
    n_way: int,
    n_episodes: int,
    seed: int,
    n_shot: int = 1,
    n_query: int = 1,
    within_groups: bool = False,
    rotations: int = 1,
) -> OneShotResult:
    """Draw episodes, embed every item that occurs once, decide every query."""
    labels = turned(dataset.labels, rotations)
    groups = dataset.groups if within_groups else None
    drawers = dataset.drawers if within_groups else None
    episodes = sample_episodes(
        labels, n_way, n_shot, n_query, n_episodes, seed, groups, drawers
    )
    left, right = _embed_turned(scorer, dataset, rotations)
    ways = episodes.query_ways
    credits = np.empty((len(episodes), len(ways)))
    predictions = np.empty((len(episodes), len(ways)), np.int64)
    for e, (query, support) in enumerate(
        zip(episodes.query, episodes.support, strict=True)
    ):
        scores = to_numpy(scorer.score_matrix(left[query], right[support]))
        by_class = scores.reshape(len(query), n_way, n_shot).mean(axis=2)
        credits[e], chosen = _decide(by_class, ways)
        predictions[e] = labels[support.reshape(n_way, n_shot)[chosen, 0]]
    per_group = {}
    if episodes.groups is not None:
        of_trial = np.repeat(episodes.groups, len(ways))
        per_group = _per_group(credits.ravel(), of_trial, dataset)
    return OneShotResult(
        protocol=protocol,
        model=scorer.name,
        accuracy=float(credits.mean()),
        interval=mean_interval(credits.mean(axis=1)),
        interval_kind="normal, over episodes",
        n_way=n_way,
        n_shot=n_shot,
        n_trials=credits.size,
        n_classes=len(np.unique(labels[episodes.query])),
        chance=1 / n_way,
        seed=seed,
        per_group=per_group,
        answers=labels[episodes.query].ravel(),
        predictions=predictions.ravel(),
        class_names=_turned_names(dataset.class_names, rotations),
    )


def _embed_turned(scorer: Scorer, dataset: Dataset, rotations: int) -> tuple[Any, Any]:
    left, right = embed_both(scorer, dataset.paths)
    for turns in range(1, rotations):
        embed: Any = (
            scorer.embed
        )  # `quarter_turns` is asked of this protocol's scorers only
        left = np.concatenate([left, embed(dataset.paths, "left", quarter_turns=turns)])
    return (left, right) if rotations == 1 else (left, left)


def _turned_names(names: tuple[str, ...], rotations: int) -> tuple[str, ...]:
    turned_names = [
        f"{name} turned {90 * r}°" for r in range(1, rotations) for name in names
    ]
    return (*names, *turned_names)


def _decide(
    scores: NDArray[Any], answers: Indices
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Credit (Q,) and chosen way (Q,) of scores (Q, n_way); k tied ways share a credit."""
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite, got some that are not")
    best = scores == scores.max(axis=1, keepdims=True)
    credit = best[np.arange(len(answers)), answers] / best.sum(axis=1)
    return credit, scores.argmax(axis=1)


def _classes_of_groups(dataset: Dataset) -> dict[str, int]:
    assert dataset.groups is not None
    return {
        name: len(np.unique(dataset.labels[dataset.groups == group]))
        for group, name in enumerate(dataset.group_names)
    }


def _most_classes(labels: Indices, groups: Indices) -> int:
    pairs = np.unique(np.stack([groups, labels]), axis=1)
    return int(np.bincount(pairs[0]).max(initial=0))


def _cells(dataset: Dataset, generator: np.random.Generator) -> Iterator[Indices]:
    """For each group and drawer with two classes or more, one random item of each class."""
    one_group = np.zeros(len(dataset), np.int64)
    groups = one_group if dataset.groups is None else dataset.groups
    drawers = one_group if dataset.drawers is None else dataset.drawers
    _, cells = np.unique(np.stack([groups, drawers]), axis=1, return_inverse=True)
    for cell in range(cells.max() + 1):
        pool = generator.permutation(np.flatnonzero(cells == cell))
        _, first = np.unique(dataset.labels[pool], return_index=True)
        if len(first) > 1:
            yield pool[first]


def _per_group(
    right: NDArray[np.float64], groups: Indices, dataset: Dataset
) -> dict[str, float]:
    if dataset.groups is None:
        return {}
    return {
        dataset.group_names[group]: float(right[groups == group].mean())
        for group in np.unique(groups)
    }
