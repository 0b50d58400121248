"""Items of folders, archives, WebDataset tars and Parquet tables: names first."""

import tarfile
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from onelook.data.archives import addresses_of, is_visible
from onelook.data.inputs import Item
from onelook.data.items import ARCHIVE_SEPARATOR
from onelook.errors import DataError, one_line
from onelook.extras import import_extra
from onelook.files import check_regular, expanded


class Member(NamedTuple):
    """A file inside a tar that is not compressed."""

    file: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes."""
        with open(self.file, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Row(NamedTuple):
    """An image in a row of a Parquet table."""

    file: str
    column: str
    row: int

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: If the row holds none.
        """
        group = 0
        row = self.row
        for n_rows in _rows_of_groups(self.file):
            if row < n_rows:
                break
            group, row = group + 1, row - n_rows
        value = _read_group(self.file, self.column, group)[row].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise DataError(f"its column {self.column} is empty")
        return content


Place = str | Member | Row
Listed = tuple[str, Place]  # the name of an item, and where it lies


def list_items(paths: Sequence[str], suffixes: Collection[str]) -> list[Listed]:
    """All items of files, folders, archives, tars and Parquet tables, each once, in order.

    Only names are read. An item of a tar is called ``FILE.tar!/MEMBER``, or
    ``FILE.tar!/CLASS/MEMBER`` where a ``.cls`` file of WebDataset lies beside it; one of a
    table ``FILE.parquet!/PATH`` by its column ``path``, else ``FILE.parquet!/ROW`` or, with
    a column ``label``, ``FILE.parquet!/LABEL/ROW``.

    Args:
        paths: Files, folders, archives, tars, tables; for a text model the texts.
        suffixes: Endings of files that are items, in lower case; empty for texts.

    Raises:
        DataError: If something does not exist, holds no items or cannot be read.
    """
    found: dict[str, Place] = {}
    for path in paths:
        ending = PurePosixPath(path).suffix.lower() if suffixes else ""
        listed: Iterator[Listed]
        if ending == ".tar":
            listed = _members(str(expanded(path)), suffixes)
        elif ending == ".parquet":
            listed = _rows(str(expanded(path)))
        else:
            listed = ((one, one) for one in addresses_of([path], suffixes))
        found.update(listed)
    return list(found.items())


def read_item(place: Place) -> Item:
    """What a model embeds: the address of a file, or the bytes of a member or a row."""
    return place if isinstance(place, str) else place.read()


def _members(path: str, suffixes: Collection[str]) -> Iterator[Listed]:
    try:
        check_regular(expanded(path))
        with tarfile.open(path, "r:") as file:
            infos = [one for one in file if one.isfile() and is_visible(one.name)]
            classes = {
                one.name.removesuffix(".cls"): _text(file, one)
                for one in infos
                if one.name.endswith(".cls")
            }
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read as a tar: {one_line(error)}") from error
    kept = [one for one in infos if PurePosixPath(one.name).suffix.lower() in suffixes]
    if not kept:
        raise DataError(f"{path} holds no files that end in {', '.join(sorted(suffixes))}")
    for one in kept:
        # WebDataset's key: the name up to the first dot of its last part.
        folder, slash, name = one.name.rpartition("/")
        label = classes.get(folder + slash + name.partition(".")[0], "")
        inside = (f"{label}/" if label else "") + one.name.removeprefix("./")
        yield path + ARCHIVE_SEPARATOR + inside, Member(path, one.offset_data, one.size)


def _text(file: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    content = file.extractfile(info)
    return "" if content is None else content.read().decode("utf-8", "replace").strip()


def _rows(path: str) -> Iterator[Listed]:
    try:
        check_regular(expanded(path))
        schema = _open_table(path).schema_arrow
        column = next((one.name for one in schema if _holds_images(one.type)), None)
        if column is None:
            raise DataError(f"{path} has no column of images: bytes of image files")
        names = _names(path, set(schema.names))
    # pyarrow raises many kinds on damaged bytes.
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {one_line(error)}") from error
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if first.setdefault(name, row) != row:
            raise DataError(f"{path}: rows {first[name]} and {row} have one path: {name}")
        yield path + ARCHIVE_SEPARATOR + name, Row(path, column, row)


def _holds_images(kind: Any) -> bool:
    """Whether a column is of bytes, or of ``{bytes, path}`` as Hugging Face writes it."""
    types = import_extra("pyarrow", "parquet", "a .parquet file").types
    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _names(path: str, columns: set[str]) -> list[str]:
    """The name of each row."""
    n_rows = sum(_rows_of_groups(path))
    for column in [one for one in ("path", "label") if one in columns]:
        values = _open_table(path).read(columns=[column])[column].to_pylist()
        if column == "path":
            return [str(one) for one in values]
        return [f"{one}/{row}" for row, one in enumerate(values)]
    return [str(row) for row in range(n_rows)]


def _open_table(path: str) -> Any:
    return import_extra("pyarrow.parquet", "parquet", "a .parquet file").ParquetFile(path)


@lru_cache(maxsize=64)
def _rows_of_groups(path: str) -> tuple[int, ...]:
    metadata = _open_table(path).metadata
    return tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))


@lru_cache(maxsize=1)  # rows are asked for in their order
def _read_group(path: str, column: str, group: int) -> Any:
    return _open_table(path).read_row_group(group, columns=[column])[column]
