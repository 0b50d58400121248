"""OnnxEncoder: answers through ONNX Runtime, without PyTorch."""

import ctypes
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onelook.errors import CheckpointError, one_line
from onelook.machine import threads
from onelook.runtime.encoder import Inputs

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


WEIGHTS_FILE = "model.safetensors"
# In one pass of the network: 3 images of 320 x 320 x 3 pixels, at 40 ms each in 0.3 GB,
# where 27 took 52 ms each and 1.1 GB. Small images go by the hundred as fast as before.
MOST_NUMBERS = 2**20
GRAPH_FILES = {"left": "model.onnx", "right": "model-right.onnx"}


class OnnxEncoder:
    """An encoder of one or two ONNX graphs whose weights lie in one safetensors file.

    A session begins at the first use, and in a forked child at the first use there. It has
    as many threads as ``onelook.machine.threads`` says.
    """

    def __init__(
        self,
        content: bytes,
        graphs: Mapping[str, bytes],
        embedding_size: int,
        device: str = "cpu",
    ) -> None:
        self.content, self.graphs = content, dict(graphs)
        self.embedding_size, self.device = embedding_size, device
        self._sessions: dict[str, InferenceSession] = {}
        _ENCODERS.add(self)

    def __call__(self, inputs: Inputs, side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) of N inputs of one side."""
        if side not in GRAPH_FILES:
            raise ValueError(f"side must be 'left' or 'right', got {side!r}")
        if len(next(iter(inputs.values()))) == 0:
            return np.zeros((0, self.embedding_size), np.float32)
        own = side if side in self.graphs else "left"
        session = self._sessions.get(own) or self._begin(own)
        first = next(iter(inputs.values()))
        step = max(1, MOST_NUMBERS // max(1, first[0].size))
        with _naming(GRAPH_FILES[own]):
            parts = [
                session.run(None, {name: a[at : at + step] for name, a in inputs.items()})[
                    0
                ]
                for at in range(0, len(first), step)
            ]
            embeddings: NDArray[np.float32] = np.concatenate(parts)
        expected = len(first), self.embedding_size
        if embeddings.shape != expected or embeddings.dtype != np.float32:
            raise CheckpointError(
                f"{GRAPH_FILES[own]} gives {embeddings.dtype} of shape {embeddings.shape}, "
                f"model.json says float32 of {expected}: export or train again"
            )
        return embeddings

    def weights(self) -> dict[str, NDArray[Any]]:
        """All weights by name."""
        from safetensors.numpy import load

        tensors: dict[str, NDArray[Any]] = load(self.content)
        return tensors

    def files(self, examples: Mapping[str, Inputs]) -> tuple[bytes, dict[str, bytes]]:
        """The files that it was made of; ``examples`` are not needed."""
        return self.content, self.graphs

    def _begin(self, side: str) -> "InferenceSession":
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3  # errors
        # Idle threads wait instead of burning the processor.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_external_initializers_from_files_in_memory(
            [WEIGHTS_FILE], [self.content], [len(self.content)]
        )
        cuda = ["CUDAExecutionProvider"] if self.device.startswith("cuda") else []
        with _naming(GRAPH_FILES[side]):
            session = self._sessions[side] = onnxruntime.InferenceSession(
                self.graphs[side],
                options,
                providers=[*cuda, "CPUExecutionProvider"],
                enable_fallback=bool(cuda),  # which prints, and tries the same again
            )
        return session


@contextmanager
def _naming(graph: str) -> Iterator[None]:
    """ONNX Runtime's errors have no common class but Exception."""
    try:
        yield
    except Exception as error:
        raise CheckpointError(
            f"{graph} does not answer: {one_line(error)}; export or train again"
        ) from error


def import_onnxruntime() -> Any:
    """ONNX Runtime, with its telemetry off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime can use an NVIDIA GPU."""
    return "CUDAExecutionProvider" in import_onnxruntime().get_available_providers()


_ENCODERS: "weakref.WeakSet[OnnxEncoder]" = weakref.WeakSet()


def _forget_sessions() -> None:
    """In a forked child: sessions whose threads stayed in the parent must not be used.

    Nor must they be freed, which would wait for these threads for ever: they get a
    reference that is never given back.
    """
    for encoder in _ENCODERS:
        for session in encoder._sessions.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        encoder._sessions = {}


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_sessions)
