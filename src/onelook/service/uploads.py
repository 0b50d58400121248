"""Uploads: the body of a request, read with limits and held in memory only."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from onelook.gallery.store import MAX_NAME, validate_name
from onelook.service.batching import Upload
from onelook.service.failures import Refusal, overloaded
from onelook.service.multipart import Part, parse_multipart
from onelook.service.settings import ServiceSettings

MAX_JSON = 16 << 10  # bytes of metadata, or of a JSON body


class Room:
    """The memory for request bodies, which all requests share."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._free = settings.max_held_bytes

    def take(self, n_bytes: int) -> None:
        """Reserve memory; raises a 503 where too little is left."""
        if n_bytes > self._free:
            raise overloaded("too many bytes are being sent to it")
        self._free -= n_bytes

    def give_back(self, n_bytes: int) -> None:
        self._free += n_bytes


@asynccontextmanager
async def body_of(request: Request, room: Room) -> AsyncIterator[bytes]:
    """The body of a request, within limits; its memory is reserved inside the block.

    Raises:
        Refusal: 413 for too many bytes (before reading where their number is declared),
            408 where they come too slowly, 503 where other bodies fill the memory.
    """
    limit, seconds = room.settings.max_bytes, room.settings.body_seconds
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    held = 0
    try:
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    if held + len(chunk) > limit:
                        raise _too_large(limit)
                    room.take(len(chunk))
                    held += len(chunk)
                    chunks.append(chunk)
        except TimeoutError as error:
            raise Refusal(408, f"the body took more than {seconds:g} seconds") from error
        yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
    finally:
        room.give_back(held)


def _too_large(limit: int) -> Refusal:
    # The rest of the body is not read, so the connection cannot be used again.
    return Refusal(
        413, f"the request has more than {limit:,} bytes", {"Connection": "close"}
    )


@dataclass(frozen=True)
class Form:
    """The images and texts of a form, by field."""

    images: dict[str, list[Upload]]
    texts: dict[str, str]

    def image(self, field: str) -> Upload:
        """The one image of a field."""
        return self.images[field][0]


@asynccontextmanager
async def read_form(
    request: Request,
    room: Room,
    images: Sequence[str],
    texts: Sequence[str] = (),
    *,
    many: bool = False,
) -> AsyncIterator[Form]:
    """The form in the body of a request; its memory is reserved inside the block.

    Args:
        request: The request.
        room: Limits, and the memory for bodies.
        images: Required fields that hold one image each, or several with ``many``.
        texts: Optional fields.
        many: Whether an image field may be repeated.

    Raises:
        Refusal: As ``body_of``, and if a field is missing, unknown or repeated.
    """
    async with body_of(request, room) as body:
        most = room.settings.max_images + len(images) + len(texts) + 1
        parts = parse_multipart(request.headers.get("content-type", ""), body, most)
        fields: dict[str, list[Part]] = {}
        for part in parts:
            fields.setdefault(part.name, []).append(part)
        _check_fields(fields, images, texts, room.settings.max_images if many else 1)
        yield Form(
            {name: _uploads(fields[name], name, many) for name in images},
            {name: _text(fields[name][0], name) for name in texts if name in fields},
        )


def _check_fields(
    fields: Mapping[str, Sequence[Part]],
    images: Sequence[str],
    texts: Sequence[str],
    most: int,
) -> None:
    for name, parts in fields.items():
        if name in images and len(parts) > most:
            message = f"{name}: {len(parts)} images; send at most {most}"
            raise Refusal(413 if most > 1 else 400, message)
        if name in texts and len(parts) > 1:
            raise Refusal(400, f"{name}: sent {len(parts)} times; send it once")
        if name not in images and name not in texts:
            known = ", ".join([*images, *texts])
            raise Refusal(400, f"unknown field {name[:40]!r}; known: {known}")
    for name in images:
        if name not in fields:
            raise Refusal(400, f"the field {name} is missing; put an image file there")


def _uploads(parts: Sequence[Part], field: str, many: bool) -> list[Upload]:
    return [
        Upload(f"image {i}" if many else field, part.data, _file_name(part) or field)
        for i, part in enumerate(parts, 1)
    ]


def _file_name(part: Part) -> str:
    """The client's name of a file, without folders."""
    return part.filename.replace("\\", "/").rpartition("/")[2][:MAX_NAME]


def _text(part: Part, field: str) -> str:
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(400, f"{field}: not UTF-8") from error


def identity_name(text: str) -> str:
    """``validate_name``; raises a 400 where it refuses."""
    try:
        return validate_name(text)
    except ValueError as error:
        raise Refusal(400, str(error)) from error


def json_object(text: str | bytes, field: str) -> dict[str, Any]:
    """A JSON object that every store can keep.

    Raises:
        Refusal: If it is not one, too long, or holds what some stores refuse: numbers that
            are not finite, NUL characters, lone surrogates.
    """
    if len(text) > MAX_JSON:
        raise Refusal(413, f"{field}: more than {MAX_JSON:,} bytes of JSON")
    try:
        value = json.loads(text)
        plain = json.dumps(value, allow_nan=False, ensure_ascii=False)
        plain.encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"{field}: not JSON that a gallery can keep") from error
    if not isinstance(value, dict) or "\\u0000" in plain:
        raise Refusal(400, f"{field}: expected a JSON object without NUL characters")
    return value
