"""The page in a real browser: the model's view, and what holds for every view."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_pictures import (
    ARCH,
    DIFFERENT_SCORES,
    SAME_SCORES,
    ZIGZAG,
    model_of_pages,
    polygon,
    sheet,
)
from page_server import PageServer
from page_visit import DESK, PHONE, launched, visiting
from playwright.sync_api import Browser, Page, expect

import onelook.service
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

WEB = Path(onelook.service.__file__).parent / "web"
VIEWS = ("compare", "identify", "model")
CARD = """# omniglot
Some *words* and `code`, **bold**; [papers](https://example.org/paper),
[no](javascript:alert(1)).

| figure | value | interval | command |
|---|---|---|---|
| error | 1.5% | 0.7% to 3.2% | `onelook evaluate omniglot --protocol omniglot-20-runs` |

```
onelook compare a.png b.png
```
- first, over
  two lines
- second

1. one
2. two

<script>alert(1)</script><img src=x onerror=alert(1)>
"""
# Elements that a person acts on or a screen reader names, and what they are called.
_UNNAMED = """() => [...document.querySelectorAll(
    "button, input, a, [role=img], [role=tab], [role=tabpanel], dialog, fieldset")]
  .filter((node) => node.checkVisibility())
  .filter((node) => {
    const labels = [...(node.labels ?? [])].map((label) => label.textContent).join("");
    const by = document.getElementById(node.getAttribute("aria-labelledby"))?.textContent;
    const legend = node.querySelector(":scope > legend")?.textContent;
    const own = node.getAttribute("aria-label") || node.textContent.trim();
    return !(own || by || labels || legend);
  }).map((node) => node.outerHTML)"""
_SMALL = """() => [...document.querySelectorAll("button, input, a, select")]
  .filter((node) => node.checkVisibility() && !node.closest(".card, .skip, .segments"))
  .map((node) => [node.outerHTML.slice(0, 90), node.getBoundingClientRect()])
  .filter(([, box]) => box.width < 43.5 || box.height < 43.5)
  .map(([html, box]) => `${html} ${box.width} x ${box.height}`)"""
# Words of a plot that lie outside it or over each other.
_LABELS_ASTRAY = """() => [...document.querySelectorAll(".plot svg")].flatMap((plot) => {
  const frame = plot.getBoundingClientRect();
  const labels = [...plot.querySelectorAll("text")].map((node) => [node.textContent,
    node.getBoundingClientRect()]);
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom
    && b.top < a.bottom;
  return labels.filter(([, box], i) => box.left < frame.left || box.right > frame.right ||
    box.bottom > frame.bottom || labels.slice(0, i).some(([, other]) => meets(box, other)))
    .map(([words]) => words);
})"""
# WCAG's contrast of the text colours on the papers they stand on.
_CONTRASTS = """() => {
  const look = getComputedStyle(document.documentElement);
  const light = (name) => {
    const hex = look.getPropertyValue(name).trim().slice(1);
    const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = [["--ink", "--paper"], ["--muted", "--paper"], ["--muted", "--card"],
    ["--accent", "--paper"], ["--accent", "--soft"], ["--muted", "--soft"],
    ["--on-accent", "--accent"], ["--danger", "--card"], ["--danger", "--paper"],
    ["--caution", "--paper"]];
  return Object.fromEntries(pairs.map(([a, b]) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return [`${a} on ${b}`, (x + 0.05) / (y + 0.05)];
  }));
}"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return model_of_pages()


def server_of(verifier: Verifier, folder: Path, n_enrolled: int = 0) -> PageServer:
    server = PageServer(verifier, folder / "gallery.db", ServiceSettings(card_text=CARD))
    assert server.gallery is not None
    for i in range(n_enrolled):
        name = f"a long name without any place to break it {'x' * 60} {i}"
        server.gallery.enroll(name, [polygon(i)])
    return server


def percent_of(page: Page, card: str) -> float:
    """The rate that a card shows, as a fraction."""
    shown = page.locator(f"#{card} strong").inner_text()
    return float(shown.replace("%", "").replace("\u00a0", "")) / 100


def test_the_slider_shows_the_errors_that_each_threshold_makes(
    browser: Browser, verifier: Verifier, tmp_path: Path
) -> None:
    with visiting(browser, server_of(verifier, tmp_path)) as visit:
        page = visit.open("model")
        assert verifier.decision is not None
        slider = page.get_by_role("slider", name="Threshold")
        expect(page.locator(".lead")).to_contain_text("in 1 of 100 cases")
        places = []
        for threshold in (verifier.decision.threshold, 0.3, 0.55, 0.85):
            used = threshold
            if threshold != verifier.decision.threshold:
                slider.fill(f"{threshold}")
                used = float(slider.input_value())
                assert used == pytest.approx(threshold, abs=0.005)
            far, frr = (DIFFERENT_SCORES >= used).mean(), (SAME_SCORES < used).mean()
            assert percent_of(page, "far") == pytest.approx(far, rel=0.06, abs=0.0005)
            assert percent_of(page, "frr") == pytest.approx(frr, rel=0.06, abs=0.0005)
            assert f"{used:.3f}" in (slider.get_attribute("aria-valuetext") or "")
            line = page.locator(".plot .threshold").bounding_box()
            point = page.locator(".plot .point").bounding_box()
            assert line is not None and point is not None
            places.append((line["x"], point["x"]))
        assert places[1][0] < places[2][0] < places[0][0] < places[3][0]
        assert places[1][1] > places[2][1] > places[0][1] > places[3][1]
        page.get_by_role("button", name=re.compile("^Back to")).click()
        expect(slider).to_be_focused()
        page.keyboard.press("ArrowRight")
        moved = page.locator(".threshold-value").inner_text()
        assert float(moved) > verifier.decision.threshold
        expect(page.get_by_role("row", name=re.compile("^1,000"))).to_contain_text("0.780")


def test_the_slider_stands_under_the_line_that_it_moves(
    browser: Browser, verifier: Verifier, tmp_path: Path
) -> None:
    with visiting(browser, server_of(verifier, tmp_path), **PHONE) as visit:
        page = visit.open("model")
        slider = page.get_by_role("slider", name="Threshold")
        for share in (0.1, 0.9):
            box = slider.bounding_box()
            assert box is not None
            low, high = (float(slider.get_attribute(name) or "") for name in ("min", "max"))
            slider.fill(f"{low + share * (high - low)}")
            drawn = page.locator(".plot .threshold").last
            drawn.wait_for(state="attached")  # the plot is drawn anew when the slider moves
            line = drawn.bounding_box()
            thumb = box["x"] + 14 + share * (box["width"] - 28)
            assert line is not None
            assert line["x"] + line["width"] / 2 == pytest.approx(thumb, abs=1.5)


def test_the_scripts_of_the_page_stay_small() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in WEB.glob("*.js"))
    assert lines <= 1900


