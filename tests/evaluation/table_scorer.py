"""A scorer for tests: an address stands for a point, nearer is more alike."""

import numpy as np


class TableScorer:
    name = "table"

    def __init__(self, table, shared=True):
        self.table = {address: np.asarray(point, float) for address, point in table.items()}
        self.shared = shared
        self.embedded = []

    def embed(self, addresses, side="left"):
        self.embedded += [(address, side) for address in addresses]
        return np.stack([self.table[address] for address in addresses])

    @property
    def input(self):
        return self

    def load_many(self, addresses):
        """Squares of 2 x 2 that tell the item and, once turned, by how much."""
        numbers = [list(self.table).index(address) for address in addresses]
        return 4 * np.array(numbers)[:, None, None, None] + np.arange(4).reshape(1, 1, 2, 2)

    def embed_loaded(self, pixels, side="left"):
        points = list(self.table.values())
        turns = np.array([0, 1, 3, 2])[pixels[:, 0, 0, 0] % 4]
        numbers = pixels[:, 0, 0, 0] // 4
        return np.stack([points[i] for i in numbers]) + 1000 * turns[:, None]

    def score(self, left, right):
        return -np.linalg.norm(left - right, axis=1)

    def score_matrix(self, left, right):
        return -np.linalg.norm(left[:, None] - right[None], axis=2)
