"""Networks as what other programs run: TorchScript of an encoder, and the pair head."""

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from onelook.models.export import OneSide, as_onnx, tensors_of
from onelook.models.siamese import PseudoSiamese, Siamese


def torchscript(
    model: Siamese | PseudoSiamese,
    side: str,
    example: Mapping[str, NDArray[Any]],
    settings: str,
) -> bytes:
    """The encoder of one side, traced on two example inputs or more; N stays open.

    ``settings`` is kept in the file as ``onelook.json``.
    """
    return _traced(OneSide(model, side), example, settings)


def torchscript_head(head: nn.Module, size: int) -> bytes:
    """A similarity: from embeddings (N, D) and (N, D) to scores (N,); N stays open."""
    return _traced(head, _embeddings(size))


def onnx_head(head: nn.Module, size: int) -> bytes:
    """The same as an ONNX file."""
    return as_onnx(head, _embeddings(size), "scores")


def open_torchscript(path: Path) -> Callable[[list[NDArray[Any]]], NDArray[Any]]:
    """The network of a TorchScript file, from arrays to an array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that newer formats exist
        network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def run(arrays: list[NDArray[Any]]) -> NDArray[Any]:
        found: NDArray[Any] = network(*map(torch.from_numpy, arrays)).numpy()
        return found

    return run


def _embeddings(size: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {side: rng.random((2, size), np.float32) for side in ("left", "right")}


@torch.no_grad()
def _traced(
    network: nn.Module, example: Mapping[str, NDArray[Any]], settings: str = "{}"
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks of shapes are traced too
        inputs = tensors_of(network, example)
        traced = torch.jit.trace(network.eval(), inputs)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, file, _extra_files={"onelook.json": settings})
    return file.getvalue()
