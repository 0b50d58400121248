"""The page in a real browser: comparing, errors, and what holds for the whole page."""

import copy
import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_pictures import ARCH, ZIGZAG, drawings, model_of_pages, png, polygon, sheet
from page_server import PageServer
from page_visit import PHONE, Visit, launched, payloads, visiting
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from onelook.data.inputs import ImageInput
from onelook.data.reading import read_bytes
from onelook.service.multipart import parse_multipart
from onelook.service.settings import ServiceSettings
from onelook.service.tokens import Tokens, add_token
from onelook.verifier import Verifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return model_of_pages()


@pytest.fixture
def visit(browser: Browser, verifier: Verifier) -> Iterator[Visit]:
    with visiting(browser, PageServer(verifier)) as visit:
        yield visit


def compare(visit: Visit, left: bytes, right: bytes) -> None:
    """Choose both pictures."""
    visit.choose("Left picture", ("left.png", left))
    visit.choose("Right picture", ("right.png", right))


def status_of(visit: Visit) -> str:
    """What the answer says, blanks made plain."""
    return " ".join(visit.page.locator("#compare-status").inner_text().split())


@pytest.mark.data
def test_two_drawings_are_answered_as_python_answers_them(
    visit: Visit, verifier: Verifier, data_root: Path
) -> None:
    first, second, *_ = drawings(data_root, "Tibetan", "character03")
    other = drawings(data_root, "Malayalam", "character11")[0]
    page = visit.open()
    expect(page.locator("#compare-status")).to_have_text(
        "Put in two pictures, or draw two characters. The answer appears by itself."
    )
    for right, headline, things in (
        (second, "Same", "the same thing"),
        (other, "Different", "different things"),
    ):
        compare(visit, read_bytes(first), read_bytes(right))
        expect(page.locator(".verdict")).to_have_text(headline)
        answer = verifier.compare(first, right)
        assert answer.probability is not None and answer.threshold is not None
        assert answer.verdict == headline.lower()
        sure = answer.probability if answer.is_same else 1 - answer.probability
        percent = "More than 99" if sure >= 0.995 else f"{100 * sure:.0f}"
        assert status_of(visit) == f"{headline} {percent}% sure that these show {things}."
        label = page.locator("#score-bar").get_attribute("aria-label") or ""
        assert f"Score {answer.score:.3f}".replace("-", "−") in label
        assert f"the threshold is {answer.threshold:.3f}" in label
        # The mark of the score lies on the side of the threshold that the answer says.
        marks = [
            page.locator(f"#score-bar .{name}").bounding_box() for name in ("pin", "tick")
        ]
        centres = [box["x"] + box["width"] / 2 for box in marks if box]
        assert (centres[0] > centres[1]) == answer.is_same
        symbol = page.locator(f".when-{headline.lower()}")
        expect(symbol).to_be_visible()
        # Nothing lies over the sign between the two pictures.
        assert page.evaluate(
            """() => {
              const sign = document.getElementById("roundel");
              sign.style.pointerEvents = "auto";
              const { left, right, y, height } = sign.getBoundingClientRect();
              const at = (x) => document.elementFromPoint(x, y + height / 2);
              return [left + 4, right - 4].every((x) => sign.contains(at(x)));
            }"""
        )


@pytest.mark.data
def test_heat_maps_come_when_asked_for_and_go_with_the_pair(
    visit: Visit, data_root: Path
) -> None:
    first, second, third, *_ = drawings(data_root, "Tibetan", "character03")
    page = visit.open()
    compare(visit, read_bytes(first), read_bytes(second))
    expect(page.locator(".verdict")).to_have_text("Same")
    assert visit.asked("v1/explain") == 0
    overlays = {}
    for kind in ("What makes them alike", "What sets them apart"):
        page.get_by_label(kind).check()
        expect(page.get_by_alt_text(re.compile(f"{kind[5:]}$"))).to_have_count(2)
        images = page.locator("#heat img")
        images.first.evaluate("image => image.decode()")
        assert all(images.evaluate_all("all => all.map((one) => one.naturalWidth > 20)"))
        overlays[kind] = page.locator("#heat .overlay").first.get_attribute("src")
    assert len(set(overlays.values())) == 2
    assert visit.asked("v1/explain") == 1
    page.get_by_label("Off").check()
    expect(page.locator("#heat img")).to_have_count(0)
    page.get_by_label("What makes them alike").check()
    visit.choose("Right picture", ("third.png", read_bytes(third)))
    expect(page.locator("#heat img")).to_have_count(0)
    expect(page.get_by_label("Off")).to_be_checked()


