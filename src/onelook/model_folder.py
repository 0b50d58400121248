"""A model folder: ``model.json``, the weights and the graphs, and how they are checked.

``model.json`` ends in a digest of everything in it, and it holds the digests of the other
files: a changed byte is refused, never answered by.
"""

import hashlib
import json
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from onelook.card import Part, TrainingCard, modern_card
from onelook.cohort import Cohort
from onelook.decision import Decision
from onelook.errors import CheckpointError, DataError, one_line
from onelook.extras import import_extra
from onelook.familiarity import Familiarity
from onelook.files import PRIVATE, cache_folder, check_regular, write_whole
from onelook.runtime.onnx import GRAPH_FILES, WEIGHTS_FILE
from onelook.zoo import SETTINGS_FILE, shipped_folder

FORMAT, OLD_FORMAT = 2, 1
COHORT_FILE, FAMILIARITY_FILE = "cohort.safetensors", "familiarity.safetensors"
# Encoders whose weights come with a package, and the extra that installs it.
PACKAGED = {"dlib-faces": "faces", "efficientnet-lite2": "photos"}

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Side = Literal["left", "right"]


class Named(Part):
    """A name from a table, and arguments."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Network(Part):
    """Which network it is."""

    encoder: Named
    right_encoder: Named | None = None
    similarity: Named


class Weights(Part):
    """The weights: a file of this folder, or those of another model or package."""

    sha256: Sha256
    # The shipped model, or the encoder whose package has them; "" = this folder.
    of_model: str = ""
    of_encoder: str = ""


class CohortFile(Part):
    """The cohort of a model: a file of this folder with its embeddings."""

    sha256: Sha256
    name: str
    images: Annotated[int, Field(gt=0)]
    notes: tuple[str, ...] = ()
    reach: float = 1.0


class FamiliarityFile(Part):
    """What familiar images look like: a file of this folder."""

    sha256: Sha256


class ModelFile(Part):
    """The content of ``model.json``."""

    format: Literal[2] = 2
    onelook: str
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    embedding_size: Annotated[int, Field(gt=0)]
    model: Network
    preprocess: dict[str, Any]
    right_preprocess: dict[str, Any] | None = None
    decision: Decision | None
    card: TrainingCard
    weights: Weights
    # SHA-256 of the ONNX graph of each side; none where only PyTorch can answer.
    graphs: dict[Side, Sha256]
    cohort: CohortFile | None = None
    familiarity: FamiliarityFile | None = None
    digest: Sha256


class OldModelFile(Part):
    """The content of ``model.json`` of format 1."""

    format: Literal[1] = 1
    onelook: str
    model: Network
    preprocess: dict[str, Any]
    right_preprocess: dict[str, Any] | None = None
    decision: Decision | None
    card: TrainingCard
    # SHA-256 of the file of weights; None where the encoder's package has them.
    weights: Sha256 | None


def read_settings(folder: Path) -> tuple[ModelFile | OldModelFile, dict[str, Any]]:
    """The checked content of a folder's ``model.json``, and the same as plain values."""
    path = folder / SETTINGS_FILE
    check_regular(path)
    try:
        text = path.read_text("utf-8")
        content = json.loads(text, parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {one_line(error)}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path} is not a onelook model: it has no 'format'")
    if content["format"] not in (FORMAT, OLD_FORMAT):
        raise CheckpointError(
            f"{path} has format {content['format']!r}, onelook {_version()} reads format "
            f"{OLD_FORMAT} and {FORMAT}: pip install -U onelook, or train again"
        )
    if content["format"] == FORMAT and content.get("digest") != digest_of(content):
        raise CheckpointError(
            f"{path} was changed after it was written: copy the whole folder again, or "
            "calibrate or train again"
        )
    kind: type[ModelFile | OldModelFile] = ModelFile
    if content["format"] == OLD_FORMAT:
        kind, content = OldModelFile, _modern(content)
        text = json.dumps(content)
    try:
        return kind.model_validate_json(text), content
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path}: {where}: {first['msg']}") from error


