"""Train by a recipe of a head: embed once, fit, judge by classes left out, save, report."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onelook.calibration.familiarity import familiarity_of_pixels
from onelook.calibration.fit import Fitted, draws_for, fit_cohorts, fit_items
from onelook.calibration.pairs import score_drawn_pairs
from onelook.card import CalibrationFacts, Start, TrainingCard, TrainingMetrics
from onelook.data.items import Dataset
from onelook.data.sources import open_training_data
from onelook.errors import DataError
from onelook.evaluation.baselines import NearestPixels
from onelook.evaluation.scorer import Scorer, ScoreTable
from onelook.loading import load
from onelook.metrics import RocCurve, roc_curve
from onelook.models.network import build_model
from onelook.recipe import HeadRecipe
from onelook.report.inputs import ReportInputs
from onelook.runtime.scores import build_scores, unit_vectors
from onelook.training.heads import (
    MOST_COMPARED,
    Head,
    cross_fit,
    fit_heads,
    halves,
    spread,
    usable,
)
from onelook.training.reporting import choose_for_map
from onelook.vectors import embed_files
from onelook.verifier import Verifier, from_model

# A head must be better than none by this much of AUC; heads this near are alike.
WORTH_A_HEAD, ALIKE = 0.001, 0.002
MOST_LOOKED_AT = 600  # images, of which half say what is familiar
FIGURE = "AUC on classes left out"


@dataclass(frozen=True, eq=False)
class Chosen:
    """The head that classes left out prefer, and what they say of it."""

    shrinkage: float | None
    fitted: Fitted
    compared: dict[str, float]


def train_head(
    recipe: HeadRecipe,
    data: str | Path | None,
    name: str,
    *,
    skip_bad: bool,
    progress: bool,
    device: str | None,
) -> tuple[Verifier, ReportInputs]:
    """The trained model with its card, not saved yet, and what its report shows."""
    begun = time.monotonic()
    items = open_training_data(recipe.data, data)
    if not isinstance(items, Dataset) or items.right_paths is not None:
        raise DataError(
            f"recipe {recipe.name}: a head needs images in classes; "
            f"{recipe.data.source} has pairs"
        )
    if reason := usable(items, recipe.head.fewest_classes):
        raise DataError(reason)
    start = load(recipe.start, device).plain
    items, embeddings = _embedded(start, items, skip_bad, progress)
    if reason := usable(items, recipe.head.fewest_classes):
        raise DataError(f"{reason}; some of the images could not be read")
    chosen = choose(recipe, start, items, embeddings, progress)
    verifier = start
    if chosen.shrinkage is not None:
        head = fit_heads(embeddings, items.labels)[chosen.shrinkage]
        verifier = with_head(recipe.start, head)
        seen = items.subset(spread(items.labels, MOST_LOOKED_AT))
        verifier.familiarity = familiarity_of_pixels(verifier, seen, recipe.seed)
        embeddings = head(embeddings)
    verifier.decision = chosen.fitted.decision
    seconds = time.monotonic() - begun
    figures = chosen.fitted.figures()
    if verifier.familiarity is not None:
        figures |= verifier.familiarity.figures()
    verifier.card = _card(recipe, start, items, chosen, figures, seconds, name)
    return verifier, _report_inputs(verifier, items, embeddings, chosen.fitted)


def choose(
    recipe: HeadRecipe,
    start: Verifier,
    items: Dataset,
    embeddings: NDArray[np.float32],
    progress: bool,
) -> Chosen:
    """The best head by pairs of classes that it was not fitted on, with its decision."""
    rows = spread(items.labels, MOST_COMPARED)
    labels, seen = items.labels[rows], embeddings[rows]
    cosine = build_scores("cosine")
    tables: dict[float | None, NDArray[np.float32]] = {
        None: cosine.matrix(seen, seen).astype(np.float32),
        **cross_fit(seen, labels, recipe.seed, progress),
    }
    curves = {
        shrinkage: _curve(recipe, table := ScoreTable(scores), table.embed(labels), labels)
        for shrinkage, scores in tables.items()
    }
    best = _best(curves, recipe.far)
    table = ScoreTable(tables[best])
    of_row = table.embed(labels)
    settings: dict[str, Any] = {"far": recipe.far, "seed": recipe.seed}
    fewest = recipe.head.fewest_classes
    # A table has no embeddings whose mean could be scored.
    fitted = fit_items(
        *(table, of_row, of_row, labels), fewest_classes=fewest, votes=["best"], **settings
    )
    mapped, half = unit_vectors(seen), None
    if best is not None:
        mapped, half = halves(seen, labels, best, recipe.seed)
    prior = fitted.decision.prior
    decision = fit_cohorts(
        *(fitted.decision, cosine, mapped, labels, half), prior=prior, **settings
    )
    pixels = NearestPixels()
    plain = pixels.embed([items.paths[row] for row in rows])
    compared = {
        FIGURE: curves[best].auc,
        f"AUC of {start.name} without a head": curves[None].auc,
        "AUC of plain pixels": _curve(recipe, pixels, plain, labels).auc,
    }
    return Chosen(best, replace(fitted, decision=decision), compared)


def _best(curves: dict[float | None, RocCurve], far: float) -> float | None:
    """The shrinkage that ranks best; of several alike, the one that finds most at a FAR."""
    aucs = {shrinkage: curve.auc for shrinkage, curve in curves.items()}
    highest = max(aucs.values())
    if aucs[None] >= highest - WORTH_A_HEAD:
        return None
    alike = [one for one in aucs if one is not None and aucs[one] >= highest - ALIKE]
    return max(alike, key=lambda one: curves[one].tar_at(far))


def _curve(
    recipe: HeadRecipe, scorer: Scorer, embeddings: NDArray[Any], labels: NDArray[np.int64]
) -> RocCurve:
    """The curve of the pairs that the decision is fitted on."""
    drawn = score_drawn_pairs(
        *(scorer, embeddings, embeddings, labels, None),
        seed=recipe.seed,
        n_different=draws_for(recipe.far),
    )
    return roc_curve(drawn.scores, drawn.is_same)


def with_head(start: str, head: Head) -> Verifier:
    """A ready model with a head after its network."""
    base = load(start, runtime="torch").plain
    assert base.network is not None
    encoder = {"name": "headed", "arguments": {"encoder": base.network["encoder"]}}
    network = {"encoder": encoder, "similarity": {"name": "cosine", "arguments": {}}}
    model: Any = build_model(network)
    model.encoder.encoder.load_state_dict(base.model.encoder_of("left").state_dict())
    model.encoder.head.weight.data = torch.from_numpy(head.weight)
    model.encoder.head.bias.data = torch.from_numpy(head.bias)
    return from_model(model, base.input, network=network)


def _embedded(
    start: Verifier, items: Dataset, skip_bad: bool, progress: bool
) -> tuple[Dataset, NDArray[np.float32]]:
    """The items that could be read, and their embeddings (N, D)."""
    found = embed_files(start, items.paths, skip_bad=skip_bad, progress=progress)
    row_of = {path: row for row, path in enumerate(found.paths)}
    items = items.without({path for path in items.paths if path not in row_of})
    return items, found.vectors[[row_of[path] for path in items.paths]]


def _card(
    recipe: HeadRecipe,
    start: Verifier,
    items: Dataset,
    chosen: Chosen,
    figures: dict[str, Any],
    seconds: float,
    name: str,
) -> TrainingCard:
    drawn = chosen.fitted.drawn
    curve = roc_curve(drawn.scores, drawn.is_same)
    return TrainingCard(
        name=name,
        recipe=recipe.model_dump(mode="json"),
        data={
            "training data": items.name,
            "training images": len(items),
            "training classes": items.n_classes,
            "fingerprint": items.fingerprint,
            "head": "none"
            if chosen.shrinkage is None
            else f"whitening, {chosen.shrinkage:g}",
        },
        start=Start(name=recipe.start, fingerprint=start.fingerprint),
        calibration=CalibrationFacts(
            data=items.name, items=len(items), fingerprint=items.fingerprint, **figures
        ),
        metrics=TrainingMetrics(
            figure=FIGURE,
            value=chosen.compared[FIGURE],
            auc=chosen.compared[FIGURE],
            eer=curve.eer,
            best_threshold=curve.best_threshold(),
            seconds=round(seconds, 1),
            compared=chosen.compared,
        ),
    )


def _report_inputs(
    verifier: Verifier, items: Dataset, embeddings: NDArray[np.float32], fitted: Fitted
) -> ReportInputs:
    """Pairs of classes left out, and a map of all of them."""
    shown = choose_for_map(items.labels)
    loaded = verifier.input.load_many([items.paths[row] for row in shown])
    pictures = [verifier.input.picture(one) for one in loaded]
    inputs = ReportInputs(
        title=verifier.name,
        recipe=verifier.card.recipe or {},
        data=verifier.card.data,
        scores=fitted.drawn.scores,
        is_same=fitted.drawn.is_same,
        dissimilarity=verifier.dissimilarities(fitted.drawn.scores),
        threshold=fitted.decision.threshold,
        embeddings=embeddings[shown],
        labels=items.labels[shown],
        class_names=items.class_names,
        pixels=np.stack([one for one in pictures if one is not None]),
    )
    inputs.add_decision(fitted.decision, fitted.check)
    return inputs
