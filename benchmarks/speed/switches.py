"""What each switch gives here: fused Adam, kept memory, channels-last, bf16, compile."""

import os
import shutil
from dataclasses import dataclass
from statistics import median

from onelook.training.loop import resolve_precision
from speed.bare import BareStep, Switches
from speed.networks import MODELS, TITLES, material_of, recipe_of
from speed.table import Row, print_table

PAYS = 1.02  # times as fast, at least
STEPS = {"att": 2, "lfw": 1, "compact": 10}  # of a turn
ROUNDS = {"att": 4, "lfw": 2, "compact": 5}

PLAIN = Switches()
LAST = Switches(channels_last=True)
# Each switch beside the same step without it.
PAIRS = {
    "fused Adam": (Switches(fused=True), PLAIN),
    "freed memory kept": (Switches(memory_kept=True), PLAIN),
    "channels-last": (LAST, PLAIN),
    "bf16": (Switches(channels_last=True, bf16=True), LAST),
    "torch.compile": (Switches(channels_last=True, compiled=True), LAST),
}


@dataclass(frozen=True)
class Gains:
    """How many times as fast each switch makes the step, and whether onelook has it on."""

    network: str
    times: dict[str, float]
    on_in_onelook: dict[str, bool]
    notes: list[str]

    def best(self) -> Switches:
        """What the limit runs with: the recipe's optimizer, kept memory, and the layout and
        the precision that pay."""
        bf16 = self.times["bf16"] >= PAYS
        return Switches(
            recipe_optimizer=True,
            memory_kept=True,
            channels_last=bf16 or self.times["channels-last"] >= PAYS,
            bf16=bf16,
        )


def measure(network: str, with_compile: bool) -> Gains:
    """Take turns between the step with and without each switch."""
    bare, notes = BareStep(recipe_of(network), material_of(network)), []
    pairs = dict(PAIRS)
    missing = None if with_compile else "torch.compile was left out"
    if with_compile and compiler() is None:
        missing = "torch.compile: there is no C++ compiler here"
    if missing:
        del pairs["torch.compile"]
        notes.append(missing)
    variants = list(dict.fromkeys(v for pair in pairs.values() for v in pair))
    compile_seconds = 0.0
    for variant in variants:
        if variant.compiled:
            compile_seconds = _compile(bare, variant)
        else:
            bare.seconds(variant, 1)
    seconds: dict[Switches, list[float]] = {variant: [] for variant in variants}
    for _ in range(ROUNDS[network]):
        for variant in variants:
            seconds[variant].append(bare.seconds(variant, STEPS[network]))
    times = {
        name: median(b / a for a, b in zip(seconds[on], seconds[off], strict=True))
        for name, (on, off) in pairs.items()
    }
    if compile_seconds:
        saved = median(seconds[LAST]) - median(seconds[PAIRS["torch.compile"][0]])
        earned = "never"
        if saved > 0:
            earned = f"after {compile_seconds / saved * STEPS[network]:,.0f} steps"
        notes.append(f"torch.compile took {compile_seconds:.0f} s, earned back {earned}")
    on_in_onelook = {
        "fused Adam": True,
        "freed memory kept": True,
        "channels-last": bare.encoder_turns_channels_last(),
        "bf16": resolve_precision("auto") == "bf16",
        "torch.compile": False,
    }
    return Gains(network, times, on_in_onelook, notes)


def _compile(bare: BareStep, variant: Switches) -> float:
    """Seconds that it takes with no cache of an earlier run."""
    from torch._inductor import config

    with config.patch(force_disable_caches=True):
        return bare.seconds(variant, 1)


def compiler() -> str | None:
    """The C++ compiler that ``torch.compile`` would call."""
    return shutil.which(os.environ.get("CXX", "g++"))


def report(gains: list[Gains]) -> list[Row]:
    """The table, and what of it goes into results.json."""
    lines = []
    for name in PAIRS:
        line = [name]
        for gain in gains:
            times = gain.times.get(name)
            on = "on" if gain.on_in_onelook[name] else "off"
            line.append("" if times is None else f"{times:.2f} x ({on})")
        lines.append(line)
    notes = dict.fromkeys(f"{MODELS[g.network]}: {note}" for g in gains for note in g.notes)
    print_table(
        "Switches: how many times as fast each makes the bare step (and whether onelook "
        "has it on)",
        ["", *(TITLES[gain.network] for gain in gains)],
        lines,
        *notes,
        *_disagreements(gains),
    )
    return [
        Row("train-switches", MODELS[gain.network], name, times)
        for gain in gains
        for name, times in gain.times.items()
    ]


def _disagreements(gains: list[Gains]) -> list[str]:
    found = []
    for gain in gains:
        for name, times in gain.times.items():
            on = gain.on_in_onelook[name]
            if name == "torch.compile":
                continue  # what it costs beforehand is in the notes
            if (on and times < 1 / PAYS) or (not on and times >= PAYS):
                does = "pays and is off" if times > 1 else "costs and is on"
                found.append(f"{MODELS[gain.network]}: {name} {does}")
    return found
