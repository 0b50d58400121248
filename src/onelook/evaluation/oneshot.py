"""One-shot: which of N classes is this, from one or a few examples of each?

The decision is the same in every protocol: each query is classified alone and goes to the
class with the highest mean score over its ``n_shot`` support items. In a tie of k classes,
a query of one of them counts 1/k right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.episodes import Episodes, sample_episodes
from onelook.data.items import Dataset
from onelook.data.sampling import turned
from onelook.data.sources.omniglot import OneShotRun
from onelook.errors import DataError
from onelook.evaluation.scorer import ScoreMatrix, Scorer, embed_both
from onelook.metrics import Interval, mean_interval, to_numpy, wilson_interval
from onelook.tables import Figures, Result, Rows

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class OneShotResult(Result):
    """What a one-shot protocol measured. Every rate is a fraction.

    A trial is one query. ``n_way`` is the largest where trials differ; ``seed`` is None
    where the protocol fixes them; ``per_group`` is by alphabet or official run.
    """

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

    @property
    def error(self) -> float:
        """1 - accuracy."""
        return 1.0 - self.accuracy

    def figures(self) -> Figures:
        low, high = self.interval
        return [
            ("accuracy", self.accuracy, self.interval),
            ("error", self.error, (1 - high, 1 - low)),
        ]

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"error": self.error}

    def rows(self) -> Rows:
        low, high = self.interval
        seed = "" if self.seed is None else f"; seed {self.seed}"
        kind = f"{self.n_way}-way {self.n_shot}-shot, {self.n_classes} classes"
        ends = f"95% {low:.4f} to {high:.4f} ({self.interval_kind})"
        return [
            ("trials", f"{self.n_trials:,}, {kind}{seed}"),
            ("accuracy", f"{self.accuracy:.4f}  {ends}"),
            ("error", f"{self.error:.4f}  chance: {1 - self.chance:.4f}"),
        ]


def omniglot_20_runs(scorer: Scorer, runs: Sequence[OneShotRun]) -> OneShotResult:
    """One-shot classification of Lake et al.: 20 runs, 20 drawings among 20 characters."""
    queries = scorer.embed([one for run in runs for one in run.queries], "left")
    support = scorer.embed([one for run in runs for one in run.support], "right")
    n_queries = np.cumsum([len(run.queries) for run in runs])[:-1]
    n_support = np.cumsum([len(run.support) for run in runs])[:-1]
    parts = zip(np.split(queries, n_queries), np.split(support, n_support), strict=True)
    credits = [
        credits_of(to_numpy(scorer.score_matrix(*part)), run.answers)
        for run, part in zip(runs, parts, strict=True)
    ]
    right = np.concatenate(credits)
    return OneShotResult(
        protocol="the official 20 runs of Omniglot, every drawing classified alone",
        model=scorer.name,
        accuracy=float(right.mean()),
        interval=wilson_interval(float(right.sum()), len(right)),
        interval_kind="Wilson, over trials",
        n_way=max(len(run.support) for run in runs),
        n_shot=1,
        n_trials=len(right),
        n_classes=len(support),
        chance=float(np.mean([1 / len(run.support) for run in runs])),
        seed=None,
        per_group={r.name: float(c.mean()) for r, c in zip(runs, credits, strict=True)},
    )


def within_alphabet_trials(
    scorer: Scorer,
    dataset: Dataset,
    n_trials: int = 20_000,
    n_way: int = 20,
    seed: int = 0,
    protocol: str = "",
) -> OneShotResult:
    """Random trials like the official runs, in one alphabet between two drawers.

    Alphabets take turns; one drawer gives the support, another the queries. ``n_way``
    trials share the support of one draw, so ``n_trials`` is rounded up to a multiple of it.
    """
    if dataset.groups is None:
        raise DataError(f"{dataset.name} has no groups to stay within; use n_way_k_shot")
    n_classes = _classes_by_group(dataset.labels, dataset.groups)
    small = [
        name for name, n in zip(dataset.group_names, n_classes, strict=True) if n < n_way
    ]
    if small:
        raise DataError(
            f"n_way={n_way} needs {n_way} classes in every group; {small[0]} has "
            f"{n_classes[dataset.group_names.index(small[0])]}; lower n_way or leave out "
            f"{', '.join(small)}"
        )
    return n_way_k_shot(
        scorer,
        dataset,
        n_way,
        1,
        n_episodes=-(-n_trials // n_way),
        seed=seed,
        protocol=protocol or f"within-alphabet trials of {dataset.name}, two drawers each",
        within_groups=True,
    )


def koch_trials(scorer: Scorer, dataset: Dataset, seed: int = 0) -> OneShotResult:
    """The 400 trials of Koch et al.: two for each of ten alphabets, between two drawers.

    The paper does not say which drawers and characters; both are drawn at random.
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
    *,
    n_episodes: int = 1000,
    seed: int = 0,
    protocol: str = "",
    within_groups: bool = False,
    rotations: int = 1,
) -> OneShotResult:
    """Random episodes over the classes of any data set, with one query of each class.

    The 95% interval is of the mean of independent episodes. With ``within_groups`` an
    episode stays in one group (alphabet), whose drawers, if known, give either the support
    or the queries. ``rotations=4`` makes the quarter turns of an image new classes, for a
    scorer with ``input`` and ``embed_loaded``, such as a Verifier of images.
    """
    labels = turned(dataset.labels, rotations)
    episodes = sample_episodes(
        labels,
        n_way=n_way,
        n_shot=n_shot,
        n_query=1,
        n_episodes=n_episodes,
        seed=seed,
        groups=dataset.groups if within_groups else None,
        drawers=dataset.drawers if within_groups else None,
    )
    credits = _credits(
        *_embed_turned(scorer, dataset, rotations), episodes, scorer.score_matrix
    )
    per_group = {}
    if episodes.groups is not None:
        of_trial = np.repeat(episodes.groups, n_way)
        per_group = accuracy_by_group(credits.ravel(), of_trial, dataset)
    return OneShotResult(
        protocol=protocol or f"random episodes over the classes of {dataset.name}",
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
    )


