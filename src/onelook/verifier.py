"""Verifier: a trained twin network with its preprocessing and its decision, ready to
use."""

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from onelook.comparison import Comparison
from onelook.data.inputs.images import Preprocess, decode, read_bytes
from onelook.data.inputs.pixels import PixelStore
from onelook.data.inputs.sequences import (
    Sequences,
    SequenceStore,
    StrokePreprocess,
    TextPreprocess,
    preprocess_from_dict,
    to_device,
)
from onelook.decision import Decision
from onelook.errors import CheckpointError, DataError
from onelook.files import write_whole
from onelook.models.encoders import build_encoder
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import build_similarity
from onelook.recipe import NamedSettings
from onelook.shipped import shipped_folder, shipped_names

FORMAT = 1
BATCH_SIZE = 256
WEIGHTS_FILE, SETTINGS_FILE = "model.safetensors", "model.json"

EmbeddingFunction = Callable[[list[Image.Image]], NDArray[np.float32]]
Store = PixelStore | SequenceStore


class Originals:
    """The preprocessing of an embedding function: images as they are, upright, RGB or
    grey."""

    def load_many(self, addresses: Sequence[str]) -> list[Image.Image]:
        return [decode(read_bytes(address), address) for address in addresses]

    def load_bytes(self, data: bytes, address: str) -> Image.Image:
        return decode(data, address)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "originals"}


AnyPreprocess = Preprocess | TextPreprocess | StrokePreprocess | Originals


