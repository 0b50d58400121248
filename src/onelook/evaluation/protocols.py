"""Protocols by name: which data, which trials, which figure. ``evaluate`` runs one."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onelook.data.inputs import FaceInput
from onelook.data.items import Dataset, Pairs
from onelook.data.sources import SOURCES, find, read_pairs_like
from onelook.data.sources.att import att
from onelook.data.sources.class_folders import class_folder
from onelook.data.sources.digits import digits_part, digits_upscaled
from onelook.data.sources.lfw import lfw_view1, lfw_view2
from onelook.data.sources.omniglot import (
    omniglot,
    omniglot_koch,
    omniglot_runs,
    omniglot_vinyals,
)
from onelook.data.sources.sick import sick
from onelook.data.sources.strokes import strokes
from onelook.errors import DataError
from onelook.evaluation.baselines import BASELINES
from onelook.evaluation.matching import matching_trials
from onelook.evaluation.oneshot import (
    OneShotResult,
    koch_trials,
    n_way_k_shot,
    omniglot_20_runs,
    within_alphabet_trials,
)
from onelook.evaluation.pairing import koch_pairs
from onelook.evaluation.scorer import Scorer, score_pairs
from onelook.evaluation.sentences import evaluate_graded
from onelook.evaluation.unseen import note_on_trained
from onelook.evaluation.verification import (
    VerificationResult,
    score_folds,
    verify_all_pairs,
    verify_pairs,
)
from onelook.loading import load
from onelook.recipe import DataSettings
from onelook.tables import Result
from onelook.verifier import Verifier

Data = str | Path | None

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Protocol:
    """A benchmark: what it measures in a line, and how it is run.

    Its function takes a scorer and where the data lies, or your opened ``class_folders``.
    """

    about: str
    run: Callable[[Scorer, Any], Result]
    class_folders: bool = False


def evaluate(
    model: Scorer | str | Path, protocol: str, data: Data = None, depth: int | None = None
) -> Result:
    """Measure a model, or a baseline, by a published protocol.

    Args:
        model: A Verifier, a model folder, shipped weights, or a baseline: ``"hausdorff"``,
            ``"nearest-pixels"`` or ``"word-overlap"``.
        protocol: A name from ``PROTOCOLS``.
        data: Folder of the data; None looks in ``ONELOOK_DATA`` and in the user's cache.
        depth: How many folders lie above the class folders of your own images; by default
            what the model was trained with.

    Raises:
        DataError: If the protocol or the data is not known.
    """
    if protocol not in PROTOCOLS:
        raise DataError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    scorer = scorer_of(model) if isinstance(model, str | Path) else model
    found = PROTOCOLS[protocol]
    if not found.class_folders:
        return found.run(scorer, data)
    if data is None:
        raise DataError(
            "this protocol needs --data, the folder of your images (CLASS/IMAGE)"
        )
    depth = _data_settings(scorer).get("depth", 0) if depth is None else depth
    dataset = class_folder(data, depth=depth)
    if isinstance(scorer, Verifier) and (note := note_on_trained(scorer, dataset)):
        log.warning(note)
    return found.run(scorer, dataset)


def scorer_of(name: str | Path) -> Scorer:
    """A baseline by its name, or the model of a folder or of shipped weights."""
    return BASELINES.get(str(name)) or load(name)


def _chosen_threshold(scorer: Scorer) -> float | None:
    """The most accurate threshold on the classes held out of the model's own training."""
    if not isinstance(scorer, Verifier) or scorer.card.metrics is None:
        return None
    return scorer.card.metrics.best_threshold


def _data_settings(scorer: Any) -> dict[str, Any]:
    """The "data" block of the recipe that the model was trained by."""
    return scorer.card.data_settings if isinstance(scorer, Verifier) else {}


def _omniglot_20_runs(scorer: Scorer, data: Data) -> OneShotResult:
    return omniglot_20_runs(scorer, omniglot_runs(find("omniglot", data)))


def _within_alphabet(scorer: Scorer, data: Data) -> OneShotResult:
    return within_alphabet_trials(scorer, omniglot(find("omniglot", data), "evaluation"))


