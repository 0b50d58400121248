"""Cards: the Markdown of a model card as HTML that is safe to show in the page."""

from functools import cache

from markdown_it import MarkdownIt

_SCROLL = '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>'


@cache
def card_html(text: str, name: str = "") -> str:
    """The HTML of a model card: headings, lists, tables, code and links to the web.

    HTML in the card is shown as text, and pictures as links. Headings begin at h3, since
    the page has its own h1 and h2; a first one that repeats the ``name`` is left out.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.validateLink = _is_web  # type: ignore[assignment,method-assign]
    parser.add_render_rule("table_open", lambda *_: _SCROLL)
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(text)
    if len(tokens) > 2 and tokens[0].type == "heading_open" and tokens[1].content == name:
        del tokens[:3]
    for token in tokens:
        if token.type.startswith("heading_"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        for child in token.children or ():
            if child.type == "link_open":
                child.attrs |= {"rel": "noopener noreferrer", "target": "_blank"}
    return str(parser.renderer.render(tokens, parser.options, {}))


def _is_web(address: str) -> bool:
    return address.startswith(("https://", "http://"))
