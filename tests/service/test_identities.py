"""Identities: a gallery over HTTP, from the first image to the last trace."""

import io
import json

import numpy as np
import pytest
from asking import asking, drawing, omniglot, several
from PIL import Image

from onelook.gallery.gallery import Gallery


@pytest.fixture
def client(tmp_path):
    with asking(gallery_file=tmp_path / "gallery.db") as client:
        client.file = tmp_path / "gallery.db"
        yield client


def enroll(client, identity, *seeds, metadata=None):
    data = {"identity": identity}
    if metadata is not None:
        data["metadata"] = json.dumps(metadata)
    files = several(*(drawing(seed) for seed in seeds))
    return client.post("/v1/enroll", files=files, data=data)


def test_from_enroll_to_forget(client):
    answer = enroll(client, "Ada", 1, 2, metadata={"camera": "door"})
    assert answer.status_code == 201
    assert answer.json() == {"identity": "Ada", "new": 2, "known": 0, "warnings": []}
    answer = enroll(client, "Ada", 2, 3).json()
    assert (answer["new"], answer["known"]) == (1, 1)
    enroll(client, "Bob", 9)
    answer = client.post("/v1/identify?k=2", files={"image": ("x.png", drawing(3))}).json()
    assert (answer["identity"], answer["verdict"]) == ("Ada", "known")
    assert [match["identity"] for match in answer["matches"]] == ["Ada", "Bob"]
    assert answer["matches"][0]["score"] == pytest.approx(1.0, abs=1e-5)
    assert answer["gallery_size"] == 4
    listed = client.get("/v1/identities/Ada").json()
    assert [row["metadata"] for row in listed["images"]] == [{"camera": "door"}] * 2 + [{}]
    renamed = client.patch("/v1/identities/Ada", json={"identity": "Ada Lovelace"})
    assert renamed.json() == {"identity": "Ada Lovelace", "images": 3}
    assert client.get("/v1/identities/Ada").status_code == 404
    gone = client.delete("/v1/identities/Ada%20Lovelace").json()
    assert gone == {"identity": "Ada Lovelace", "forgotten": 3}
    answer = client.post("/v1/identify", files={"image": ("x.png", drawing(3))}).json()
    assert [match["identity"] for match in answer["matches"]] == ["Bob"]
    assert answer["identity"] is None


def test_a_poor_example_is_enrolled_with_a_warning_or_refused(client):
    small = drawing(1, side=18)
    data, files = {"identity": "Ada"}, several(drawing(2), small)
    refused = client.post("/v1/enroll?strict=true", files=files, data=data)
    reason = "too small: 18 x 18 pixels; give 19 or more a side"
    assert refused.status_code == 422
    assert refused.json() == {"error": f"image 2: {reason}"}
    assert client.get("/v1/identities").json()["total"] == 0
    answer = client.post("/v1/enroll", files=files, data=data).json()
    assert (answer["new"], answer["warnings"]) == (2, [["1.png", reason]])


