"""The report of a training or a calibration: one HTML file that needs nothing else.

A report asks no network for anything: figures and pictures are ``data:`` addresses, and a
content policy forbids the rest. It reads on a phone and follows the reader's light or dark.
"""

from pathlib import Path
from typing import Any

from PIL import Image

from onelook.comparison import data_address
from onelook.extras import import_extra
from onelook.files import PRIVATE, write_whole
from onelook.report.inputs import ReportInputs
from onelook.report.pictures import Picture, as_rgb


def write_report(inputs: ReportInputs, path: str | Path) -> Path:
    """Write the report; readers of ``path`` see the old file or the whole new one."""
    import_extra("matplotlib", "train")
    from onelook.report.sections import SECTIONS, LeftOut

    parts, left_out = {}, {}
    for name, make in SECTIONS.items():
        try:
            parts[name] = make(inputs)
        except LeftOut as reason:
            left_out[name] = str(reason)
    page = render("page.html", "train", inputs=inputs, parts=parts, left_out=left_out)
    return write_whole(Path(path), page, PRIVATE)


def render(template: str, extra: str, **values: Any) -> str:
    """The page that a template beside this file makes of values.

    Raises:
        MissingExtraError: If Jinja2 is not there, which ``extra`` brings.
    """
    jinja2 = import_extra("jinja2", extra)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"words": _words, "picture": _picture}
    page: str = environment.get_template(template).render(**values)
    return page


def _words(value: Any) -> str:
    """A setting as a person writes it."""
    if isinstance(value, list | tuple):
        return ", ".join(_words(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return "none" if value is None else str(value)


def _picture(picture: Picture) -> str:
    """A picture as a ``data:`` address, at most 256 pixels wide and high."""
    image = Image.fromarray(as_rgb(picture) if picture.ndim == 3 else picture)
    image.thumbnail((256, 256))
    return data_address(image)
