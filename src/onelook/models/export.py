"""Export: an encoder as an ONNX graph whose weights stay in the safetensors file."""

import io
import json
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from onelook.extras import import_extra
from onelook.models.siamese import PseudoSiamese, Siamese


def export_graph(
    model: Siamese | PseudoSiamese,
    side: str,
    example: dict[str, Tensor],
    weights: bytes,
    file: str,
) -> bytes:
    """The graph of one side's encoder, of some KB: it names its weights by their offsets.

    PyTorch's TorchScript exporter is used: unlike the newer one it keeps the lengths of
    sequences open in an LSTM, and it takes a tenth of the time.

    Args:
        model: In evaluation mode.
        side: "left" or "right".
        example: Two inputs or more: ``images``, or ``values`` and ``lengths``.
        weights: The content of the safetensors file with the model's state.
        file: Its name.
    """
    onnx = import_extra("onnx", "train")
    graph = onnx.load_from_string(_traced(_OneSide(model, side).eval(), example))
    places = _places(weights)
    for tensor in graph.graph.initializer:
        start, end = places.get(tensor.name.removeprefix("model."), (0, 0))
        if weights[start:end] != tensor.raw_data or not tensor.raw_data:
            continue  # a constant of the graph's own
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = {"location": file, "offset": start, "length": end - start}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    content: bytes = graph.SerializeToString()
    return content


class _OneSide(nn.Module):
    """The encoder of one side, whose inputs have names."""

    def __init__(self, model: Siamese | PseudoSiamese, side: str) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model.encode(inputs if len(inputs) > 1 else inputs[0], self.side)


def _traced(encoder: _OneSide, example: dict[str, Tensor]) -> bytes:
    file: Any = io.BytesIO()
    names = list(example)
    axes = {name: {0: "N"} for name in [*names, "embeddings"]}
    if "values" in axes:
        axes["values"][1] = "T"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks of shapes are traced too
        torch.onnx.export(
            encoder,
            tuple(example.values()),
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
