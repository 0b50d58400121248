"""Verifier: a trained network with its inputs and its decision, ready to use."""

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from onelook.comparison import Comparison
from onelook.data.inputs import Input, Item, RawInput, Store, input_from_dict
from onelook.data.inputs.decoding import check_list, name_of
from onelook.decision import Decision
from onelook.errors import CheckpointError, DataError
from onelook.files import write_whole
from onelook.models.encoders import build_encoder
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import build_similarity
from onelook.recipe import NamedSettings
from onelook.runtime.encoder import EmbeddingFunction, Encoder, FunctionEncoder
from onelook.runtime.scores import Scores, build_scores
from onelook.runtime.torch import TorchEncoder, torch_scores
from onelook.shipped import shipped_folder, shipped_names

FORMAT = 1
BATCH_SIZE = 256
WEIGHTS_FILE, SETTINGS_FILE = "model.safetensors", "model.json"


class Verifier:
    """A network, what its sides take, and its decision.

    Args:
        encoder: Maps inputs to embeddings.
        scores: How pairs of embeddings are scored.
        input: What the left side takes, and both where ``right_input`` is not given.
        right_input: What the right side of a pseudo-siamese network takes.
        decision: Threshold and probability; without it ``compare`` gives no verdict.
        card: What is known of the model: name, recipe, data, metrics. Plain JSON values.
    """

    def __init__(
        self,
        encoder: Encoder,
        scores: Scores,
        input: Input,
        right_input: Input | None = None,
        decision: Decision | None = None,
        card: dict[str, Any] | None = None,
    ) -> None:
        self.encoder = encoder
        self.scores = scores
        self.input = input
        self.right_input = right_input or input
        self.decision = decision
        self.card = card or {}

    @property
    def name(self) -> str:
        """What people call the model."""
        return str(self.card.get("name", "verifier"))

    @property
    def model(self) -> Siamese | PseudoSiamese:
        """The PyTorch network.

        Raises:
            TypeError: If the encoder is none.
        """
        if not isinstance(self.encoder, TorchEncoder):
            raise TypeError(f"{self.name} has no PyTorch network")
        return self.encoder.model

    def input_of(self, side: str) -> Input:
        """What a side takes."""
        return self.input if side == "left" else self.right_input

    @property
    def shared(self) -> bool:
        """Whether both sides have one encoder, so that an item is embedded once."""
        return self.right_input is self.input

    @property
    def embedding_size(self) -> int:
        """D, the size of an embedding."""
        if self.encoder.embedding_size:
            return self.encoder.embedding_size
        white = np.full((64, 64, 3), 255, np.uint8)  # a function does not say it
        return int(self.embed([white], "right").shape[1])

    def embed(self, items: Sequence[Item], side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) float32 of images, stroke files or texts.

        Args:
            items: N images: files (or ``ARCHIVE.zip!/MEMBER``), bytes of files, Pillow
                images, or uint8 arrays (H, W[, 1, 3 or 4]), RGB; for text models N texts.
            side: "left" or "right": the encoder of a pseudo-siamese network that is used.

        Raises:
            DataError: If one cannot be read; those held in memory are called "image 1" and
                so on.
            TypeError: If ``items`` is no list.
        """
        check_list(items)
        taken = self.input_of(side)
        parts = [
            self._encode(taken.load_many(items[start : start + BATCH_SIZE]), side)
            for start in range(0, len(items), BATCH_SIZE)
        ]
        return _stack(parts)

    def embed_loaded(
        self, loaded: Sequence[Any] | NDArray[Any], side: str = "left"
    ) -> NDArray[np.float32]:
        """Embeddings (N, D) of N items that this side's input loaded."""
        parts = [
            self._encode(loaded[start : start + BATCH_SIZE], side)
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

    def _encode(self, loaded: Any, side: str) -> NDArray[np.float32]:
        return self.encoder(self.input_of(side).to_inputs(loaded), side)

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N,) of embeddings (N, D) and (N, D); larger is more alike."""
        return self.scores.pairs(left, right).astype(np.float32, copy=False)

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N, M) of all pairs of embeddings (N, D) and (M, D)."""
        return self.scores.matrix(left, right).astype(np.float32, copy=False)

    def dissimilarity(self, score: float) -> float:
        """The score as people read it: 0 for identical, larger when less alike."""
        return float(self.dissimilarities(np.array([score]))[0])

    def dissimilarities(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """``dissimilarity`` of scores (N,)."""
        return self.scores.dissimilarity(scores.astype(np.float64))

    def compare(self, left: Item, right: Item) -> Comparison:
        """Whether two images (or texts) show the same thing, and how sure that is.

        Args:
            left: An item, as ``embed`` takes it; one held in memory is called "image 1" in
                the answer.
            right: The other item; one held in memory is called "image 2".

        Raises:
            DataError: If one cannot be read.
        """
        return self._compare([left], [right], ["image 1"], ["image 2"])[0]

    def compare_many(self, pairs: Sequence[tuple[Item, Item]]) -> list[Comparison]:
        """``compare`` for many pairs; every distinct item is encoded once."""
        numbers = range(1, len(pairs) + 1)
        return self._compare(
            [left for left, _ in pairs],
            [right for _, right in pairs],
            [f"left image {i}" for i in numbers],
            [f"right image {i}" for i in numbers],
        )

    def rank(self, query: Item, others: Sequence[Item]) -> list[Comparison]:
        """``query`` against many, the most alike first; in memory "image 1" and so on."""
        names = [f"image {i}" for i in range(1, len(check_list(others)) + 1)]
        queries = [query] * len(others)
        answers = self._compare(queries, others, ["query"] * len(others), names)
        return sorted(answers, key=lambda answer: (-answer.score, answer.right))

    def _compare(
        self,
        lefts: Sequence[Item],
        rights: Sequence[Item],
        left_names: Sequence[str],
        right_names: Sequence[str],
    ) -> list[Comparison]:
        if self.shared:
            both = self._embed_distinct([*lefts, *rights], "left")
            left, right = both[: len(lefts)], both[len(lefts) :]
        else:
            left = self._embed_distinct(lefts, "left")
            right = self._embed_distinct(rights, "right")
        scores = self.score(left, right)
        names = zip(
            map(name_of, lefts, left_names), map(name_of, rights, right_names), strict=True
        )
        return [
            self.judge(*pair, float(score))
            for pair, score in zip(names, scores, strict=True)
        ]

    def _embed_distinct(self, items: Sequence[Item], side: str) -> NDArray[np.float32]:
        """Embeddings (N, D) of N items, each distinct one encoded once."""
        row_of: dict[str | int, int] = {}
        rows = [row_of.setdefault(name_of(i, "") or id(i), len(row_of)) for i in items]
        first = np.unique(rows, return_index=True)[1]
        return self.embed([items[i] for i in first], side)[rows]

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
        encoder = self.encoder
        state = encoder.model.state_dict() if isinstance(encoder, TorchEncoder) else {}
        for name, tensor in sorted(state.items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _settings(self) -> dict[str, Any]:
        sides = {"preprocess": self.input.to_dict()}
        if not self.shared:
            sides["right_preprocess"] = self.right_input.to_dict()
        return {"model": self.card.get("model"), **sides}

    def save(self, folder: str | Path) -> Path:
        """Write a model folder; an older model there is replaced at the end.

        Raises:
            CheckpointError: If the encoder has no name that could be loaded again.
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
        right = content.get("right_preprocess")
        decision = content["decision"]
        verifier = from_model(
            model,
            input_from_dict(content["preprocess"]),
            None if right is None else input_from_dict(right),
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


def _stack(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _check_input_shape(verifier: Verifier, folder: Path) -> None:
    for side in ("left", "right"):
        given = verifier.input_of(side).input_shape
        expected = getattr(verifier.model.encoder_of(side), "input_shape", None)
        if given is not None and expected is not None and tuple(expected) != given:
            raise CheckpointError(
                f"{folder}: the encoder takes images of {tuple(expected)} (channels, "
                f"height, width), but the preprocessing gives {given}"
            )


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
    encoder = FunctionEncoder(function)
    return Verifier(encoder, build_scores(similarity), RawInput(), card={"name": name})


def from_model(
    model: Siamese | PseudoSiamese,
    input: Input,
    right_input: Input | None = None,
    decision: Decision | None = None,
    card: dict[str, Any] | None = None,
) -> Verifier:
    """A Verifier around a PyTorch network.

    Args:
        model: Siamese, or PseudoSiamese with another encoder for the right side.
        input: What the left side takes; see ``Verifier``.
        right_input: What the right side takes, if it differs.
        decision: What a score means; without it no answer has a verdict.
        card: Facts about the model, for people.
    """
    scores = torch_scores(model.similarity)
    return Verifier(TorchEncoder(model), scores, input, right_input, decision, card)
