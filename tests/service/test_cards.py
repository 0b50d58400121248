"""Cards: Markdown as HTML in which nothing of the author's is executed or fetched."""

import re
from html.parser import HTMLParser

from onelook.service.cards import card_html
from onelook.zoo import shipped_folder, shipped_names

HOSTILE = """# omniglot
<script>alert(1)</script> <img src=x onerror=alert(1)> [no](javascript:alert(1))
[data](data:text/html,x) ![picture](https://example.org/a.png) [papers](https://example.org)
<https://example.org/b> &lt;b&gt; [quoted](https://example.org/"onclick="alert(1))

<iframe src="https://example.org"></iframe>
"""
ALLOWED = {
    *("p", "h3", "h4", "h5", "h6", "a", "em", "strong", "code", "pre", "ul", "ol", "li"),
    *("div", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"href", "rel", "target", "class", "tabindex", "role", "aria-label"}


class Elements(HTMLParser):
    """Collects the elements and attributes of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value)


def test_html_scripts_and_pictures_of_a_card_are_text_or_links():
    elements = Elements(card_html(HOSTILE, "omniglot"))
    assert elements.tags == {"p", "a"}
    assert set(elements.attributes) == {"href", "rel", "target"}
    assert all(href.startswith("https://") for href in elements.attributes["href"])
    assert elements.attributes["rel"] == {"noopener noreferrer"}


def test_a_first_heading_that_repeats_the_name_is_left_out():
    assert card_html("# omniglot\n## Data\n", "omniglot") == "<h4>Data</h4>\n"
    assert card_html("# Drawings\n", "omniglot") == "<h3>Drawings</h3>\n"
    assert card_html("", "omniglot") == ""


def test_the_cards_of_the_shipped_models_are_rendered_whole():
    for name in shipped_names():
        folder = shipped_folder(name)
        assert folder is not None
        text = (folder / "README.md").read_text("utf-8")
        content = card_html(text, name)
        elements = Elements(content)
        assert elements.tags <= ALLOWED and set(elements.attributes) <= ATTRIBUTES
        assert "**" not in content and not re.search(r"^\|", content, re.M), name
