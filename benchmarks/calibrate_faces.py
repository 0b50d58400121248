"""Fit the decisions of dlib-faces and write the model.json files that ship with onelook.

python benchmarks/calibrate_faces.py

The pairs are of LFW's peopleDevTest. The weights stay in the extra onelook[faces]; a folder
in src/onelook/pretrained holds the settings and the graph. What the thresholds are worth is
measured on the pairs of the other people, peopleDevTrain.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onelook
from onelook.calibration.fit import fit_items
from onelook.calibration.rows import identify_rows, summary_rows
from onelook.card import CalibrationFacts, TrainingCard, TrainingMetrics
from onelook.data.inputs import FaceInput
from onelook.data.inputs.stores import PixelStore
from onelook.data.sources import find
from onelook.data.sources.lfw import lfw_people, lfw_view1
from onelook.evaluation.pairing import sample_pairs
from onelook.evaluation.scorer import score_rows
from onelook.metrics import roc_curve
from onelook.models.encoders.dlib_faces import MEAN, SCALE
from onelook.models.network import build_model
from onelook.recipe import ImageSettings
from onelook.verifier import from_model
from ship import ship

PRETRAINED = Path(onelook.__file__).parent / "pretrained"
DLIB: dict[str, Any] = {"name": "dlib-faces", "arguments": {}}
ENCODERS = {
    "dlib-faces": DLIB,
    "dlib-faces-mirrored": {"name": "mirrored", "arguments": {"encoder": DLIB}},
}
FAR = 0.001
MOST_PAIRS = 200_000


def main() -> None:
    for name, encoder in ENCODERS.items():
        verifier = calibrated(name, encoder)
        check(verifier)
        print(write(verifier, PRETRAINED / name))


def calibrated(name: str, encoder: dict[str, Any]) -> onelook.Verifier:
    """dlib's network with a decision from people of LFW that it never saw."""
    preprocess = FaceInput(
        ImageSettings(
            height=150,
            width=150,
            channels=3,
            mean=tuple(round(value / 255, 6) for value in MEAN),
            std=(SCALE / 255,),
        ),
        "middle",
    )
    model = {
        "encoder": encoder,
        "similarity": {"name": "euclidean", "arguments": {}},
    }
    verifier = onelook.from_model(build_model(model), preprocess, network=model)
    people = lfw_people(find("lfw"), "DevTest")
    embeddings = embeddings_of(verifier, people.paths)
    fitted = fit_items(verifier, embeddings, embeddings, people.labels, far=FAR)
    verifier.decision = fitted.decision
    left, right = sample_pairs(people.labels, MOST_PAIRS, seed=0)
    scores = score_rows(verifier, embeddings, embeddings, left, right)
    curve = roc_curve(scores, people.labels[left] == people.labels[right])
    verifier.card = TrainingCard(
        name=name,
        purpose="photographs of faces",
        calibration=CalibrationFacts(
            data=people.name, items=len(people), **fitted.figures()
        ),
        metrics=TrainingMetrics(auc=curve.auc, eer=curve.eer),
    )
    return verifier


def check(verifier: onelook.Verifier) -> None:
    """Print how often the decision is wrong or unsure about people of peopleDevTrain."""
    pairs = lfw_view1(find("lfw"), "train")
    paths, items = np.unique([*pairs.left, *pairs.right], return_inverse=True)
    left, right = np.split(items, 2)
    embeddings = embeddings_of(verifier, paths.tolist())
    scores = score_rows(verifier, embeddings, embeddings, left, right)
    assert verifier.decision is not None and pairs.is_same is not None
    answers = np.array([verifier.decision.decide(score) for score in scores], object)
    for kind, rows in (("same", pairs.is_same), ("different", ~pairs.is_same)):
        said = [(answers[rows] == answer).mean() for answer in (True, False, None)]
        shares = " ".join(f"{share:.4f}" for share in said)
        print(f"{kind} pairs said to be same, different, unsure: {shares}")
    for name, text in [
        *summary_rows(verifier.decision),
        *identify_rows(verifier.decision),
    ]:
        print(f"{name:18} {text}")


def embeddings_of(verifier: onelook.Verifier, paths: Sequence[str]) -> NDArray[np.float32]:
    """Embeddings (N, D) of photographs; their faces are kept for the next run."""
    assert isinstance(verifier.input, FaceInput)
    store = PixelStore.prepare(paths, verifier.input)
    return verifier.embed_store(store, store.rows(paths))


def write(verifier: onelook.Verifier, folder: Path) -> Path:
    """A folder without weights, for photographs that may hold no face."""
    refusing = replace(verifier.input, without_face="refuse")
    model = from_model(
        verifier.model,
        refusing,
        decision=verifier.decision,
        card=verifier.card,
        network=verifier.network,
    )
    return ship(model, folder, {"of_encoder": "dlib-faces"})


if __name__ == "__main__":
    main()
