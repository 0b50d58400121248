"""What each switch gives here: kept memory, fused Adam, channels-last, bf16, compile."""

import os
import shutil
from dataclasses import dataclass, replace
from statistics import median

from torch import nn

from onelook.training.device import choose_device, trains_in_bf16
from onelook.training.memory import memory_kept
from speed.bare import BareStep, Switches
from speed.networks import MODELS, TITLES, material_of, recipe_of
from speed.table import Row, print_table

PAYS = 1.02  # times as fast, at least
STEPS = {"att": 2, "lfw": 1, "compact": 10}  # of a turn
ROUNDS = {"att": 3, "lfw": 2, "compact": 4}

PLAIN = Switches()
LAST = Switches(channels_last=True)
BF16 = Switches(channels_last=True, bf16=True)
COMPILED = Switches(channels_last=True, compiled=True)
# Each switch beside the same step without it, all of them with freed memory kept.
PAIRS = {
    "fused Adam": (Switches(fused=True), PLAIN),
    "channels-last": (LAST, PLAIN),
    "bf16": (BF16, LAST),
    "torch.compile": (COMPILED, LAST),
}
KEPT = "freed memory kept"


@dataclass(frozen=True)
class Gains:
    """How many times as fast each switch makes the step, and whether onelook has it on."""

    network: str
    times: dict[str, float]
    on_in_onelook: dict[str, bool]
    notes: list[str]

    def best(self) -> Switches:
        """The recipe's optimizer with the fastest layout and precision, for the limit."""
        last = self.times["channels-last"]
        speeds = {PLAIN: 1.0, LAST: last, BF16: last * self.times["bf16"]}
        return replace(max(speeds, key=speeds.__getitem__), recipe_optimizer=True)

    def disagreements(self) -> list[str]:
        """Where onelook does not take what pays, or takes what costs.

        Not for ``torch.compile``: what it costs beforehand is in the notes.
        """
        found, best = [], self.best()
        wanted = {"channels-last": best.channels_last, "bf16": best.bf16}
        for name, times in self.times.items():
            on = self.on_in_onelook[name]
            clear = max(times, 1 / times) >= PAYS and name != "torch.compile"
            if clear and on != wanted.get(name, times > 1):
                found.append(f"{name} {'costs and is on' if on else 'pays and is off'}")
        return found


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
    warm_up = {variant: _first_step(bare, variant) for variant in variants}
    seconds: dict[Switches, list[float]] = {variant: [] for variant in variants}
    given_back = []
    for _ in range(ROUNDS[network]):
        given_back.append(bare.seconds(PLAIN, STEPS[network]))
        with memory_kept():
            bare.seconds(PLAIN, 1)  # takes the memory that the others find
            for variant in variants:
                seconds[variant].append(bare.seconds(variant, STEPS[network]))
    times = {KEPT: _ratio(given_back, seconds[PLAIN])}
    times |= {name: _ratio(seconds[off], seconds[on]) for name, (on, off) in pairs.items()}
    if COMPILED in variants:
        saved = (median(seconds[LAST]) - median(seconds[COMPILED])) / STEPS[network]
        earned = f"after {warm_up[COMPILED] / saved:,.0f} steps" if saved > 0 else "never"
        notes.append(f"torch.compile took {warm_up[COMPILED]:.0f} s, earned back {earned}")
    on_in_onelook = {
        KEPT: True,
        "fused Adam": True,
        "channels-last": bare.encoder_turns_channels_last(),
        "bf16": trains_in_bf16("auto", choose_device(), nn.Identity()),
        "torch.compile": False,
    }
    return Gains(network, times, on_in_onelook, notes)


def _ratio(slow: list[float], fast: list[float]) -> float:
    return median(a / b for a, b in zip(slow, fast, strict=True))


def _first_step(bare: BareStep, variant: Switches) -> float:
    """Seconds of the first step, which compiles without the cache of an earlier run."""
    if not variant.compiled:
        return bare.seconds(variant, 1)
    from torch._inductor import config

    with config.patch(force_disable_caches=True):
        return bare.seconds(variant, 1)


def compiler() -> str | None:
    """The C++ compiler that ``torch.compile`` would call."""
    return shutil.which(os.environ.get("CXX", "g++"))


def report(gains: Gains) -> list[Row]:
    """The table of one network, and what of it goes into results.json."""
    lines = [
        [name, f"{times:.2f} x", "on" if gains.on_in_onelook[name] else "off"]
        for name, times in gains.times.items()
    ]
    print_table(
        f"Switches, how many times as fast each makes the bare step: "
        f"{TITLES[gains.network]}",
        ["", "times", "in onelook"],
        lines,
        *gains.notes,
        *gains.disagreements(),
    )
    return [
        Row("train-switches", MODELS[gains.network], name, times)
        for name, times in gains.times.items()
    ]
