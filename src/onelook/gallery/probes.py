"""What a gallery learns of its place from the probes that it is asked about."""

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from onelook.cohort import LARGEST, make_cohort
from onelook.errors import DataError
from onelook.familiarity import Reason
from onelook.gallery.store import Floats
from onelook.verifier import Verifier

EVERY = 20  # new probes after which a gallery learns from them
NAME = "the last probes"


class Probes:
    """The embeddings of the last 1,000 familiar probes, without images or names."""

    def __init__(self, embeddings: Floats) -> None:
        """Begin with those (N, D) that are known, oldest first."""
        self._size = embeddings.shape[1]
        self._last = deque(embeddings, LARGEST)
        self._lock = threading.Lock()
        self.n_new = 0  # since they were kept

    def add(self, embeddings: Floats, reasons: Sequence[Reason]) -> bool:
        """Add the familiar ones of (N, D); whether it is time to learn from them."""
        with self._lock:
            familiar = [
                one for one, why in zip(embeddings, reasons, strict=True) if not why
            ]
            self._last.extend(familiar)
            self.n_new += len(familiar)
            return self.n_new >= EVERY

    def take(self) -> Floats:
        """(N, D) of all, none of which is new any more."""
        with self._lock:
            self.n_new = 0
            return np.array(self._last, np.float32).reshape(-1, self._size)


def beside_probes(verifier: Verifier, embeddings: Floats) -> Verifier:
    """The model beside a cohort of probes; without one while they are too few."""
    plain = verifier.plain
    try:
        cohort = make_cohort(embeddings, NAME, plain.scores.near)
        return plain.with_cohort(cohort)
    except DataError:
        return plain
