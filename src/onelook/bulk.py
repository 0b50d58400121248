"""Bulk: embed millions of images into a folder of shards, which a kill does not undo."""

import csv
import hashlib
import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from onelook.data.inputs.processes import in_processes
from onelook.data.listing import Listed, list_items, read_item
from onelook.data.reading import escaped
from onelook.errors import CheckpointError, DataError, one_line
from onelook.files import expanded, locked, write_whole
from onelook.loading import load
from onelook.on_ray import Encoded, on_ray
from onelook.progress import interruptible, progress_bar
from onelook.vectors import (
    BLOCK,
    Vectors,
    check_ending,
    count_vectors,
    encode_readable,
    read_vectors,
    write_vectors,
)
from onelook.verifier import Verifier
from onelook.zoo import shipped_folder

SHARD = 4096  # images of a file; a multiple of BLOCK
MANIFEST, BAD_FILE = "embed.json", "bad.tsv"
RAY = "ray"


class Manifest(BaseModel):
    """What the shards of a folder are of; no other model or list goes on with them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    model: str
    fingerprint: str
    side: str
    images: int
    names: str  # SHA-256 of all names in their order
    shard: int

    @property
    def n_shards(self) -> int:
        return -(-self.images // self.shard)


@dataclass(frozen=True)
class Embedded:
    """What ``embed_shards`` did: ``n_before`` of the images were in shards already."""

    out: str
    n_vectors: int
    size: int
    n_before: int
    bad: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        before = f", {self.n_before:,} images were there before" if self.n_before else ""
        bad = f", {len(self.bad):,} cannot be read ({BAD_FILE})" if self.bad else ""
        return f"{self.n_vectors:,} vectors of {self.size} numbers: {self.out}{before}{bad}"


class Encode:
    """Embeds a block of listed items; pickled, it is the model's folder and loads it."""

    def __init__(self, verifier: Verifier, side: str) -> None:
        self.verifier, self.side = verifier, side

    def __call__(self, block: Sequence[Listed]) -> Encoded:
        """Names, vectors (N, D) and what cannot be read with why."""
        places = dict(block)

        def encode(names: Sequence[str]) -> NDArray[np.float32]:
            return self.verifier.embed([read_item(places[n]) for n in names], self.side)

        found, bad = encode_readable(list(places), encode, progress=False)
        vectors = (
            np.stack([vector for _, vector in found])
            if found
            else np.zeros((0, self.verifier.embedding_size), np.float32)
        )
        return [name for name, _ in found], vectors, [(escaped(n), why) for n, why in bad]

    def __reduce__(self) -> tuple[Any, ...]:
        return _encode_of, (_home(self.verifier), self.verifier.fingerprint, self.side)


def embed_shards(
    verifier: Verifier,
    paths: Sequence[str],
    out: str | Path,
    *,
    side: str = "left",
    workers: int | str = 1,
    progress: bool = True,
) -> Embedded:
    """Embed items into a folder: ``00000.parquet`` and so on, each of 4,096 items.

    A shard is written whole or not at all, and one that is there is not made again. What
    cannot be read is left out and listed in ``bad.tsv``. After Ctrl-C the shard in work is
    finished; a second one stops at once.

    Args:
        verifier: The model; with several workers one that ``onelook.load`` loads.
        paths: Files, folders, archives, WebDataset tars, Parquet tables of images; for a
            text model the texts.
        out: The folder; it is made, or gone on with.
        side: "left" or "right": the encoder of a pseudo-siamese network that is used.
        workers: Processes of one thread each; 1 works in this process; "ray" takes the
            machines that Ray has (``RAY_ADDRESS``, else this one).
        progress: Draw a bar on a terminal.

    Raises:
        DataError: If there are no items or none can be read, or if the folder is of
            another model, list or side.
        CheckpointError: If several workers cannot load the model.
        KeyboardInterrupt: After Ctrl-C; what is written is kept.
    """
    folder, items = expanded(out), list_items(paths, verifier.input_of(side).suffixes)
    check_ending(_shard(folder, 0))
    busy = f"{folder} is being written by another process; wait for it to end"
    encode = Encode(verifier, side)
    if workers != 1:  # fails here, not in each child
        _encode_of(_home(verifier), verifier.fingerprint, side)
    with locked(folder, busy):
        manifest = _begin(folder, _manifest(verifier, side, items))
        missing = [i for i in range(manifest.n_shards) if not _shard(folder, i).exists()]
        sizes = {i: len(items[i * SHARD : (i + 1) * SHARD]) for i in missing}
        n_before = len(items) - sum(sizes.values())
        with (
            progress_bar("embedding", len(items), shown=progress, done=n_before) as advance,
            closing(_results(encode, _blocks(items, missing), workers)) as results,
            interruptible() as pressed,
        ):
            for i in missing:
                parts = list[Encoded]()
                for part in islice(results, -(-sizes[i] // BLOCK)):
                    parts.append(part)
                    words = "stopping after this shard" if pressed.is_set() else ""
                    advance(len(part[0]) + len(part[2]), text=words)
                _write(_shard(folder, i), parts, verifier.fingerprint)
                if pressed.is_set() and i != missing[-1]:
                    raise KeyboardInterrupt
        return _end(folder, manifest, verifier.embedding_size, n_before)


def read_shards(path: str | Path) -> Iterator[Vectors]:
    """The vectors of a folder of shards, one shard at a time, or of one file.

    Raises:
        DataError: If shards are missing, or one cannot be read.
    """
    folder = expanded(path)
    if not folder.is_dir():
        yield read_vectors(folder)
        return
    manifest = read_manifest(folder)
    n_done = sum(_shard(folder, i).exists() for i in range(manifest.n_shards))
    if n_done < manifest.n_shards:
        raise DataError(
            f"{folder} holds {n_done:,} of {manifest.n_shards:,} shards; the same onelook "
            "embed again makes the others"
        )
    for i in range(manifest.n_shards):
        yield read_vectors(_shard(folder, i))


def read_manifest(folder: Path) -> Manifest:
    """What the shards of a folder are of.

    Raises:
        DataError: If the folder holds no shards.
    """
    file = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} has no {MANIFEST}, so it is no folder of vectors; write one with "
            f"onelook embed IMAGES --out FOLDER"
        ) from error
    except (ValidationError, OSError) as error:
        raise DataError(
            f"{file} cannot be read: {one_line(error)}; embed into another folder"
        ) from error
    if (manifest.format, manifest.shard) != (1, SHARD):
        raise DataError(f"{file} is of a newer onelook; update onelook")
    return manifest


