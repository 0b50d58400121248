"""Uploads: bodies within limits, and texts that every store can keep."""

import asyncio
from contextvars import copy_context

import pytest
from fastapi import HTTPException
from starlette.requests import ClientDisconnect, Request

from onelook.service.settings import ServiceSettings
from onelook.service.shares import CLIENT
from onelook.service.uploads import Room, body_of, identity_name, json_object


class Body:
    """A request whose body comes in chunks, with seconds between them."""

    def __init__(self, *chunks: bytes, declared: int | None = None, pause: float = 0):
        self.chunks = list(chunks)
        self.n_read = 0
        self.pause = pause
        headers = [] if declared is None else [(b"content-length", b"%d" % declared)]
        self.request = Request(
            {"type": "http", "method": "POST", "headers": headers}, self._receive
        )

    async def _receive(self):
        await asyncio.sleep(self.pause)
        chunk = self.chunks[self.n_read]
        self.n_read += 1
        more = self.n_read < len(self.chunks)
        return {"type": "http.request", "body": chunk, "more_body": more}


def room_of(n_bytes: int, **limits: float) -> Room:
    """Memory for bodies of ``n_bytes`` in all, each within ``max_bytes``."""
    limits = {"max_bytes": n_bytes // 2} | limits
    return Room(ServiceSettings(max_held_bytes=n_bytes, **limits))


def read(body: Body, room: Room) -> bytes:
    async def whole():
        async with body_of(body.request, room) as data:
            return data

    return asyncio.run(whole())


def test_a_body_comes_whole_and_gives_its_room_back():
    room = room_of(14)
    for _ in range(3):
        assert read(Body(b"abc", b"", b"defg"), room) == b"abcdefg"
    room.take(14)


def test_a_declared_length_above_the_limit_is_refused_unread():
    body = Body(b"x" * 11, declared=11)
    with pytest.raises(HTTPException, match="more than 10 bytes") as refusal:
        read(body, room_of(100, max_bytes=10))
    assert refusal.value.status_code == 413
    assert body.n_read == 0


@pytest.mark.parametrize("declared", [None, 5])
def test_a_body_is_counted_as_it_comes(declared):
    room = room_of(100, max_bytes=10)
    body = Body(*[b"x" * 4] * 1000, declared=declared)
    with pytest.raises(HTTPException, match="more than 10 bytes") as refusal:
        read(body, room)
    assert refusal.value.status_code == 413
    assert body.n_read == 3
    room.take(100)


def test_a_body_that_comes_too_slowly_is_refused():
    body = Body(*[b"x"] * 100, pause=0.02)
    with pytest.raises(HTTPException, match=r"more than 0\.1 seconds") as refusal:
        read(body, room_of(1000, body_seconds=0.1))
    assert refusal.value.status_code == 408
    assert body.n_read < 20


def test_a_client_that_leaves_gives_its_room_back():
    room, body = room_of(10), Body(b"abc", b"")
    messages = [
        {"type": "http.request", "body": b"abc", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return messages.pop(0)

    body.request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(ClientDisconnect):
        read(body, room)
    room.take(10)


def test_bodies_that_fill_the_memory_are_told_to_come_back():
    room = room_of(10)
    room.take(7)
    with pytest.raises(HTTPException, match="busy") as refusal:
        copy_context().run(lambda: [CLIENT.set("other"), read(Body(b"ab", b"cd"), room)])
    assert refusal.value.status_code == 503
    room.give(7)
    room.take(10)


@pytest.mark.parametrize(
    "name", ["Ada", "山田 太郎", "a/b", "👩‍🔬", "o'Neil; --", "x" * 200]
)
def test_names_of_people_are_names(name):
    assert identity_name(name) == name


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\0b", "a\nb", "\ud800", "\x7f"])
def test_what_some_store_could_not_keep_is_no_name(name):
    with pytest.raises(HTTPException, match="identity") as refusal:
        identity_name(name)
    assert refusal.value.status_code == 400


def test_metadata_is_a_json_object():
    assert json_object('{"a": [1, "ü", null]}', "metadata") == {"a": [1, "ü", None]}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("[]", 400),
        ('"a"', 400),
        ('{"a": NaN}', 400),
        ('{"a": 1e999}', 400),
        ('{"a": "\\u0000"}', 400),
        ('{"\\ud800": 1}', 400),
        (b'{"a": "\xff"}', 400),
        ('{"a":' + "[" * 8000 + "]" * 8000 + "}", 400),
        ('{"a": ' + "9" * 5000 + "}", 400),
        ('{"a": "' + "x" * 20_000 + '"}', 413),
    ],
)
def test_what_some_store_could_not_keep_is_no_metadata(text, status):
    with pytest.raises(HTTPException, match="metadata") as refusal:
        json_object(text, "metadata")
    assert refusal.value.status_code == status