def test_a_card_is_shown_as_text_and_never_as_html(
    browser: Browser, verifier: Verifier, tmp_path: Path
) -> None:
    with visiting(browser, server_of(verifier, tmp_path)) as visit:
        page = visit.open("model")
        card = page.get_by_role("region", name="Model card")
        expect(card.locator("p").first).to_have_text(
            "Some words and code, bold; papers, [no](javascript:alert(1))."
        )
        assert card.locator("em, strong, code").all_inner_texts()[:3] == [
            "words",
            "code",
            "bold",
        ]
        assert card.locator("a").evaluate_all("all => all.map((a) => a.href)") == [
            "https://example.org/paper"
        ]
        expect(card.locator("li")).to_have_text(
            ["first, over two lines", "second", "one", "two"]
        )
        expect(card.get_by_role("cell")).to_have_count(4)
        expect(card.locator("script, img")).to_have_count(0)
        expect(card).to_contain_text("<script>alert(1)</script>")


def test_numbers_are_said_as_people_say_them(browser: Browser, verifier: Verifier) -> None:
    cases = {
        "percent(1)": "more than 99%",
        "percent(0.9949)": "99%",
        "percent(0.004)": "less than 1%",
        "shortPercent(0.999)": "> 99%",
        "rate(0.01)": "1%",
        "rate(0.0034)": "0.34%",
        "rate(0.996)": "100%",
        "rate(0)": "0%",
        "inCases(0.01)": "in 1 of 100 cases",
        "inCases(0.00123)": "in 1 of 810 cases",
        "inCases(0.3)": "in 30 of 100 cases",
        "inCases(0)": "in none of the cases that were measured",
        "figure(-0.11349)": "−0.113",
        "bytes(31e6)": "31 MB",
        "pictures(1200)": "1,200 pictures",
    }
    with visiting(browser, PageServer(verifier)) as visit:
        page = visit.open()
        said = page.evaluate(
            """async (calls) => {
              const words = await import("/web/words.js");
              const read = (call) => {
                const [, name, given] = call.match(/^(\\w+)\\((.*)\\)$/);
                return words[name](...JSON.parse(`[${given.replaceAll("'", '"')}]`));
              };
              return calls.map((call) => read(call).replaceAll("\\u00a0", " "));
            }""",
            list(cases),
        )
        assert dict(zip(cases, said, strict=True)) == cases


