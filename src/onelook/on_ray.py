"""Work on blocks of items on the machines of Ray, answered in order."""

import json
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.listing import Listed
from onelook.extras import import_extra

Encoded = tuple[list[str], NDArray[np.float32], list[tuple[str, str]]]
Work = Callable[[Sequence[Listed]], Encoded]


class _Actor:
    """Holds the model in a process of Ray; takes the number of a block."""

    def __init__(self, work: Work, blocks: Any) -> None:
        self._work, self._blocks = work, import_extra("ray", "ray").get(blocks[0])

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        names, vectors, bad = self._work(self._blocks[int(batch["item"][0])])
        words = json.dumps([names, bad, vectors.shape])
        return {"words": [words], "vectors": [vectors.tobytes()]}


def on_ray(
    work: Work, blocks: Sequence[Sequence[Listed]]
) -> Generator[Encoded, None, None]:
    """``work`` of every block, in their order, by an actor for each processor of Ray.

    ``RAY_ADDRESS`` names a cluster, whose machines need onelook, the model and the files
    under the same paths. Without it Ray starts here, and leaves no files behind.

    Args:
        work: Gives names, vectors (N, D) and what cannot be read of a block; picklable.
        blocks: Items by block.
    """
    if not blocks:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = import_extra("ray", "ray", "--workers ray")
    data = import_extra("ray.data", "ray", "--workers ray")
    with ExitStack() as stack:
        if not ray.is_initialized():
            _start(ray, stack)
        context = data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False  # there is ours
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        n = max(1, min(len(blocks), int(ray.cluster_resources().get("CPU", 1))))
        rows = data.from_items(list(range(len(blocks))), override_num_blocks=len(blocks))
        done = rows.map_batches(
            _Actor,
            fn_constructor_args=(work, [ray.put(blocks)]),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=n),
            num_cpus=1,
        )
        for row in done.iter_rows():
            names, bad, shape = json.loads(row["words"])
            vectors = np.frombuffer(row["vectors"], np.float32).reshape(shape)
            yield names, vectors, [(name, why) for name, why in bad]


def _start(ray: Any, stack: ExitStack) -> None:
    """Ray until the stack ends: that of RAY_ADDRESS, or one of this machine alone."""
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if "RAY_ADDRESS" not in os.environ:
        # Short: sockets lie in it, whose paths have at most 107 letters.
        folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else in HOME
        settings |= {"_temp_dir": stack.enter_context(folder), "include_dashboard": False}
    stack.callback(ray.shutdown)
    ray.init(**settings)