class Verifier:
    """A twin network, its preprocessing and its decision.

    Args:
        model: Siamese, or PseudoSiamese with another encoder for the right side.
        preprocess: Of the left side, and of both where ``right_preprocess`` is not given.
        right_preprocess: Of the right side of a pseudo-siamese network.
        decision: Threshold and probability; without it ``compare`` gives no verdict.
        card: What is known of the model: name, recipe, data, metrics. Plain JSON values.
    """

    def __init__(
        self,
        model: Siamese | PseudoSiamese,
        preprocess: AnyPreprocess,
        right_preprocess: AnyPreprocess | None = None,
        decision: Decision | None = None,
        card: dict[str, Any] | None = None,
    ) -> None:
        self.model = model.eval()
        self.preprocess = preprocess
        self.right_preprocess = right_preprocess or preprocess
        self.decision = decision
        self.card = card or {}

    @property
    def name(self) -> str:
        return str(self.card.get("name", "verifier"))

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def preprocess_of(self, side: str) -> AnyPreprocess:
        return self.preprocess if side == "left" else self.right_preprocess

    @property
    def shared(self) -> bool:
        """Whether both sides have one encoder, so that an item is embedded once."""
        return self.right_preprocess is self.preprocess

    def embed(
        self, addresses: Sequence[str | Path], side: str = "left", quarter_turns: int = 0
    ) -> NDArray[np.float32]:
        """Embeddings (N, D) float32 of image files, stroke files or texts.

        Args:
            addresses: N files (or ``ARCHIVE.zip!/MEMBER``); for text models the texts
            themselves.
            side: "left" or "right": the encoder of a pseudo-siamese network that is used.
            quarter_turns: Turn images by this many times 90 degrees, counter-clockwise.

        Raises:
            DataError: If a file cannot be read.
        """
        names = [str(address) for address in addresses]
        preprocess = self.preprocess_of(side)
        parts = [
            self._encode(
                preprocess.load_many(names[start : start + BATCH_SIZE]), side, quarter_turns
            )
            for start in range(0, len(names), BATCH_SIZE)
        ]
        return _stack(parts)

    def embed_bytes(
        self, images: Sequence[bytes], side: str = "left", names: Sequence[str] = ()
    ) -> NDArray[np.float32]:
        """Embeddings (N, D) float32 of encoded images (PNG, JPEG, ...) held in memory.

        Args:
            images: N files' bytes.
            side: "left" or "right": the encoder of a pseudo-siamese network that is used.
            names: What messages call the images; "image 1" and so on by default.

        Raises:
            DataError: If one cannot be read, or this side of the model takes no images.
        """
        preprocess = self.preprocess_of(side)
        if isinstance(preprocess, TextPreprocess | StrokePreprocess):
            raise DataError(f"{self.name} takes no images on the {side} side")
        names = names or [f"image {i}" for i in range(1, len(images) + 1)]
        loaded = [
            preprocess.load_bytes(data, name)
            for data, name in zip(images, names, strict=True)
        ]
        return self.embed_loaded(loaded, side)

    def embed_loaded(self, loaded: list[Any], side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) of what this side's preprocessing made of N encoded images."""
        parts = [
            self._encode(_batch(loaded[start : start + BATCH_SIZE]), side)
            for start in range(0, len(loaded), BATCH_SIZE)
        ]
        return _stack(parts)

    def embed_store(
        self, store: Store, rows: NDArray[np.int64], side: str = "left"
    ) -> NDArray[np.float32]:
        """Embeddings (N, D) float32 of rows of a prepared store."""
        parts = [
            self._encode(store.gather(rows[start : start + BATCH_SIZE]), side)
            for start in range(0, len(rows), BATCH_SIZE)
        ]
        return _stack(parts)

    @torch.inference_mode()
    def _encode(self, batch: Any, side: str, quarter_turns: int = 0) -> NDArray[np.float32]:
        preprocess = self.preprocess_of(side)
        if isinstance(preprocess, Preprocess):
            pixels = torch.as_tensor(batch).to(self.device).rot90(quarter_turns, (2, 3))
            batch = preprocess.normalize(preprocess.to_float(pixels))
        elif isinstance(batch, Sequences):
            batch = to_device(batch, self.device)
        embeddings: Tensor = self.model.encode(batch, side)
        return embeddings.float().cpu().numpy()

    @torch.inference_mode()
    def score(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N,) of embeddings (N, D) and (N, D); larger is more alike."""
        scores: Tensor = self.model.similarity(self._tensor(left), self._tensor(right))
        return scores.float().cpu().numpy()

    @torch.inference_mode()
    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N, M) of all pairs of embeddings (N, D) and (M, D)."""
        scores: Tensor = self.model.similarity.matrix(
            self._tensor(left), self._tensor(right)
        )
        return scores.float().cpu().numpy()

    def dissimilarity(self, score: float) -> float:
        """The score as a number that people read: 0 for identical, larger when less
        alike."""
        return float(self.dissimilarities(np.array([score]))[0])

    @torch.inference_mode()
    def dissimilarities(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """``dissimilarity`` of scores (N,)."""
        values: Tensor = self.model.similarity.dissimilarity(
            torch.from_numpy(scores).double()
        )
        return values.cpu().numpy()

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.device)

    def compare(self, left: str | Path, right: str | Path) -> Comparison:
        """Whether two images (or texts) show the same thing, and how sure that is."""
        return self.compare_many([(str(left), str(right))])[0]

    def compare_many(self, pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
        """``compare`` for many pairs; every distinct file is encoded once."""
        lefts, left_index = np.unique([left for left, _ in pairs], return_inverse=True)
        rights, right_index = np.unique([right for _, right in pairs], return_inverse=True)
        left_embeddings = self.embed(lefts.tolist(), "left")
        right_embeddings = self.embed(rights.tolist(), "right")
        scores = self.score(left_embeddings[left_index], right_embeddings[right_index])
        return [
            self.judge(left, right, float(score))
            for (left, right), score in zip(pairs, scores, strict=True)
        ]

    def rank(self, query: str | Path, others: Sequence[str | Path]) -> list[Comparison]:
        """``query`` against many, the most alike first."""
        answers = self.compare_many([(str(query), str(other)) for other in others])
        return sorted(answers, key=lambda answer: (-answer.score, answer.right))

    def judge(self, left: str, right: str, score: float) -> Comparison:
        """The answer that a score stands for."""
        decision = self.decision
        return Comparison(
            left=left,
            right=right,
            score=score,
            dissimilarity=self.dissimilarity(score),
            probability=None if decision is None else float(decision.probability(score)),
            is_same=None if decision is None else decision.decide(score),
            threshold=None if decision is None else decision.threshold,
            far=None if decision is None else decision.far,
        )

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the weights and of what decides an embedding."""
        digest = hashlib.sha256(json.dumps(self._settings(), sort_keys=True).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _settings(self) -> dict[str, Any]:
        sides = {"preprocess": self.preprocess.to_dict()}
        if self.right_preprocess is not self.preprocess:
            sides["right_preprocess"] = self.right_preprocess.to_dict()
        return {"model": self.card.get("model"), **sides}

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json``; an older model there stays until
        the end.

        Raises:
            CheckpointError: If the model is not built from named encoders, so could not be
            loaded.
        """
        if self.card.get("model") is None:
            raise CheckpointError(
                "only a model made from a recipe can be saved: an encoder of your own "
                "has no "
                "name to load it by; keep its code and weights, and build the Verifier "
                "again"
            )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
        }
        content = {
            "format": FORMAT,
            "onelook": metadata.version("onelook"),
            **self._settings(),
            "decision": None if self.decision is None else self.decision.to_dict(),
            "card": {key: value for key, value in self.card.items() if key != "model"},
        }
        serialized = save_tensors(weights)
        content["weights"] = hashlib.sha256(serialized).hexdigest()
        write_whole(folder / WEIGHTS_FILE, serialized)
        write_whole(folder / SETTINGS_FILE, json.dumps(content, indent=1) + "\n")
        return folder


def build_model(model: dict[str, Any]) -> Siamese | PseudoSiamese:
    """The network that the "model" part of ``model.json`` describes, with fresh weights.

    Args:
        model: ``encoder`` and ``similarity`` as ``{"name", "arguments"}``;
            ``right_encoder`` too for a pseudo-siamese network.
    """
    encoder = build_encoder(NamedSettings.model_validate(model["encoder"]))
    similarity_settings = NamedSettings.model_validate(model["similarity"])
    similarity = build_similarity(similarity_settings, encoder.embedding_size)
    if model.get("right_encoder") is None:
        return Siamese(encoder, similarity)
    right_encoder = build_encoder(NamedSettings.model_validate(model["right_encoder"]))
    return PseudoSiamese(encoder, right_encoder, similarity)


