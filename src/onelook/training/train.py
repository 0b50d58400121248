"""``train``: from a recipe's name to a model folder with weights, decision and report."""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray
from torch import nn

from onelook.calibration.familiarity import familiarity_of_loaded, fits, some
from onelook.calibration.fit import Fitted, fit_drawn, fit_items
from onelook.calibration.pairs import ClassPairs
from onelook.card import CalibrationFacts, TrainingCard, TrainingMetrics
from onelook.data.sources import source_of
from onelook.errors import DataError
from onelook.familiarity import Familiarity
from onelook.files import expanded, locked
from onelook.loading import load
from onelook.metrics import roc_curve
from onelook.recipe import AnyRecipe, HeadRecipe, Recipe, override, read_recipe
from onelook.report.inputs import ReportInputs
from onelook.report.page import write_report
from onelook.tables import Rows, aligned, html_table
from onelook.training.data import HeldOut, TrainingData
from onelook.training.loop import STATE_FILE, TrainingState, fit
from onelook.training.prepare import prepare
from onelook.training.processes import Processes, joined, was_restarted
from onelook.training.reporting import headline_rows, report_inputs
from onelook.training.train_head import train_head
from onelook.training.validation import (
    FIGURE_NAMES,
    HeldOutPairs,
    embed_held_out,
    held_out_pairs,
)
from onelook.verifier import Verifier
from onelook.zoo import SETTINGS_FILE, shipped_names

log = logging.getLogger(__name__)

REPORT_FILE = "report.html"


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """What ``train`` gives: the trained verifier, where it lies, and how it went."""

    verifier: Verifier
    out: Path
    report: Path
    best_figure: float
    best_epoch: int
    seconds: float
    figures: Rows  # of the model: names and texts, the most important first

    def __str__(self) -> str:
        return f"{self.verifier.name}\n{aligned(self.rows())}"

    def __repr__(self) -> str:
        (figure, value), *_ = self.rows()
        return f"<Run of {self.verifier.name} in {self.out}: {figure} {value}>"

    def _repr_html_(self) -> str:
        return html_table(self.verifier.name, self.rows())

    def rows(self) -> Rows:
        """The figures that the report shows too, and where the files are."""
        files = ("model", str(self.out)), ("report", str(self.report))
        return [*self.figures, *files]


def train(
    recipe: str | Path | AnyRecipe,
    data: str | Path | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    changes: dict[str, Any] | None = None,
    skip_bad: bool = False,
    tracker: str | None = None,
    progress: bool = True,
    overwrite: bool = False,
    device: str | None = None,
    encoder: nn.Module | None = None,
    measure: Callable[[Verifier], Rows] | None = None,
    **settings: Never,
) -> Run:
    """Train a twin network by a recipe, calibrate it on held-out classes, and save it.

    Args:
        recipe: A shipped recipe's name, a YAML file, or a Recipe.
        data: Folder of the data; None looks in ``ONELOOK_DATA`` and in the user's cache.
        out: Folder of the model; ``runs/NAME`` by default.
        resume: Go on where a killed or stopped training of the same recipe stood.
        changes: Settings that differ from the recipe, dotted: ``{"epochs": 3}``.
        skip_bad: Go on without images that cannot be read.
        tracker: ``"tensorboard"``, ``"mlflow"`` or ``"wandb"``.
        progress: Report progress on standard error.
        overwrite: Replace a training that lies in ``out`` already.
        device: Such as "cuda" or "cpu"; None takes the fastest there is.
        encoder: A network of your own in place of the recipe's, with the attribute
            ``embedding_size``. It is saved by the import path of its class, and by its
            attribute ``arguments``, a dict, where the class takes some.
        measure: Function of the trained verifier; the names and texts that it gives come
            first among the figures of the run and of its report.
        settings: None are taken: settings of the recipe go into ``changes``.

    Raises:
        TypeError: If a setting of the recipe is given by keyword.
        DataError: If the recipe or the data is wrong, or ``out`` holds a training that is
            neither to be resumed nor overwritten.
        TrainingError: If the training fails.
        Interrupted: After Ctrl-C; ``resume=True`` goes on.

    Example:
        >>> run = train("digits", out="runs/digits")  # doctest: +SKIP
        >>> run.verifier.compare("a.png", "b.png")  # doctest: +SKIP
    """
    if settings:
        name = next(iter(settings))
        raise TypeError(
            f"train() has no argument {name!r}; settings of a recipe go into changes, "
            f'such as changes={{"{name}": ...}}'
        )
    chosen = _chosen(recipe, changes or {}, encoder, tracker)
    folder = expanded(out or Path("runs") / chosen.name)
    busy = f"another training runs in {folder}; wait until it ends, or name another --out"
    how: dict[str, Any] = {"progress": progress, "device": device}
    resume = resume or was_restarted()
    with joined() as processes, _held(folder, busy, processes):
        if isinstance(chosen, HeadRecipe):
            if processes.count > 1:
                raise DataError(
                    f"recipe {chosen.name} fits a head, which takes seconds in one "
                    "process; run it without torchrun"
                )
            _check_replaced(folder, SETTINGS_FILE, resume or overwrite)
            name = model_name(chosen, folder)
            return _saved(
                *train_head(chosen, data, name, skip_bad=skip_bad, **how), folder, measure
            )
        if processes.is_first:
            _check_replaced(folder, STATE_FILE, resume or overwrite)
        with processes.first_before_others():
            material = prepare(chosen, data, skip_bad, progress and processes.is_first)
        how |= {"resume": resume, "tracker": tracker, "encoder": encoder}
        fitted = fit(chosen, material, folder, processes=processes, **how)
        with processes.first_before_others():
            if processes.is_first:
                trained = _calibrated(chosen, material, folder, *fitted)
                return _saved(*trained, folder, measure)
            # The others read what it wrote.
            verifier = load(folder)
            return _run(verifier, folder, headline_rows(verifier))


