"""Episodes of N-way K-shot classification, drawn from labels alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelook.data.label_runs import LabelRuns, draw_distinct
from onelook.errors import DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Episodes:
    """E episodes of N-way K-shot classification, as indices into the items, class-major."""

    support: Indices
    query: Indices
    n_way: int
    n_shot: int
    n_query: int
    seed: int
    groups: Indices | None = None

    def __len__(self) -> int:
        return len(self.support)

    @property
    def query_ways(self) -> Indices:
        """(n_way * n_query,) the true way, from 0, of each query of any episode."""
        return np.repeat(np.arange(self.n_way), self.n_query)


def sample_episodes(
    labels: ArrayLike,
    *,
    n_way: int,
    n_shot: int,
    n_query: int,
    n_episodes: int,
    seed: int,
    groups: ArrayLike | None = None,
    drawers: ArrayLike | None = None,
) -> Episodes:
    """Random episodes over items of labels (N,), in which no class and no item repeats.

    With ``groups`` (N,), an episode stays within one group, and the groups that have enough
    classes take turns, so that each counts alike. With ``drawers`` (N,), an episode draws
    ``n_shot + n_query`` drawers, one for each support and query item, the same for all its
    classes. A class takes part if every drawer of its group (without groups: of the data)
    has drawn it.

    Example:
        >>> labels, counts = [0, 0, 1, 1, 2, 2], {"n_way": 2, "n_shot": 1, "n_query": 1}
        >>> episodes = sample_episodes(labels, **counts, n_episodes=3, seed=0)
        >>> episodes.support.shape, episodes.query_ways.tolist()
        ((3, 2), [0, 1])
    """
    counts = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query}
    for name, count in {**counts, "n_episodes": n_episodes}.items():
        if count < 1:
            raise ValueError(f"{name} must be positive, got {count}")
    rng = np.random.default_rng(seed)
    runs = LabelRuns(labels, groups, drawers)
    needed = n_shot + n_query
    usable = np.flatnonzero(runs.complete_classes(needed))
    pool_groups, pool_starts, pool_sizes = np.unique(
        runs.class_groups[usable], return_index=True, return_counts=True
    )
    pools = np.flatnonzero(pool_sizes >= n_way)
    if len(pools) == 0:
        most = max(pool_sizes, default=0) if runs.has_groups else None
        raise DataError(_too_few(runs, n_way, n_shot, n_query, len(usable), most))
    pool = pools[np.arange(n_episodes) % len(pools)]  # (E,)
    ways = pool_starts[pool][:, None] + draw_distinct(rng, pool_sizes[pool], n_way)
    classes = usable[ways]  # (E, n_way)
    if drawers is None:
        ranks = draw_distinct(rng, runs.class_sizes[classes].ravel(), needed)
        ranks = ranks.reshape(*classes.shape, needed)
        places = runs.class_starts[classes][:, :, None] + ranks
    else:
        chosen = draw_distinct(rng, runs.group_drawers[pool_groups[pool]], needed)
        cells = runs.class_cells[classes][:, :, None] + chosen[:, None, :]
        places = runs.cell_starts[cells] + rng.integers(0, runs.cell_sizes[cells])
    items = runs.order[places]  # (E, n_way, n_shot + n_query)
    return Episodes(
        support=items[:, :, :n_shot].reshape(n_episodes, -1),
        query=items[:, :, n_shot:].reshape(n_episodes, -1),
        **counts,
        seed=seed,
        groups=None if groups is None else runs.group_values[pool_groups[pool]],
    )


def _too_few(
    runs: LabelRuns, n_way: int, n_shot: int, n_query: int, n_usable: int, most: int | None
) -> str:
    """What is missing; ``most`` usable classes lie in one group, None without groups."""
    needed = f"(n_shot={n_shot} + n_query={n_query})"
    have = f"at least {n_shot + n_query} images {needed}"
    if runs.has_drawers:
        have = f"an image by every drawer, and at least {n_shot + n_query} drawers {needed}"
    where = "" if most is None else " in one group"
    best = f", at most {most} in one group" if most else ""
    return (
        f"n_way={n_way} needs {n_way} classes{where} with {have}; "
        f"{n_usable} of {len(runs.class_sizes)} classes have them{best}"
    )
