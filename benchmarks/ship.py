"""Ship a trained model: check it, measure it, and write it with its card.

python benchmarks/ship.py omniglot runs/benchmarks/omniglot-compact
python benchmarks/ship.py faces runs/benchmarks/lfw-compact
python benchmarks/ship.py faces-aligned runs/benchmarks/lfw-compact
"""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors

from onelook.calibration.calibrate import calibrate
from onelook.calibration.rows import cohort_rows, familiarity_rows
from onelook.card import CalibrationFacts, Figure
from onelook.data.inputs import FaceInput, ImageInput
from onelook.decision import Decision
from onelook.evaluation.protocols import evaluate
from onelook.evaluation.verification import VerificationResult
from onelook.files import write_whole
from onelook.loading import load
from onelook.model_folder import packaged_weights, read_settings, weights_of, write_folder
from onelook.recipe import DataSettings, read_recipe
from onelook.runtime.export import exported
from onelook.runtime.onnx import WEIGHTS_FILE
from onelook.verifier import Verifier, from_model
from onelook.zoo import FOLDER
from recipes import figures
from views import mirrored

CARDS = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class Shipment:
    """What is asked of a model that ships.

    Args:
        purpose: What it compares, in words.
        most_bytes: Largest size of its weights.
        recipe: Name of the recipe whose data it is trained on.
        protocols: Protocols that the card reports.
        looking: Function that makes the model that ships from the trained one, if they
            prepare images differently.
        subject: What its pictures show: "face" where a detector may frame them.
        weights_of: The shipped model that has the same weights, if one has.
    """

    purpose: str
    most_bytes: int
    recipe: str
    protocols: tuple[str, ...]
    looking: Callable[[Verifier], Verifier] | None = None
    subject: str = ""
    weights_of: dict[str, str] | None = None


def aligned(verifier: Verifier) -> Verifier:
    """The model with a detector before it, and looking at the mirror image too.

    Which part of the aligned face comes nearest to what the network was trained on was
    chosen by the AUC on the people held out of its training: 0.960 here, 0.951 with the
    middle of the photograph, 0.966 with the mirror image.
    """
    once = verifier.input
    assert isinstance(once, ImageInput)
    settings = once.settings.model_copy(update={"crop": 0.0})
    twice = mirrored(verifier)
    preprocess = FaceInput(settings, share=0.9, above=0.1)
    return from_model(twice.model, preprocess, card=twice.card, network=twice.network)