def _home(verifier: Verifier) -> str:
    """What another process loads the model by."""
    return str(verifier.folder or shipped_folder(verifier.name) or verifier.name)


def _encode_of(model: str, fingerprint: str, side: str) -> Encode:
    verifier = load(model)
    if verifier.fingerprint != fingerprint:
        raise CheckpointError(
            f"{model} holds the model {verifier.fingerprint}, not {fingerprint}, which was "
            "loaded before; several workers need a model that is saved as it is"
        )
    return Encode(verifier, side)


def _shard(folder: Path, i: int) -> Path:
    return folder / f"{i:05}.parquet"


def _manifest(verifier: Verifier, side: str, items: Sequence[Listed]) -> Manifest:
    digest = hashlib.sha256()
    for name, _ in items:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
    return Manifest(
        model=verifier.name,
        fingerprint=verifier.fingerprint,
        side=side,
        images=len(items),
        names=digest.hexdigest(),
        shard=SHARD,
    )


def _begin(folder: Path, wanted: Manifest) -> Manifest:
    """The folder made, or found to be of the same work; without what a kill left."""
    file = folder / MANIFEST
    if not file.exists():
        others = sorted(one.name for one in folder.iterdir() if one.name[0] != ".")
        if others:
            raise DataError(f"{folder} holds other files ({others[0]}); name a new folder")
        write_whole(file, wanted.model_dump_json(indent=2) + "\n")
        return wanted
    known = read_manifest(folder)
    for had, now in zip(_described(known), _described(wanted), strict=True):
        if had != now:
            raise DataError(
                f"{folder} was begun with {had}, not with {now}; give the same again, or "
                "embed into another folder"
            )
    for left in folder.glob(".*.parquet.*"):
        left.unlink()
    return known


def _described(manifest: Manifest) -> tuple[str, ...]:
    return (
        f"the model {manifest.model} ({manifest.fingerprint})",
        f"its {manifest.side} side",
        f"{manifest.images:,} images",
        f"images whose names have the digest {manifest.names[:12]}",
    )


def _blocks(items: Sequence[Listed], shards: Sequence[int]) -> Iterator[Sequence[Listed]]:
    for i in shards:
        for at in range(i * SHARD, min((i + 1) * SHARD, len(items)), BLOCK):
            yield items[at : min(at + BLOCK, (i + 1) * SHARD)]


def _results(
    encode: Encode, blocks: Iterator[Sequence[Listed]], workers: int | str
) -> Generator[Encoded, None, None]:
    if workers == 1:
        yield from map(encode, blocks)
    elif workers == RAY:
        yield from on_ray(encode, list(blocks))
    else:
        yield from in_processes(encode, blocks, int(workers))


def _write(path: Path, parts: Sequence[Encoded], fingerprint: str) -> None:
    names = tuple(name for part in parts for name in part[0])
    vectors = np.concatenate([part[1] for part in parts])
    bad = [one for part in parts for one in part[2]]
    write_vectors(path, Vectors(names, vectors, bad, fingerprint))


def _end(folder: Path, manifest: Manifest, size: int, n_before: int) -> Embedded:
    """Count what the shards hold, and list what none of them does."""
    n_vectors, bad = 0, list[tuple[str, str]]()
    for i in range(manifest.n_shards):
        n, some = count_vectors(_shard(folder, i))
        n_vectors, bad = n_vectors + n, bad + some
    text = io.StringIO()
    csv.writer(text, "excel-tab", lineterminator="\n").writerows(bad)
    write_whole(folder / BAD_FILE, text.getvalue())
    if not n_vectors:
        raise DataError(
            f"none of {manifest.images:,} images can be read: see {folder / BAD_FILE}"
        )
    return Embedded(str(folder), n_vectors, size, n_before, bad)
