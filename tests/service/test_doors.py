"""Doors: Python, command line and HTTP give the same answer with the same fields."""

import json

import pytest
from asking import asking, drawing, omniglot, pair

from onelook.cli import main
from onelook.gallery.gallery import Gallery


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two drawings in the current folder, a.png and b.png."""
    for name, seed in (("a.png", 1), ("b.png", 2)):
        (tmp_path / name).write_bytes(drawing(seed))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys, *arguments: str) -> dict:
    """What a command prints with --json."""
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def assert_equal(expected: dict, *answers: dict) -> None:
    """The same fields in the same order; numbers as near as a batch may move them."""
    for answer in answers:
        assert list(answer) == list(expected)
        assert answer == pytest.approx(expected, abs=1e-5)


def test_python_cli_and_http_give_the_same_answer_for_a_pair(folder, capsys):
    expected = omniglot().compare("a.png", "b.png").to_dict()
    with asking() as client:
        http = client.post("/v1/compare", files=pair(drawing(1), drawing(2))).json()
    cli = printed(capsys, "compare", "a.png", "b.png", "--model", "omniglot")
    assert_equal(expected, http, cli)


def test_python_cli_and_http_give_the_same_answer_for_a_probe(folder, capsys):
    with Gallery(omniglot(), "gallery.db") as gallery:
        gallery.enroll("Ada", ["a.png"])
        expected = json.loads(json.dumps(gallery.identify("b.png").to_dict()))
    with asking(gallery_file=folder / "gallery.db") as client:
        files = {"image": ("b.png", drawing(2))}
        http = client.post("/v1/identify", files=files).json()
    cli = printed(capsys, "identify", "b.png", "--gallery", "gallery.db")
    assert cli.pop("path") == "b.png"
    (match,), *others = (answer.pop("matches") for answer in (expected, http, cli))
    assert_equal(expected, http, cli)
    assert_equal(match, *(matches[0] for matches in others))
