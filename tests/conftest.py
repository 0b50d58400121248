"""Fixtures shared by all tests: where the real data is, and a cache that is the test's own."""

import os
from pathlib import Path

import pytest


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
