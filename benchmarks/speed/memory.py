"""Peak memory of a training whose images are ten times as large as what it may use.

The training runs in a process of its own, in a control group whose limit the kernel
enforces: it counts all of the process's own memory and the file pages that the process has
touched, and kills the process when what cannot be dropped exceeds the limit. The images
are a file as ``PixelStore`` writes it, but without content (its pages are read as zeros,
which take the same memory and no disk).
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onelook.data.inputs import ImageInput
from onelook.data.inputs.stores import PixelStore
from onelook.data.sampling import ClassBatches
from onelook.recipe import override, read_recipe
from onelook.training.data import HeldOut, Side, TrainingData
from onelook.training.loop import Training
from onelook.training.memory import memory_kept
from onelook.training.step import prefetched
from speed.table import Row, print_table

SIDE, CHANNELS = 128, 3  # pixels
LIMIT = 640 << 20  # bytes, the interpreter with PyTorch included
TIMES = 10  # as large as the limit is the store
STEPS = 100
RECIPE = {
    "images.height": SIDE,
    "images.width": SIDE,
    "encoder.arguments.width": 16,
    "encoder.arguments.stem_stride": 4,
    "encoder.arguments.stem_kernel": 7,
}
GROUPS = Path("/sys/fs/cgroup")


def measure() -> list[Row]:
    """Train in the limited process; print what the kernel counted."""
    with limited_group(LIMIT) as group, tempfile.TemporaryDirectory() as folder:
        if group is None:
            print("\nMemory: not measured, control groups cannot be made here (root only)")
            return []
        processes = group / "cgroup.procs"
        done = subprocess.run(
            [sys.executable, "-m", "speed.memory", folder, str(group)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            # Before a byte of Python is read: all of it counts.
            preexec_fn=lambda: processes.write_text(str(os.getpid())) and None,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"the limited training ended with {done.returncode}")
        found = json.loads(done.stdout)
    return report(found)


def report(found: dict[str, float]) -> list[Row]:
    """The table, and what of it goes into results.json."""
    print_table(
        "Memory: training on images that are ten times as large as the limit",
        ["", "MiB"],
        [
            ["images, as PixelStore maps them", _mebibytes(found["store"])],
            ["limit that the kernel enforces", _mebibytes(LIMIT)],
            ["peak of all memory in the group", _mebibytes(found["peak"])],
            ["peak of the process's own memory", _mebibytes(found["own"])],
            ["images that passed through", _mebibytes(found["read"])],
        ],
        "in the group count the process's own memory, which cannot be dropped, and the",
        "file pages that it was the first to touch, which the kernel drops at the limit",
    )
    return [
        Row("train-memory", "CompactEncoder", "own_share_of_limit", found["own"] / LIMIT)
    ]


def _mebibytes(count: float) -> str:
    return f"{count / (1 << 20):,.0f}"


@contextmanager
def limited_group(limit: int) -> Iterator[Path | None]:
    """The folder of a new control group with that limit, or None without permission."""
    name = f"onelook-{os.getpid()}"
    kinds = {"memory": "memory.limit_in_bytes", ".": "memory.max"}  # versions 1 and 2
    for folder, file in kinds.items():
        group = GROUPS / folder / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(str(limit))
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    yield None


def peak_of(group: Path) -> int:
    """Peak memory of the group, in bytes."""
    for file in ("memory.max_usage_in_bytes", "memory.peak"):
        if (group / file).exists():
            return int((group / file).read_text())
    raise FileNotFoundError(f"{group} does not count its peak")


def own_memory() -> int:
    """Bytes of this process that are not mapped from files."""
    status = Path("/proc/self/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def train_limited(folder: Path, group: Path) -> dict[str, float]:
    """Map the store and train on it, in a process that the group limits."""
    recipe = override(read_recipe("class-folder-scratch"), RECIPE)
    assert recipe.images is not None
    n_images = TIMES * LIMIT // (CHANNELS * SIDE * SIDE) + 1
    store = empty_store(folder, n_images)
    labels = np.arange(n_images) // 10
    rows = Side(store, np.arange(n_images))
    sampling = recipe.sampling
    material = TrainingData(
        left=rows,
        right=None,
        n_items=n_images,
        sampler=ClassBatches(
            labels, sampling.classes_per_batch, sampling.samples_per_class, seed=recipe.seed
        ),
        held_out=HeldOut(rows, rows, labels),
        input=ImageInput(recipe.images),
    )
    own, read = 0, 0
    with memory_kept():
        device = torch.device("cpu")
        training = Training(recipe, material, folder, lambda values, step: None, device)
        with prefetched(material, 1, 0, STEPS, device) as batches:
            for raw in batches:
                training.step(raw)
                own, read = max(own, own_memory()), read + raw.left.nbytes
    return {
        "store": float(store.pixels.nbytes),
        "peak": float(peak_of(group)),
        "own": float(own),
        "read": float(read),
    }


def empty_store(folder: Path, n_images: int) -> PixelStore:
    """A mapped store of black images that take no disk."""
    path = folder / "pixels.npy"
    shape = (n_images, CHANNELS, SIDE, SIDE)
    with open(path, "wb") as file:
        header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)))
    pixels = np.load(path, mmap_mode="r")
    return PixelStore(pixels, [str(i) for i in range(n_images)])


if __name__ == "__main__":
    print(json.dumps(train_limited(Path(sys.argv[1]), Path(sys.argv[2]))))
