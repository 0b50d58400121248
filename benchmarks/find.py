"""How often `onelook find` finds what a picture holds, and rejects what it does not.

    python benchmarks/find.py --data $ONELOOK_DATA

Pictures are composed of real images that the model was not trained on: sheets of 12 drawn
characters (Omniglot's evaluation alphabets), and groups of 8 people (of LFW's View 1) in a
photograph. The query is another image of one of them, or in every second picture of a class
that is not in it.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

import onelook
from onelook.data.inputs.decoding import decode
from onelook.data.items import Dataset
from onelook.data.reading import read_bytes
from onelook.data.sources.lfw import lfw_people
from onelook.data.sources.omniglot import omniglot
from onelook.find import Findings, find
from onelook.verifier import Verifier

Box = tuple[float, float, float, float]
SHEET, ROWS, COLUMNS = (1000, 760), 3, 4
GROUP, FACE = (1280, 640), 250


@dataclass
class Scene:
    """A picture, a query, and the box where the query is; None where it is not."""

    query: str
    picture: Image.Image
    truth: Box | None


def sheet(data: Dataset, present: bool, rng: np.random.Generator) -> Scene:
    """12 characters in rows, of unequal size and not quite in line."""
    labels = rng.choice(data.labels.max() + 1, ROWS * COLUMNS + 1, replace=False)
    picture = Image.new("L", SHEET, 255)
    wide, high = SHEET[0] // COLUMNS, SHEET[1] // ROWS
    truth: Box | None = None
    query, other = rng.choice(np.flatnonzero(data.labels == labels[0]), 2, replace=False)
    places = rng.permutation(ROWS * COLUMNS)
    for i, place in enumerate(places):
        item = rng.choice(np.flatnonzero(data.labels == labels[i + (not present)]))
        item = other if present and i == 0 else item
        side = int(rng.integers(130, 190))
        drawing = decode(read_bytes(data.paths[item]), data.paths[item]).convert("L")
        drawing = drawing.resize((side, side), Image.Resampling.BICUBIC)
        x = place % COLUMNS * wide + int(rng.integers(wide - side))
        y = place // COLUMNS * high + int(rng.integers(high - side))
        picture.paste(drawing, (x, y))
        if present and i == 0:
            ys, xs = np.nonzero(np.asarray(drawing) < 128)
            truth = (x + xs.min(), y + ys.min(), x + xs.max() + 1, y + ys.max() + 1)
    return Scene(data.paths[query], picture, truth)


def group(data: Dataset, present: bool, rng: np.random.Generator) -> Scene:
    """8 photographs of people, of unequal size, in a photograph of a palace."""
    many = np.flatnonzero(np.bincount(data.labels) > 1)
    first = rng.choice(many)
    rest = rng.permutation(np.setdiff1d(np.arange(data.labels.max() + 1), [first]))[:8]
    picture = Image.fromarray(load_sample_image("china.jpg")).resize(GROUP)
    query, other = rng.choice(np.flatnonzero(data.labels == first), 2, replace=False)
    truth: Box | None = None
    wide, high = GROUP[0] // 4, GROUP[1] // 2
    for i, place in enumerate(rng.permutation(8)):
        item = rng.choice(np.flatnonzero(data.labels == rest[i]))
        item = other if present and i == 0 else item
        side = int(rng.integers(180, 300))
        photograph = decode(read_bytes(data.paths[item]), data.paths[item])
        # The middle of it, with the head and little else.
        photograph = photograph.crop((45, 35, 205, 215)).resize((side * 8 // 9, side))
        x = place % 4 * wide + int(rng.integers(wide - photograph.width))
        y = place // 4 * high + int(rng.integers(high - side))
        picture.paste(photograph, (x, y))
        if present and i == 0:
            half = 0.2 * FACE * side / 180
            centre = x + photograph.width / 2, y + side / 2
            truth = tuple(c + sign * half for sign in (-1, 1) for c in centre)  # type: ignore[assignment]
    return Scene(data.paths[query], picture, truth)


def overlap(box: Box, truth: Box) -> float:
    """Intersection over union."""
    low, high = np.maximum(box[:2], truth[:2]), np.minimum(box[2:], truth[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = [float((b[2] - b[0]) * (b[3] - b[1])) for b in (box, truth)]
    return shared / (sum(areas) - shared)


def measure(verifier: Verifier, scenes: list[Scene], folder: Path) -> dict[str, object]:
    hits: list[bool] = []
    answers: list[tuple[bool, bool]] = []
    seconds, n_boxes = [], []
    path = folder / "scene.png"
    for scene in scenes:
        scene.picture.save(path)
        start = time.perf_counter()
        findings: Findings = find(verifier, scene.query, path)
        seconds.append(time.perf_counter() - start)
        n_boxes.append(findings.n_boxes)
        is_there = False
        if scene.truth is not None:
            boxes = [(b.left, b.top, b.right, b.bottom) for b in findings.boxes[:1]]
            is_there = any(overlap(box, scene.truth) >= 0.4 for box in boxes)
            hits.append(is_there)
        answers.append((scene.truth is not None, findings.is_found is True))
    there = [found for present, found in answers if present]
    absent = [found for present, found in answers if not present]
    right: NDArray[np.bool_] = np.array(there) & np.array(hits)
    return {
        "how": findings.how,
        "pictures": len(scenes),
        "boxes": float(np.mean(n_boxes)),
        "best box is right": float(np.mean(hits)),
        "found and right": float(right.mean()),
        "found though absent": float(np.mean(absent)),
        "stated": findings.rate,
        "seconds": float(np.median(seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--only", default="", help="a row's name")
    parser.add_argument("--tune", action="store_true", help="on training data instead")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    arguments = parser.parse_args()
    parts = ("background", "DevTrain") if arguments.tune else ("evaluation", "DevTest")
    characters = omniglot(arguments.data, parts[0])
    people = lfw_people(arguments.data, parts[1])
    # dlib's network learned from no people of LFW; its threshold comes from DevTest.
    others = lfw_people(arguments.data, "DevTrain")
    faces = onelook.load("faces")
    blind = Verifier(faces.encoder, faces.scores, faces.input, decision=faces.decision)
    rows = {
        "omniglot": (onelook.load("omniglot"), sheet, characters),
        "dlib-faces": (onelook.load("dlib-faces"), group, others),
        "faces": (faces, group, people),
        "faces, windows": (blind, group, people),
    }
    for name, (verifier, compose, data) in rows.items():
        if arguments.only in ("", name):
            rng = np.random.default_rng(0)
            scenes = [compose(data, i % 2 == 0, rng) for i in range(arguments.pictures)]
            result = measure(verifier, scenes, arguments.folder)
            print(json.dumps({"model": name, **result}), flush=True)


if __name__ == "__main__":
    main()
