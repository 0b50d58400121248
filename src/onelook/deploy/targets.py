"""Targets: the files that each runtime takes, and how they are run."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import Item
from onelook.errors import DataError
from onelook.extras import import_extra
from onelook.machine import threads
from onelook.runtime.onnx import GRAPH_FILES, WEIGHTS_FILE, import_onnxruntime
from onelook.verifier import Verifier

Target = Literal["onnx", "int8", "openvino", "torchscript"]
Array = NDArray[Any]
Run = Callable[[list[Array]], Array]

SUFFIXES: dict[Target, str] = {
    "onnx": ".onnx",
    "int8": ".onnx",
    "openvino": ".xml",
    "torchscript": ".pt",
}
# By what share of its length an embedding may differ from that of the model as it was.
TOLERANCES: dict[Target, float] = {
    "onnx": 1e-3,
    "int8": 0.25,
    "openvino": 1e-3,
    "torchscript": 1e-3,
}
LEAST_IMAGES, MOST_IMAGES, STEP = 100, 200, 10  # to calibrate int8 on; in one pass
STEMS = {side: Path(name).stem for side, name in GRAPH_FILES.items()}
HEAD = "head"
SETTINGS = "onelook"  # the key of the metadata inside a file


def convert(verifier: Verifier, target: Target, images: Sequence[Item]) -> dict[str, bytes]:
    """The files of a target by name; for ``onnx`` only what a model folder lacks."""
    from onelook.models import traced

    model, size = verifier.model, verifier.embedding_size
    settings = json.dumps(settings_of(verifier, target))
    head = model.similarity if model.similarity.state_dict() else None
    if target == "torchscript":
        files = {
            f"{STEMS[side]}.pt": traced.torchscript(model, side, inputs, settings)
            for side, inputs in verifier.examples().items()
        }
        if head is not None:
            files[f"{HEAD}.pt"] = traced.torchscript_head(head, size)
        return files
    heads = {} if head is None else {f"{HEAD}.onnx": traced.onnx_head(head, size)}
    if target == "onnx":
        return heads
    graphs = _whole_graphs(verifier)
    if target == "openvino":
        whole = {f"{STEMS[side]}.onnx": graph for side, graph in graphs.items()} | heads
        parts = [_openvino(name, graph, settings) for name, graph in whole.items()]
        return {name: content for part in parts for name, content in part.items()}
    return heads | {
        GRAPH_FILES[side]: _int8(verifier, side, graph, _some(images), settings)
        for side, graph in graphs.items()
    }


def settings_of(verifier: Verifier, target: Target) -> dict[str, Any]:
    """What another program needs to know beside the network: the metadata."""
    content = verifier.to_dict()
    keys = ("fingerprint", "embedding_size", "preprocess", "right_preprocess", "decision")
    return {
        "name": verifier.name,
        "target": target,
        "similarity": verifier.scores.name,
        **{key: content[key] for key in keys if key in content},
    }


def open_file(target: Target, path: Path) -> Run:
    """The network or the head in a file: from its inputs, in order, to what it gives.

    Raises:
        MissingExtraError: If the runtime is not installed.
    """
    if target == "torchscript":
        import_extra("torch", "train", "TorchScript")
        from onelook.models.traced import open_torchscript

        return open_torchscript(path)
    if target == "openvino":
        openvino = import_extra("openvino", "openvino", "OpenVINO")
        # f32: where there is AMX, it would be bf16
        exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads()}
        compiled = openvino.Core().compile_model(str(path), "CPU", exact)
        return lambda arrays: np.array(compiled(arrays)[0])
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 3  # errors
    session = import_onnxruntime().InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in session.get_inputs()]
    return lambda arrays: np.asarray(
        session.run(None, dict(zip(names, arrays, strict=True)))[0]
    )


def _whole_graphs(verifier: Verifier) -> dict[str, bytes]:
    """The graph of each side with its weights inside."""
    onnx = import_extra("onnx", "train", "exporting a model")
    weights, graphs = verifier.encoder.files(verifier.examples())
    found = {}
    with TemporaryDirectory() as folder:
        (Path(folder) / WEIGHTS_FILE).write_bytes(weights)
        for side, graph in graphs.items():
            whole = onnx.load_from_string(graph)
            onnx.load_external_data_for_model(whole, folder)
            found[side] = whole.SerializeToString()
    return found


def _openvino(name: str, graph: bytes, settings: str) -> dict[str, bytes]:
    openvino = import_extra("openvino", "openvino", "--to openvino")
    stem = Path(name).stem
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{stem}.xml"
        model = openvino.Core().read_model(io.BytesIO(graph))
        model.set_rt_info(settings, SETTINGS)
        openvino.save_model(model, str(path), compress_to_fp16=False)
        files = (path, path.with_suffix(".bin"))
        return {file.name: file.read_bytes() for file in files}


def _some(images: Sequence[Item]) -> list[Item]:
    """At most 200 of the images, always the same ones."""
    if len(images) < LEAST_IMAGES:
        raise DataError(
            f"int8 takes its ranges from pictures of the kind that the model will see, "
            f"{LEAST_IMAGES} or more, got {len(images)}: add --images FOLDER; "
            "their labels do not matter"
        )
    order = np.random.default_rng(0).permutation(len(images))
    return [images[i] for i in order[:MOST_IMAGES]]


def _int8(
    verifier: Verifier, side: str, graph: bytes, images: Sequence[Item], settings: str
) -> bytes:
    """The graph in 8-bit integers, its ranges those that the images reach.

    Weights have 7 bits: with 8, processors without VNNI add products in 16 bits that
    overflow, and the embeddings of ``faces`` were up to 33% off in place of 6%.
    """
    onnx = import_extra("onnx", "train", "--to int8")
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    taken = verifier.input_of(side)
    pixels = taken.load_many(images)

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        parts = iter(range(0, len(pixels), STEP))

        def get_next(self) -> dict[str, Array] | None:
            at = next(self.parts, None)
            return None if at is None else taken.to_inputs(pixels[at : at + STEP])

    with TemporaryDirectory() as folder:
        whole, found = Path(folder) / "whole.onnx", Path(folder) / "int8.onnx"
        whole.write_bytes(graph)
        quant_pre_process(str(whole), str(whole), skip_symbolic_shape=True)
        q.quantize_static(
            str(whole),
            str(found),
            Reader(),
            quant_format=q.QuantFormat.QDQ,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        model = onnx.load(found)
    onnx.helper.set_model_props(model, {SETTINGS: settings})
    content: bytes = model.SerializeToString()
    return content
