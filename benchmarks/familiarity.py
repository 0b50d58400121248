"""Does a model notice images of another kind? Fit that of shipped models, and measure it.

    python benchmarks/familiarity.py --ship omniglot faces photos
    python benchmarks/familiarity.py omniglot faces photos

The fit knows training images, images held out of the training, drawn pictures and some
photographs; what is measured are other images: of classes that nothing fitted, of things,
of faces, of digits.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onelook.calibration.familiarity import familiarity_of_items, familiarity_of_loaded
from onelook.card import CalibrationFacts
from onelook.data.inputs import Item
from onelook.data.items import Dataset
from onelook.data.sources import find, open_source
from onelook.data.sources.digits import digits_upscaled
from onelook.data.sources.lfw import lfw_people
from onelook.data.sources.omniglot import omniglot
from onelook.errors import DataError
from onelook.evaluation.unseen import held_out_classes
from onelook.loading import load
from onelook.model_folder import read_settings, write_folder
from onelook.verifier import Verifier
from onelook.zoo import existing_folder
from photos import both
from record import Clock, record_all
from ship import familiarity_row, put_rows

N_MEASURED, N_FITTED = 300, 1500
SIDE = 250
WORDS = (
    "onelook decides whether two images show one thing invoice total street 2026".split()
)
FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=FITS)
    parser.add_argument("--ship", action="store_true", help="write the shipped folders")
    arguments = parser.parse_args()
    for name in arguments.names:
        if arguments.ship:
            ship(name)
        else:
            measure(load(name).plain)


def ship(name: str) -> None:
    """Put what is familiar to a shipped model into its folder; all else stays."""
    verifier, folder = load(name).plain, existing_folder(name)
    FITS[name](verifier)
    assert verifier.familiarity is not None
    facts = verifier.card.calibration or CalibrationFacts()
    facts = facts.model_copy(update=verifier.familiarity.figures())
    verifier.card = verifier.card.model_copy(update={"calibration": facts})
    _, content = read_settings(folder)
    base = {key: value for key, value in content["weights"].items() if key != "sha256"}
    weights, graphs = verifier.encoder.files({})
    changes = {"weights": base} if base else {}
    write_folder(
        folder,
        verifier.to_dict() | changes,
        weights,
        graphs,
        familiarity=verifier.familiarity,
    )
    put_rows(folder / "README.md", {"called unfamiliar": familiarity_row(facts)})
    print(f"shipped: {folder}")


def some(items: Dataset | Sequence[str], n: int, seed: int = 0) -> list[Item]:
    paths = items.paths if isinstance(items, Dataset) else items
    order = np.random.default_rng(seed).permutation(len(paths))[:n]
    return [paths[i] for i in order]


def fit_drawings(verifier: Verifier) -> None:
    held = held_out_classes(verifier)
    trained = omniglot(find("omniglot"), "background").without(held.paths)
    strangers = some(lfw_people(find("lfw"), "DevTrain"), 2500)
    strangers += some(open_source("grocery", "photos"), 1500)
    strangers += some(open_source("grocery", "catalogue"), 1500)
    _fit(verifier, trained, held, strangers)


def fit_faces(verifier: Verifier) -> None:
    held = held_out_classes(verifier)
    trained = lfw_people(find("lfw"), "DevTrain").without(held.paths)
    _fit(verifier, trained, held, some(open_source("grocery", "photos"), 800))


def fit_photographs(verifier: Verifier) -> None:
    items, products = both(), open_source("grocery", "photos")
    measured = products.n_classes - products.n_classes // 2  # the last products
    kept = items.labels < items.n_classes - measured
    verifier.familiarity = familiarity_of_items(verifier, items.subset(kept))


def _fit(
    verifier: Verifier, trained: Dataset, held: Dataset, strangers: list[Item]
) -> None:
    images, others = (
        verifier.input.load_many(some(items, N_FITTED)) for items in (trained, held)
    )
    verifier.familiarity = familiarity_of_loaded(verifier, images, others, strangers)


FITS: dict[str, Callable[[Verifier], None]] = {
    "omniglot": fit_drawings,
    "faces": fit_faces,
    "photos": fit_photographs,
}


def own_images(name: str) -> list[Item]:
    """Images of the model's own kind, of classes that fitted nothing."""
    if name == "omniglot":
        return some(omniglot(find("omniglot"), "evaluation"), 5 * N_MEASURED)
    if name == "faces":
        return some(lfw_people(find("lfw"), "DevTest"), 5 * N_MEASURED)
    products = open_source("grocery", "photos")
    rest = products.labels >= products.n_classes // 2
    return some(products.subset(rest), 5 * N_MEASURED)


def other_images(name: str) -> dict[str, list[Item]]:
    """Images of other kinds, by kind."""
    rng = np.random.default_rng(1)
    kinds: dict[str, list[Item]] = {
        "noise": [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(60)],
        "blank": [np.full((SIDE, SIDE, 3), shade, np.uint8) for shade in range(0, 256, 8)],
        "text": [printed(rng) for _ in range(N_MEASURED)],
    }
    if name != "photos":
        kinds["things"] = some(open_source("things"), N_MEASURED)
    if name == "omniglot":
        kinds["faces"] = some(lfw_people(find("lfw"), "DevTest"), N_MEASURED)
        kinds["digits"] = some(digits_upscaled(), N_MEASURED)
    else:
        kinds["drawings"] = some(omniglot(find("omniglot"), "evaluation"), N_MEASURED)
    if name == "faces":
        kinds["att"] = some(open_source("att", "all"), N_MEASURED)
    return kinds


def printed(rng: np.random.Generator) -> Item:
    """A line or two of printed words."""
    page = Image.new("L", (360, 160), 255)
    try:
        font = ImageFont.truetype(str(rng.choice(FONTS)), int(rng.integers(20, 60)))
    except OSError:
        font = ImageFont.load_default(size=int(rng.integers(20, 60)))
    lines = [" ".join(rng.choice(WORDS, 2)) for _ in range(rng.integers(1, 3))]
    ImageDraw.Draw(page).multiline_text((10, 30), "\n".join(lines), 0, font)
    return page


def measure(verifier: Verifier) -> None:
    """Print and record the share of each kind that is flagged, or refused as unreadable."""
    clock, name = Clock(), verifier.name
    kinds = {"own": own_images(name), **other_images(name)}
    for kind, items in kinds.items():
        loaded, refused = [], 0
        for item in items:
            try:
                loaded.append(verifier.input.load(item))
            except DataError:
                refused += 1
        flagged = refused
        if loaded:
            reasons = verifier.reasons(
                loaded, verifier.embed_loaded(loaded), [""] * len(loaded)
            )
            flagged += sum(bool(reason) for reason in reasons)
        metric = "flagged_in" if kind == "own" else "flagged_out"
        model = name if kind == "own" else f"{name}, {kind}"
        share = flagged / len(items)
        print(f"{model}: {metric} {share:.4f} of {len(items):,}, {refused:,} refused")
        record_all("familiarity", model, {metric: share}, seeds=[], minutes=clock.minutes)


if __name__ == "__main__":
    main()
