"""Export: encoders as ONNX graphs whose weights stay in one safetensors file."""

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onelook.extras import import_extra
from onelook.models.siamese import PseudoSiamese, Siamese


def export_graphs(
    model: Siamese | PseudoSiamese,
    examples: Mapping[str, Mapping[str, NDArray[Any]]],
    weights: bytes,
    file: str,
) -> dict[str, bytes]:
    """A graph of some KB for the encoder of each side, from two example inputs or more.

    It names its weights by their offsets in the safetensors file. PyTorch's TorchScript
    exporter is used: unlike the newer one it keeps the lengths of sequences open in an
    LSTM, and it takes a tenth of the time.
    """
    places, graphs = _places(weights), {}
    onnx = import_extra("onnx", "train", "exporting a model")
    for side in examples:
        traced = as_onnx(OneSide(model, side), examples[side], "embeddings")
        graph = onnx.load_from_string(traced)
        for tensor in graph.graph.initializer:
            place = places.get(_sha256(tensor.raw_data))
            if place is None:
                continue  # a constant of the graph's own
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            start, end = place
            external = {"location": file, "offset": start, "length": end - start}
            for key, value in external.items():
                tensor.external_data.add(key=key, value=str(value))
        graphs[side] = graph.SerializeToString()
    return graphs


class OneSide(nn.Module):
    """The encoder of one side, whose inputs have names."""

    def __init__(self, model: Siamese | PseudoSiamese, side: str) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model.encode(inputs if len(inputs) > 1 else inputs[0], self.side)


def as_onnx(network: nn.Module, example: Mapping[str, NDArray[Any]], output: str) -> bytes:
    """The ONNX file of a network whose inputs have names; their N stays open."""
    file: Any = io.BytesIO()
    names = [*example, output]
    axes = {name: {0: "N"} for name in names}
    if "values" in axes:
        axes["values"][1] = "T"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks of shapes are traced too
        torch.onnx.export(
            network.eval(),
            tensors_of(network, example),
            file,
            dynamo=False,
            do_constant_folding=False,  # else the weights would be other numbers
            input_names=names[:-1],
            output_names=names[-1:],
            dynamic_axes=axes,
        )
    content: bytes = file.getvalue()
    return content


def tensors_of(
    network: nn.Module, example: Mapping[str, NDArray[Any]]
) -> tuple[Tensor, ...]:
    """Example inputs where the network is."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    return tuple(torch.from_numpy(values).to(device) for values in example.values())


def _places(weights: bytes) -> dict[bytes, tuple[int, int]]:
    """Where in a safetensors file each tensor begins and ends, by its SHA-256."""
    n = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + n])
    header.pop("__metadata__", None)
    offsets = [about["data_offsets"] for about in header.values()]
    ends = [(8 + n + start, 8 + n + end) for start, end in offsets if end > start]
    view = memoryview(weights)
    return {_sha256(view[start:end]): (start, end) for start, end in ends}


def _sha256(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).digest()
