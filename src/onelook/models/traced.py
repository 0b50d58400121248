"""Networks as what other programs run: TorchScript of an encoder, and the pair head."""

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from onelook.models.export import OneSide
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
    inputs = tuple(torch.from_numpy(values) for values in example.values())
    return _traced(OneSide(model, side), inputs, settings)


def torchscript_head(head: nn.Module, size: int) -> bytes:
    """A similarity: from embeddings (N, D) and (N, D) to scores (N,); N stays open."""
    return _traced(head, (torch.rand(2, size), torch.rand(2, size)))


def onnx_head(head: nn.Module, size: int) -> bytes:
    """The same as an ONNX file."""
    file: Any = io.BytesIO()
    names = ["left", "right", "scores"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks of shapes are traced too
        torch.onnx.export(
            head.eval(),
            (torch.rand(2, size), torch.rand(2, size)),
            file,
            dynamo=False,
            input_names=names[:2],
            output_names=names[2:],
            dynamic_axes={name: {0: "N"} for name in names},
        )
    content: bytes = file.getvalue()
    return content


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


@torch.no_grad()
def _traced(
    network: nn.Module, inputs: tuple[torch.Tensor, ...], settings: str = "{}"
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks of shapes are traced too
        traced = torch.jit.trace(network.eval(), inputs)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, file, _extra_files={"onelook.json": settings})
    return file.getvalue()