def within_group_accuracy(
    embeddings: Any,
    labels: Indices,
    groups: Indices | None,
    drawers: Indices | None,
    *,
    n_way: int,
    n_trials: int,
    seed: int,
    score_matrix: ScoreMatrix,
) -> float:
    """Accuracy of one-shot trials on embeddings (N, D), for validation while training.

    Trials are those of ``within_alphabet_trials``. Without groups all classes are one
    group; without drawers (or if too few classes have all drawers) any two items of a class
    are support and query; ``n_way`` is at most the number of classes of a group.
    """
    places = np.zeros_like(labels) if groups is None else groups
    n_way = min(n_way, _classes_by_group(labels, places).max())
    wanted: dict[str, Any] = {"n_shot": 1, "n_query": 1, "seed": seed, "groups": places}
    wanted["n_episodes"] = -(-n_trials // n_way)
    try:
        episodes = sample_episodes(labels, n_way=n_way, drawers=drawers, **wanted)
    except DataError:
        usable = np.bincount(labels)[labels] > 1
        n_way = min(n_way, _classes_by_group(labels[usable], places[usable]).max(initial=0))
        episodes = sample_episodes(labels, n_way=n_way, **wanted)
    return float(_credits(embeddings, embeddings, episodes, score_matrix).mean())


def _credits(
    left: Any, right: Any, episodes: Episodes, score_matrix: ScoreMatrix
) -> NDArray[np.float64]:
    """(E, n_way * n_query) credits of the queries of each episode."""
    credits = []
    for query, support in zip(episodes.query, episodes.support, strict=True):
        scores = to_numpy(score_matrix(left[query], right[support]))
        by_class = scores.reshape(len(query), episodes.n_way, -1).mean(axis=2)
        credits.append(credits_of(by_class, episodes.query_ways))
    return np.array(credits)


def _embed_turned(scorer: Scorer, dataset: Dataset, rotations: int) -> tuple[Any, Any]:
    left, right = embed_both(scorer, dataset.paths)
    if rotations == 1:
        return left, right
    turner: Any = scorer  # only this protocol asks for `input` and `embed_loaded`
    pixels = turner.input.load_many(dataset.paths)  # (N, C, H, W)
    turned = [
        turner.embed_loaded(np.rot90(pixels, turns, (2, 3)), "left")
        for turns in range(1, rotations)
    ]
    left = np.concatenate([left, *turned])
    return left, left


def credits_of(scores: NDArray[Any], answers: Indices) -> NDArray[np.float64]:
    """(Q,) credits of scores (Q, n_way) and right ways (Q,); k tied ways share one."""
    n_bad = int((~np.isfinite(scores)).sum())
    if n_bad:
        raise ValueError(f"scores must be finite, got {n_bad} that are not")
    best = scores == scores.max(axis=1, keepdims=True)
    credits: NDArray[np.float64] = best[np.arange(len(answers)), answers] / best.sum(axis=1)
    return credits


def _classes_by_group(labels: Indices, groups: Indices) -> Indices:
    """(G,) number of classes in each group."""
    return np.bincount(np.unique(np.stack([groups, labels]), axis=1)[0])


def accuracy_by_group(
    right: NDArray[np.float64], groups: Indices, dataset: Dataset
) -> dict[str, float]:
    """Mean credit of the trials of each group, by its name."""
    return {
        dataset.group_names[group]: float(right[groups == group].mean())
        for group in np.unique(groups)
    }