def _koch_one_shot(scorer: Scorer, data: Data) -> OneShotResult:
    return koch_trials(scorer, omniglot_koch(find("omniglot", data)).of_split("test"))


def _koch_verification(scorer: Scorer, data: Data) -> VerificationResult:
    """10,000 test pairs, the threshold chosen on 10,000 pairs of the validation drawers."""
    koch = omniglot_koch(find("omniglot", data))
    test, validation = (
        koch_pairs(koch.of_split(s), 10_000, seed=0) for s in ("test", "val")
    )
    return verify_pairs(
        scorer,
        test,
        "Koch's verification test: 10,000 pairs, negatives within their alphabet",
        threshold=validation,
    )


def _vinyals(n_way: int, n_shot: int) -> Protocol:
    """Episodes of Vinyals et al.: any characters, their quarter turns as new classes."""

    def run(scorer: Scorer, data: Data) -> OneShotResult:
        test = omniglot_vinyals(find("omniglot", data)).of_split("test")
        name = f"Vinyals' episodes over the characters of {test.name}, each in 4 rotations"
        return n_way_k_shot(scorer, test, n_way, n_shot, rotations=4, protocol=name)

    return Protocol(f"Vinyals split, {n_way}-way {n_shot}-shot, 1,000 episodes", run)


def _faces_there(
    scorer: Scorer, measure: Callable[[Scorer], VerificationResult]
) -> VerificationResult:
    """``measure``, with the middle of a photograph where an aligned face is not found.

    Every photograph of LFW is cut out around a face. The result says how many were so.
    """
    if not isinstance(scorer, Verifier) or scorer.input.subject != "face":
        return measure(scorer)
    faces = FaceInput.from_dict({**scorer.input.to_dict(), "without_face": "middle"})
    patient = Verifier(
        scorer.encoder, scorer.scores, faces, decision=scorer.decision, card=scorer.card
    )
    result = measure(patient)
    n_replaced = len(set(faces.replaced))
    note = f"; no face found in {n_replaced} photographs, their middle taken"
    return replace(result, protocol=result.protocol + note)


def _lfw_view1(scorer: Scorer, data: Data) -> VerificationResult:
    root, chosen = find("lfw", data), _chosen_threshold(scorer)
    threshold = lfw_view1(root, "train") if chosen is None else chosen
    pairs, name = lfw_view1(root, "test"), "LFW View 1 test: 1,000 pairs"
    return _faces_there(
        scorer, lambda patient: verify_pairs(patient, pairs, name, threshold=threshold)
    )


def _lfw_view2(scorer: Scorer, data: Data) -> VerificationResult:
    pairs = lfw_view2(find("lfw", data))
    name = "LFW View 2: threshold of nine folds, accuracy of the tenth"

    def measure(patient: Scorer) -> VerificationResult:
        scores = score_pairs(patient, pairs.left, pairs.right)
        return score_folds(pairs, scores, protocol=name, model=patient.name)

    return _faces_there(scorer, measure)


def _att_people(scorer: Scorer, data: Data) -> VerificationResult:
    people = att(find("att", data)).of_split("test")
    return verify_all_pairs(
        scorer,
        people,
        "AT&T faces: all pairs of s5, s6 and s7",
        max_pairs=None,
        threshold=_chosen_threshold(scorer),
    )


def _strokes(scorer: Scorer, data: Data) -> OneShotResult:
    """On the alphabets that the model's own part leaves out; on all for any other model."""
    part = str(_data_settings(scorer).get("part", "")).removeprefix("not-")
    part = part if part in SOURCES["strokes"].parts else "all"
    both = strokes(find("strokes", data), part)
    what = "Omniglot drawings of strokes matched to Omniglot strokes"
    return matching_trials(scorer, both, protocol=f"{what}, same drawer and group")


def _sick(scorer: Scorer, data: Data) -> Result:
    pairs = sick(find("sick", data), "test")
    return evaluate_graded(scorer, pairs, "SICK test: 4,927 pairs")


