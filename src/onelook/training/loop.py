"""The training loop: ``fit`` is the loop, ``Training`` what it works on."""

import logging
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onelook.card import Start, TrainingCard
from onelook.data.sampling import Batch
from onelook.errors import CheckpointError, TrainingError
from onelook.models.encoders import encoder_settings
from onelook.models.network import build_model
from onelook.progress import interruptible, progress_bar
from onelook.recipe import Recipe
from onelook.training.augment import Augment
from onelook.training.data import TrainingData
from onelook.training.device import choose_device, trains_in_bf16
from onelook.training.health import HealthCheck, all_finite
from onelook.training.losses import build_loss
from onelook.training.memory import memory_kept
from onelook.training.monitor import MetricsLog, Speed
from onelook.training.optimizer import AveragedWeights, build_optimizer, set_schedule
from onelook.training.passes import Plan, gradient_in_parts, plan_batch
from onelook.training.processes import ALONE, Processes, with_global_norms
from onelook.training.start import start_from
from onelook.training.state import load_state, save_state
from onelook.training.step import (
    Inputs,
    RawBatch,
    batch_loss,
    encode_piece,
    loss_of_embeddings,
    network_inputs,
    prefetched,
)
from onelook.training.trackers import Track, tracking
from onelook.training.validation import FIGURE_NAMES, validate
from onelook.verifier import Verifier, from_model

log = logging.getLogger(__name__)

LOG_EVERY, LOG_POINTS = 20, 50  # steps; fewer steps where that gives fewer points
SAVE_SECONDS = 30.0
LARGEST_SAVE_SHARE = 0.05  # of the time may go into saving a large state
STATE_FILE, BEST_FILE, LOG_FILE = "training/last.pt", "training/best.pt", "log.jsonl"


class Interrupted(Exception):
    """Ctrl-C was pressed; the state is saved and the training can be resumed."""


@dataclass
class TrainingState:
    """Where a training stands; with the tensors, this is its whole state."""

    step: int = 0
    best_value: float = float("-inf")
    best_epoch: int = 0
    validations_without_gain: int = 0
    finished: bool = False
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    recipe: Recipe,
    material: TrainingData,
    out: Path,
    *,
    resume: bool = False,
    tracker: str | None = None,
    progress: bool = True,
    device: str | None = None,
    encoder: nn.Module | None = None,
    processes: Processes = ALONE,
) -> tuple[Verifier, TrainingState]:
    """Train, and return the network that is best on the held-out classes, and how it went.

    ``resume`` goes on from ``training/last.pt``; the end is that of an unbroken run. Of
    several ``processes`` the first one validates and writes. The other arguments are those
    of ``train``.
    """
    is_first = processes.is_first
    # Weights and dropout draw from torch's global generator: it is seeded here and for each
    # step, and given back to the user as it was.
    with (
        torch.random.fork_rng(),
        memory_kept(),
        tracking(tracker if is_first else None, out, recipe.name) as track,
    ):
        torch.manual_seed(recipe.seed)
        training = Training(
            *(recipe, material, out, track, choose_device(device), encoder, processes)
        )
        if resume:
            training.restore()
        processes.wait()
        history = training.state.history
        metrics = MetricsLog(out / LOG_FILE, history) if is_first else None
        state, n_steps, speed = training.state, training.n_steps, Speed()
        with (
            progress_bar(
                recipe.name, n_steps, shown=progress and is_first, done=state.step
            ) as advance,
            interruptible() as interrupted,
            prefetched(
                *(material, recipe.data.rotations, state.step, n_steps, training.device),
                training.plan,
            ) as batches,
        ):
            while state.step < n_steps and not state.finished:
                raw = next(batches)
                loss = training.step(raw)
                speed.add(len(raw.batch.items))
                advance(1, f"loss {loss:.4f} · {speed.per_second:,.0f} images/s")
                if state.step % training.log_every == 0:
                    training.note(metrics, loss=loss, images_per_second=speed.per_second)
                if training.is_time_to_validate():
                    training.note(metrics, validation=training.validate())
                stopped = processes.any(interrupted.is_set())
                training.save_if_due(now=stopped or state.finished or state.step == n_steps)
                if stopped:
                    raise Interrupted(
                        f"stopped after step {state.step} of {n_steps}; nothing is lost"
                    )
        processes.wait()  # the best weights are there
        return training.best(), state


