"""How the images of an identity vote: one score of a probe with all of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.decision import Vote

ScoreMatrix = Callable[[NDArray[Any], NDArray[Any]], Any]


def identity_scores(
    score_matrix: ScoreMatrix,
    probes: NDArray[Any],
    images: NDArray[Any],
    first: NDArray[np.int64],
    vote: Vote,
) -> NDArray[np.float64]:
    """(N, C) scores of probes with identities that have one image or several.

    The mean embedding is what the images have in common, and for images of one kind it
    tells more than the best of them. Where images are unlike each other, as two sides of a
    box are, the mean resembles none of them, and the best one says more.

    Args:
        score_matrix: Scores (N, M) of embeddings (N, D) and (M, D).
        probes: (N, D) embeddings.
        images: (M, D) embeddings, those of an identity one after another.
        first: (C,) the first image of each identity, rising.
        vote: "best" for the score of the best image, "either" for that or the score with
            the mean embedding, whichever is higher, "blend" for half of each.
    """
    scores = np.asarray(score_matrix(probes, images), np.float64)
    best: NDArray[np.float64] = np.maximum.reduceat(scores, first, axis=1)
    if vote == "best" or len(first) == len(images):
        return best
    counts = np.diff(np.append(first, len(images)))
    means = np.add.reduceat(images, first, axis=0) / counts[:, None]
    mean = np.asarray(score_matrix(probes, means), np.float64)
    return np.maximum(best, mean) if vote == "either" else (best + mean) / 2
