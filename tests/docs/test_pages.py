"""Every code block of the README and of the docs runs and prints what the page says."""

import re
import socket
import tomllib
from pathlib import Path

import pytest
from blocks import assert_same_output, blocks_of, commands_of, run_page
from workspace import fill

import onelook

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.runs for block in blocks_of(page.read_text()))],
    ids=lambda page: page.stem,
)
def test_every_block_runs(page, data_root, tmp_path, monkeypatch):
    fill(tmp_path, data_root)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert run_page(page, tmp_path, port) > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_names_its_language(page):
    fences = [line for line in page.read_text().splitlines() if line.startswith("```")]
    assert all(fence != "```" for fence in fences[::2])


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / "docs" / "api.md").read_text()
    assert (
        sorted(re.findall(r"^::: onelook\.(\w+)$", page, re.MULTILINE)) == onelook.__all__
    )


def test_every_extra_is_on_the_first_page_of_the_docs():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "index.md").read_text().partition("| extra |")[2]
    rows = [
        line for line in page.partition("\n\n")[0].splitlines() if line.startswith("| `")
    ]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(extras["optional-dependencies"]) - {"dev", "docs"}


def test_the_page_of_the_architecture_shows_the_house():
    page = (ROOT / "docs" / "architecture.md").read_text()
    paths = set(re.findall(r"`([\w/]+(?:/|\.py))`", page))
    assert len(paths) > 20
    missing = [path for path in paths if not (ROOT / "src" / "onelook" / path).exists()]
    assert not missing
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = linter["contracts"][0]["layers"]
    shown = page.partition("not from those above")[2].split("```")[1].splitlines()[1:]
    assert [line.split() for line in shown] == [
        [name.strip().removeprefix("onelook.") for name in layer.split("|")]
        for layer in layers
    ]


def test_the_readme_has_at_most_8000_bytes():
    assert (ROOT / "README.md").stat().st_size <= 8000


def test_commands_lose_their_comments_and_keep_their_output():
    session = "$ onelook a.png  # compares\nsame\n$ onelook b \\\n    c\n"
    assert commands_of(session) == [("onelook a.png", "same\n"), ("onelook b c", "")]


def test_numbers_may_differ_a_little_and_words_may_not():
    assert_same_output("x", "same: 0.993 of 20, 1,000 …", "same: 0.990 of 20, 1,003 in all")
    with pytest.raises(AssertionError, match="expected"):
        assert_same_output("x", "same: 0.993", "same: 0.5")
    with pytest.raises(AssertionError, match="expected"):
        assert_same_output("x", "same: 0.993", "different: 0.993")