def _digits(scorer: Scorer, data: Data) -> VerificationResult:
    return verify_all_pairs(
        scorer,
        digits_part("test"),
        "scikit-learn's digits 7, 8 and 9, never trained on",
        threshold=_chosen_threshold(scorer),
    )


def _digits_one_shot(scorer: Scorer, data: Data) -> OneShotResult:
    return n_way_k_shot(
        scorer,
        digits_upscaled(),
        10,
        1,
        protocol="scikit-learn's digits, 10-way, a stand-in for MNIST; nothing fine-tuned",
    )


def _folder_one_shot(scorer: Scorer, dataset: Dataset) -> OneShotResult:
    """Classes of a single image cannot be asked for and are left out."""
    n_classes = int((np.bincount(dataset.labels) > 1).sum())
    return n_way_k_shot(scorer, dataset, max(2, min(20, n_classes)), 1)


def _folder_verification(scorer: Scorer, dataset: Dataset) -> VerificationResult:
    return verify_all_pairs(scorer, dataset, threshold=_chosen_threshold(scorer))


def read_pairs_for(
    model: Any, path: Data, root: str | Path = "", same: int | None = None
) -> Pairs:
    """The pairs of a file: a table if the model was trained on one, else a pair file."""
    if path is None or not Path(path).is_file():
        raise DataError(
            f"expected a pair file, got {path}; name one with --data or --pairs"
        )
    settings = DataSettings.model_validate({"source": "pairs"} | _data_settings(model))
    return read_pairs_like(settings, path, root, same)


def _pair_file(scorer: Scorer, data: Data) -> Result:
    pairs = read_pairs_for(scorer, data, root=Path(data or "").parent)
    if pairs.targets is not None:
        return evaluate_graded(scorer, pairs)
    return verify_pairs(scorer, pairs, threshold=_chosen_threshold(scorer))


PROTOCOLS: dict[str, Protocol] = {
    "omniglot-20-runs": Protocol(
        "the official 20 one-shot runs of Lake et al., 400 trials", _omniglot_20_runs
    ),
    "omniglot-within-alphabet": Protocol(
        "20,000 random 20-way trials within the 20 evaluation alphabets", _within_alphabet
    ),
    "koch-one-shot": Protocol(
        "Koch's 400 trials on ten alphabets and four drawers", _koch_one_shot
    ),
    "koch-verification": Protocol("Koch's 10,000 verification pairs", _koch_verification),
    "vinyals-5w1s": _vinyals(5, 1),
    "vinyals-5w5s": _vinyals(5, 5),
    "vinyals-20w1s": _vinyals(20, 1),
    "vinyals-20w5s": _vinyals(20, 5),
    "lfw-view1": Protocol(
        "LFW View 1 test pairs; the threshold from people held out of training", _lfw_view1
    ),
    "lfw-view2": Protocol(
        "LFW View 2: ten folds, the threshold of each from the nine others", _lfw_view2
    ),
    "att-s5-s7": Protocol("AT&T faces, all pairs of s5, s6 and s7", _att_people),
    "strokes-20w": Protocol(
        "drawings matched to their own pen strokes among up to 20 characters", _strokes
    ),
    "sick-test": Protocol("SICK's 4,927 test pairs, correlation with people", _sick),
    "digits": Protocol("scikit-learn's digits 7 to 9, verification", _digits),
    "digits-one-shot": Protocol(
        "scikit-learn's digits as a stand-in for MNIST, 10-way 1-shot, 1,000 episodes",
        _digits_one_shot,
    ),
    "folder-one-shot": Protocol(
        "your class folders, up to 20-way 1-shot, 1,000 episodes",
        _folder_one_shot,
        class_folders=True,
    ),
    "folder-verification": Protocol(
        "your class folders, all pairs", _folder_verification, class_folders=True
    ),
    "pairs": Protocol("your pair file", _pair_file),
}


def default_protocol(model: Any) -> str:
    """The protocol of a model's own source."""
    source = SOURCES.get(_data_settings(model).get("source", ""))
    if source is None or not source.protocol:
        raise DataError(f"name a protocol: {', '.join(PROTOCOLS)}")
    return source.protocol
