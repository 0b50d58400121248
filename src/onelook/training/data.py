"""What a training works on: stores of both sides, a sampler, held-out items."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import Input, Store
from onelook.data.sampling import Sampler


@dataclass(frozen=True, eq=False)
class Side:
    """One side of the twins: a store and the row in it of every item."""

    store: Store
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Items of classes that are not trained on, or the pairs of such items.

    ``labels``, ``groups`` and ``drawers`` describe the items; ``pairs`` are indices of
    items on the left and on the right with ``is_same`` or ``targets``.
    """

    left: Side
    right: Side
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    drawers: NDArray[np.int64] | None = None
    pair_left: NDArray[np.int64] | None = None
    pair_right: NDArray[np.int64] | None = None
    is_same: NDArray[np.bool_] | None = None
    targets: NDArray[np.float32] | None = None
    class_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Everything of the data that a training needs."""

    left: Side
    right: Side | None
    n_items: int
    sampler: Sampler
    held_out: HeldOut
    input: Input
    right_input: Input | None = None
    # What people and the model card read: counts, fingerprint.
    about: dict[str, Any] = field(default_factory=dict)
