"""Fixtures shared by all tests: the real data, a cache of the tests' own, drawn shapes."""

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from onelook.recipe import Recipe, override, read_recipe

N_SHAPES, N_DRAWINGS = 24, 8


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of real data that skips fails where ONELOOK_REQUIRE_DATA is set: in CI."""
    report = yield
    required = os.environ.get("ONELOOK_REQUIRE_DATA")
    if required and report.skipped and item.get_closest_marker("data"):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} must not skip"
    return report


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets named by ONELOOK_DATA; the test skips without it."""
    root = os.environ.get("ONELOOK_DATA", "")
    if not root or not Path(root).is_dir():
        pytest.skip("ONELOOK_DATA does not name a folder of real data sets")
    return Path(root)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ONELOOK_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _messages_end_with_the_test() -> Iterator[None]:
    """A command line run by one test must not silence the log of the next."""
    yield
    logging.getLogger("onelook").handlers.clear()
    logging.getLogger("onelook").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLASS/IMAGE of drawn polygons: each class has its own corners, each drawing
    jitters."""
    root = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    for shape in range(N_SHAPES):
        corners = rng.uniform(6, 26, size=(5, 2))
        folder = root / f"shape{shape:02d}"
        folder.mkdir()
        for drawing in range(N_DRAWINGS):
            image = Image.new("L", (32, 32), 255)
            jittered = corners + rng.normal(0, 0.6, size=corners.shape)
            points = [tuple(point) for point in jittered]
            ImageDraw.Draw(image).line([*points, points[0]], fill=0, width=2)
            image.save(folder / f"{drawing}.png")
    return root


@pytest.fixture(scope="session")
def shapes_recipe() -> Recipe:
    """A training of a few seconds on the drawn shapes, augmented and averaged."""
    return override(
        read_recipe("class-folder-scratch"),
        {
            "name": "shapes",
            "images": {"height": 16, "width": 16, "channels": 1, "invert": True},
            "encoder.arguments": {"width": 8, "embedding_size": 16},
            "data.validation_fraction": 0.5,
            "sampling.classes_per_batch": 8,
            "sampling.samples_per_class": 4,
            "epochs": 30,
            "precision": "fp32",
        },
    )
