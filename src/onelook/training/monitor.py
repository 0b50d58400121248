"""What a training shows while it runs: metrics on disk, its speed."""

import json
import time
from collections import deque
from pathlib import Path

from onelook.files import write_whole


class MetricsLog:
    """A JSON-lines file with one row for each log step and each validation.

    Rows of steps that were lost to a kill are removed when a training is resumed.
    """

    def __init__(self, path: Path, history: list[dict[str, float]]) -> None:
        self.path = path
        self.history = history
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(json.dumps(row) + "\n" for row in history))

    def add(self, row: dict[str, float]) -> None:
        self.history.append(row)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            error.filename = str(self.path)  # a full disk names no file
            raise


class Speed:
    """Images per second over the last steps."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=50)

    def add(self, n_images: int) -> None:
        self._marks.append((time.monotonic(), self._marks[-1][1] + n_images))

    @property
    def per_second(self) -> float:
        (begin, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / max(end - begin, 1e-9)
