"""Mirrored: a model that looks twice, at every image and at its mirror image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from onelook.data.images import Preprocess
from onelook.verifier import BATCH_SIZE, Verifier


class Mirrored:
    """A scorer whose embedding is the sum of those of an image and of its mirror image.

    Each is brought to unit length first. It costs twice the encoder's time and nothing
    else: galleries stay as large and comparisons as fast.

    Args:
        verifier: A twin network on images, compared by the cosine.

    Raises:
        ValueError: If the verifier takes no images, or has two encoders.
    """

    shared = True

    def __init__(self, verifier: Verifier) -> None:
        if not isinstance(verifier.preprocess, Preprocess) or not verifier.shared:
            raise ValueError(
                f"{verifier.name} cannot be mirrored: it is no twin network on images"
            )
        self.verifier = verifier
        self.preprocess = verifier.preprocess

    @property
    def name(self) -> str:
        return f"{self.verifier.name} (mirrored)"

    @torch.inference_mode()
    def embed(self, addresses: Sequence[str], side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) float32 of image files, of length 2 at most."""
        verifier, parts = self.verifier, []
        for start in range(0, len(addresses), BATCH_SIZE):
            pixels = self.preprocess.load_many(list(addresses[start : start + BATCH_SIZE]))
            images = self.preprocess.to_float(torch.as_tensor(pixels).to(verifier.device))
            images = self.preprocess.normalize(images)  # (N, C, H, W)
            plain, mirrored = (
                F.normalize(verifier.model.encode(views, side).float(), dim=1)
                for views in (images, images.flip(3))
            )
            parts.append((plain + mirrored).cpu().numpy())
        return np.concatenate(parts)

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N,) of N pairs of embeddings."""
        return self.verifier.score(left, right)

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (N, M) of all pairs of embeddings."""
        return self.verifier.score_matrix(left, right)
