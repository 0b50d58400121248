"""The page of a review: what people would rather look at than read."""

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onelook.data.inputs.decoding import thumbnail_of
from onelook.data.reading import escaped, read_bytes
from onelook.extras import import_extra
from onelook.files import PRIVATE, check_writable, write_whole
from onelook.report.page import render
from onelook.review.review import Review

MOST_FINDINGS = 60  # of a kind on the page
MOST_PICTURES = 12  # of a finding
MOST_DOTS = 2000


@dataclass(frozen=True)
class Finding:
    """Pictures (``data:`` address and name) with a text and names under them."""

    pictures: list[tuple[str, str]]
    text: str
    names: list[str]


@dataclass(frozen=True)
class Section:
    """Findings of one kind: the first of ``total``."""

    id: str
    title: str
    about: str
    total: int
    findings: list[Finding]


def write_page(review: Review, path: str | Path) -> Path:
    """Write a review as one HTML file that needs nothing else.

    Raises:
        MissingExtraError: If Jinja2 is not there.
    """
    sections = [one for one in _sections(review) if one.total]
    page = render(
        "review.html", "review", review=review, sections=sections, dots=_dots(review)
    )
    return write_whole(Path(path), page, PRIVATE)


def check_page(path: str | Path) -> None:
    """Refuse, before any work, a page that could not be written.

    Raises:
        ValueError: If its name does not end in .html.
        DataError: If its folder cannot be written into.
        MissingExtraError: If Jinja2 is not there.
    """
    if Path(path).suffix != ".html":
        raise ValueError(f"a page is a file ending in .html, got {str(path)!r}")
    check_writable(Path(path))
    import_extra("jinja2", "review")


def _sections(review: Review) -> list[Section]:
    labels = review.labels
    return [
        Section(
            "duplicates",
            "Duplicates",
            "Pictures that are there more than once; those in several classes come first.",
            len(review.duplicates),
            [
                _finding(
                    review,
                    one.rows,
                    ("the same file" if one.exact else "nearly the same picture")
                    + (", in several classes" if one.contradicts else ""),
                )
                for one in review.duplicates[:MOST_FINDINGS]
            ],
        ),
        Section(
            "labels",
            "Labels that look wrong",
            "The image on the left is beside the nearest image of the class that its "
            "neighbours are of.",
            len(review.wrong_labels),
            [
                _finding(
                    review,
                    [one.row, one.nearest],
                    f"labelled {labels[one.row]}, looks like {one.looks_like}",
                )
                for one in review.wrong_labels[:MOST_FINDINGS]
            ],
        ),
        Section(
            "strangers",
            "Strangers",
            "Images that are unlike all others of their class, beside the most alike of "
            "these, and images of another kind than the model knows.",
            len(review.strangers),
            [
                _finding(review, sorted({one.row, one.nearest}), one.reason)
                for one in review.strangers[:MOST_FINDINGS]
            ],
        ),
        Section(
            "groups",
            "Groups without a name",
            "Images in no class folder that show one thing.",
            len(review.groups),
            [
                _finding(review, rows, f"{len(rows):,} images")
                for rows in review.groups[:MOST_FINDINGS]
            ],
        ),
    ]


def _finding(review: Review, rows: Sequence[int], text: str) -> Finding:
    names = [_short(review, row) for row in rows]
    shown = list(zip(rows, names, strict=True))[:MOST_PICTURES]
    pictures = [(_address(review.paths[row]), name) for row, name in shown]
    hidden = len(rows) - len(shown)
    more = [f"and {hidden:,} more"] if hidden else []
    return Finding(pictures, text, [name for _, name in shown] + more)


def _short(review: Review, row: int) -> str:
    """The class and the file, as people know the image."""
    name = escaped(Path(review.paths[row]).name)
    return f"{review.labels[row]}/{name}".lstrip("/")


def _address(path: str) -> str:
    data = base64.b64encode(thumbnail_of(read_bytes(path))).decode()
    return f"data:image/webp;base64,{data}"


def _dots(review: Review) -> Iterable[tuple[float, float, int, str]]:
    """Place, hue and name of up to 2,000 images."""
    rows = np.random.default_rng(0).permutation(len(review))[:MOST_DOTS]
    low, high = np.quantile(review.map, [0.005, 0.995], axis=0)
    places = (review.map[rows] - low) / np.maximum(high - low, 1e-9)
    places = 1 + np.clip(places, 0, 1) * (98, 58)
    for row, (x, y) in zip(rows.tolist(), places.round(2).tolist(), strict=True):
        hue = zlib.crc32(review.labels[row].encode()) % 360
        yield x, y, hue, _short(review, row)