def load(name: str | Path) -> Verifier:
    """A Verifier from a folder that ``train`` wrote, or from the weights that ship with
    onelook.

    Args:
        name: The folder, or the name of shipped weights.

    Raises:
        CheckpointError: If there is no such model, its format is newer than this onelook
            knows, or its weights do not fit its encoder.
    """
    folder = Path(name).expanduser()
    if not (folder / SETTINGS_FILE).is_file():
        folder = _shipped(str(name))
    try:
        content = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{folder / SETTINGS_FILE} cannot be read: {error}"
        ) from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(
            f"{folder / SETTINGS_FILE} is not a onelook model: no 'format'"
        )
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{folder} has format {content['format']!r}, this onelook "
            f"{metadata.version('onelook')} "
            f"reads format {FORMAT}; upgrade onelook (pip install -U onelook) or train "
            f"again"
        )
    try:
        model = build_model(content["model"])
        preprocess = preprocess_from_dict(content["preprocess"])
        right = content.get("right_preprocess")
        right_preprocess = None if right is None else preprocess_from_dict(right)
        decision = content["decision"]
        verifier = Verifier(
            model,
            preprocess,
            right_preprocess,
            None if decision is None else Decision.from_dict(decision),
            {**content["card"], "model": content["model"]},
        )
    except (KeyError, TypeError, ValueError, DataError) as error:
        raise CheckpointError(
            f"{folder / SETTINGS_FILE}: {error!r}; train the model again"
        ) from error
    if content["weights"] is not None:  # else the encoder brings its own
        _load_weights(model, folder / WEIGHTS_FILE, content["weights"])
    _check_input_shape(verifier, folder)
    return verifier


def _shipped(name: str) -> Path:
    """The folder of shipped weights, or the error that a wrong name or folder deserves."""
    folder = shipped_folder(name)
    if folder is not None:
        return folder
    what = "a folder without model.json" if Path(name).is_dir() else "no folder"
    if Path(name).is_file():
        what = "a file; name the folder that holds model.json"
    shipped = ", ".join(shipped_names()) or "none"
    raise CheckpointError(
        f"no model {name!r}: it is {what}; shipped with onelook: {shipped}; "
        f"train one with: onelook train RECIPE --out {name}"
    )


def _load_weights(model: Siamese | PseudoSiamese, path: Path, digest: str) -> None:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(
            f"{path} is not the file that model.json was written with (it is cut off, "
            f"changed or "
            "from another training); copy the whole folder again"
        )
    try:
        model.load_state_dict(load_tensors(data))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not fit the encoder in model.json: {error}"
        ) from error


def _batch(loaded: list[Any]) -> Any:
    """Pixels (N, C, H, W); images stay a list."""
    return loaded if isinstance(loaded[0], Image.Image) else np.stack(loaded)


def _stack(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _check_input_shape(verifier: Verifier, folder: Path) -> None:
    for side in ("left", "right"):
        preprocess = verifier.preprocess_of(side)
        expected = getattr(verifier.model.encoder_of(side), "input_shape", None)
        if isinstance(preprocess, Preprocess) and expected is not None:
            if tuple(expected) != tuple(preprocess.input_shape):
                raise CheckpointError(
                    f"{folder}: the encoder takes images of {tuple(expected)} "
                    f"(channels, height, "
                    f"width), but the preprocessing gives {preprocess.input_shape}"
                )


class FunctionEncoder(torch.nn.Module):
    """An embedding function of the user's as an encoder: PIL images in, embeddings (N, D)
    out."""

    input_shape = None
    embedding_size = 0  # only the function knows

    def __init__(self, function: EmbeddingFunction) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: list[Image.Image]) -> Tensor:
        embeddings = np.asarray(self.function(images), dtype=np.float32)
        if embeddings.ndim != 2 or len(embeddings) != len(images):
            raise ValueError(
                f"the embedding function must give (N, D) for N images, got shape "
                f"{embeddings.shape} for {len(images)}"
            )
        if not np.isfinite(embeddings).all():
            raise ValueError("the embedding function gave numbers that are not finite")
        return torch.from_numpy(embeddings)


def from_function(
    function: EmbeddingFunction, similarity: str = "cosine", name: str = "function"
) -> Verifier:
    """A Verifier around any embedding function, to evaluate, calibrate and compare with.

    Args:
        function: Takes a list of N PIL images (RGB or L) and gives embeddings (N, D).
        similarity: Name of a similarity without weights, such as ``"cosine"``.
        name: What people call it.

    Example:
        >>> def mean_colour(images):
        ...     return np.stack([np.asarray(i.convert("RGB")).mean((0, 1)) for i in images])
        >>> from_function(mean_colour, "euclidean", "mean colour").name
        'mean colour'
    """
    head = build_similarity(NamedSettings(name=similarity), 0)
    model = Siamese(FunctionEncoder(function), head)
    return Verifier(model, Originals(), card={"name": name})
