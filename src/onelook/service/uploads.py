"""Uploads: the body of a request, read with limits and held in memory only."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from onelook.gallery.store import MAX_NAME, validate_name
from onelook.service.embedding import Upload
from onelook.service.failures import Refusal, overloaded
from onelook.service.multipart import Part, parse_multipart
from onelook.service.settings import ServiceSettings

MAX_JSON = 16 << 10  # bytes of metadata, or of a JSON body


class Room:
    """The memory for bodies that all requests share."""

    def __init__(self, n_bytes: int) -> None:
        self._free = n_bytes

    def take(self, n_bytes: int) -> None:
        """Raises a 503 where not so much is left."""
        if n_bytes > self._free:
            raise overloaded("too many bytes are being sent to it")
        self._free -= n_bytes

    def give_back(self, n_bytes: int) -> None:
        self._free += n_bytes


@asynccontextmanager
async def body_of(
    request: Request, room: Room, settings: ServiceSettings
) -> AsyncIterator[bytes]:
    """The body of a request, within limits; its memory counts as taken inside the block.

    Raises:
        Refusal: 413 for too many bytes (before reading where their number is declared),
            408 where they come too slowly, 503 where other bodies fill the memory.
    """
    limit, seconds = settings.max_bytes, settings.body_seconds
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    held = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                if held + len(chunk) > limit:
                    raise _too_large(limit)
                room.take(len(chunk))
                held += len(chunk)
                chunks.append(chunk)
        yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError as error:
        raise Refusal(408, f"the body took more than {seconds:g} seconds") from error
    finally:
        room.give_back(held)


def _too_large(limit: int) -> Refusal:
    # The rest of the body is not read, so the connection cannot be used again.
    return Refusal(
        413, f"the request has more than {limit:,} bytes", {"Connection": "close"}
    )


@dataclass(frozen=True)
class Form:
    """The fields of a form: images, what the client calls them, and texts."""

    images: dict[str, list[Upload]]
    filenames: dict[str, list[str]]
    texts: dict[str, str]

    def image(self, field: str) -> Upload:
        """The one image of a field."""
        return self.images[field][0]

    def filename(self, field: str) -> str:
        """What the client calls it, without folders; the field's name where it says
        nothing."""
        name = self.filenames[field][0].replace("\\", "/").rpartition("/")[2]
        return name[:MAX_NAME] or field


def read_form(
    request: Request,
    body: bytes,
    settings: ServiceSettings,
    images: Sequence[str],
    texts: Sequence[str] = (),
    many: bool = False,
) -> Form:
    """The form in a body.

    Args:
        images: Fields that must be there and hold an image each, or several with ``many``.
        texts: Fields that may be there once each.

    Raises:
        Refusal: If a field is missing, unknown or given too often.
    """
    limit = settings.max_images if many else len(images)
    parts = parse_multipart(
        request.headers.get("content-type", ""),
        body,
        settings.max_images + len(images) + len(texts) + 1,
    )
    fields: dict[str, list[Part]] = {}
    for part in parts:
        fields.setdefault(part.name, []).append(part)
    for name in fields:
        if name not in images and name not in texts:
            known = ", ".join([*images, *texts])
            raise Refusal(400, f"unknown field {name[:40]!r}; known: {known}")
    for name in images:
        n, most = len(fields.get(name, [])), limit if many else 1
        if n > most:
            raise Refusal(413 if many else 400, f"{name}: {n} images; send at most {most}")
        if n == 0:
            raise Refusal(400, f"the field {name} is missing; put an image file there")
    return Form(
        {name: _uploads(fields[name], name, many) for name in images},
        {name: [part.filename for part in fields[name]] for name in images},
        {name: _text(fields[name], name) for name in texts if name in fields},
    )


def _uploads(parts: Sequence[Part], field: str, many: bool) -> list[Upload]:
    return [
        Upload(f"image {i}" if many else field, part.data)
        for i, part in enumerate(parts, 1)
    ]


def _text(parts: Sequence[Part], field: str) -> str:
    if len(parts) > 1:
        raise Refusal(400, f"the field {field} is there {len(parts)} times; send it once")
    try:
        return parts[0].data.decode("utf-8")
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
        Refusal: If it is none, too long, or holds what some stores refuse (numbers that are
            not finite, zero characters, half characters).
    """
    if len(text) > MAX_JSON:
        raise Refusal(413, f"{field}: more than {MAX_JSON:,} bytes of JSON")
    try:
        value = json.loads(text)
        plain = json.dumps(value, allow_nan=False, ensure_ascii=False)
        plain.encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"{field}: not JSON that can be kept") from error
    if not isinstance(value, dict) or "\\u0000" in plain:
        raise Refusal(400, f"{field}: expected a JSON object without zero characters")
    return value
