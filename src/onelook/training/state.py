"""What a killed training needs to go on, in one file that is never half written."""

import hashlib
import io
from pathlib import Path
from typing import Any, BinaryIO

import torch

from onelook.errors import CheckpointError, TrainingError
from onelook.files import check_regular, whole_file

STATE_FORMAT = 1
# The file begins with these bytes and the SHA-256 of what follows.
_MARK = b"onelook state\n"
_DIGEST_BYTES = 32


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a kill leaves the old file or the whole new one."""
    content = _Hashed()
    try:
        with whole_file(path) as file:
            content.file = file
            file.write(_MARK + bytes(_DIGEST_BYTES))
            torch.save({"format": STATE_FORMAT, **state}, content)  # type: ignore[arg-type]
            file.seek(len(_MARK))
            file.write(content.digest.digest())
    # PyTorch hides what the file raised.
    except (OSError, RuntimeError) as error:
        cause = content.error or error
        why = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
        raise TrainingError(
            f"cannot write {path}: {why}; make room there, and go on with --resume"
        ) from error
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)  # of a process killed while it wrote


def load_state(path: Path) -> dict[str, Any]:
    """What ``save_state`` wrote: only tensors and plain values, so no code is run."""
    check_regular(path)
    try:
        content = path.read_bytes()
        if content.startswith(_MARK):
            start = len(_MARK) + _DIGEST_BYTES
            digest, content = content[len(_MARK) : start], content[start:]
            if hashlib.sha256(content).digest() != digest:
                raise ValueError("its SHA-256 is another: it was changed or cut off")
        elif not content.startswith(b"PK"):  # as onelook wrote it up to 0.2
            raise ValueError("it is not the state of a training")
        state: dict[str, Any] = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
    except Exception as error:  # torch raises many kinds for a damaged file
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path} cannot be read: {why}; train again without --resume"
        ) from error
    if state.get("format") != STATE_FORMAT:
        raise CheckpointError(
            f"{path} has format {state.get('format')!r}, this onelook reads "
            f"{STATE_FORMAT}; train again without --resume"
        )
    return state


class _Hashed:
    """A file that is written front to back, with the digest of what went into it."""

    file: BinaryIO
    error: OSError | None = None

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
