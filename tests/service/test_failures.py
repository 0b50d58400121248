"""Failures: one shape, the right status, and nothing of the server or of an image."""

import io
import json
import logging

import pytest
from asking import asking, drawing, pair, several
from PIL import Image

from onelook.errors import DataError, GalleryError, UnknownIdentityError
from onelook.gallery.gallery import Gallery
from onelook.loading import load
from onelook.service.failures import status_and_message
from onelook.service.settings import ServiceSettings

SECRET = b"\x89PNG\r\n\x1a\nOTTER-IN-THE-IMAGE" + bytes(200)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failures")
    settings = ServiceSettings(max_bytes=200_000, max_pixels=500_000, max_images=3)
    with asking(settings, folder / "gallery.db") as client:
        client.folder = folder
        yield client


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), 255).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_photograph_without_a_face_is_called_that():
    pytest.importorskip("dlib")
    with asking(verifier=load("faces-aligned")) as client:
        answer = client.post("/v1/compare", files=pair(png(250, 250), png(250, 250)))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("left: no face was found; take a photograph")


def requests():
    """Name, status, part of the message, and the request."""
    one, files = drawing(1), {"image": ("a.png", drawing(1))}
    half = {"left": ("a.png", one)}
    person = {"identity": "Ada"}
    post = "POST"
    return [
        ("no route", 404, "Not Found", "GET", "/v1/nothing", {}),
        ("no method", 405, "Method Not Allowed", "GET", "/v1/compare", {}),
        ("web", 404, "Not Found", "GET", "/web/../app.py", {}),
        ("web up", 404, "Not Found", "GET", "/web/%2e%2e/app.py", {}),
        ("no form", 400, "multipart", post, "/v1/compare", {"content": b"x"}),
        ("JSON", 400, "multipart", post, "/v1/compare", {"json": {"left": 1}}),
        ("no right", 400, "field right is missing", post, "/v1/compare", {"files": half}),
        (
            "unknown field",
            400,
            "unknown field 'third'; known: left, right",
            post,
            "/v1/compare",
            {"files": pair(one, one) | {"third": ("c.png", one)}},
        ),
        (
            "twice",
            400,
            "left: 2 images; send at most 1",
            post,
            "/v1/compare",
            {"files": [("left", one), ("left", one), ("right", one)]},
        ),
        (
            "many",
            413,
            "4 images; send at most 3",
            post,
            "/v1/embed",
            {"files": several(*[one] * 4)},
        ),
        (
            "bytes",
            413,
            "more than 200,000 bytes",
            post,
            "/v1/compare",
            {"files": pair(one, bytes(300_000))},
        ),
        (
            "pixels",
            413,
            "left: 900 x 900 pixels, more than the limit of 500,000",
            post,
            "/v1/compare",
            {"files": pair(png(900, 900), one)},
        ),
        (
            "bomb",
            413,
            "pixels",
            post,
            "/v1/compare",
            {"files": pair(png(13_000, 8_000), one)},
        ),
        (
            "no image",
            422,
            "left: cannot be read as an image",
            post,
            "/v1/compare",
            {"files": pair(SECRET, one)},
        ),
        ("empty", 422, "right: cannot be", post, "/v1/compare", {"files": pair(one, b"")}),
        (
            "cut off",
            422,
            "left: cannot be read",
            post,
            "/v1/compare",
            {"files": pair(one[:-60], one)},
        ),
        (
            "blank",
            422,
            "image 2: no ink: the picture is blank",
            post,
            "/v1/embed",
            {"files": several(one, png(50, 50))},
        ),
        ("side", 400, "side: ", post, "/v1/embed?side=up", {"files": several(one)}),
        ("k", 400, "k: Input should be", post, "/v1/identify?k=0", {"files": files}),
        ("k word", 400, "k: Input should be", post, "/v1/identify?k=x", {"files": files}),
        ("limit", 400, "limit: ", "GET", "/v1/identities?limit=0", {}),
        ("unknown", 404, "no such identity", "GET", "/v1/identities/Missing", {}),
        ("unknown face", 404, "no such", "GET", "/v1/thumbnails/Missing", {}),
        (
            "unknown entry",
            404,
            "no such identity or picture",
            "GET",
            "/v1/entries/99/thumbnail",
            {},
        ),
        ("huge entry", 400, "entry: ", "GET", f"/v1/entries/{2**63}/thumbnail", {}),
        ("forget", 404, "no such identity", "DELETE", "/v1/identities/Missing", {}),
        (
            "rename",
            404,
            "no such identity",
            "PATCH",
            "/v1/identities/Missing",
            {"json": {"identity": "x"}},
        ),
        (
            "rename to nothing",
            400,
            "1 to 200 characters",
            "PATCH",
            "/v1/identities/Missing",
            {"json": {"identity": " "}},
        ),
        (
            "rename what",
            400,
            'send {"identity"',
            "PATCH",
            "/v1/identities/Missing",
            {"json": {"name": "x"}},
        ),
        ("no JSON", 400, "not JSON", "PATCH", "/v1/identities/a", {"content": b"{"}),
        (
            "no body",
            400,
            "field identity is missing",
            post,
            "/v1/enroll",
            {"files": several(one)},
        ),
        (
            "control",
            400,
            "control characters",
            post,
            "/v1/enroll",
            {"files": several(one), "data": {"identity": "a\nb"}},
        ),
        (
            "metadata",
            400,
            "metadata: ",
            post,
            "/v1/enroll",
            {"files": several(one), "data": person | {"metadata": "[]"}},
        ),
        (
            "enroll no image",
            422,
            "image 2: cannot be read",
            post,
            "/v1/enroll",
            {"files": several(one, SECRET), "data": person},
        ),
        (
            "enroll a cut image",
            422,
            "image 1: cannot be read",
            post,
            "/v1/enroll",
            {"files": several(one[:-60]), "data": person},
        ),
        (
            "enroll pixels",
            413,
            "image 1: 900 x 900",
            post,
            "/v1/enroll",
            {"files": several(png(900, 900)), "data": person},
        ),
        (
            "explain",
            422,
            "right: cannot be read",
            post,
            "/v1/explain",
            {"files": pair(one, SECRET)},
        ),
    ]