def test_pictures_are_dropped_and_pasted_anywhere(visit: Visit) -> None:
    page = visit.open()
    visit.paste(sheet(*ARCH))
    expect(visit.slot("Left picture").locator("img")).to_be_visible()
    visit.drop(visit.slot("Right picture"), ("arch.png", sheet(*ARCH, tilt=0.1)))
    expect(page.locator(".verdict")).to_have_text("Same")
    page.get_by_role("button", name="Start over").click()
    expect(page.locator(".verdict")).to_have_count(0)
    # Beside the slots, two at once: one for each.
    both = [("arch.png", sheet(*ARCH)), ("zigzag.png", sheet(*ZIGZAG))]
    visit.drop(page.locator("footer"), *both)
    expect(page.locator(".verdict")).to_have_text("Different")


def test_two_drawings_by_mouse_are_black_on_white(visit: Visit) -> None:
    page = visit.open()
    bodies = visit.bodies_of("v1/compare")
    visit.draw("Left picture", *ARCH)
    visit.draw("Right picture", *ZIGZAG)
    expect(page.locator(".verdict")).to_have_text("Different")
    visit.slot("Right picture").get_by_role("button", name="Clear").click()
    expect(page.locator(".verdict")).to_have_count(0)
    visit.draw("Right picture", *ARCH, [(0.1, 0.1), (0.9, 0.9)])
    expect(page.locator(".verdict")).to_be_visible()
    visit.slot("Right picture").get_by_role("button", name="Undo").click()
    expect(page.locator(".verdict")).to_have_text("Same")
    boundary = bodies[-1].split(b"\r\n")[0][2:].decode()
    parts = parse_multipart(f"multipart/form-data; boundary={boundary}", bodies[-1], 9)
    assert [part.name for part in parts] == ["left", "right"]
    for part in parts:
        shades = np.asarray(Image.open(io.BytesIO(part.data)).convert("L"))
        assert shades[:30].min() == 255, "the margin is paper"
        assert 0.03 < (shades < 10).mean() < 0.2, "strokes are ink"
        assert shades[int(0.55 * len(shades)), len(shades) // 2] == 0, "the bar was drawn"


def test_two_characters_are_drawn_with_a_finger_on_a_phone(
    browser: Browser, verifier: Verifier
) -> None:
    with visiting(browser, PageServer(verifier), **PHONE) as visit:
        page = visit.open()
        visit.touch("Left picture", *ARCH)
        visit.touch("Right picture", *ARCH)
        expect(page.locator(".verdict")).to_have_text("Same")
        photograph = visit.slot("Left picture").locator(".photo-input")
        assert photograph.get_attribute("capture") == "environment"
        visit.slot("Left picture").get_by_role("button", name="Remove").tap()
        expect(
            visit.slot("Left picture").get_by_role("button", name="Photograph")
        ).to_be_visible()
        photograph.set_input_files(payloads([("photo.png", sheet(*ZIGZAG))]))
        expect(page.locator(".verdict")).to_have_text("Different")


def test_unsure_is_an_answer(browser: Browser, verifier: Verifier) -> None:
    assert verifier.decision is not None
    never = dataclasses.replace(verifier.decision, threshold=2.0, reject_below=-2.0)
    unsure = copy.copy(verifier)
    unsure.decision = never
    with visiting(browser, PageServer(unsure)) as visit:
        page = visit.open()
        compare(visit, sheet(*ARCH), sheet(*ZIGZAG))
        expect(page.locator(".verdict")).to_have_text("Unsure")
        assert "The chance that these show the same thing is" in status_of(visit)


def test_a_model_without_a_threshold_says_neither_same_nor_different(
    browser: Browser, verifier: Verifier
) -> None:
    bare = copy.copy(verifier)
    bare.decision = None
    with visiting(browser, PageServer(bare)) as visit:
        page = visit.open()
        compare(visit, sheet(*ARCH), sheet(*ZIGZAG))
        expect(page.locator(".verdict")).to_contain_text("Dissimilarity")
        assert "has no threshold" in status_of(visit)
        assert "% sure" not in status_of(visit)
        page.get_by_role("tab", name="Model").click()
        expect(page.locator("#model-body")).to_contain_text("scores but no verdicts")


def test_the_newest_pair_is_answered_even_if_an_older_answer_comes_late(
    visit: Visit,
) -> None:
    page = visit.open()
    late: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if late:
            route.continue_()
        else:
            late.append(route)

    page.route("**/v1/compare", hold_the_first)
    compare(visit, sheet(*ARCH), sheet(*ZIGZAG))
    expect(page.locator(".busy")).to_have_count(1)
    expect(page.locator("#compare-status")).to_have_text("Comparing…")
    expect(page.locator("#heat-choice[disabled]")).to_have_count(1)
    visit.choose("Right picture", ("arch.png", sheet(*ARCH)))
    expect(page.locator(".verdict")).to_have_text("Same")
    late[0].fulfill(json={"error": "too late"}, status=200)
    page.wait_for_timeout(200)
    expect(page.locator(".verdict")).to_have_text("Same")
    expect(page.locator("#heat-choice[disabled]")).to_have_count(0)


def test_the_model_and_its_cohort_are_named_in_the_head_and_beside_an_answer(
    browser: Browser, verifier: Verifier
) -> None:
    images = [
        np.asarray(Image.open(io.BytesIO(polygon(i))).convert("RGB")) for i in range(20)
    ]
    here = verifier.with_cohort(images, "polygons")
    with visiting(browser, PageServer(here)) as visit:
        page = visit.open()
        by = "centred by 20 images: polygons"
        purpose = "for drawings of characters and symbols"
        expect(page.locator("#serving")).to_have_text(f"omniglot · {purpose} · {by}")
        compare(visit, sheet(*ARCH), sheet(*ARCH))
        expect(page.locator("#compare-small")).to_contain_text(f"By omniglot, {by}. Score")


def test_only_a_model_of_drawings_offers_to_draw(
    browser: Browser, verifier: Verifier
) -> None:
    with visiting(browser, PageServer(verifier)) as visit:
        page = visit.open()
        expect(page.get_by_role("button", name="Draw: left picture")).to_be_visible()
    of_things = copy.copy(verifier)
    settings = verifier.input.settings.model_copy(update={"ink": None})
    of_things.input = of_things.right_input = ImageInput(settings)
    with visiting(browser, PageServer(of_things)) as visit:
        page = visit.open()
        expect(page.locator("#serving")).to_contain_text("omniglot")
        expect(page.get_by_role("button", name="Draw: left picture")).to_be_hidden()
        words = "Put in two pictures. The answer appears by itself."
        expect(page.locator("#compare-status")).to_have_text(words)


def test_what_is_wrong_with_a_picture_is_said_at_that_picture(
    browser: Browser, verifier: Verifier
) -> None:
    settings = ServiceSettings(max_bytes=60_000, max_pixels=200_000)
    noise = np.random.default_rng(0).integers(0, 256, (250, 250), np.uint8)
    cases = {
        "cannot be read as a picture. Choose a PNG": b"%PDF-1.7 no picture",
        "No ink": png(Image.new("L", (50, 50), 255)),
        "more than the limit": png(Image.new("L", (1000, 1000), 255)),
        "this service takes 60 kB. Make the picture smaller": png(Image.fromarray(noise)),
    }
    with visiting(browser, PageServer(verifier, settings=settings)) as visit:
        visit.expected_statuses = {413, 422}
        visit.open()
        visit.choose("Left picture", ("good.png", sheet(*ARCH)))
        right = visit.slot("Right picture").get_by_role("alert")
        for words, content in cases.items():
            visit.choose("Right picture", ("wrong.png", content))
            expect(right).to_contain_text(words)
            expect(visit.slot("Left picture").get_by_role("alert")).to_be_empty()
            expect(visit.page.locator(".verdict")).to_have_count(0)
        # Each small enough, together too large.
        half = png(Image.fromarray(noise[:180, :180]))
        compare(visit, half, half)
        expect(visit.page.locator("#compare-status")).to_contain_text("Together these have")
        compare(visit, sheet(*ARCH), sheet(*ARCH))
        expect(right).to_be_empty()
        expect(visit.page.locator(".verdict")).to_have_text("Same")


def test_a_busy_service_is_asked_once_more_and_not_for_ever(visit: Visit) -> None:
    page = visit.open()
    visit.expected_statuses = {503}
    left = [1]

    def busy(route: Route) -> None:
        if left[0] == 0:
            return route.continue_()
        left[0] -= 1
        route.fulfill(
            status=503,
            json={"error": "the service is busy"},
            headers={"Retry-After": "0.5"},
        )

    page.route("**/v1/compare", busy)
    compare(visit, sheet(*ARCH), sheet(*ARCH))
    expect(page.locator("#compare-status")).to_contain_text("busy. Trying again in 1 s")
    expect(page.locator(".verdict")).to_have_text("Same")
    assert visit.asked("v1/compare") == 2
    left[0] = 2
    visit.choose("Right picture", ("zigzag.png", sheet(*ZIGZAG)))
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    assert visit.asked("v1/compare") == 4
    again.click()
    expect(page.locator(".verdict")).to_have_text("Different")


def test_an_unreachable_service_is_named_and_asked_again_when_it_is_back(
    visit: Visit,
) -> None:
    page = visit.open()
    visit.choose("Left picture", ("arch.png", sheet(*ARCH)))
    visit.may_be_unreachable = True
    visit.server.stop()
    visit.choose("Right picture", ("arch.png", sheet(*ARCH)))
    banner = page.get_by_role("alert").filter(has_text="The service does not answer")
    expect(banner).to_be_visible()
    expect(page.locator(".verdict")).to_have_count(0)
    visit.server.start()
    expect(banner).to_be_hidden()
    expect(page.locator(".verdict")).to_have_text("Same")


def test_a_token_is_asked_for_and_kept_for_the_tab_only(
    browser: Browser, verifier: Verifier, tmp_path: Path
) -> None:
    secret = add_token(tmp_path / "tokens.json", "reader", may_write=False)
    settings = ServiceSettings(tokens=Tokens(tmp_path / "tokens.json"))
    server = PageServer(verifier, tmp_path / "gallery.db", settings)
    with visiting(browser, server) as visit:
        visit.expected_statuses = {401}
        page = visit.open()
        field = page.get_by_label("Token", exact=True)
        compare(visit, sheet(*ARCH), sheet(*ARCH))
        expect(page.locator("#compare-status")).to_contain_text("needs a token")
        for entered, is_known in (("onelook_wrong", False), (secret, True)):
            field.fill(entered)
            field.press("Enter")
            if not is_known:
                expect(page.locator("#token-help")).to_contain_text("not valid here")
        expect(field).to_be_hidden()
        expect(page.locator(".verdict")).to_have_text("Same")
        places = "[Object.values(sessionStorage), {...localStorage}, document.cookie]"
        assert page.evaluate(places) == [[secret], {}, ""]
        assert not any(secret in url for url in visit.requests)
        page.get_by_role("tab", name="Identify").click()
        expect(page.locator("#gallery-hint")).to_contain_text("Read-only")
        page.reload()
        expect(page.get_by_role("tab", name="Identify")).to_have_attribute(
            "aria-selected", "true"
        )
        expect(field).to_be_hidden()


def test_comparing_works_with_the_keyboard_alone(visit: Visit) -> None:
    # Listening all the while: a key may be quicker than the beginning of a wait.
    visit.page.on("filechooser", lambda _: None)
    page = visit.open()
    page.locator("body.draws").wait_for(state="attached")
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') ??"
                " document.activeElement.textContent"
            )
        )
    assert reached == [
        "Skip to the content",
        "Compare",
        "Choose a file: left picture",
        "Draw: left picture",
        "Choose a file: right picture",
        "Draw: right picture",
    ]
    for side, strokes in (("left", ARCH), ("right", ZIGZAG)):
        page.get_by_role("button", name=f"Choose a file: {side} picture").focus()
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(payloads([("a.png", sheet(*strokes))]))
        expect(page.get_by_role("button", name=f"Remove: {side} picture")).to_be_focused()
    expect(page.locator(".verdict")).to_have_text("Different")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Off")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("What makes them alike")).to_be_checked()
    expect(page.locator("#heat img")).to_have_count(4)
    page.get_by_role("tab", name="Compare").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Identify")).to_be_focused()
    assert page.url.endswith("#identify")
    expect(page.get_by_role("tabpanel", name="Identify")).to_be_visible()
    expect(page.get_by_role("tabpanel", name="Compare")).to_be_hidden()
    page.go_back()
    expect(page.get_by_role("tabpanel", name="Compare")).to_be_visible()
