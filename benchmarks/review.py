"""What a review finds of what was planted in a folder, and what 100,000 images take.

python benchmarks/review.py
python benchmarks/review.py --large 100000

Planted in a folder of some classes: a wrong label and a duplicate for every fiftieth image,
and eight images of classes that are not there. A duplicate is a copy of the file, a JPEG of
quality 60, a picture of two thirds of the size, or a brighter one. The large folder holds
drawings of Omniglot, each turned a little differently.
"""

import argparse
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from onelook.data.inputs.decoding import decode
from onelook.data.items import Dataset
from onelook.data.sources import find, open_source
from onelook.data.sources.omniglot import omniglot
from onelook.loading import load
from onelook.review import Review, review
from record import Clock, record_all

EVERY, N_STRANGERS, MOST_PER_CLASS = 50, 8, 20
CHANGES: list[Callable[[Image.Image], Image.Image]] = [
    lambda image: image.resize((image.width * 2 // 3, image.height * 2 // 3)),
    lambda image: image.point(lambda value: min(255, int(value * 1.04) + 3)),
]
FOLDERS: dict[str, tuple[str, int, Callable[[], Dataset]]] = {
    "omniglot": ("omniglot", 60, lambda: omniglot(find("omniglot"), "evaluation")),
    "things": ("photos", 13, lambda: open_source("things")),
    "grocery": ("photos", 32, lambda: open_source("grocery", "photos")),
}


@dataclass
class Planted:
    """What is wrong in a folder: files, and pairs of files that are one picture."""

    wrong: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    duplicates: list[set[str]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--large", type=int, metavar="N", help="measure N images instead")
    n_large = parser.parse_args().large
    with tempfile.TemporaryDirectory() as place:
        if n_large:
            return measure_large(Path(place), n_large)
        for name in FOLDERS:
            measure(name, Path(place) / name)


def measure(name: str, folder: Path) -> None:
    """Print and record what is found of what was planted."""
    model, n_classes, open_items = FOLDERS[name]
    clock, truth = Clock(), plant(open_items(), n_classes, folder)
    verifier = load(model)
    found = review(verifier, folder, progress=False)
    one_picture = [{found.paths[row] for row in one.rows} for one in found.duplicates]
    seen = [any(pair <= one for one in one_picture) for pair in truth.duplicates]
    wrong = {found.paths[one.row] for one in found.wrong_labels}
    strange = {found.paths[one.row] for one in found.strangers}
    purity, grouped = of_groups(review(verifier, folder, labelled=False, progress=False))
    figures = {
        "images": len(found),
        "duplicates_planted": len(seen),
        "duplicates_found": sum(seen),
        "duplicates_false": len(one_picture) - sum(seen),
        "wrong_labels_planted": len(truth.wrong),
        "wrong_labels_found": len(wrong & truth.wrong),
        "wrong_labels_false": len(wrong - truth.wrong - truth.strangers),
        "strangers_planted": len(truth.strangers),
        "strangers_found": len((strange | wrong) & truth.strangers),
        "strangers_false": len(strange - truth.strangers - truth.wrong),
        "groups_purity": purity,
        "groups_share": grouped,
    }
    print(name, *(f"{metric} {value:.4g}" for metric, value in figures.items()), sep=", ")
    record_all(f"review-{name}", model, figures, seeds=[0], minutes=clock.minutes)


def plant(items: Dataset, n_classes: int, folder: Path) -> Planted:
    """Write a folder of some classes, with planted faults."""
    rng, truth = np.random.default_rng(0), Planted()
    classes = rng.permutation(items.n_classes)
    here, elsewhere = classes[:n_classes], classes[n_classes:]
    files: list[Path] = []
    for one in here:
        (folder / f"class{one}").mkdir(parents=True)
        rows = rng.permutation(np.flatnonzero(items.labels == one))[:MOST_PER_CLASS]
        for row in rows:
            files.append(folder / f"class{one}" / f"{row}.png")
            decode(items.paths[row]).save(files[-1])
    chosen, n = rng.permutation(len(files)), max(5, len(files) // EVERY)
    for i in chosen[:n]:
        others = [one for one in here if f"class{one}" != files[i].parent.name]
        moved = folder / f"class{rng.choice(others)}" / f"moved{files[i].name}"
        truth.wrong.add(str(files[i].rename(moved)))
    for number, i in enumerate(chosen[n : 2 * n]):
        copy = files[i].with_name(f"copy{files[i].name}")
        if number % 4 == 0:
            shutil.copy(files[i], copy)
        elif number % 4 == 1:
            copy = copy.with_suffix(".jpg")
            Image.open(files[i]).convert("RGB").save(copy, quality=60)
        else:
            change = CHANGES[number % 4 - 2]
            change(Image.open(files[i]).convert("RGB")).save(copy)
        truth.duplicates.append({str(files[i]), str(copy)})
    outside = rng.permutation(np.flatnonzero(np.isin(items.labels, elsewhere)))
    for number, row in enumerate(outside[:N_STRANGERS]):
        file = folder / f"class{rng.choice(here)}" / f"stranger{number}.png"
        decode(items.paths[row]).save(file)
        truth.strangers.add(str(file))
    return truth


def of_groups(found: Review) -> tuple[float, float]:
    """Share of grouped images that are of their group's largest class; share of all."""
    classes = [Path(path).parent.name for path in found.paths]
    largest = [max(Counter(classes[row] for row in one).values()) for one in found.groups]
    n_grouped = sum(map(len, found.groups))
    return sum(largest) / max(1, n_grouped), n_grouped / len(found)


def measure_large(folder: Path, n: int) -> None:
    """Seconds and memory for many drawings."""
    items, rng = omniglot(find("omniglot"), "background"), np.random.default_rng(0)
    for i in range(n):
        here = folder / f"class{items.labels[i % len(items)]}"
        here.mkdir(exist_ok=True)
        image = decode(items.paths[i % len(items)])
        image.rotate(rng.uniform(-8, 8), fillcolor=255).save(here / f"{i}.png")
    clock, begun = Clock(), time.perf_counter()
    verifier = load("omniglot")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = review(verifier, folder)
    figures = {
        "images": len(found),
        "seconds": time.perf_counter() - begun,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "megabytes_before": before / 1024,
    }
    print(found)
    print(*(f"{metric} {value:,.0f}" for metric, value in figures.items()), sep=", ")
    record_all("review-large", "omniglot", figures, seeds=[0], minutes=clock.minutes)


if __name__ == "__main__":
    main()
