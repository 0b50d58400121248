"""What a killed training needs to go on, in one file that is never half written."""

from pathlib import Path
from typing import Any

import torch

from onelook.errors import CheckpointError
from onelook.files import whole_file

STATE_FORMAT = 1


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a kill leaves the old file or the whole new one."""
    with whole_file(path) as file:
        torch.save({"format": STATE_FORMAT, **state}, file)
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)  # of a process killed while it wrote


def load_state(path: Path) -> dict[str, Any]:
    """What ``save_state`` wrote: only tensors and plain values, so no code is run.

    Raises:
        CheckpointError: If the file cannot be read or is of another format.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"{path} cannot be read: {error}; train again without --resume"
        ) from error
    if state.get("format") != STATE_FORMAT:
        raise CheckpointError(
            f"{path} has format {state.get('format')!r}, this onelook reads "
            f"{STATE_FORMAT}; train again without --resume"
        )
    return state
