"""Multipart: forms as browsers, curl and httpx write them, and what is no form."""

import os

import httpx
import pytest
from fastapi import HTTPException
from python_multipart.multipart import MultipartParser

from onelook.service.multipart import MAX_HEADER, Part, parse_multipart

TYPE = "multipart/form-data; boundary=xyz"


def body(*pieces: bytes, end: bytes = b"--xyz--\r\n") -> bytes:
    return b"".join(b"--xyz\r\n" + piece + b"\r\n" for piece in pieces) + end


def field(name: str, data: bytes, more: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + data


def test_a_form_of_httpx_comes_back():
    files = [("images", (f"{n}.png", os.urandom(3000))) for n in range(5)]
    request = httpx.Request("POST", "http://x", data={"identity": "Ada"}, files=files)
    parts = parse_multipart(request.headers["content-type"], request.read(), 6)
    assert parts[0] == Part("identity", "", b"Ada")
    assert [(p.name, (p.filename, p.data)) for p in parts[1:]] == files


@pytest.mark.parametrize("seed", range(5))
def test_contents_are_those_that_another_parser_finds(seed):
    rng = __import__("random").Random(seed)
    bits = [b"\r\n", b"--", b"xyz", b"\r\n--xy", b"\n", b"--xyz", b"\0\xff", b"z"]
    contents = [b"".join(rng.choices(bits, k=rng.randrange(30))) for _ in range(6)]
    contents = [c for c in contents if b"\r\n--xyz" not in b"\r\n" + c]
    form = body(*(field(f"f{i}", content) for i, content in enumerate(contents)))
    found: list[bytes] = []
    parser = MultipartParser(
        b"xyz",
        {
            "on_part_begin": lambda: found.append(b""),
            "on_part_data": lambda data, start, end: found.append(
                found.pop() + data[start:end]
            ),
        },
    )
    parser.write(form)
    parser.finalize()
    assert [part.data for part in parse_multipart(TYPE, form, 10)] == found == contents


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('; filename="a b.png"', "a b.png"),
        ('; filename="quo%22te.png"', 'quo"te.png'),
        (r'; filename="quo\"te.png"', 'quo"te.png'),
        ("; filename=bare.png", "bare.png"),
        ('; filename="\u00fc.png"', "\u00fc.png"),
        ('; FileName="x.png"; other=1', "x.png"),
        ("", ""),
    ],
)
def test_file_names_are_read_as_they_are_written(head, expected):
    (part,) = parse_multipart(TYPE, body(field("left", b"data", head)), 2)
    assert (part.name, part.filename, part.data) == ("left", expected, b"data")


def test_a_preamble_other_headers_and_blanks_behind_a_boundary_do_not_matter():
    form = (
        b"preamble\r\n--xyz \t\r\nContent-Type: image/png\r\n"
        b'content-disposition: form-data;\r\n name="left"\r\nX-Other: 1\r\n\r\n'
        b"data\r\n--xyz--\r\nepilogue"
    )
    assert parse_multipart(TYPE, form, 2) == [Part("left", "", b"data")]
    quoted = 'Multipart/Form-Data; charset=utf-8; Boundary="xyz"'
    assert parse_multipart(quoted, form, 2) == [Part("left", "", b"data")]


@pytest.mark.parametrize(
    ("content_type", "form", "status", "message"),
    [
        ("", body(field("a", b"")), 400, "multipart/form-data with a boundary"),
        ("multipart/form-data", body(field("a", b"")), 400, "with a boundary"),
        ("application/json; boundary=xyz", b"{}", 400, "with a boundary"),
        (TYPE, b"", 400, "cut off"),
        (TYPE, body(field("a", b""), end=b""), 400, "cut off"),
        (TYPE, body(b"no header"), 400, "without headers"),
        (TYPE, body(b"\r\n\r\ndata"), 400, "without a field name"),
        (TYPE, body(b"Content-Disposition: attachment\r\n\r\n"), 400, "field name"),
        (TYPE, body(b"X: " + b"x" * MAX_HEADER + b"\r\n\r\n"), 400, "without headers"),
        (TYPE, b"--xyzz\r\n\r\n\r\n--xyz--", 400, "without headers"),
        (TYPE, body(*[field("a", b"")] * 4), 413, "more than 3 parts"),
        (TYPE, body(*[field("a", b"")] * 400), 413, "more than 3 parts"),
    ],
)
def test_what_is_no_form_is_refused(content_type, form, status, message):
    with pytest.raises(HTTPException, match=message) as refusal:
        parse_multipart(content_type, form, 3)
    assert refusal.value.status_code == status
