"""A visit to the page in a real browser: what is done there, and all that went wrong."""

import base64
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from page_server import PageServer
from playwright.sync_api import (
    Browser,
    Locator,
    Page,
    Response,
    Route,
    TimeoutError,
    expect,
    sync_playwright,
)

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 800}}

File = tuple[str, bytes]  # name and content
Stroke = Sequence[tuple[float, float]]  # points as shares of the canvas's sides
PATIENCE = 45_000  # milliseconds, where other work has the machine
DRAW = re.compile("^Draw: ")
# What a browser logs for each answer of 400 and above, however well the page copes.
_STATUS = re.compile(r"status of (\d{3})")

# A violation of the content security policy is an event, even where nothing is logged.
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
_TRANSFER = """files => {
  const transfer = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
  }
  return transfer;
}"""
_COPY = """async (content) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const blob = new Blob([bytes], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
}"""


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium; the test skips without it, and fails where nothing may skip."""
    if not CHROMIUM.exists():
        message = f"no browser at {CHROMIUM}: apt-get install chromium"
        if os.environ.get("ONELOOK_REQUIRE_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, server: PageServer, **look: Any) -> Iterator["Visit"]:
    """A visit in a window of its own; afterwards it must be without faults."""
    context = browser.new_context(**(look or DESK))
    try:
        visit = Visit(context.new_page(), server)
        yield visit
        faults = visit.faults
    finally:
        context.close()
        server.close()
    assert not faults, faults


class Visit:
    """One page, opened; ``faults`` lists what no visit may have."""

    def __init__(self, page: Page, server: PageServer) -> None:
        self.page = page
        self.server = server
        self.url = server.url
        self.expected_statuses: set[int] = set()
        self.may_be_unreachable = False
        self.requests: list[str] = []
        self._errors: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.add_init_script(_WATCH)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self._errors.append(f"uncaught: {error}"))
        page.on("console", lambda message: self._log(message.type, message.text))

    def open(self, view: str = "compare") -> Page:
        """The page at one of its views, what the service says of itself known."""
        # Another query, or the browser would only jump within the page.
        with self.page.expect_response("**/v1/settings"):
            self.page.goto(f"{self.url}/?{len(self.requests)}#{view}")
        return self.page

    def _log(self, kind: str, text: str) -> None:
        status = _STATUS.search(text)
        if status and int(status[1]) in self.expected_statuses:
            return
        if self.may_be_unreachable and "net::ERR_" in text:
            return
        if kind in ("error", "warning"):
            self._errors.append(f"console {kind}: {text}")

    @property
    def faults(self) -> list[str]:
        """Errors, violations of the policy, and requests to anywhere else."""
        own = (f"{self.url}/", "data:image/", f"blob:{self.url}/")
        away = [f"asked {url}" for url in self.requests if not url.startswith(own)]
        violations = self.page.evaluate("window.violations ?? ['the page was left']")
        return [*self._errors, *away, *violations]

    def asked(self, path: str) -> int:
        """How many requests went to a path."""
        return sum(f"/{path}" in url for url in self.requests)

    def slot(self, title: str) -> Locator:
        """The slot of this title: "Left picture", "Right picture" or "Your picture"."""
        return self.page.locator(".slot").filter(
            has=self.page.get_by_text(title, exact=True)
        )

    def choose(self, title: str, *files: File) -> None:
        """Choose files by the slot's button."""
        slot = self.slot(title)
        if slot.get_by_role("button", name="Remove").is_visible():
            slot.get_by_role("button", name="Remove").click()
        with self.page.expect_file_chooser() as chooser:
            slot.get_by_role("button", name="Choose").click()
        chooser.value.set_files(payloads(files))

    def drop(self, place: Locator, *files: File) -> None:
        """Let go of files over a place."""
        carried = [[name, base64.b64encode(data).decode()] for name, data in files]
        transfer = self.page.evaluate_handle(_TRANSFER, carried)
        for event in ("dragenter", "dragover", "drop"):
            place.dispatch_event(event, {"dataTransfer": transfer})

    def paste(self, data: bytes) -> None:
        """Press Ctrl+V with a PNG on the clipboard."""
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page.evaluate(_COPY, base64.b64encode(data).decode())
        self.page.keyboard.press("Control+V")

    def draw(self, title: str, *strokes: Stroke) -> None:
        """Draw with the mouse, once the page knows that the model takes drawings."""
        self.page.locator("body.draws").wait_for(state="attached")
        draw = self.slot(title).get_by_role("button", name=DRAW)
        if draw.is_visible():
            draw.click()
        for stroke in strokes:
            points = self._places(title, stroke)
            self.page.mouse.move(*points[0])
            self.page.mouse.down()
            for x, y in points[1:]:
                self.page.mouse.move(x, y, steps=4)
            self.page.mouse.up()

    def touch(self, title: str, *strokes: Stroke) -> None:
        """Draw with a finger, through the browser's own input."""
        self._begin_drawing(title)
        session = self.page.context.new_cdp_session(self.page)

        def send(kind: str, *points: tuple[float, float]) -> None:
            touches = [{"x": x, "y": y} for x, y in points]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

        for stroke in strokes:
            points = self._places(title, stroke)
            send("touchStart", points[0])
            for point in points[1:]:
                # At no finger's speed the browser takes it for a fling, and the next tap
                # for the end of that.
                self.page.wait_for_timeout(16)
                send("touchMove", point)
            self.page.wait_for_timeout(50)
            send("touchEnd")

    def _begin_drawing(self, title: str) -> None:
        """Tap until the sheet is there: a tap may count as the end of a fling."""
        sheet = self.slot(title).locator("canvas")
        for _ in range(5):
            self.slot(title).get_by_role("button", name=DRAW).tap()
            with suppress(TimeoutError):
                return sheet.wait_for(state="visible", timeout=2000)
        raise AssertionError(f"{title}: no sheet to draw on after five taps")

    def _places(self, title: str, stroke: Stroke) -> list[tuple[float, float]]:
        canvas = self.slot(title).locator("canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        return [
            (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke
        ]

    def bodies_of(self, path: str) -> list[bytes]:
        """A list that the bodies sent to a path are added to; they go on to the service."""
        bodies: list[bytes] = []

        def handle(route: Route) -> None:
            bodies.append(route.request.post_data_buffer or b"")
            route.continue_()

        self.page.route(f"**/{path}*", handle)
        return bodies

    @contextmanager
    def answered(self, path: str) -> Iterator[dict[str, Any]]:
        """The service's answer to the request of the block, filled in at its end."""
        answer: dict[str, Any] = {}

        def is_meant(response: Response) -> bool:
            return f"/{path}" in response.url

        with self.page.expect_response(is_meant) as info:
            yield answer
        answer.update(info.value.json())


def payloads(files: Sequence[File]) -> list[Any]:
    """Files as Playwright takes them."""
    return [{"name": n, "mimeType": "image/png", "buffer": data} for n, data in files]