def test_every_view_fits_a_phone_and_names_all_it_shows(
    browser: Browser, verifier: Verifier, tmp_path: Path
) -> None:
    server = server_of(verifier, tmp_path, n_enrolled=3)
    with visiting(browser, server, **PHONE) as visit:
        page = visit.open()
        visit.choose("Left picture", ("a.png", sheet(*ARCH)))
        visit.choose("Right picture", ("a.png", sheet(*ZIGZAG)))
        expect(page.locator(".verdict")).to_be_visible()
        label = page.locator(".bar-label").bounding_box()
        assert label is not None and label["height"] < 30, "one line"
        check_view(page, "compare")
        visit.slot("Right picture").get_by_role("button", name="Remove").click()
        visit.slot("Right picture").get_by_role("button", name=re.compile("^Draw")).click()
        check_view(page, "compare")
        page.get_by_role("tab", name="Identify").click()
        visit.choose("Your picture", ("a.png", polygon(1)))
        expect(page.locator("#matches li")).to_have_count(3)
        check_view(page, "identify")
        page.locator(".tile").first.click()
        page.get_by_role("button", name="Forget…").click()
        check_view(page, "identify")
        page.get_by_role("button", name="Close").click()
        page.get_by_role("tab", name="Model").click()
        expect(page.locator(".plot svg")).to_have_count(2)
        assert page.evaluate(_LABELS_ASTRAY) == []
        check_view(page, "model")
        papers = set()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            contrasts = page.evaluate(_CONTRASTS)
            assert min(contrasts.values()) >= 4.5, (scheme, contrasts)
            papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(papers) == 2


def check_view(page: Page, view: str) -> None:
    """No sideways scrolling, names for everything, targets that a thumb can hit."""
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate(_UNNAMED) == []
    assert page.evaluate(_SMALL) == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    headings = page.get_by_role("heading", level=1).all_inner_texts()
    assert page.get_by_role("dialog").is_visible() or len(headings) == 1
    for other in VIEWS:
        tab = page.locator(f"#tab-{other}")
        assert tab.get_attribute("aria-selected") == str(other == view).lower()
        assert page.locator(f"#view-{other}").is_visible() == (other == view)


def test_a_visit_sees_the_faults_that_no_visit_may_have(
    browser: Browser, verifier: Verifier
) -> None:
    wrong = {
        "console error: wrong": "console.error('wrong')",
        "uncaught": "setTimeout(() => { throw new Error('wrong'); })",
        "style-src-attr inline": "document.body.setAttribute('style', 'color: red')",
        "img-src http://127.0.0.2:9/": "new Image().src = 'http://127.0.0.2:9/a.png'",
    }
    for words, action in wrong.items():
        with pytest.raises(AssertionError, match=words):
            with visiting(browser, PageServer(verifier)) as visit:
                page = visit.open()
                page.evaluate(f"() => {{ {action}; }}")
                page.wait_for_timeout(200)


def test_every_view_has_an_address_and_a_title(
    browser: Browser, verifier: Verifier
) -> None:
    with visiting(browser, PageServer(verifier), **DESK) as visit:
        for view in VIEWS:
            page = visit.open(view)
            expect(page).to_have_title(f"{view.capitalize()} · onelook")
            expect(page.get_by_role("tabpanel", name=view.capitalize())).to_be_visible()
        assert page.locator("html").get_attribute("lang") == "en"
        live = page.locator("[role=status]").evaluate_all("all => all.map((one) => one.id)")
        assert live == ["compare-status", "identify-status", "gallery-status"]


@pytest.mark.parametrize("file", sorted(WEB.iterdir()), ids=lambda file: file.name)
def test_a_file_of_the_page_asks_for_nothing_elsewhere_and_works_below_a_prefix(
    file: Path,
) -> None:
    text, name = file.read_text("utf-8"), file.name
    addresses = re.findall(r"https?://[^\s\"'`)]+", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"""["'(`]/(v1|web|healthz)""", text), "not relative to the page"
    assert "innerHTML" not in text and "eval(" not in text
    assert name.endswith(".js") or not re.search(r"<style|style=|onclick=", text)
