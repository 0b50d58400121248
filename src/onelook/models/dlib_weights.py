"""The weights of dlib's face network, read from dlib's own file into NumPy arrays."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onelook.extras import file_of_extra

FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
EMBEDDING_SIZE = 128
# Channels and number of the residual blocks of each stage.
STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))


def dlib_weights() -> dict[str, NDArray[np.float32]]:
    """The state of a ``DlibFaceEncoder`` by name.

    The file holds the layers from the first to the last, each with its name, its parameters
    and settings that are known here. A convolution is followed by a factor and an offset of
    each channel, which become part of it.
    """
    data = file_of_extra("face_recognition_models", FILE, "faces").read_bytes()
    tensors, weights = _tensors(data), {}
    for name, shape in _convolutions():
        both, affine = next(tensors), next(tensors)
        n_weights, size = int(np.prod(shape)), shape[0]
        factor, offset = affine[:size], affine[size:]
        kernels = both[:n_weights].reshape(shape)
        weights[f"{name}.weight"] = kernels * factor[:, None, None, None]
        weights[f"{name}.bias"] = both[n_weights:] * factor + offset
    channels = STAGES[-1][0]
    last = next(tensors).reshape(channels, EMBEDDING_SIZE)  # dlib keeps (in, out)
    weights["linear.weight"] = np.ascontiguousarray(last.T)
    return weights


def _convolutions() -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Name and shape of every convolution, in the order of the network."""
    size, block = STAGES[0][0], 0
    yield "stem", (size, 3, 7, 7)
    for channels, n_blocks in STAGES:
        for _ in range(n_blocks):
            yield f"blocks.{block}.conv1", (channels, size, 3, 3)
            yield f"blocks.{block}.conv2", (channels, channels, 3, 3)
            size, block = channels, block + 1


def _tensors(data: bytes) -> Iterator[NDArray[np.float32]]:
    """The parameters of each layer that has some, flat, in the order of the file."""
    for layer in re.finditer(rb"\x05con_4|\x07affine_|\x04fc_2", data):
        at = layer.end()
        if layer[0].endswith(b"fc_2"):
            for _ in range(2):  # outputs, inputs
                _, at = _integer(data, at)
        version, at = _integer(data, at)
        assert version == 2, version
        sizes = []
        for _ in range(4):
            size, at = _integer(data, at)
            sizes.append(size)
        yield np.frombuffer(data, "<f4", int(np.prod(sizes)), at).astype(np.float32)


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """An integer that is headed by its number of bytes, and where the next thing begins."""
    end = at + 1 + (data[at] & 0x0F)
    return int.from_bytes(data[at + 1 : end], "little"), end
