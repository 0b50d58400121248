"""Where data comes from: one file a source, one table of all of them."""

import os
from pathlib import Path

from onelook.data.archives import ARCHIVE_SUFFIXES
from onelook.data.items import ARCHIVE_SEPARATOR, Dataset, Pairs
from onelook.data.sources import (
    att,
    class_folders,
    digits,
    grocery,
    lfw,
    omniglot,
    pair_files,
    pair_tables,
    sick,
    strokes,
    things,
)
from onelook.data.sources.fetch import fetch_archive
from onelook.data.sources.source import Place, Source
from onelook.errors import DataError
from onelook.files import cache_folder, expanded
from onelook.recipe import DataSettings

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        omniglot.SOURCE,
        strokes.SOURCE,
        lfw.SOURCE,
        lfw.FUNNELED,
        lfw.PLAIN,
        att.SOURCE,
        sick.SOURCE,
        digits.SOURCE,
        things.SOURCE,
        grocery.SOURCE,
        class_folders.SOURCE,
        pair_files.SOURCE,
        pair_tables.SOURCE,
    )
}
# Data sets that are known by name; the other sources are the user's own files.
DATA_SETS = {name: source for name, source in SOURCES.items() if not source.yours}


def source_of(settings: DataSettings) -> Source:
    """The source that a recipe's ``data`` block names."""
    if settings.source not in SOURCES:
        raise DataError(
            f"data.source: unknown source {settings.source!r}; known: {', '.join(SOURCES)}"
        )
    return SOURCES[settings.source]


def find(name: str, data: Place | None = None) -> Place:
    """The folder that holds a data set; see ``Source.find``."""
    return SOURCES[name].find(data)


def download(name: str, folder: Place | None = None) -> Path:
    """Fetch the official archives of a data set and return their folder.

    Files that are there already are verified and not fetched again. The default is the
    cache's folder, where ``find`` looks.
    """
    source = DATA_SETS.get(name)
    if source is None or not source.archives:
        known = ", ".join(n for n, known in DATA_SETS.items() if known.archives)
        raise DataError(f"{name!r} cannot be downloaded; these can: {known}")
    target = expanded(folder or cache_folder() / source.folder)
    for archive in source.archives:
        fetch_archive(archive, target)
    return target


def open_source(
    name_or_path: Place,
    part: str = "",
    root: Place | None = None,
    *,
    depth: int = 0,
    same: int | None = None,
) -> Dataset | Pairs:
    """The items of a data set or of a folder of classes, or the pairs of a pair file.

    ``name_or_path`` is a name in ``DATA_SETS``, a folder or archive of ``CLASS/IMAGE``, or
    a file of ``PATH PATH LABEL`` lines. ``root`` is where a data set lies, or what the
    paths of a pair file are relative to; ``depth`` folders stand above a class folder;
    ``same`` is the label of a same pair, where the pair file does not say it.
    """
    name, place = str(name_or_path), os.path.expanduser(name_or_path)
    if name in DATA_SETS:
        _refuse_clash(DATA_SETS[name], root)
        settings = DataSettings(source=name, part=part or "all")
        return DATA_SETS[name].open(find(name, root), settings)
    if not os.path.exists(place) and ARCHIVE_SEPARATOR not in place:
        raise DataError(
            f"no source {name!r}: neither a folder nor a file, and known are "
            f"{', '.join(DATA_SETS)}"
        )
    if part:
        raise DataError(
            f"a part goes with a data set ({', '.join(DATA_SETS)}), not with {name!r}"
        )
    if os.path.isfile(place) and not place.lower().endswith(ARCHIVE_SUFFIXES):
        return pair_files.read_pairs(place, root or "", same)
    if root is not None:
        raise DataError(f"{name} is itself the place of images; leave out {str(root)!r}")
    return class_folders.class_folder(name_or_path, depth)


def _refuse_clash(source: Source, root: Place | None) -> None:
    """A folder here of a data set's name is the user's, unless it holds that data set."""
    folder = Path(source.name)
    if root is None and folder.exists() and not source.lies_in(folder):
        raise DataError(
            f"{source.name!r} is a data set that onelook knows, and a folder here: write "
            f"./{source.name} for your folder, or say where the data set lies: "
            f"onelook data {source.name} FOLDER"
        )


def open_training_data(
    settings: DataSettings, root: Place | None = None
) -> Dataset | Pairs:
    """What a recipe trains on and validates on; never its test classes."""
    source = source_of(settings)
    if source.parts and not settings.part:
        settings = settings.model_copy(update={"part": source.parts[0]})
    return source.open(source.find(root), settings)


def addresses_to_store(
    settings: DataSettings, root: Place | None, opened: Dataset
) -> tuple[str, ...]:
    """The images to decode once for a training: all of the source's, if its parts share."""
    source = source_of(settings)
    if not source.one_store:
        return opened.paths
    whole = source.open(source.find(root), DataSettings(source=source.name, part="all"))
    assert isinstance(whole, Dataset)
    return whole.paths


def read_pairs_like(
    settings: DataSettings, path: Place, root: Place, same: int | None = None
) -> Pairs:
    """The pairs of a file, laid out as those that a model was trained on, if it was."""
    read = source_of(settings).read or pair_files.SOURCE.read
    assert read is not None
    return read(path, root, settings, same)
