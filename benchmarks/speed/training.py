"""Training, images/s: onelook, what people would run instead, and the limit."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from speed.bare import Switches
from speed.networks import MODELS, TITLES
from speed.rounds import Contender, rates_in_rounds, ratio
from speed.table import Row, print_table

NAMES = {
    "published": "(a) published loop: pairs by rejection, decoded on access, two passes",
    "library": "(b) pytorch-metric-learning: MPerClassSampler, decoded on access",
    "library-decoded": "(b') the same, decoded beforehand",
    "onelook": "(c) onelook",
    "limit": "(d) limit: the bare step on tensors in memory",
}
STEPS = {"att": 2, "lfw": 1, "compact": 15}  # of a turn
ROUNDS = {"att": 3, "lfw": 3, "compact": 5}


@dataclass(frozen=True)
class Reach:
    """How many times as fast as each of the others onelook is meant to be."""

    published: float
    library: float
    limit: float


REACH = {
    "att": Reach(2, 1.5, 0.95),
    "lfw": Reach(3, 1.5, 0.95),
    "compact": Reach(4, 1.5, 0.9),
}


def measure(network: str, folder: Path, limit: Switches) -> list[Row]:
    """Run the contenders in turns; print the table of one network."""
    contenders: dict[str, Contender] = {}
    try:
        for name in NAMES:
            who = [name, network, str(folder), json.dumps(asdict(limit))]
            contenders[name] = Contender([sys.executable, "-m", "speed.contend", *who])
        rates = rates_in_rounds(contenders, ROUNDS[network], STEPS[network])
    finally:
        for contender in contenders.values():
            contender.close()
    return report(network, rates, limit)


def report(network: str, rates: dict[str, list[float]], limit: Switches) -> list[Row]:
    """The table, and what of it goes into results.json."""
    reach = REACH[network]
    wanted = {"published": reach.published, "library": reach.library, "limit": reach.limit}
    lines = []
    for name, words in NAMES.items():
        times = ratio(rates, "onelook", name)
        aim = wanted.get(name)
        lines.append(
            [
                words,
                f"{median(rates[name]):,.1f}",
                f"{min(rates[name]):,.1f} to {max(rates[name]):,.1f}",
                f"{times:.2f} x",
                "" if aim is None else f">= {aim:g}: {'yes' if times >= aim else 'NO'}",
            ]
        )
    print_table(
        f"Training: {TITLES[network]}",
        ["", "images/s", "rounds", "onelook is", "reach"],
        lines,
        f"the limit runs with {limit}",
    )
    ratios = {"published": "published", "library": "pml", "limit": "limit"}
    figures = {"images_per_second": median(rates["onelook"])}
    for name, short in ratios.items():
        figures[f"ratio_{short}"] = ratio(rates, "onelook", name)
    return [Row("train-throughput", MODELS[network], *figure) for figure in figures.items()]
