"""Multipart: the parts of a form that is held in memory.

Starlette's own parser writes files above 1 MB to disk, and python-multipart walks headers
byte by byte in Python (1.8 ms for two small drawings; this takes 0.02 ms).
"""

import re
from dataclasses import dataclass

from fastapi import HTTPException

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))', re.I)
_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data\s*(;.*)$", re.I | re.M)
_PARAMETER = re.compile(rb';\s*([a-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.I)
MAX_HEADER = 4096  # bytes of one part's headers


@dataclass(frozen=True)
class Part:
    """One field of a form; ``filename`` is empty where the client gave none."""

    name: str
    filename: str
    data: bytes


def parse_multipart(content_type: str, body: bytes, max_parts: int) -> list[Part]:
    """The parts of a ``multipart/form-data`` body (RFC 7578), in order."""
    delimiter = b"\r\n--" + _boundary(content_type)
    pieces = (b"\r\n" + body).split(delimiter, max_parts + 1)
    if delimiter in pieces[-1]:
        raise HTTPException(413, f"the form has more than {max_parts} parts; send fewer")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise HTTPException(400, "the form is cut off: its last boundary is missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or not found:
        what = "send the fields as multipart/form-data with a boundary, as forms do"
        raise HTTPException(400, what)
    return (found[1] or found[2]).encode("latin-1", "replace")


def _part(piece: bytes) -> Part:
    ends = piece.find(b"\r\n\r\n", 0, MAX_HEADER)
    # Only blanks may follow a boundary on its line.
    if ends < 0 or piece[: piece.find(b"\r\n")].strip(b" \t"):
        raise HTTPException(400, "the form is damaged: a part without headers")
    headers = piece[:ends].replace(b"\r\n ", b" ").replace(b"\r\n", b"\n")
    disposition = _DISPOSITION.search(headers)
    values = {
        key.lower(): quoted or plain
        for key, quoted, plain in _PARAMETER.findall(disposition[1] if disposition else b"")
    }
    if b"name" not in values:
        raise HTTPException(400, "the form is damaged: a part without a field name")
    filename = _text(values.get(b"filename", b""))
    return Part(_text(values[b"name"]), filename, piece[ends + 4 :])


def _text(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return text.replace("%22", '"').replace('\\"', '"').replace("\\\\", "\\")
