"""Uploads: the body of a request, read with limits and held in memory only."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import HTTPException, Request

from onelook.gallery.store import MAX_NAME, validate_name
from onelook.service.batching import Upload
from onelook.service.failures import overloaded
from onelook.service.multipart import Part, parse_multipart
from onelook.service.settings import ServiceSettings
from onelook.service.shares import CLIENT, Shares

MAX_JSON = 16 << 10  # bytes of metadata, or of a JSON body


class Room:
    """The memory for request bodies, which all requests share."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._bytes = Shares(settings.max_held_bytes)

    def take(self, n_bytes: int) -> None:
        """Reserve memory; raises a 503 where too little is left."""
        if not self._bytes.take(CLIENT.get(), n_bytes):
            raise overloaded("too many bytes are being sent to it")

    def give(self, n_bytes: int) -> None:
        """Give reserved memory back."""
        self._bytes.give(CLIENT.get(), n_bytes)


@asynccontextmanager
async def body_of(request: Request, room: Room) -> AsyncIterator[bytes]:
    """The body of a request, within limits; its memory is reserved inside the block."""
    limit, seconds = room.settings.max_bytes, room.settings.body_seconds
    # The rest of the body is not read, so the connection cannot be used again.
    message, closing = f"the request has more than {limit:,} bytes", {"Connection": "close"}
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise HTTPException(413, message, closing)
    chunks: list[bytes] = []
    held = 0
    try:
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    if held + len(chunk) > limit:
                        raise HTTPException(413, message, closing)
                    room.take(len(chunk))
                    held += len(chunk)
                    chunks.append(chunk)
        except TimeoutError as error:
            late = f"the body took more than {seconds:g} seconds"
            raise HTTPException(408, late) from error
        yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
    finally:
        room.give(held)


@asynccontextmanager
async def read_form(
    request: Request,
    room: Room,
    images: Sequence[str],
    texts: Sequence[str] = (),
    *,
    many: bool = False,
) -> AsyncIterator[tuple[dict[str, list[Upload]], dict[str, str]]]:
    """Images and texts of a form, by field; memory is reserved inside the block.

    Fields of images are required and hold one each, or several with ``many``.
    """
    async with body_of(request, room) as body:
        n_parts = room.settings.max_images + len(images) + len(texts) + 1
        parts = parse_multipart(request.headers.get("content-type", ""), body, n_parts)
        fields: dict[str, list[Part]] = {}
        for part in parts:
            fields.setdefault(part.name, []).append(part)
        most = dict.fromkeys(images, room.settings.max_images if many else 1)
        _check_fields(fields, most, texts)
        pictures = {name: _uploads(fields[name], name, many) for name in images}
        yield pictures, {n: _text(fields[n][0], n) for n in texts if n in fields}


def _check_fields(
    fields: Mapping[str, Sequence[Part]], most: Mapping[str, int], texts: Sequence[str]
) -> None:
    """Refuse fields that are unknown, missing or sent too often."""
    for name, parts in fields.items():
        if name not in (*most, *texts):
            known = ", ".join([*most, *texts])
            raise HTTPException(400, f"unknown field {name[:40]!r}; known: {known}")
        if name in texts and len(parts) > 1:
            raise HTTPException(400, f"{name}: sent {len(parts)} times; send it once")
        if name in most and len(parts) > most[name]:
            status = 413 if most[name] > 1 else 400
            message = f"{name}: {len(parts)} images; send at most {most[name]}"
            raise HTTPException(status, message)
    for name in most:
        if name not in fields:
            raise HTTPException(
                400, f"the field {name} is missing; put an image file there"
            )


def _uploads(parts: Sequence[Part], field: str, many: bool) -> list[Upload]:
    # Of the client's name of a file only the last part is kept.
    names = [part.filename.replace("\\", "/").rpartition("/")[2] for part in parts]
    return [
        Upload(f"image {i}" if many else field, part.data, name[:MAX_NAME] or field)
        for i, (part, name) in enumerate(zip(parts, names, strict=True), 1)
    ]


def _text(part: Part, field: str) -> str:
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"{field}: not UTF-8") from error


def identity_name(text: str) -> str:
    """``validate_name``; raises a 400 where it refuses."""
    try:
        return validate_name(text)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


def json_object(text: str | bytes, field: str) -> dict[str, Any]:
    """A JSON object that every store can keep."""
    if len(text) > MAX_JSON:
        raise HTTPException(413, f"{field}: more than {MAX_JSON:,} bytes of JSON")
    try:
        value = json.loads(text)
        plain = json.dumps(value, allow_nan=False, ensure_ascii=False)
        plain.encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"{field}: not JSON that a gallery can keep") from error
    if not isinstance(value, dict) or "\\u0000" in plain:
        raise HTTPException(400, f"{field}: expected a JSON object without NUL characters")
    return value
