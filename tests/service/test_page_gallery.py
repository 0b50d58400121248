"""The page in a real browser: enrolling, asking who it is, the gallery and forgetting."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_pictures import ARCH, ZIGZAG, drawings, model_of_pages, png, polygon, sheet
from page_server import PageServer
from page_visit import Visit, launched, visiting
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from onelook.data.reading import read_bytes
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

HOSTILE = "<img src=x onerror=alert(1)>/..%2F & co?#"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return model_of_pages()


@pytest.fixture
def visit(browser: Browser, verifier: Verifier, tmp_path: Path) -> Iterator[Visit]:
    """A visit to a service with an empty gallery."""
    with visiting(browser, PageServer(verifier, tmp_path / "gallery.db")) as visit:
        yield visit


def enroll(visit: Visit, name: str, *pictures: bytes) -> None:
    """Enroll through the page."""
    visit.choose("Your picture", *[(f"{i}.png", data) for i, data in enumerate(pictures)])
    visit.page.get_by_role("textbox", name="Name").fill(name)
    visit.page.get_by_role("button", name="Enroll", exact=True).click()
    n = "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
    expect(visit.page.locator("#identify-status")).to_contain_text(
        f"Enrolled: {n} of {name}."
    )


@pytest.mark.data
def test_the_enrolled_are_named_and_a_stranger_is_unknown(
    visit: Visit, verifier: Verifier, data_root: Path
) -> None:
    tibetan = drawings(data_root, "Tibetan", "character03")
    malayalam = drawings(data_root, "Malayalam", "character11")
    stranger = drawings(data_root, "Mongolian", "character05")[3]
    page = visit.open("identify")
    expect(page.locator("#identify-status")).to_contain_text("The gallery is empty")
    enroll(visit, "Ka", *[read_bytes(path) for path in tibetan[:3]])
    enroll(visit, "Nga", read_bytes(malayalam[0]))
    expect(page.locator("#tiles li")).to_have_count(2)
    expect(page.locator(".tile").first).to_contain_text(re.compile(r"Ka\s*3\spictures"))
    thumbnails = page.locator("#tiles img")
    expect(thumbnails).to_have_count(2)
    assert all(thumbnails.evaluate_all("all => all.map((one) => one.naturalWidth > 20)"))

    gallery = visit.server.gallery
    assert gallery is not None
    with visit.answered("v1/identify") as answer:
        visit.choose("Your picture", ("who.png", read_bytes(tibetan[9])))
    expect(page.locator("#view-identify .verdict")).to_have_text("Ka")
    expected = gallery.identify(tibetan[9])
    assert answer["identity"] == expected.identity == "Ka"
    best = expected.matches[0].probability
    assert best is not None
    percent = "More than 99" if best >= 0.995 else f"{100 * best:.0f}"
    sentence = page.locator("#identify-status .sentence")
    expect(sentence).to_have_text(f"{percent}% sure that this is Ka.")
    names = page.locator("#matches .match-name").all_inner_texts()
    assert names == [match.identity for match in expected.matches]
    expect(page.locator("#matches .is-answer")).to_have_count(1)
    expect(page.locator("#identify-small")).to_contain_text("With 4 pictures enrolled")

    visit.choose("Your picture", ("who.png", read_bytes(stranger)))
    expect(page.locator("#view-identify .verdict")).to_have_text("Unknown")
    expect(page.locator("#matches-words")).to_have_text(
        "The nearest, all below the threshold:"
    )
    expect(page.locator("#matches .is-answer")).to_have_count(0)
    # The name of the one before is no suggestion for a stranger.
    expect(page.get_by_role("textbox", name="Name")).to_have_value("")


def test_a_drawing_is_enrolled_and_found_and_the_same_one_twice_is_one(
    visit: Visit,
) -> None:
    page = visit.open("identify")
    visit.draw("Your picture", *ARCH)
    page.get_by_role("textbox", name="Name").fill("arch")
    page.get_by_role("button", name="Enroll", exact=True).click()
    expect(page.locator("#tiles li")).to_have_count(1)
    enroll(visit, "zigzag", sheet(*ZIGZAG))
    visit.draw("Your picture", *ARCH)
    expect(page.locator("#view-identify .verdict")).to_have_text("arch")
    visit.choose("Your picture", ("again.png", sheet(*ZIGZAG)))
    expect(page.locator("#view-identify .verdict")).to_have_text("zigzag")
    expect(page.get_by_role("textbox", name="Name")).to_have_value("zigzag")
    page.get_by_role("button", name="Enroll", exact=True).click()
    expect(page.locator("#identify-status")).to_contain_text("has this picture already")


def test_renaming_asks_before_two_are_put_together(visit: Visit) -> None:
    page = visit.open("identify")
    enroll(visit, "arch", sheet(*ARCH))
    enroll(visit, "zigzag", sheet(*ZIGZAG))
    visit.expected_statuses = {409}
    dialog = page.get_by_role("dialog")
    page.locator(".tile").first.click()
    expect(dialog).to_have_accessible_name("arch")
    dialog.get_by_label("Name").fill("zigzag")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog.get_by_role("alert")).to_have_text("zigzag is already enrolled.")
    dialog.get_by_label("Name").fill("gate")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#gallery-status")).to_have_text(
        "arch is now gate, with 1 picture."
    )
    expect(page.locator(".tile-name")).to_have_text(["gate", "zigzag"])
    page.locator(".tile").first.click()
    dialog.get_by_label("Name").fill("zigzag")
    dialog.get_by_role("button", name="Rename").click()
    dialog.get_by_role("button", name="Merge the two").click()
    expect(page.locator(".tile")).to_have_count(1)
    assert visit.server.gallery is not None
    assert visit.server.gallery.identities() == {"zigzag": 2}


def test_forgetting_needs_a_second_word_and_leaves_nothing(visit: Visit) -> None:
    page = visit.open("identify")
    enroll(visit, "arch", sheet(*ARCH), sheet(*ARCH, tilt=0.1))
    page.locator(".tile").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("#dialog-pictures img")).to_have_count(2)
    dialog.get_by_role("button", name="Forget…").click()
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    expect(dialog.locator("#forget-question")).to_contain_text("Forget arch and 2 pictures")
    dialog.get_by_role("button", name="Keep").click()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert visit.server.gallery is not None
    assert visit.server.gallery.identities() == {"arch": 2}
    page.locator(".tile").click()
    dialog.get_by_role("button", name="Forget…").click()
    dialog.get_by_role("button", name="Forget for good").click()
    expect(page.locator("#gallery-status")).to_have_text("arch is forgotten: 2 pictures.")
    expect(page.locator(".tile")).to_have_count(0)
    assert visit.server.gallery.identities() == {}
    visit.choose("Your picture", ("arch.png", sheet(*ARCH)))
    expect(page.locator("#identify-status")).to_contain_text("The gallery is empty")


def test_a_name_is_text_whatever_it_holds(visit: Visit) -> None:
    page = visit.open("identify")
    enroll(visit, HOSTILE, sheet(*ARCH))
    expect(page.locator("#tiles img")).to_have_count(1)
    visit.choose("Your picture", ("arch.png", sheet(*ARCH)))
    expect(page.locator("#view-identify .verdict")).to_have_text(HOSTILE)
    page.locator(".match").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_have_accessible_name(HOSTILE)
    expect(dialog.locator("#dialog-pictures img")).to_have_count(1)
    dialog.get_by_label("Name").fill("arch")
    dialog.get_by_role("button", name="Rename").click()
    expect(page.locator(".tile-name")).to_have_text("arch")


def test_a_large_gallery_comes_in_pages(visit: Visit) -> None:
    assert visit.server.gallery is not None
    for i in range(60):
        visit.server.gallery.enroll(f"shape {i:02d}", [polygon(i)])
    page = visit.open("identify")
    expect(page.locator("#gallery-count")).to_have_text("60")
    expect(page.locator(".tile")).to_have_count(48)
    # Thumbnails come when they are in sight, not before.
    assert visit.asked("v1/identities/shape") < 48
    more = page.get_by_role("button", name="Show more")
    more.click()
    expect(page.locator(".tile")).to_have_count(60)
    expect(more).to_be_hidden()
    expect(page.locator(".tile").nth(48)).to_be_focused()
    expect(page.locator("#tiles li").last.locator("img")).to_have_count(1)


def test_what_this_service_cannot_do_is_said(
    browser: Browser, verifier: Verifier, tmp_path: Path
) -> None:
    with visiting(browser, PageServer(verifier)) as visit:
        page = visit.open("identify")
        expect(page.locator("#gallery-hint")).to_contain_text("without a gallery")
        expect(page.locator("#identify-body")).to_be_hidden()
    settings = ServiceSettings(read_only=True)
    server = PageServer(verifier, tmp_path / "gallery.db", settings)
    assert server.gallery is not None
    server.gallery.enroll("arch", [sheet(*ARCH)])
    with visiting(browser, server) as visit:
        page = visit.open("identify")
        expect(page.locator("#gallery-hint")).to_contain_text("Read-only")
        visit.choose("Your picture", ("arch.png", sheet(*ARCH)))
        expect(page.locator("#view-identify .verdict")).to_have_text("arch")
        expect(page.get_by_role("button", name="Enroll", exact=True)).to_be_hidden()
        page.locator(".tile").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("#dialog-pictures img")).to_have_count(1)
        expect(dialog.get_by_role("button")).to_have_count(1)  # to close it


def test_what_is_wrong_with_a_picture_to_enroll_is_said_with_its_name(visit: Visit) -> None:
    visit.expected_statuses = {422}
    page = visit.open("identify")
    pictures = [("good.png", sheet(*ARCH)), ("torn.png", sheet(*ZIGZAG)[:60])]
    visit.choose("Your picture", *pictures)
    expect(page.locator("#identify-status")).to_contain_text("Several pictures")
    rows = page.get_by_role("list", name="Pictures to enroll").get_by_role("listitem")
    expect(rows).to_have_text(["good.png", "torn.png"])
    page.get_by_role("textbox", name="Name").fill("both")
    page.get_by_role("button", name="Enroll", exact=True).click()
    summary = page.locator("#identify-status")
    expect(summary).to_have_text("Enrolled: 1 picture of both; 1 picture refused.")
    expect(rows.first).to_contain_text("Enrolled.")
    expect(rows.last).to_contain_text("This cannot be read as a picture")
    assert visit.server.gallery is not None
    assert visit.server.gallery.identities() == {"both": 1}
    visit.choose("Your picture", ("torn.png", sheet(*ARCH)[:60]))
    page.get_by_role("textbox", name="Name").fill("torn")
    page.get_by_role("button", name="Enroll", exact=True).click()
    expect(summary).to_have_text("Nothing enrolled: 1 picture refused.")
    expect(page.locator(".tile")).to_have_count(1)


def test_more_pictures_than_one_request_holds_are_dropped_and_enrolled(
    browser: Browser, verifier: Verifier, tmp_path: Path
) -> None:
    settings = ServiceSettings(max_images=2, max_bytes=20_000)
    server = PageServer(verifier, tmp_path / "gallery.db", settings)
    with visiting(browser, server) as visit:
        page = visit.open("identify")
        sheets = [sheet(*ARCH, tilt=0.05 * i, side=400) for i in range(4)]
        files = [(f"{i}.png", data) for i, data in enumerate(sheets)]
        visit.drop(page.locator("footer"), *files, ("0 again.png", sheets[0]))
        page.get_by_role("textbox", name="Name").fill("arch")
        page.get_by_role("button", name="Enroll", exact=True).click()
        expect(page.locator("#identify-status")).to_contain_text(
            "pictures of arch; 1 already enrolled."
        )
        assert server.gallery is not None
        assert server.gallery.identities() == {"arch": 4}


def test_an_enrolment_that_fails_can_be_tried_again(visit: Visit) -> None:
    page = visit.open("identify")
    visit.expected_statuses = {503}
    visit.choose("Your picture", ("a.png", sheet(*ARCH)), ("b.png", sheet(*ZIGZAG)))
    page.get_by_role("textbox", name="Name").fill("two")
    button = page.get_by_role("button", name="Enroll", exact=True)
    held: list[Route] = []
    gone = {"error": "the gallery does not answer"}

    def refuse(route: Route) -> None:
        if held:
            route.fulfill(status=503, json=gone)
        else:
            held.append(route)

    page.route("**/v1/enroll", refuse)
    button.click()
    expect(page.locator("#identify-status")).to_have_text("Enrolling: 1 of 2…")
    expect(button).to_be_disabled()
    held[0].fulfill(status=503, json=gone)
    expect(page.locator("#enroll-error")).to_contain_text("does not answer")
    expect(button).to_be_enabled()
    expect(button).to_be_focused()
    page.unroute("**/v1/enroll")
    button.click()
    expect(page.locator("#identify-status")).to_have_text("Enrolled: 2 pictures of two.")


def test_each_drawing_of_a_sheet_gets_its_box_and_its_name(visit: Visit) -> None:
    assert visit.server.gallery is not None
    visit.server.gallery.enroll("arch", [sheet(*ARCH)])
    visit.server.gallery.enroll("zigzag", [sheet(*ZIGZAG)])
    both = Image.new("L", (500, 240), 255)
    for i, strokes in enumerate((ZIGZAG, ARCH)):
        drawing = Image.open(io.BytesIO(sheet(*strokes, side=200)))
        both.paste(drawing, (20 + 250 * i, 20))
    page = visit.open("identify")
    visit.choose("Your picture", ("both.png", png(both)))
    expect(page.locator("#view-identify .verdict")).to_be_visible()
    page.get_by_label("Every drawing").check()
    expect(page.locator("#view-identify .verdict")).to_have_text("2 drawings")
    expect(page.locator("#matches .match-name")).to_have_text(["zigzag", "arch"])
    expect(page.locator(".boxes text")).to_have_text(["1", "2"])
    expect(page.get_by_role("button", name="Enroll", exact=True)).to_be_hidden()
    picture = visit.slot("Your picture").locator("img").bounding_box()
    lines = [box.bounding_box() for box in page.locator(".boxes .line").all()]
    assert picture is not None
    for box, (left, right) in zip(lines, ((20, 220), (270, 470)), strict=True):
        assert box is not None
        zoom = picture["width"] / 500
        assert picture["x"] + left * zoom < box["x"]
        assert box["x"] + box["width"] < picture["x"] + right * zoom
    page.get_by_label("One answer").check()
    expect(page.locator(".boxes")).to_have_count(0)
    visit.expected_statuses = {422}
    page.get_by_label("Every drawing").check()
    blank = png(Image.new("L", (60, 60), 255))
    visit.choose("Your picture", ("blank.png", blank))
    wrong = visit.slot("Your picture").get_by_role("alert")
    expect(wrong).to_contain_text("No ink")


def test_a_poor_example_is_enrolled_and_called_that(visit: Visit) -> None:
    page = visit.open("identify")
    visit.choose("Your picture", ("stamp.png", sheet(*ARCH, side=16)))
    page.get_by_role("textbox", name="Name").fill("stamp")
    page.get_by_role("button", name="Enroll", exact=True).click()
    row = page.locator("#outcomes li")
    expect(row).to_contain_text("a poor example: too small: 16 x 16 pixels")
    expect(row).to_have_attribute("data-outcome", "poor")
    expect(page.locator(".tile")).to_have_count(1)
