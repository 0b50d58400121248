"""The application: its answers are the library's, and uploads never touch the disk."""

import functools
import io
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from asking import asking, drawing, omniglot, pair, several
from PIL import Image, ImageDraw, ImageFont

from onelook.data.inputs import TextInput
from onelook.service.app import create_app
from onelook.service.settings import ServiceSettings
from onelook.service.tokens import Tokens, add_token
from onelook.verifier import from_function


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    with asking(gallery_file=folder / "gallery.db") as client:
        yield client


def test_compare_answers_as_the_verifier_does(client, tmp_path):
    for name, seed in (("a.png", 3), ("b.png", 4)):
        (tmp_path / name).write_bytes(drawing(seed))
    expected = omniglot().compare(tmp_path / "a.png", tmp_path / "b.png")
    answer = client.post("/v1/compare", files=pair(drawing(3), drawing(4))).json()
    values = expected.to_dict()
    assert answer.pop("left") == "a.png" and answer.pop("right") == "b.png"
    del values["left"], values["right"]
    assert answer == pytest.approx(values, abs=1e-5)


def test_names_of_folders_are_left_out_of_the_answer(client):
    files = {
        "left": (r"C:\Users\Ada\x.png", drawing(1)),
        "right": ("a/b/y.png", drawing(1)),
    }
    answer = client.post("/v1/compare", files=files).json()
    assert (answer["left"], answer["right"]) == ("x.png", "y.png")


def test_embed_gives_a_vector_for_each_image_in_order(client):
    images = [drawing(seed) for seed in range(5)]
    answer = client.post("/v1/embed", files=several(*images)).json()
    assert answer["model"] == "omniglot"
    assert answer["fingerprint"] == omniglot().fingerprint
    expected = omniglot().embed(images)
    np.testing.assert_allclose(np.array(answer["vectors"]), expected, atol=1e-5)


def test_many_clients_at_once_get_their_own_answers(client):
    pairs = [(drawing(i), drawing(i + j)) for i in range(8) for j in range(3)]

    def ask(one):
        answer = client.post("/v1/compare", files=pair(*one))
        assert answer.status_code == 200
        return answer.json()["score"]

    alone = [ask(one) for one in pairs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, pairs))
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(np.round(alone, 4))) > 10


def test_explain_gives_pictures_and_maps_of_one_size(client):
    import base64
    import io

    from PIL import Image

    answer = client.post("/v1/explain", files=pair(drawing(1), drawing(2))).json()
    expected = client.post("/v1/compare", files=pair(drawing(1), drawing(2))).json()
    pictures = answer.pop("pictures")
    assert answer == pytest.approx(expected, abs=1e-5)
    opened = {
        name: Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2])))
        for name, address in pictures.items()
    }
    for side in ("left", "right"):
        assert opened[side].mode == "L"
        hottest = 0
        for kind in ("alike", "apart"):
            heat = opened[f"{side}_{kind}"]
            assert (heat.mode, heat.size) == ("RGBA", opened[side].size)
            hottest = max(hottest, heat.getchannel("A").getextrema()[1])
        assert hottest > 0


WATCHED = (".png", "multipart", "upload")


def test_uploads_never_touch_the_disk(client):
    """Watches every file that this process opens, by the interpreter's own audit."""
    opened: list[tuple[str, object]] = []
    watching = True

    def watch(event, arguments):
        if not watching:
            return
        if event == "open" and isinstance(arguments[2], int):
            written = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if written:
                opened.append((event, arguments[0]))
        elif event.startswith(("tempfile.", "os.mkdir", "os.link", "shutil.")):
            opened.append((event, arguments))

    sys.addaudithook(watch)
    try:
        import tempfile

        # The watch itself is seen to work, on what Starlette's own parser would do.
        with tempfile.SpooledTemporaryFile(max_size=10) as spooled:
            spooled.write(bytes(100))
        assert opened, "the audit sees no temporary file"
        opened.clear()
        large = drawing(7, side=2000, kind="BMP")
        assert len(large) > 3 << 20
        both, one = pair(large, large), {"image": ("a.bmp", large)}
        assert client.post("/v1/compare", files=both).status_code == 200
        assert client.post("/v1/embed", files=several(large)).status_code == 200
        assert client.post("/v1/identify", files=one).status_code == 200
        assert client.post("/v1/explain", files=both).status_code == 200
        bad = pair(b"x" * (3 << 20), large)
        assert client.post("/v1/compare", files=bad).status_code == 422
        assert opened == []
    finally:
        watching = False


def test_the_threads_end_with_the_application():
    before = set(threading.enumerate())
    with asking() as client:
        client.post("/v1/compare", files=pair(drawing(1), drawing(2)))
        fresh = set(threading.enumerate()) - before
        assert any(thread.name == "onelook-embed" for thread in fresh)
    assert not [t for t in fresh if t.is_alive() and t.name.startswith("onelook")]


def test_ready_only_after_the_model_has_run(monkeypatch):
    verifier, release = omniglot(), threading.Event()
    embed_loaded = type(verifier).embed_loaded

    def slowly(self, loaded, side="left"):
        assert release.wait(20)
        return embed_loaded(self, loaded, side)

    monkeypatch.setattr(type(verifier), "embed_loaded", slowly)
    with asking(wait=False) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json() == {"error": "the model is warming up"}
        release.set()
        for _ in range(500):
            if client.get("/readyz").status_code == 200:
                break
            threading.Event().wait(0.01)
        assert client.get("/readyz").json() == {"status": "ready"}