SHIPMENTS = {
    "omniglot": Shipment(
        "drawings of characters and symbols",
        4_000_000,
        "omniglot-compact",
        (
            "omniglot-20-runs",
            "omniglot-within-alphabet",
            "koch-verification",
            "digits-one-shot",
        ),
    ),
    "faces": Shipment(
        "faces, research only",
        6_000_000,
        "lfw-compact",
        ("lfw-view1",),
        subject="face",
    ),
    "faces-aligned": Shipment(
        "photographs with a face, found by onelook[faces]; research only",
        6_000_000,
        "lfw-compact",
        ("lfw-view1",),
        aligned,
        weights_of={"of_model": "faces"},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SHIPMENTS)
    parser.add_argument("run", type=Path, help="the folder that the training wrote")
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    shipment = SHIPMENTS[arguments.name]
    verifier = load(arguments.run, runtime="torch")
    check(verifier, arguments.run, shipment)
    if shipment.looking is not None:
        verifier = shipment.looking(verifier)
    found = calibrate(verifier, far=verifier.card.recipe["far"])
    print(found, flush=True)
    verifier.decision = found.decision
    changes = {
        "calibration": found.about(),
        "name": arguments.name,
        "purpose": shipment.purpose,
        "subject": shipment.subject,
        "shipped_by": shlex.join(["python", "benchmarks/ship.py", *sys.argv[1:]]),
    }
    verifier.card = verifier.card.model_copy(update=changes)
    with tempfile.TemporaryDirectory() as scratch:
        # What is measured is what was written and read again.
        measured = load(verifier.save(scratch))
        figures = tuple(Figure(**row) for row in measure(measured, shipment))
    verifier.card = verifier.card.model_copy(update={"figures": figures})
    folder = ship(verifier, arguments.out / arguments.name, shipment.weights_of)
    text = (CARDS / f"{arguments.name}.md").read_text("utf-8")
    (folder / "README.md").write_text(card_text(text, folder), "utf-8")
    print(f"shipped: {folder}")


def check(verifier: Verifier, run: Path, shipment: Shipment) -> None:
    """Stop at a model that is too large, undecided, or trained on something else."""
    size = (run / WEIGHTS_FILE).stat().st_size
    if size > shipment.most_bytes:
        sys.exit(f"{run}: {size:,} bytes, more than {shipment.most_bytes:,}")
    if verifier.decision is None:
        sys.exit(f"{run}: no threshold; hold more classes out of the training")
    data = DataSettings.model_validate(verifier.card.data_settings)
    if data != read_recipe(shipment.recipe).data:
        sys.exit(f"{run}: trained on {data}, not on the data of {shipment.recipe}")


def measure(verifier: Verifier, shipment: Shipment) -> list[dict[str, Any]]:
    """One entry for each figure of each protocol, as ``results.json`` names them."""
    rows = []
    for protocol in shipment.protocols:
        result = evaluate(verifier, protocol)
        print(result, flush=True)
        command = f"onelook evaluate {verifier.name} --protocol {protocol}"
        found = [(*figure, command) for figure in figures(result, protocol)]
        if isinstance(result, VerificationResult):
            found += [(*share, "benchmarks/ship.py") for share in decided(result, verifier)]
        for metric, value, interval, command in found:
            ends = None if interval is None else np.round(interval, 6).tolist()
            row = {"protocol": protocol, "metric": metric, "value": round(float(value), 6)}
            rows.append({**row, "interval": ends, "command": command})
    return rows


def decided(
    result: VerificationResult, verifier: Verifier
) -> list[tuple[str, float, None]]:
    """Errors of the model's own decision on pairs that did not choose it."""
    assert verifier.decision is not None
    answers = [verifier.decision.decide(score) for score in result.scores]
    said = {answer: np.array([a is answer for a in answers]) for answer in (True, False)}
    return [
        ("different pairs called same", said[True][~result.is_same].mean(), None),
        ("same pairs called different", said[False][result.is_same].mean(), None),
        ("pairs left unsure", 1 - (said[True] | said[False]).mean(), None),
    ]


def ship(verifier: Verifier, folder: Path, base: dict[str, str] | None) -> Path:
    """Write a model's folder, without its weights where another model has the same."""
    if base is None:
        return verifier.save(folder)
    if "of_model" in base:
        weights = (FOLDER / base["of_model"] / WEIGHTS_FILE).read_bytes()
    else:
        weights = packaged_weights(base["of_encoder"], FOLDER)
    graphs = exported(verifier.encoder, weights, verifier.examples()).graphs
    return write_folder(folder, verifier.to_dict() | {"weights": base}, weights, graphs)


def card_text(text: str, folder: Path) -> str:
    """The hand-written card with the facts and figures of the model in ``folder``."""
    content = json.loads((folder / "model.json").read_text("utf-8"))
    weights = weights_of(folder, read_settings(folder)[0])
    n_parameters = sum(tensor.size for tensor in load_tensors(weights).values())
    text = text.replace("<!-- facts -->", _facts(content, n_parameters, len(weights)))
    return text.replace("<!-- figures -->", _figures(content["card"]))


def _facts(content: dict[str, Any], n_parameters: int, n_bytes: int) -> str:
    card, decision = content["card"], Decision.from_dict(content["decision"])
    encoder, recipe, data = content["model"]["encoder"], card["recipe"], card["data"]
    looks = "once"
    if encoder["name"] == "mirrored":
        encoder, looks = encoder["arguments"]["encoder"], "twice, at the mirror image too"
    channels, height, width = encoder["arguments"]["input_shape"]
    rows = {
        "network": f"`{encoder['name']}`, {n_parameters:,} numbers, "
        f"{n_bytes / 1e6:.2f} MB; {height} x {width} x {channels} pixels to "
        f"{encoder['arguments']['embedding_size']} numbers; it looks {looks}",
        "trained by": f"recipe `{recipe['name']}`, seed {recipe['seed']}, "
        f"{card['metrics']['seconds'] / 60:.0f} minutes; its settings are in `model.json`",
        "trained on": f"{data['training images']:,} images of "
        f"{data['training classes']:,} classes; {data['held-out classes']:,} classes held "
        "out to choose the epoch and the threshold",
        "threshold": _threshold(decision),
        "called unfamiliar": familiarity_row(CalibrationFacts(**card["calibration"])),
        "on classes left out": _left_out(card["calibration"]),
        "galleries": in_galleries(decision),
        "beside a cohort": beside_cohorts(decision),
        "shipped by": f"`{card['shipped_by']}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def _threshold(decision: Decision) -> str:
    low, high = decision.intervals["far"]
    return (
        f"{decision.threshold:.4f}, meant for a false-accept rate of {decision.far:g} "
        f"(95% {low:.4f} to {high:.4f}) among pairs of {decision.pairs}; it rejects "
        f"{decision.frr:.3f} of the same pairs; unsure below it down to "
        f"{decision.reject_below:.4f}"
    )


def _left_out(calibration: dict[str, Any]) -> str:
    far, frr, error = (calibration[name] for name in ("far", "frr", "calibration_error"))
    return (
        f"false accepts {far:.4f}, false rejects {frr:.4f}, calibration error of the "
        f"probability {error:.3f}: each held-out part judged by what the others fitted"
    )


def put_rows(card: Path, rows: dict[str, str]) -> None:
    """Write rows of a card's table of facts again; a new one follows the threshold's.

    A card that says all in words has none, and stays.
    """
    lines = card.read_text("utf-8").splitlines()
    for name, text in rows.items():
        starts = [line.partition(" |")[0] for line in lines]
        if "| threshold" not in starts:
            return
        if f"| {name}" not in starts:
            lines.insert(starts.index("| threshold") + 1, "")
            starts.insert(starts.index("| threshold") + 1, f"| {name}")
        lines[starts.index(f"| {name}")] = f"| {name} | {text} |"
    write_whole(card, "\n".join(lines) + "\n")


def familiarity_row(calibration: CalibrationFacts | None) -> str:
    """What share of images is called unfamiliar, of its own kind and of others."""
    return ", ".join(text for _, text in familiarity_rows(calibration)) or "not measured"


def in_galleries(decision: Decision) -> str:
    """What the 1:N thresholds stand for, at the sizes that people ask about."""
    shown = [row for row in decision.identify if row.gallery_size in (1, 10, 20, 100)]
    found = [
        f"{row.gallery_size}: {row.threshold:.4f} ({row.known:.2f})"
        for row in shown
        if row.n_images == 1
    ]
    several = [
        f"{row.n_images} images ({row.known:.2f})"
        for row in shown
        if row.n_images > 1 and row.gallery_size == 20
    ]
    if several:
        found.append(f"20 of {', '.join(several)} each")
    largest = max(row.gallery_size for row in decision.identify)
    return (
        f"thresholds at which {decision.identify[0].fpir:.2g} of unknown probes are "
        f"falsely accepted, by enrolled classes (and share of enrolled ones found): "
        f"{'; '.join(found)}; measured up to {largest}"
    )


def beside_cohorts(decision: Decision) -> str:
    """What the decision says beside unlabelled images of another place."""
    rows = [f"{name}: {text}" for name, text in cohort_rows(decision)]
    return "; ".join(rows) + "; on simulated places of the classes held out"


def _figures(card: dict[str, Any]) -> str:
    lines = ["| protocol | figure | 95% interval | command |", "|---|---|---|---|"]
    for row in card["figures"]:
        ends = [f"{100 * end:.2f}%" for end in row.get("interval") or []]
        lines.append(
            f"| {row['protocol']} | {row['metric']} {100 * row['value']:.2f}% "
            f"| {' to '.join(ends)} | `{row['command']}` |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
