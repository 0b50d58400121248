"""Whether an exported model gives the vectors of its parity file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from onelook.data.inputs import ImageInput, input_from_dict
from onelook.deploy.parity import FORMAT, picture_of, pixels_of
from onelook.deploy.targets import HEAD, STEMS, SUFFIXES, Array, Run, open_file
from onelook.errors import CheckpointError, OnelookError, one_line
from onelook.runtime.export import largest_difference
from onelook.zoo import SETTINGS_FILE

EXPORT_FILE, PARITY_FILE = "export.json", "parity.json"
STEP = 3  # images of a pass; the last one has fewer, so that N is seen to be open


def check_export(folder: Path) -> dict[str, Any]:
    """Run a folder's parity file: ``largest_difference`` of vectors and others.

    The pictures are prepared again and embedded by the exported network. ``pixels`` is the
    largest difference of a prepared pixel in grey levels, ``head`` that of a score of the
    learned head as a share of the largest score, None where there is no head.

    Raises:
        CheckpointError: If a file is missing or is not one of such an export, or a
            difference is above the tolerance.
    """
    parity, settings = _read(folder / PARITY_FILE), _settings(folder)
    if parity.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder / PARITY_FILE} has format {parity.get('format')!r}, this onelook "
            f"reads {FORMAT}: export again"
        )
    if parity.get("fingerprint") != settings.get("fingerprint"):
        raise CheckpointError(
            f"{folder / PARITY_FILE} is that of another model or training: export again"
        )
    try:
        found = _differences(folder, parity, settings)
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / PARITY_FILE} does not fit the files beside it ({one_line(error)}): "
            "export again"
        ) from error
    tolerance = parity["tolerance"]
    far = max(found["largest_difference"], found["head"] or 0)
    if not far <= tolerance:
        raise CheckpointError(
            f"{folder} differs from the model by up to {far:.2g}, more than the tolerance "
            f"of {tolerance:g}: export again, int8 with more --images of its kind"
        )
    kept = {key: parity[key] for key in ("model", "target", "tolerance")}
    return {**kept, "images": len(parity["items"]), **found}


def _differences(
    folder: Path, parity: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    suffix = SUFFIXES[parity["target"]]
    if not parity["items"]:
        raise ValueError("it has no pictures")
    vectors = np.array([one["vector"] for one in parity["items"]], np.float32)
    pixels, apart = 0, 0.0
    for side in dict.fromkeys(one["side"] for one in parity["items"]):
        rows = [i for i, one in enumerate(parity["items"]) if one["side"] == side]
        content = settings["preprocess"]
        if side == "right":
            content = settings.get("right_preprocess") or content
        taken = input_from_dict(content)
        if not isinstance(taken, ImageInput):
            raise ValueError("it holds pictures, which this model does not take")
        items = [parity["items"][i] for i in rows]
        seen = taken.load_many([picture_of(one) for one in items])
        expected = np.stack([pixels_of(one, taken.input_shape) for one in items])
        pixels = max(pixels, int(np.abs(seen.astype(int) - expected).max()))
        run = _opened(folder, STEMS[side] + suffix, parity)
        embedded = _in_steps(run, [taken.to_inputs(seen)["images"]])
        apart = max(apart, largest_difference(vectors[rows], embedded))
    return {
        "largest_difference": apart,
        "pixels": pixels,
        "head": _head_difference(folder, suffix, parity, vectors),
    }


def _head_difference(
    folder: Path, suffix: str, parity: dict[str, Any], vectors: Array
) -> float | None:
    if not (folder / (HEAD + suffix)).is_file():
        return None
    left, right = np.array(parity["pairs"]).T
    scores = np.array(parity["scores"])
    run = _opened(folder, HEAD + suffix, parity)
    found = _in_steps(run, [vectors[left], vectors[right]])
    return float(np.abs(found - scores).max() / np.abs(scores).max())


def _opened(folder: Path, name: str, parity: dict[str, Any]) -> Run:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: copy the whole folder again, or export")
    try:
        return open_file(parity["target"], path)
    except OnelookError:
        raise
    except Exception as error:  # the runtimes have no common class
        raise CheckpointError(f"{path} cannot be run: {one_line(error)}") from error


def _in_steps(run: Run, arrays: list[Array]) -> Array:
    starts = range(0, len(arrays[0]), STEP)
    return np.concatenate([run([a[at : at + STEP] for a in arrays]) for at in starts])


def _settings(folder: Path) -> dict[str, Any]:
    own = folder / EXPORT_FILE
    return _read(own if own.is_file() else folder / SETTINGS_FILE)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {one_line(error)}; onelook export writes it"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not one of an export: export again")
    return content
