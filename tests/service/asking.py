"""What the service's tests share: a quick model, drawings, a client."""

import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from starlette.testclient import TestClient

from onelook.gallery.gallery import Gallery
from onelook.loading import load
from onelook.service.app import create_app
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

LOCAL = "http://127.0.0.1"


@functools.cache
def omniglot() -> Verifier:
    """The shipped model of drawings."""
    return load("omniglot")


@functools.cache
def drawing(seed: int, side: int = 105, kind: str = "PNG") -> bytes:
    """A drawing of its own for each seed, as a file."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (side, side), 255)
    points = [tuple(point) for point in rng.uniform(0.1 * side, 0.9 * side, (5, 2))]
    ImageDraw.Draw(image).line(points, fill=0, width=max(1, side // 35))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@contextmanager
def asking(
    settings: ServiceSettings | None = None,
    gallery_file: Path | None = None,
    verifier: Verifier | None = None,
    wait: bool = True,
) -> Iterator[TestClient]:
    """A client of a running application, in this process."""
    verifier = verifier or omniglot()
    gallery = None if gallery_file is None else Gallery(verifier, gallery_file)
    app = create_app(verifier, gallery, settings)
    try:
        with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
            while wait and client.get("/readyz").status_code != 200:
                pass
            yield client
    finally:
        if gallery is not None:
            gallery.close()


def pair(left: bytes, right: bytes) -> dict[str, tuple[str, bytes, str]]:
    """The files of a request to compare."""
    return {
        "left": ("a.png", left, "image/png"),
        "right": ("b.png", right, "image/png"),
    }


def several(*images: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The files of a request with many images."""
    return [("images", (f"{i}.png", data, "image/png")) for i, data in enumerate(images)]