def read_file(path: Path, sha256: str) -> bytes:
    """A file of a model folder, whose digest is known."""
    check_regular(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {one_line(error)}") from error
    if _sha256(content) != sha256:
        raise CheckpointError(
            f"{path} is not the file that model.json was written with (cut off, changed, "
            "or from another training): copy the whole folder again"
        )
    return content


def weights_of(folder: Path, file: ModelFile | OldModelFile) -> bytes:
    """The safetensors file of a model: its own, another model's or a package's."""
    if isinstance(file, OldModelFile):
        if file.weights is not None:
            return read_file(folder / WEIGHTS_FILE, file.weights)
        return packaged_weights(base_encoder(file.model), folder)
    if file.weights.of_model:
        base = shipped_folder(file.weights.of_model)
        if base is None:
            raise CheckpointError(
                f"{folder} takes its weights from the model {file.weights.of_model!r}, "
                "which this onelook does not have: pip install -U onelook"
            )
        return read_file(base / WEIGHTS_FILE, file.weights.sha256)
    if file.weights.of_encoder:
        return packaged_weights(file.weights.of_encoder, folder, file.weights.sha256)
    return read_file(folder / WEIGHTS_FILE, file.weights.sha256)


def packaged_weights(encoder: str, folder: Path, sha256: str = "") -> bytes:
    """The weights of an encoder whose package brings them.

    They are kept in the user's cache under their digest, from where they are read without
    PyTorch the next time.
    """
    if encoder not in PACKAGED:
        raise CheckpointError(
            f"{folder / SETTINGS_FILE} names no weights, and none come with the encoder "
            f"{encoder!r}: copy the whole folder again"
        )
    if sha256 and (kept := _kept_weights(sha256)):
        return kept
    extra, tensors = PACKAGED[encoder], _packaged_tensors(encoder)
    weights = packed({f"encoder.{key}": value for key, value in tensors.items()})
    found = _sha256(weights)
    if sha256 and found != sha256:
        raise CheckpointError(
            f"{folder} was made with other weights of {encoder!r} than those that are "
            f"installed: pip install -U 'onelook[{extra}]'"
        )
    with suppress(OSError, DataError):  # no cache: the package is read again next time
        write_whole(_kept_file(found), weights)
    return weights


def _packaged_tensors(encoder: str) -> dict[str, NDArray[np.float32]]:
    if encoder == "dlib-faces":
        from onelook.models.dlib_weights import dlib_weights

        return dlib_weights()
    purpose = f"the first use of {encoder!r}, whose weights are then kept without it,"
    import_extra("torch", PACKAGED[encoder], purpose)
    from onelook.models.imagenet_weights import imagenet_weights

    found = imagenet_weights(encoder)
    return {f"network.{name}": tensor.numpy() for name, tensor in found.items()}


def _kept_file(sha256: str) -> Path:
    return cache_folder() / "weights" / f"{sha256}.safetensors"


def _kept_weights(sha256: str) -> bytes:
    """The weights of that digest in the user's cache; empty where they are not there."""
    with suppress(OSError, DataError):
        content = _kept_file(sha256).read_bytes()
        if _sha256(content) == sha256:
            return content
    return b""


def cohort_of(folder: Path, file: ModelFile | OldModelFile) -> Cohort | None:
    """The cohort that a model answers beside, or None."""
    known = file.cohort if isinstance(file, ModelFile) else None
    if known is None:
        return None
    path = folder / COHORT_FILE
    embeddings = tensors_of(read_file(path, known.sha256), path)["embeddings"]
    return Cohort(embeddings, known.name, known.notes, known.reach)


def familiarity_of(folder: Path, file: ModelFile | OldModelFile) -> Familiarity | None:
    """What images are familiar to a model, or None."""
    known = file.familiarity if isinstance(file, ModelFile) else None
    if known is None:
        return None
    path = folder / FAMILIARITY_FILE
    try:
        return Familiarity.from_tensors(tensors_of(read_file(path, known.sha256), path))
    except KeyError as error:
        raise CheckpointError(f"{path} has no {error}: copy the whole folder") from error


def write_folder(
    folder: Path,
    content: dict[str, Any],
    weights: bytes,
    graphs: dict[str, bytes],
    cohort: Cohort | None = None,
    familiarity: Familiarity | None = None,
) -> Path:
    """Write a model folder; an older model there stays until the end.

    ``content`` is that of ``model.json`` without its format, version and digests, with
    ``weights`` only where they are those of another model or package.
    """
    tensors_of(weights, folder / WEIGHTS_FILE)
    own = "weights" not in content
    content = {
        "format": FORMAT,
        "onelook": _version(),
        **content,
        "weights": {"sha256": _sha256(weights), **content.get("weights", {})},
        "graphs": {side: _sha256(graph) for side, graph in graphs.items()},
    }
    others = {COHORT_FILE: b"", FAMILIARITY_FILE: b""}
    if cohort is not None:
        others[COHORT_FILE] = packed({"embeddings": cohort.embeddings})
        content["cohort"] = {
            "sha256": _sha256(others[COHORT_FILE]),
            "name": cohort.name,
            "images": len(cohort),
            "notes": cohort.notes,
            "reach": cohort.reach,
        }
    if familiarity is not None:
        others[FAMILIARITY_FILE] = packed(familiarity.tensors())
        content["familiarity"] = {"sha256": _sha256(others[FAMILIARITY_FILE])}
    try:
        text = json.dumps(content | {"digest": digest_of(content)}, indent=1)
        ModelFile.model_validate_json(text)
    except ValueError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    if own:
        write_whole(folder / WEIGHTS_FILE, weights)
    for side, graph in graphs.items():
        write_whole(folder / GRAPH_FILES[side], graph)
    for side in set(GRAPH_FILES) - set(graphs):
        (folder / GRAPH_FILES[side]).unlink(missing_ok=True)
    for name, content_of_file in others.items():
        if content_of_file:
            mode = PRIVATE if name == COHORT_FILE else 0o666
            write_whole(folder / name, content_of_file, mode)
        else:
            (folder / name).unlink(missing_ok=True)
    return write_whole(folder / SETTINGS_FILE, text + "\n").parent


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of all values but the digest, however the file is laid out."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _sha256(plain.encode())


def tensors_of(weights: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: dict[str, NDArray[Any]] = load(weights)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {one_line(error)}") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise CheckpointError(
                f"{path}: the weights {name!r} hold values that are not finite numbers; "
                "train again with a lower learning rate"
            )
    return tensors


def packed(tensors: dict[str, NDArray[Any]]) -> bytes:
    """float32 tensors as a safetensors file whose bytes never depend on a library."""
    header, at = {}, 0
    for name in sorted(tensors):
        end = at + tensors[name].nbytes
        shape, offsets = list(tensors[name].shape), [at, end]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    parts = [tensors[name].astype("<f4", copy=False).tobytes() for name in sorted(tensors)]
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def base_encoder(network: Network) -> str:
    """The name of the encoder, or of the one that looks twice in a mirrored one."""
    encoder = network.encoder
    inner = encoder.arguments.get("encoder")
    if encoder.name == "mirrored" and isinstance(inner, dict):
        return str(inner.get("name"))
    return encoder.name


def own_names(
    tensors: dict[str, NDArray[Any]], network: Network
) -> dict[str, NDArray[Any]]:
    """The tensors by the names that this network gives them.

    A mirrored encoder may use the weights of the model that it mirrors, as they are.
    """
    inner = "encoder.encoder."
    if network.encoder.name != "mirrored" or any(
        name.startswith(inner) for name in tensors
    ):
        return tensors
    return {name.replace("encoder.", inner, 1): value for name, value in tensors.items()}


def fingerprint_of(settings: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> str:
    """16 hexadecimal digits of the weights and of what decides an embedding.

    ``settings`` are those of the model and of the preprocessing of each side.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()[:16]


def _modern(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a file of format 1 with today's keys in its card."""
    card = content.get("card")
    return content | {"card": modern_card(card) if isinstance(card, dict) else card}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _version() -> str:
    return metadata.version("onelook")