def test_more_requests_than_may_wait_get_503_and_the_others_an_answer(monkeypatch):
    verifier, release = omniglot(), threading.Event()
    with asking(ServiceSettings(max_waiting=12, max_images=6)) as client:
        embed_loaded = type(verifier).embed_loaded

        def slowly(self, loaded, side="left"):
            assert release.wait(20)
            return embed_loaded(self, loaded, side)

        monkeypatch.setattr(type(verifier), "embed_loaded", slowly)
        with ThreadPoolExecutor(8) as pool:
            files = pair(drawing(1), drawing(2))
            asked = [pool.submit(client.post, "/v1/compare", files=files) for _ in range(8)]
            while sum(one.done() for one in asked) < 5:
                threading.Event().wait(0.01)
            gauge = client.get("/metrics").text
            assert "\nonelook_waiting_images 6.0\n" in gauge
            release.set()
            answers = [one.result() for one in asked]
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 3 + [503] * 5
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert busy.headers["retry-after"] == "1"
    assert busy.json() == {"error": "the service is busy: 6 images are waiting; try again"}


def test_explanations_queue_up_to_a_few_only(monkeypatch):
    import onelook.explain

    release, explain = threading.Event(), functools.cache(onelook.explain.explain)

    def slowly(*arguments):
        assert release.wait(20)
        return explain(*arguments)

    monkeypatch.setattr(onelook.explain, "explain", slowly)
    with asking() as client, ThreadPoolExecutor(10) as pool:
        files = pair(drawing(1), drawing(2))
        asked = [pool.submit(client.post, "/v1/explain", files=files) for _ in range(10)]
        while sum(one.done() for one in asked) < 6:
            threading.Event().wait(0.01)
        # Comparisons do not wait for them.
        assert client.post("/v1/compare", files=files).status_code == 200
        release.set()
        answers = [one.result() for one in asked]
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 6
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert "4 explanations are waiting" in busy.json()["error"]


def test_a_model_of_texts_is_refused():
    verifier = from_function(lambda images: np.ones((len(images), 2)))
    verifier.input = TextInput.__new__(TextInput)
    with pytest.raises(ValueError, match="takes no images on the left side"):
        create_app(verifier)


def test_an_embedding_function_is_served_too(tmp_path):
    verifier = from_function(
        lambda images: np.array([[i.width, i.height, 1.0] for i in images]), name="sizes"
    )
    with asking(gallery_file=tmp_path / "g.db", verifier=verifier) as client:
        answer = client.post("/v1/compare", files=pair(drawing(1), drawing(2))).json()
        assert answer["score"] == pytest.approx(1.0)
        assert answer["verdict"] == "" and answer["is_same"] is None
        model = client.get("/v1/model").json()
        assert (model["name"], model["decision"]) == ("sizes", None)


@pytest.mark.parametrize("name", ["max_bytes", "max_waiting", "body_seconds"])
def test_a_limit_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        ServiceSettings(**{name: 0})


def test_limits_that_would_refuse_for_ever_are_refused():
    with pytest.raises(
        ValueError, match="max_waiting must be at least twice max_images, got 8"
    ):
        ServiceSettings(max_waiting=8)
    with pytest.raises(ValueError, match="max_held_bytes must be at least twice max_bytes"):
        ServiceSettings(max_held_bytes=1000)


def test_a_picture_of_another_kind_is_named_and_decides_nothing(tmp_path):
    page = Image.new("L", (320, 120), 255)
    ImageDraw.Draw(page).text((10, 30), "Hello 123", 0, ImageFont.load_default(size=48))
    file = io.BytesIO()
    page.save(file, "PNG")
    words = ("words.png", file.getvalue())
    with asking(gallery_file=tmp_path / "g.db") as client:
        asked = {"left": words, "right": ("b.png", drawing(1))}
        pair = client.post("/v1/compare", files=asked).json()
        client.post("/v1/enroll", files={"images": words}, data={"identity": "hello"})
        found = client.post("/v1/identify", files={"image": words}).json()
    assert (pair["verdict"], pair["is_same"], pair["familiar"]) == ("unsure", None, False)
    assert pair["reason"].startswith("words.png is unlike what omniglot was calibrated on")
    assert (found["verdict"], found["identity"]) == ("unsure", None)
    assert found["reason"] == pair["reason"]


def test_a_client_that_fills_its_places_leaves_some_for_another(monkeypatch, tmp_path):
    names = ("greedy", "modest")
    secrets = {name: add_token(tmp_path / "tokens.json", name, False) for name in names}
    settings = ServiceSettings(
        max_waiting=12, max_images=6, tokens=Tokens(tmp_path / "tokens.json")
    )
    verifier, release = omniglot(), threading.Event()
    embed_loaded = type(verifier).embed_loaded

    def slowly(self, loaded, side="left"):
        assert release.wait(20)
        return embed_loaded(self, loaded, side)

    with asking(settings) as client, ThreadPoolExecutor(9) as pool:
        monkeypatch.setattr(type(verifier), "embed_loaded", slowly)

        def ask(name):
            headers = {"Authorization": f"Bearer {secrets[name]}"}
            files = pair(drawing(1), drawing(2))
            return pool.submit(client.post, "/v1/compare", files=files, headers=headers)

        asked = [ask("greedy") for _ in range(8)]
        while sum(one.done() for one in asked) < 5:
            threading.Event().wait(0.01)
        other = ask("modest")
        threading.Event().wait(0.2)
        assert not other.done()  # it waits, and is not refused
        release.set()
        assert other.result().status_code == 200
        statuses = sorted(one.result().status_code for one in asked)
    assert statuses == [200] * 3 + [503] * 5