def test_every_drawing_of_a_sheet_is_answered(client):
    enroll(client, "Ada", 1)
    sheet = Image.new("L", (300, 105), 255)
    for i in range(2):
        sheet.paste(Image.open(io.BytesIO(drawing(1 + i))), (150 * i, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    files = {"image": ("sheet.png", buffer.getvalue())}
    seen = client.post("/v1/identify/all?faces=2", files=files).json()
    assert (seen["picture"], seen["width"], seen["height"]) == ("sheet.png", 300, 105)
    ada, unknown = seen["found"]
    assert ada["answer"]["identity"] == "Ada" and ada["box"][0] < 105
    assert unknown["answer"]["verdict"] == "unknown" and unknown["box"][0] > 150
    files = {"image": ("blank.png", drawing(1)[:40])}
    assert client.post("/v1/identify/all", files=files).status_code == 422


def test_identify_answers_as_the_library_does(client):
    for seed in range(6):
        enroll(client, f"drawing {seed}", seed, seed + 20)
    with Gallery(omniglot(), client.file) as gallery:
        for probe, k in ((drawing(2), 1), (drawing(40), 3), (drawing(41), 100)):
            expected = json.loads(json.dumps(gallery.identify(probe, k).to_dict()))
            found = client.post(f"/v1/identify?k={k}", files={"image": ("x", probe)}).json()
            assert found.keys() == expected.keys()
            for one, other in zip(found["matches"], expected["matches"], strict=True):
                assert one == pytest.approx(other, abs=1e-5)


def test_an_empty_gallery_answers_unknown(client):
    answer = client.post("/v1/identify", files={"image": ("x.png", drawing(3))}).json()
    assert (answer["identity"], answer["matches"]) == (None, [])
    assert answer["gallery_size"] == 0


def test_pages_of_identities_hold_each_once(client):
    names = ["Ada", "Bob", "Ünal", "a/b", "z"]
    for seed, name in enumerate(names):
        enroll(client, name, seed)
    found, after = [], ""
    for _ in range(3):
        page = client.get("/v1/identities", params={"after": after, "limit": 2}).json()
        assert page["total"] == 5
        found += page["identities"]
        after = page["next"]
    assert after is None
    assert [row["identity"] for row in found] == sorted(names)
    entries = {row["identity"]: row["entry"] for row in found}
    assert entries == {name: seed + 1 for seed, name in enumerate(names)}


@pytest.mark.parametrize("name", ["a/b", "a/thumbnail", "ä ö", "50 % & more?", "..a", "#"])
def test_a_name_may_be_nearly_anything(client, name):
    from urllib.parse import quote

    enroll(client, name, 1)
    address = f"/v1/identities/{quote(name, safe='')}"
    picture = client.get(address.replace("identities", "thumbnails"))
    assert picture.headers["content-type"] == "image/webp"
    assert client.get(address).json()["identity"] == name
    assert client.patch(address, json={"identity": "x/y"}).json()["images"] == 1
    assert client.patch("/v1/identities/x/y", json={"identity": name}).status_code == 200
    assert client.delete(address).json() == {"identity": name, "forgotten": 1}


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "a/../b", "a\nb", "a\x1b[2J", "a\u202eb", "a\u2028b", "x" * 201],
)
def test_names_that_a_url_or_a_line_cannot_hold_are_refused_at_every_door(client, name):
    files = {"images": ("x.png", drawing(1))}
    answer = client.post("/v1/enroll", files=files, data={"identity": name})
    assert answer.status_code == 400
    enroll(client, "Ada", 1)
    assert client.patch("/v1/identities/Ada", json={"identity": name}).status_code == 400
    with Gallery(omniglot(), client.file) as gallery:
        for refused in (
            lambda: gallery.enroll(name, [drawing(1)]),
            lambda: gallery.enroll_vectors([name], np.ones((1, 256))),
            lambda: gallery.rename("Ada", name),
        ):
            with pytest.raises(ValueError, match="an identity needs a name"):
                refused()


def test_spaces_around_a_name_do_not_count_at_any_door(client):
    with Gallery(omniglot(), client.file) as gallery:
        gallery.enroll("Ada ", [drawing(1)])
        assert gallery.identities() == {"Ada": 1} and gallery.has(" Ada")
        assert len(gallery.images("Ada ")) == 1
        assert client.get("/v1/identities/Ada%20").json()["identity"] == "Ada"
        gallery.rename("Ada ", " Bea")
        assert client.delete("/v1/identities/%20Bea").json() == {
            "identity": "Bea",
            "forgotten": 1,
        }


def test_thumbnails_are_small_pictures_of_what_was_enrolled(client):
    enroll(client, "Ada", 1, 2)
    first = client.get("/v1/thumbnails/Ada")
    assert first.headers["content-type"] == "image/webp"
    assert first.headers["cache-control"] == "no-store"
    picture = Image.open(io.BytesIO(first.content))
    assert max(picture.size) <= 96
    second = client.get("/v1/entries/2/thumbnail")
    assert second.status_code == 200 and second.content != first.content
    assert client.get("/v1/entries/1/thumbnail").content == first.content
    assert client.get("/v1/entries/3/thumbnail").status_code == 404


def test_what_another_process_writes_is_seen(client):
    with Gallery(omniglot(), client.file) as other:
        other.enroll("Ada", [drawing(1)])
        assert client.get("/v1/identities").json()["total"] == 1
        files = {"image": ("x.png", drawing(1))}
        assert client.post("/v1/identify", files=files).json()["identity"] == "Ada"
        client.delete("/v1/identities/Ada")
        assert other.identities() == {}


def test_one_bad_image_enrolls_none(client):
    files = several(drawing(1), b"no image")
    answer = client.post("/v1/enroll", files=files, data={"identity": "Ada"})
    assert answer.status_code == 422
    assert client.get("/v1/identities").json()["total"] == 0
