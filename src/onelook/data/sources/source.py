"""Source: where data comes from. One record a source; SOURCES lists them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onelook.data.items import ARCHIVE_SEPARATOR, Dataset, Pairs
from onelook.data.sources.fetch import Archive
from onelook.errors import DataError
from onelook.files import cache_folder, expanded
from onelook.recipe import DataSettings

Place = str | Path


@dataclass(frozen=True)
class Source:
    """A kind of data, and how it is found and opened.

    Args:
        name: What recipes and commands call it.
        about: One line for people.
        open: Opens a part of what lies in a folder; the part and the layout of the user's
            own files come with the recipe's ``data`` settings.
        parts: Names of parts; a recipe without one trains on the first. Empty: the source
            has none.
        protocol: The protocol that measures models trained on it; "" where there is none.
        archives: Official files to download.
        marks: Files or folders, beside the archives, that show that a folder holds it.
        folder: Its folder below ``$ONELOOK_DATA`` and the cache; by default its name.
        yours: What the user has to name with ``--data``; "" for a published data set.
        read: Reads one file of the user's pairs: path, root of its paths, settings, and the
            label of a same pair where the file does not say it.
        one_store: Whether all parts share one store of decoded images.
    """

    name: str
    about: str
    open: Callable[[Place, DataSettings], Dataset | Pairs]
    parts: tuple[str, ...] = ()
    protocol: str = ""
    archives: tuple[Archive, ...] = ()
    marks: tuple[str, ...] = ()
    folder: str = ""
    yours: str = ""
    read: Callable[[Place, Place, DataSettings, int | None], Pairs] | None = None
    one_store: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.folder or self.name)

    def find(self, data: Place | None = None) -> Place:
        """The folder (or archive) that holds the source.

        Looks at ``data`` if it is given; otherwise into ``$ONELOOK_DATA`` and its subfolder
        of that name, then into the cache, where downloads go.

        Raises:
            DataError: If it is in none of these places; the message says what to do.
        """
        if self.yours:
            if data is None:
                raise DataError(f"a {self.name} recipe needs --data, {self.yours}")
            return data
        if data is not None:
            path = expanded(data)
            if not path.exists() and ARCHIVE_SEPARATOR not in str(data):
                raise DataError(f"--data {data} does not exist; {self._how_to_get()}")
            return path
        if not self.archives and not self.marks:  # made in the cache when it is opened
            return cache_folder() / self.folder
        home = os.environ.get("ONELOOK_DATA")
        places = [expanded(home) / self.folder, expanded(home)] if home else []
        for place in places:
            if self.lies_in(place):
                return place
        # Only now: what is named is found without a cache too.
        places.append(cache_folder() / self.folder)
        if self.lies_in(places[-1]):
            return places[-1]
        looked = ", ".join(map(str, places))
        raise DataError(
            f"no {self.name} data in {looked}; {self._how_to_get()}, or say where it lies: "
            f"onelook data {self.name} FOLDER. For a folder of your own, give its path: "
            f"./{self.name}"
        )

    def lies_in(self, place: Path) -> bool:
        """Whether a folder holds an archive or a mark of the source."""
        marks = (*(archive.name for archive in self.archives), *self.marks)
        return any((place / mark).exists() for mark in marks)

    def _how_to_get(self) -> str:
        files = ", ".join([archive.name for archive in self.archives] or self.marks)
        fetch = f"onelook data {self.name} --download fetches it, or " * bool(self.archives)
        try:
            place = str(cache_folder() / self.folder)
        except DataError:  # no home
            place = "a folder that ONELOOK_DATA names"
        return f"{fetch}put {files} into {place}"


def unknown_part(source: Source, part: str) -> ValueError:
    """The error for a part that a source does not have."""
    known = ", ".join(source.parts)
    return ValueError(f"unknown part {part!r} of {source.name}; known: {known}")
