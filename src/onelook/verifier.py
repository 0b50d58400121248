"""Verifier: a trained network with its inputs and its decision, ready to use."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onelook.card import TrainingCard
from onelook.cohort import Cohort, cohort_scores, decision_beside, make_cohort, sample
from onelook.comparison import Comparison
from onelook.data.archives import addresses_of
from onelook.data.inputs import Input, Item, RawInput, Store
from onelook.data.inputs.decoding import check_list, name_of
from onelook.decision import Decision
from onelook.errors import CheckpointError, DataError
from onelook.familiarity import Familiarity, Reason, of_both
from onelook.model_folder import Network, fingerprint_of, own_names, write_folder
from onelook.progress import progress_bar
from onelook.runtime.encoder import EmbeddingFunction, Encoder, FunctionEncoder, Inputs
from onelook.runtime.scores import Scores, build_scores

if TYPE_CHECKING:
    from onelook.models.siamese import PseudoSiamese, Siamese

BATCH_SIZE = 256
REACHED = 0.99  # of a cohort's images: what is as unlike as these is familiar there


class Verifier:
    """A network, what its sides take, and its decision.

    Args:
        encoder: Maps inputs to embeddings.
        scores: How pairs of embeddings are scored.
        input: What the left side takes, and both where ``right_input`` is not given.
        right_input: What the right side of a pseudo-siamese network takes.
        decision: Threshold and probability; without it ``compare`` gives no verdict.
        card: What is known of the model.
        network: The named encoder and similarity that a model folder keeps; None where no
            names make the network, so that it cannot be saved.
        fingerprint: As it was saved with these weights and inputs; computed if empty.
    """

    def __init__(
        self,
        encoder: Encoder,
        scores: Scores,
        input: Input,
        right_input: Input | None = None,
        decision: Decision | None = None,
        card: TrainingCard | None = None,
        *,
        network: dict[str, Any] | None = None,
        fingerprint: str = "",
    ) -> None:
        self.encoder = encoder
        self.scores = scores
        self.input = input
        self.right_input = right_input or input
        self.decision = decision
        self.card = card or TrainingCard()
        self.network = network
        self.cohort: Cohort | None = None
        self.familiarity: Familiarity | None = None
        self.folder: Path | None = None  # it was loaded from; None for what ships
        self._fingerprint = fingerprint
        self._plain: Verifier | None = None
        # Whether embedding more than one batch reports progress on standard error.
        self.shows_progress = False

    @property
    def name(self) -> str:
        """What people call the model."""
        return self.card.name

    @property
    def model(self) -> "Siamese | PseudoSiamese":
        """The PyTorch network.

        Raises:
            TypeError: If the model does not answer through PyTorch.
        """
        model: Siamese | PseudoSiamese | None = getattr(self.encoder, "model", None)
        if model is None:
            raise TypeError(
                f"{self.name} does not answer through PyTorch; "
                "onelook.load(..., runtime='torch') gives its network"
            )
        return model

    @property
    def plain(self) -> "Verifier":
        """The model without a cohort."""
        return self._plain or self

    def with_cohort(
        self, images: Sequence[Item] | str | Path | Cohort, name: str = ""
    ) -> "Verifier":
        """The model as it answers in the place that unlabelled images come from.

        Scores are centred or normalised by the images, and read by what was fitted for such
        scores. Without a decision, 200 images or more normalise.

        Args:
            images: A folder or an archive, or 20 images or more as ``embed`` takes them; of
                more than 1,000 a random part is kept.
            name: What answers call the images; by default the folder's name.

        Raises:
            DataError: If there are too few images, one cannot be read, or the model has two
                encoders or no thresholds for such scores.
        """
        if not self.shared:
            raise DataError(
                f"{self.name} has an encoder for each side, so images of one kind are no "
                "cohort for it: fit its thresholds on labelled pairs with onelook calibrate"
            )
        cohort = images if isinstance(images, Cohort) else self._cohort(images, name)
        plain = self.plain
        beside = copy.copy(plain)
        beside._plain, beside.cohort = plain, cohort
        if plain.decision is not None:
            beside.decision = decision_beside(plain.decision, cohort, self.name)
        beside.scores = cohort_scores(plain.scores, cohort, beside.decision)
        return beside

    def _cohort(self, images: Sequence[Item] | str | Path, name: str) -> Cohort:
        if isinstance(images, str | Path):
            name = name or Path(images).name
            images = addresses_of([images], self.input.suffixes)
        kept = [images[i] for i in sample(len(images))]  # no more are encoded than are kept
        embeddings, unlike = self._look(kept)
        found = make_cohort(embeddings, name or "a cohort", self.plain.scores.near)
        if unlike is None:
            return found
        reach = max(1.0, float(np.quantile(unlike, REACHED)))
        return dataclasses.replace(found, reach=reach)

    @property
    def normalised_by(self) -> str:
        """What scores are centred or normalised by, in words; empty for plain scores."""
        if self.cohort is None:
            return ""
        kind = self.scores.name.rpartition(", ")[2]
        return f"{kind} by {len(self.cohort):,} images: {self.cohort.name}"

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
        return self._embed(lambda part: taken.load_many(items[part]), len(items), side)

    def look(
        self, items: Sequence[Item], names: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[Reason]]:
        """Embeddings (N, D) of the left side's items, and why each is not familiar."""
        embeddings, unlike = self._look(items)
        return embeddings, self._reasons(unlike, names)

    def reasons(
        self, loaded: Sequence[Any], embeddings: NDArray[np.float32], names: Sequence[str]
    ) -> list[Reason]:
        """Why each of N loaded items is not familiar: "" where it is, None if not known.

        Args:
            loaded: N items, as ``input`` loads them.
            embeddings: (N, D) of them.
            names: N names, to speak of them.
        """
        unlike = None
        if self.familiarity is not None:
            unlike = self.familiarity.unlike(loaded, embeddings)
        return self._reasons(unlike, names)

    def _reasons(
        self, unlike: NDArray[np.float64] | None, names: Sequence[str]
    ) -> list[Reason]:
        if unlike is None:
            return [None] * len(names)
        reach = 1.0 if self.cohort is None else self.cohort.reach
        than = f"what {self.name} was calibrated on"
        than += f" ({self.card.purpose})" if self.card.purpose else ""
        advice = "give a cohort of such images (--cohort), or another --model"
        if self.cohort is not None:
            than, advice = f"the cohort {self.cohort.name}", "add such images to it"
        return [
            "" if one <= reach else f"{name} is unlike {than}: {advice}"
            for one, name in zip(unlike, names, strict=True)
        ]

    def _look(
        self, items: Sequence[Item]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Embeddings (N, D), and how unlike familiar images the items are, if known."""
        if self.familiarity is None:
            return self.embed(items), None
        check_list(items)
        known, found = self.familiarity, [np.zeros(0)]
        embeddings = self._embed(
            lambda part: self.input.load_many(items[part]),
            len(items),
            "left",
            lambda loaded, embedded: found.append(known.unlike(loaded, embedded)),
        )
        return embeddings, np.concatenate(found)

    def embed_loaded(
        self, loaded: Sequence[Any] | NDArray[Any], side: str = "left"
    ) -> NDArray[np.float32]:
        """Embeddings (N, D) of N items that this side's input loaded."""
        return self._embed(lambda part: loaded[part], len(loaded), side)

    def embed_store(
        self, store: Store, rows: NDArray[np.int64], side: str = "left"
    ) -> NDArray[np.float32]:
        """Embeddings (N, D) float32 of rows of a prepared store."""
        return self._embed(lambda part: store.gather(rows[part]), len(rows), side)

    def _embed(
        self,
        load: Callable[[slice], Any],
        n_items: int,
        side: str,
        look: Callable[[Any, NDArray[np.float32]], None] | None = None,
    ) -> NDArray[np.float32]:
        """Embeddings (N, D) of N items, batch by batch; ``look`` sees each with its own."""
        parts = [np.zeros((0, 0), np.float32)] if n_items == 0 else []
        shown = self.shows_progress and n_items > BATCH_SIZE
        with progress_bar("embedding", n_items, shown=shown) as advance:
            for start in range(0, n_items, BATCH_SIZE):
                part = slice(start, min(start + BATCH_SIZE, n_items))
                loaded = load(part)
                parts.append(self.encoder(self._inputs(loaded, side), side))
                if look is not None:
                    look(loaded, parts[-1])
                advance(part.stop - start)
        return np.concatenate(parts)

    def _inputs(self, loaded: Any, side: str) -> Inputs:
        return self.input_of(side).to_inputs(loaded)

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N,) of embeddings (N, D) and (N, D); larger is more alike."""
        return self.scores.pairs(left, right).astype(np.float32, copy=False)

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N, M) of all pairs of embeddings (N, D) and (M, D)."""
        return self.scores.matrix(left, right).astype(np.float32, copy=False)

    def dissimilarity(self, score: float) -> float:
        """The score as people read it: smaller when alike, 0 for identical plain scores."""
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
        names = [*map(name_of, lefts, left_names), *map(name_of, rights, right_names)]
        n, reasons = len(lefts), list[Reason]([None] * len(names))
        if self.shared:
            both, reasons = self._look_at_distinct([*lefts, *rights], names)
            left, right = both[:n], both[n:]
        else:
            left, right = self.embed(lefts, "left"), self.embed(rights, "right")
        scores = self.score(left, right)
        return [
            self.judge(
                names[i], names[n + i], float(score), of_both(reasons[i], reasons[n + i])
            )
            for i, score in enumerate(scores)
        ]

    def _look_at_distinct(
        self, items: Sequence[Item], names: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[Reason]]:
        """``look`` at N items, each distinct one encoded once."""
        row_of: dict[str | int, int] = {}
        rows = [row_of.setdefault(name_of(i, "") or id(i), len(row_of)) for i in items]
        first = np.unique(rows, return_index=True)[1]
        embeddings, reasons = self.look(
            [items[i] for i in first], [names[i] for i in first]
        )
        return embeddings[rows], [reasons[row] for row in rows]

    def judge(
        self, left: str, right: str, score: float, reason: Reason = None
    ) -> Comparison:
        """The answer that a score stands for.

        Args:
            left: What people call the first of the two.
            right: What people call the second.
            score: The pair's score.
            reason: Why one of the two is not familiar, which makes the answer unsure; ""
                where both are, None where that is not known.
        """
        decision = self.decision
        return Comparison(
            left=left,
            right=right,
            score=score,
            dissimilarity=self.dissimilarity(score),
            probability=None if decision is None else float(decision.probability(score)),
            is_same=None if decision is None or reason else decision.decide(score),
            threshold=None if decision is None else decision.threshold,
            far=None if decision is None else decision.far,
            cohort=self.normalised_by,
            familiar=None if reason is None else not reason,
            reason=reason or "",
        )

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the weights and of what decides an embedding."""
        if self._fingerprint:
            return self._fingerprint
        tensors, network = self.encoder.weights(), self.network
        if network is not None and tensors:
            tensors = own_names(tensors, Network.model_validate(network))
        return fingerprint_of(self._settings(), tensors)

    def _settings(self) -> dict[str, Any]:
        sides = {"preprocess": self.input.to_dict()}
        if not self.shared:
            sides["right_preprocess"] = self.right_input.to_dict()
        return {"model": self.network, **sides}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``model.json``: all but the digests of its files."""
        decision = self.plain.decision
        return {
            "fingerprint": self.fingerprint,
            "embedding_size": self.embedding_size,
            **self._settings(),
            "decision": None if decision is None else decision.to_dict(),
            "card": self.card.model_dump(mode="json", exclude_defaults=True),
        }

    def examples(self) -> dict[str, Inputs]:
        """Two inputs of each side that has an encoder of its own, to trace it with."""
        sides = ("left",) if self.shared else ("left", "right")
        return {side: self._inputs(self.input_of(side).example(), side) for side in sides}

    def save(self, folder: str | Path) -> Path:
        """Write a model folder; an older model there stays until the end.

        Raises:
            CheckpointError: If the network has no names to build it by, or a weight is not
                a finite number.
        """
        if self.network is None:
            raise CheckpointError(
                f"{self.name} cannot be saved: its network was not made from names, so "
                "nothing could load it; train(..., encoder=...) or a recipe makes one"
            )
        weights, graphs = self.encoder.files(self.examples())
        return write_folder(
            Path(folder), self.to_dict(), weights, graphs, self.cohort, self.familiarity
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
    card = TrainingCard(name=name)
    return Verifier(encoder, build_scores(similarity), RawInput(), card=card)


def from_model(
    model: "Siamese | PseudoSiamese",
    input: Input,
    right_input: Input | None = None,
    decision: Decision | None = None,
    card: TrainingCard | None = None,
    *,
    network: dict[str, Any] | None = None,
) -> Verifier:
    """A Verifier around a PyTorch network.

    Args:
        model: Siamese, or PseudoSiamese with another encoder for the right side.
        input: What the model takes, and how it is prepared.
        right_input: The same for the right side, where it differs.
        decision: Calibrated decision, if there is one.
        card: What is known of the training.
        network: How to build the network again from a saved folder.
    """
    from onelook.runtime.torch import TorchEncoder, torch_scores

    encoder, scores = TorchEncoder(model), torch_scores(model.similarity)
    return Verifier(encoder, scores, input, right_input, decision, card, network=network)