class Training:
    """The network, its optimizer and where they stand."""

    def __init__(
        self,
        recipe: Recipe,
        material: TrainingData,
        out: Path,
        track: Track,
        device: torch.device,
        encoder: nn.Module | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.recipe, self.material, self.out = recipe, material, out
        self.track, self.processes = track, processes
        self.device = device = processes.device(device)
        settings = model_settings(recipe, material)
        self.model = build_model(settings, encoder)
        self.started_from = start_from(recipe.start, self.model) if recipe.start else ""
        if processes.count > 1:
            with_global_norms(self.model)
        self.loss = build_loss(recipe.loss)
        in_parts = processes.count > 1 or recipe.chunk > 0
        self.plan = self._plan if in_parts else None
        # A loss may learn too: a temperature, proxies of classes.
        together = nn.ModuleDict({"model": self.model, "loss": self.loss})
        self.together = together.to(device)
        self.optimizer = build_optimizer(together, recipe.optimizer)
        self.bf16 = trains_in_bf16(recipe.precision, device, self.model)
        ema = recipe.optimizer.ema
        self.averaged = AveragedWeights(self.model, ema) if ema else None
        start = None
        if self.started_from:
            start = Start(name=recipe.start, fingerprint=self.started_from)
        self.verifier = from_model(
            self.averaged.model if self.averaged else self.model,
            material.input,
            material.right_input,
            card=TrainingCard(name=recipe.name, start=start),
            network=settings,
        )
        self.augment = Augment(recipe.augment)
        self.health = HealthCheck(
            recipe.loss.arguments.get("margin"),
            recipe.optimizer.learning_rate,
            out / STATE_FILE,
        )
        self.state = TrainingState()
        self.steps_per_epoch = material.sampler.steps_per_epoch
        self.n_steps = recipe.epochs * self.steps_per_epoch
        self.log_every = max(1, min(LOG_EVERY, self.n_steps // LOG_POINTS))
        self._begun = self._saved = time.monotonic()
        self._save_cost = 0.0

    def step(self, raw: RawBatch) -> float:
        """One optimizer step; gives the loss."""
        recipe, step = self.recipe, self.state.step
        self.together.train()
        seed = step_seed(recipe.seed, step)
        _seed_global(seed, self.device)
        set_schedule(
            self.optimizer, recipe.optimizer, step, self.n_steps, self.steps_per_epoch
        )
        generator = torch.Generator().manual_seed(seed)
        left, right = network_inputs(raw, self.material, self.augment, generator)
        if raw.plan is None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                loss, embeddings = batch_loss(
                    self.model, self.loss, raw.batch, left, right, recipe.twins
                )
            value = float(loss.detach())
            self.health.check(step, value, embeddings)
            torch.autograd.backward(loss)
        else:
            value, embeddings = self._gradient_in_parts(raw, raw.plan, left, right)
            self.health.check(step, value, embeddings)
        if recipe.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.together.parameters(), recipe.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged:
            self.averaged.update(self.model, step)
        self.state.step += 1
        return value

    def _plan(self, batch: Batch) -> Plan:
        return plan_batch(
            len(batch.items),
            two_sides=self.material.right is not None,
            twins=self.recipe.twins,
            chunk=self.recipe.chunk,
            processes=self.processes,
        )

    def _gradient_in_parts(
        self, raw: RawBatch, plan: Plan, left: Inputs, right: Inputs | None
    ) -> tuple[float, Tensor]:
        """Loss and embeddings of a batch that is chunked, or shared by processes."""
        pieces, seed = plan.pieces(), step_seed(self.recipe.seed, self.state.step)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

        def embed(number: int) -> Tensor:
            # Dropout draws the same each time, and something else for every piece.
            place = self.processes.rank * len(pieces) + number
            _seed_global((seed + place) % 2**63, self.device)
            with autocast:
                return encode_piece(
                    self.model, {"left": left, "right": right}, pieces[number]
                )

        def loss(embeddings: Tensor) -> Tensor:
            with autocast:
                return loss_of_embeddings(
                    *(self.model, self.loss, raw.batch, embeddings, right is not None)
                )

        again = self.recipe.chunk > 0
        value, whole = gradient_in_parts(self.together, plan, embed, loss, again)
        return float(value), whole

    def is_time_to_validate(self) -> bool:
        epoch, step_of_epoch = divmod(self.state.step, self.steps_per_epoch)
        due = step_of_epoch == 0 and epoch % self.recipe.validation.every_epochs == 0
        return due or self.state.step == self.n_steps

    def validate(self) -> float:
        """The held-out figure; keeps the weights when it is the best so far."""
        state, recipe = self.state, self.recipe
        if not all_finite(self.together):
            raise TrainingError(
                f"a weight is not a number after step {state.step}; the last good "
                f"checkpoint is {self.out / STATE_FILE}: resume with a lower learning rate"
            )
        self.verifier.model.eval()
        figure = math.nan
        if self.processes.is_first:
            figure = validate(
                self.verifier, self.material.held_out, recipe.validation, recipe.seed
            )
        figure = self.processes.told(figure)
        epoch = state.step // self.steps_per_epoch
        state.validations_without_gain += 1
        if math.isnan(figure):
            figure = -math.inf  # a correlation of equal scores, say: the worst there is
        if figure > state.best_value or not state.best_epoch:
            state.best_value, state.best_epoch = figure, epoch
            state.validations_without_gain = 0
            if self.processes.is_first:
                best = {"model": self.verifier.model.state_dict()}
                save_state(self.out / BEST_FILE, best)
        patience = recipe.validation.patience
        state.finished = 0 < patience <= state.validations_without_gain
        name = FIGURE_NAMES[recipe.validation.figure]
        if self.processes.is_first:
            log.info("epoch %d of %d: %s %.4f", epoch, recipe.epochs, name, figure)
        return figure

    def note(self, metrics: MetricsLog | None, **values: float) -> None:
        """Add a row to the metrics log and to the tracker, in the process that has one."""
        if metrics is None:
            return
        self.state.seconds = time.monotonic() - self._begun
        metrics.add(
            {
                "step": self.state.step,
                "epoch": self.state.step / self.steps_per_epoch,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": round(self.state.seconds, 2),
                **values,
            }
        )
        self.track(values, self.state.step)

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a training to be resumed.

        The learning rate and the clipping may differ, to tame a training after a NaN, and
        so may the chunk, where there is another amount of memory.
        """
        tamed = {"learning_rate", "clip_norm"}
        words = {"about": True, "published": True, "minutes": True, "start": True}
        words["chunk"] = True
        recipe = self.recipe.model_dump_json(exclude={"optimizer": tamed, **words})
        identity = {"recipe": recipe, "data": str(self.material.about)}
        # Which weights it began with, not where they were.
        return identity | ({"start": self.started_from} if self.started_from else {})

    def save_if_due(self, now: bool) -> None:
        if not self.processes.is_first:
            return
        wait = max(SAVE_SECONDS, self._save_cost / LARGEST_SAVE_SHARE)
        begun = time.monotonic()
        if not now and begun - self._saved < wait:
            return
        self.state.seconds = begun - self._begun
        save_state(
            self.out / STATE_FILE,
            {
                "identity": self._identity(),
                "together": self.together.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "averaged": self.averaged.model.state_dict() if self.averaged else {},
                "position": asdict(self.state),
            },
        )
        self._saved = time.monotonic()
        self._save_cost = self._saved - begun

    def restore(self) -> None:
        """Go back to what ``save_if_due`` wrote last."""
        path = self.out / STATE_FILE
        if not path.is_file():
            log.warning("%s does not exist: the training starts at step 0", path)
            return
        saved = load_state(path)
        if saved["identity"] != self._identity():
            raise CheckpointError(
                f"{path} is of another recipe or other data, so it cannot be resumed; give "
                "the same recipe, settings and data, or another --out"
            )
        self.together.load_state_dict(saved["together"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.averaged:
            self.averaged.model.load_state_dict(saved["averaged"])
        self.state = TrainingState(**saved["position"])
        self._begun = time.monotonic() - self.state.seconds

    def best(self) -> Verifier:
        """The verifier with the best weights by the held-out figure."""
        self.verifier.model.load_state_dict(load_state(self.out / BEST_FILE)["model"])
        self.verifier.model.eval()
        return self.verifier


def model_settings(recipe: Recipe, material: TrainingData) -> dict[str, Any]:
    """The "model" part of ``model.json``: the recipe's names and the data's facts."""
    right = None
    if recipe.right_encoder is not None:
        assert material.right_input is not None
        facts = material.right_input.encoder_arguments()
        right = encoder_settings(recipe.right_encoder, facts)
    return {
        "encoder": encoder_settings(recipe.encoder, material.input.encoder_arguments()),
        "right_encoder": right,
        "similarity": recipe.similarity.model_dump(),
    }


def _seed_global(seed: int, device: torch.device) -> None:
    """Seed the generator that dropout on this device draws from.

    ``torch.manual_seed`` does it for every kind of device there might be, and writes down
    who called it: a millisecond, a hundredth of a small step.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def step_seed(seed: int, step: int) -> int:
    """A seed for each step, so that no random state has to be saved."""
    return (seed * 1_000_003 + step) * 2_654_435_761 % 2**63