@pytest.mark.parametrize("case", requests(), ids=lambda case: case[0])
def test_every_failure_has_its_status_and_the_one_shape(client, case):
    _, status, message, method, path, content = case
    answer = client.request(method, path, **content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    assert message in body["error"]
    # No path of the server, nothing of the image, no name of the code.
    for secret in ("OTTER", "x89PNG", str(client.folder), "/work", "Traceback", ".py"):
        assert secret not in answer.text
    assert client.get("/v1/identities").json()["total"] == 0


def test_a_renaming_onto_another_identity_is_a_duplicate(tmp_path):
    with asking(gallery_file=tmp_path / "gallery.db") as client:
        for i, name in enumerate(("Ada", "Bob")):
            files = several(drawing(i))
            client.post("/v1/enroll", files=files, data={"identity": name})
        answer = client.patch("/v1/identities/Ada", json={"identity": "Bob"})
        assert answer.status_code == 409
        assert "that name is taken" in answer.json()["error"]
        answer = client.patch("/v1/identities/Ada?join=true", json={"identity": "Bob"})
        assert answer.json() == {"identity": "Bob", "images": 2}


def test_a_service_without_a_gallery_says_so():
    with asking() as client:
        for method, path in [
            ("POST", "/v1/identify"),
            ("POST", "/v1/enroll"),
            ("GET", "/v1/identities"),
            ("GET", "/v1/identities/a"),
            ("DELETE", "/v1/identities/a"),
            ("PATCH", "/v1/identities/a"),
        ]:
            answer = client.request(method, path)
            assert answer.status_code == 404
            assert answer.json()["error"].startswith("this service has no gallery")


def test_a_gallery_that_fails_is_told_in_the_log_and_not_to_the_client(
    tmp_path, monkeypatch, caplog
):
    def fail(*_, **__):
        raise GalleryError("/secret/gallery.db: the disk is full")

    with asking(gallery_file=tmp_path / "gallery.db") as client:
        monkeypatch.setattr(Gallery, "identities", fail)
        monkeypatch.setattr(Gallery, "identify_embedded", fail)
        for answer in (
            client.get("/v1/identities"),
            client.post("/v1/identify", files={"image": ("a.png", drawing(1))}),
        ):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            message = "the gallery does not answer; see the log of the service"
            assert answer.json() == {"error": message}
    assert "/secret/gallery.db: the disk is full" in caplog.text


def test_a_fault_of_the_code_is_an_answer_too(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("/secret/path")

    with asking(gallery_file=tmp_path / "gallery.db") as client:
        monkeypatch.setattr(Gallery, "identities", fail)
        answer = client.get("/v1/identities")
        assert answer.status_code == 500
        assert answer.json() == {"error": "an error in the service; see its log"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/healthz").status_code == 200


def test_the_table_goes_by_the_first_that_fits():
    assert status_and_message(UnknownIdentityError("x"))[0] == 404
    assert status_and_message(GalleryError("x"))[0] == 503
    assert status_and_message(DataError("x"))[0] == 422
    assert status_and_message(KeyError("x"))[0] == 500
    _, message = status_and_message(DataError("/a/path/of/the/server.png: x"))
    assert message.startswith("image: ")


def test_logs_hold_no_image_no_secret_and_no_name(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with asking(gallery_file=tmp_path / "gallery.db") as client:
        client.post(
            "/v1/enroll", files=several(drawing(1)), data={"identity": "Ada Lovelace"}
        )
        headers = {"Authorization": "Bearer onelook_secret"}
        client.get("/v1/identities/Ada%20Lovelace?token=onelook_secret", headers=headers)
        client.post("/v1/compare", files=pair(SECRET, drawing(1)))
    ours = [r for r in caplog.records if r.name.startswith(("onelook", "uvicorn"))]
    lines = [record.getMessage() for record in ours]
    assert any(line.startswith("GET /v1/identities/{identity:path} 200") for line in lines)
    for secret in ("Ada", "Lovelace", "onelook_secret", "OTTER"):
        assert secret not in json.dumps(lines)
