"""Models for programs that are not onelook: files of other runtimes, and their parity."""

import json
from collections.abc import Sequence
from pathlib import Path

from onelook.data.inputs import ImageInput, Item
from onelook.deploy.check import EXPORT_FILE, PARITY_FILE, check_export
from onelook.deploy.parity import make_parity
from onelook.deploy.targets import Target, convert, settings_of
from onelook.errors import CheckpointError
from onelook.files import write_whole
from onelook.verifier import Verifier
from onelook.zoo import SETTINGS_FILE


def write_export(
    verifier: Verifier, target: Target, folder: Path, images: Sequence[Item] = ()
) -> None:
    """Write a model for another runtime: its files, ``export.json`` and ``parity.json``.

    For ``onnx`` it is a model folder, whose ``model.json`` says what ``export.json`` says.

    Args:
        verifier: A model that answers through PyTorch.
        target: The runtime.
        folder: Where the files go; made where needed.
        images: Pictures of the kind that the model will see: 20 for the parity file, and
            for ``int8`` all to calibrate on. Without them the parity file has drawn ones.

    Raises:
        CheckpointError: If the model is not one of images, which only ``onnx`` takes, or
            the folder holds a model, whose files those of another target would replace.
        DataError: If ``images`` are needed, too few, or cannot be read.
        MissingExtraError: If the runtime is not installed.
    """
    plain = verifier.plain
    takes_images = all(isinstance(plain.input_of(s), ImageInput) for s in ("left", "right"))
    if target != "onnx" and not takes_images:
        raise CheckpointError(
            f"{verifier.name} does not take images: only --to onnx writes such models"
        )
    if target != "onnx" and (folder / SETTINGS_FILE).exists():
        raise CheckpointError(f"{folder} holds a model: --to {target} needs another --out")
    parity = make_parity(plain, target, images) if takes_images else None
    files = convert(plain, target, images)
    if target == "onnx":
        verifier.save(folder)
        (folder / EXPORT_FILE).unlink(missing_ok=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        files[EXPORT_FILE] = json.dumps(settings_of(plain, target), indent=1).encode()
    for name, content in files.items():
        write_whole(folder / name, content)
    if parity is None:
        (folder / PARITY_FILE).unlink(missing_ok=True)
    else:
        write_whole(folder / PARITY_FILE, json.dumps(parity).encode())


__all__ = ["PARITY_FILE", "Target", "check_export", "write_export"]