def _held(folder: Path, busy: str, processes: Processes) -> AbstractContextManager[None]:
    """The lock of the folder, which the process that writes holds."""
    return locked(folder, busy) if processes.is_first else nullcontext()


def _chosen(
    recipe: str | Path | AnyRecipe,
    changes: dict[str, Any],
    encoder: nn.Module | None,
    tracker: str | None,
) -> AnyRecipe:
    """The recipe with its changes, and the import path of a network of the user's own."""
    chosen = override(read_recipe(recipe), changes)
    if isinstance(chosen, HeadRecipe) and (encoder is not None or tracker is not None):
        raise DataError(
            f"recipe {chosen.name} fits a head after {chosen.start}: no steps "
            "to track; for those, or a network of your own, take class-folder-scratch"
        )
    if encoder is None:
        return chosen
    path = f"{type(encoder).__module__}:{type(encoder).__qualname__}"
    named = {"name": path, "arguments": getattr(encoder, "arguments", {})}
    return override(chosen, {"encoder": named})


def model_name(recipe: AnyRecipe, out: Path) -> str:
    """What people call the model: a user's own by its folder, others by their recipe."""
    is_own = source_of(recipe.data).yours and out.name not in shipped_names()
    return out.name if is_own and out.name else recipe.name


def _check_replaced(folder: Path, file: str, wanted: bool) -> None:
    if (folder / file).exists() and not wanted:
        raise DataError(
            f"{folder} holds a training already: --resume goes on with it, --overwrite "
            "replaces it, --out names another folder"
        )


def _calibrated(
    recipe: Recipe,
    material: TrainingData,
    out: Path,
    verifier: Verifier,
    state: TrainingState,
) -> tuple[Verifier, ReportInputs]:
    """Calibrate on the held-out classes, fill in the card, and gather the report."""
    held_out = material.held_out
    left, right = embed_held_out(verifier, held_out)
    metrics: dict[str, Any] = {}
    pairs = fitted = None
    if held_out.targets is None:
        pairs = held_out_pairs(verifier, held_out, left, right, recipe.seed)
        curve = roc_curve(pairs.scores, pairs.is_same)
        metrics["auc"], metrics["eer"] = curve.auc, curve.eer
        # The accuracy of a protocol is measured at this threshold: chosen on other classes.
        metrics["best_threshold"] = curve.best_threshold()
        fitted = calibrated(recipe, verifier, held_out, left, right, pairs)
    verifier.familiarity = _familiarity(verifier, material, recipe.seed)
    facts: dict[str, Any] = {}
    if verifier.familiarity is not None:
        facts |= verifier.familiarity.figures()
    if fitted is not None:
        verifier.decision = fitted.decision
        facts |= fitted.figures()
    verifier.card = TrainingCard(
        name=model_name(recipe, out),
        recipe=recipe.model_dump(mode="json"),
        data=material.about,
        start=verifier.card.start,
        calibration=CalibrationFacts(**facts) if facts or fitted else None,
        metrics=TrainingMetrics(
            figure=FIGURE_NAMES[recipe.validation.figure],
            value=state.best_value if math.isfinite(state.best_value) else None,
            best_epoch=state.best_epoch,
            seconds=round(state.seconds, 1),
            **metrics,
        ),
    )
    inputs = report_inputs(
        recipe, material, verifier, state, embeddings=left, pairs=pairs, fitted=fitted
    )
    return verifier, inputs


def _saved(
    verifier: Verifier,
    inputs: ReportInputs,
    out: Path,
    measure: Callable[[Verifier], Rows] | None,
) -> Run:
    """Save the model folder and write the report."""
    verifier.save(out)
    if verifier.card.warning:
        log.warning(verifier.card.warning)
    figures = [*(measure(verifier) if measure else ()), *headline_rows(verifier)]
    inputs.result_lines = figures
    write_report(inputs, out / REPORT_FILE)
    return _run(verifier, out, figures)


def _run(verifier: Verifier, out: Path, figures: Rows) -> Run:
    metrics = verifier.card.metrics or TrainingMetrics()
    return Run(
        verifier=verifier,
        out=out,
        report=out / REPORT_FILE,
        best_figure=-math.inf if metrics.value is None else metrics.value,
        best_epoch=metrics.best_epoch or 0,
        seconds=metrics.seconds or 0.0,
        figures=figures,
    )


def _familiarity(
    verifier: Verifier, material: TrainingData, seed: int
) -> Familiarity | None:
    """What the trained images look like, with limits from those held out."""
    if not fits(verifier):
        return None
    trained, held = material.left, material.held_out.left
    images, others = (side.store.gather(some(side.rows, seed)) for side in (trained, held))
    return familiarity_of_loaded(verifier, images, others)


def calibrated(
    recipe: Recipe,
    verifier: Verifier,
    held_out: HeldOut,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    pairs: HeldOutPairs,
) -> Fitted | None:
    """The decision that held-out classes support; None, with a warning, for no decision."""
    labels, groups, seed = held_out.labels, held_out.groups, recipe.seed
    try:
        if held_out.pair_left is None:
            return fit_items(
                verifier, left, right, labels, groups, far=recipe.far, seed=seed
            )
        sides = labels[pairs.left], labels[pairs.right]
        drawn = ClassPairs.listed(pairs.scores, pairs.is_same, *sides)
        return fit_drawn(drawn, far=recipe.far, seed=seed)
    except ValueError as error:
        log.warning("no threshold: %s (--set data.validation_fraction=0.5)", error)
        return None
