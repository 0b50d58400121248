"""Load a model folder, or a model that ships, to answer through either runtime."""

import logging
import os
from pathlib import Path
from typing import Any, Literal

from onelook.data.inputs import input_from_dict
from onelook.errors import CheckpointError, DataError, one_line
from onelook.extras import import_extra
from onelook.hub import fetch
from onelook.model_folder import (
    ModelFile,
    OldModelFile,
    cohort_of,
    familiarity_of,
    own_names,
    read_file,
    read_settings,
    tensors_of,
    weights_of,
)
from onelook.runtime.encoder import Encoder
from onelook.runtime.onnx import GRAPH_FILES, WEIGHTS_FILE, OnnxEncoder, has_cuda
from onelook.runtime.scores import Scores, build_scores
from onelook.verifier import Verifier
from onelook.zoo import (
    SETTINGS_FILE,
    existing_folder,
    folder_of,
    hub_address,
    shipped_folder,
)

log = logging.getLogger(__name__)

Runtime = Literal["onnx", "torch"]


def load(
    name: str | Path, device: str | None = None, runtime: Runtime | None = None
) -> Verifier:
    """A Verifier from a folder that ``train`` wrote, or of a model that has a name.

    Args:
        name: The folder, the name of a shipped or fetchable model, or
            ``hf-hub:ORG/NAME[@REVISION]``. A model of the Hugging Face hub that is not in
            the user's cache is fetched.
        device: "cpu", "cuda" or another one of PyTorch's; None takes the one that the
            environment variable ONELOOK_DEVICE names, else the processor.
        runtime: "onnx" answers through ONNX Runtime, "torch" through PyTorch; None takes
            ONNX Runtime where the model has a graph and the device allows.

    Raises:
        CheckpointError: If there is no such model, it cannot be fetched, it was damaged, or
            its format is newer than this onelook knows.
        OnelookError: If PyTorch is needed and not installed.
        ValueError: If there is no such device.
    """
    device = device or os.environ.get("ONELOOK_DEVICE")
    if hub_address(name) and not (folder_of(name) / SETTINGS_FILE).is_file():
        fetch(str(name))
    folder = existing_folder(name)
    file, content = read_settings(folder)
    encoder, scores = _answering(folder, file, content["model"], device, runtime)
    try:
        right = content.get("right_preprocess")
        verifier = Verifier(
            encoder,
            scores,
            input_from_dict(content["preprocess"]),
            None if right is None else input_from_dict(right),
            file.decision,
            file.card,
            network=content["model"],
            fingerprint=getattr(file, "fingerprint", ""),
        )
        _check_input_shape(verifier)
        verifier.familiarity = familiarity_of(folder, file)
        cohort = cohort_of(folder, file)
        if cohort is not None:
            verifier = verifier.with_cohort(cohort)
        if shipped_folder(file.card.name) != folder:
            for one in {verifier, verifier.plain}:
                one.folder = folder.resolve()
        if file.card.warning:
            log.warning(file.card.warning)
    except (KeyError, TypeError, ValueError, DataError) as error:
        raise CheckpointError(f"{folder / SETTINGS_FILE}: {one_line(error)}") from error
    return verifier


def _check_input_shape(verifier: Verifier) -> None:
    """A PyTorch network says what it takes; a graph was checked when it was written."""
    network: Any = getattr(verifier.encoder, "model", None)
    for side in ("left", "right") if network is not None else ():
        given = verifier.input_of(side).input_shape
        expected = getattr(network.encoder_of(side), "input_shape", None)
        if given is not None and expected is not None and tuple(expected) != given:
            raise ValueError(
                f"the encoder takes images of {tuple(expected)} (channels, height, "
                f"width), but the preprocessing gives {given}"
            )


def _answering(
    folder: Path,
    file: ModelFile | OldModelFile,
    network: dict[str, Any],
    device: str | None,
    runtime: Runtime | None,
) -> tuple[Encoder, Scores]:
    """The encoder and the scores of a model folder."""
    weights = weights_of(folder, file)
    tensors = own_names(tensors_of(weights, folder / WEIGHTS_FILE), file.model)
    head = "similarity."
    learned = {key[len(head) :]: tensors[key] for key in tensors if key.startswith(head)}
    scores = build_scores(file.model.similarity.name, learned)
    on_processor = device in (None, "cpu")
    if runtime is None and isinstance(file, ModelFile) and file.graphs:
        runtime = "onnx" if on_processor or _onnx_has(str(device)) else "torch"
    if runtime == "onnx":
        if not isinstance(file, ModelFile) or not file.graphs:
            raise CheckpointError(
                f"{folder} has no model.onnx: onelook export {folder} writes it, unless "
                "the network has no ONNX form; runtime='torch' needs none"
            )
        graphs: dict[str, bytes] = {
            side: read_file(folder / GRAPH_FILES[side], sha256)
            for side, sha256 in file.graphs.items()
        }
        if not on_processor and not _onnx_has(str(device)):
            raise ValueError(f"no device {device!r} for ONNX Runtime here; use PyTorch's")
        size = file.embedding_size
        return OnnxEncoder(weights, graphs, size, device or "cpu"), scores
    import_extra("torch", "train", f"{folder.name} answers through PyTorch: it")
    from onelook.runtime.torch import load_encoder, named_device

    if device is not None:
        named_device(device)
    try:
        return load_encoder(network, tensors, device), scores
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: {one_line(error)}") from error


def _onnx_has(device: str) -> bool:
    return device.startswith("cuda") and has_cuda()
