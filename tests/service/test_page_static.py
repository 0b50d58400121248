"""The exported page in a real browser, behind a server of static files."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_pictures import ARCH, ZIGZAG, sheet
from page_server import PageServer
from page_visit import launched, payloads, visiting
from playwright.sync_api import expect

from onelook.data.sources.fetch import NetworkError
from onelook.loading import load
from onelook.page import write_page
from onelook.service.settings import ServiceSettings

pytestmark = pytest.mark.slow


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    try:
        write_page(load("omniglot"), tmp_path)
    except NetworkError as error:
        pytest.skip(str(error))
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_two_pictures_are_answered_and_nothing_is_asked_elsewhere(
    url: str, tmp_path: Path
) -> None:
    verifier, arch = load("omniglot"), sheet(*ARCH, side=200)
    requests: list[str] = []
    faults: list[str] = []
    with launched() as browser:
        page = browser.new_page(viewport={"width": 720, "height": 460})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        status = page.get_by_role("status")
        expect(status).to_have_text("Choose two pictures.")
        for other in (sheet(*ZIGZAG, side=200), sheet(*ARCH, side=200, tilt=0.1)):
            page.get_by_label("Left picture").set_input_files(payloads([("a.png", arch)]))
            page.get_by_label("Right picture").set_input_files(payloads([("b.png", other)]))
            answer = verifier.compare(arch, other)
            expect(status).to_contain_text(f"(score {answer.score:.4f})")
            expect(status).to_contain_text(f"{answer.verdict}: ")
        page.screenshot(path=tmp_path / "page.png")
        browser.close()
    assert not faults
    own = (url, f"blob:{url}", "data:")
    assert [one for one in requests if not one.startswith(own)] == []


def test_the_service_offers_it_and_opens_its_policy_there_alone(tmp_path: Path) -> None:
    verifier = load("omniglot")
    try:
        write_page(verifier, tmp_path)
    except NetworkError as error:
        pytest.skip(str(error))
    server = PageServer(verifier, settings=ServiceSettings(on_device=tmp_path))
    with launched() as browser, visiting(browser, server) as visit:
        page = visit.open()
        page.get_by_role("link", name="Compare on this device").click()
        expect(page.get_by_role("status")).to_have_text("Choose two pictures.")
        for side in ("left", "right"):
            page.locator(f"#{side}").set_input_files(payloads([("a.png", sheet(*ARCH))]))
        expect(page.get_by_role("status")).to_contain_text("same: ")
        for path, is_open in (("/device/", True), ("/", False), ("/web/main.js", False)):
            headers = page.request.get(f"{server.url}{path}").headers
            assert ("wasm-unsafe-eval" in headers["content-security-policy"]) == is_open
        assert visit.asked("v1/compare") == 0


def test_a_service_without_it_offers_nothing() -> None:
    server = PageServer(load("omniglot"))
    with launched() as browser, visiting(browser, server) as visit:
        page = visit.open()
        expect(page.locator("#serving")).not_to_be_empty()
        expect(page.locator("#on-device")).to_be_hidden()
        found = page.request.get(f"{server.url}/device/")
        assert found.status == 404
        assert "wasm" not in found.headers["content-security-policy"]
