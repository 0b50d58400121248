"""Export: encoders as ONNX graphs whose weights stay in one safetensors file."""

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from onelook.extras import import_extra
from onelook.models.siamese import PseudoSiamese, Siamese


def export_graphs(
    model: Siamese | PseudoSiamese,
    examples: Mapping[str, Mapping[str, NDArray[Any]]],
    file: str,
) -> tuple[bytes, dict[str, bytes]]:
    """The weights as a safetensors file, and of each side's encoder a graph of some KB.

    The graphs name their weights by the offsets in that file. PyTorch's TorchScript
    exporter is used: unlike the newer one it keeps the lengths of sequences open in an
    LSTM, and it takes a tenth of the time.

    Args:
        model: In evaluation mode.
        examples: Two inputs or more for side "left", and for "right" where that side has
            its own encoder: ``images``, or ``values`` and ``lengths``.
        file: What the safetensors file will be called.
    """
    state = model.state_dict()
    weights = save({name: tensor.cpu().contiguous() for name, tensor in state.items()})
    places, onnx, graphs = _places(weights), import_extra("onnx", "train"), {}
    for side in examples:
        traced = _traced(_OneSide(model, side).eval(), examples[side])
        graph = onnx.load_from_string(traced)
        for tensor in graph.graph.initializer:
            start, end = places.get(tensor.name.removeprefix("model."), (0, 0))
            if weights[start:end] != tensor.raw_data or not tensor.raw_data:
                continue  # a constant of the graph's own
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            place = {"location": file, "offset": start, "length": end - start}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
        graphs[side] = graph.SerializeToString()
    return weights, graphs


class _OneSide(nn.Module):
    """The encoder of one side, whose inputs have names."""

    def __init__(self, model: Siamese | PseudoSiamese, side: str) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model.encode(inputs if len(inputs) > 1 else inputs[0], self.side)


def _traced(encoder: _OneSide, example: Mapping[str, NDArray[Any]]) -> bytes:
    file: Any = io.BytesIO()
    names, device = list(example), next(encoder.parameters()).device
    axes = {name: {0: "N"} for name in [*names, "embeddings"]}
    if "values" in axes:
        axes["values"][1] = "T"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks of shapes are traced too
        torch.onnx.export(
            encoder,
            tuple(torch.from_numpy(values).to(device) for values in example.values()),
            file,
            dynamo=False,
            do_constant_folding=False,  # else the weights would be other numbers
            input_names=names,
            output_names=["embeddings"],
            dynamic_axes=axes,
        )
    content: bytes = file.getvalue()
    return content


def _places(weights: bytes) -> dict[str, tuple[int, int]]:
    """Where in a safetensors file the bytes of each tensor begin and end."""
    n = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + n])
    header.pop("__metadata__", None)
    return {
        name: (8 + n + about["data_offsets"][0], 8 + n + about["data_offsets"][1])
        for name, about in header.items()
    }
