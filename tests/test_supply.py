"""What must not be in the source, and commands that keep off the network."""

import ast
import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load",
}  # fmt: skip
# Modules that only some files may import: pickles go to our own child processes, downloads
# and sockets have one home each.
LIMITED = {
    "pickle": {"data/inputs/processes.py"},
    "marshal": set(),
    "shelve": set(),
    "dill": set(),
    "joblib": set(),
    "socket": {"service/server.py"},
    "ssl": set(),
    "http": {"data/sources/fetch.py"},
    "urllib.request": {"data/sources/fetch.py"},
    "urllib.error": {"data/sources/fetch.py"},
    "requests": set(),
    "httpx": set(),
    "huggingface_hub": set(),
}
OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        print("network:", event, arguments, file=sys.stderr)
        raise SystemExit(99)

sys.addaudithook(refuse)
from onelook.cli import main
main(sys.argv[1:])
"""


def nodes(kind):
    for path in SOURCES:
        name = path.relative_to(ROOT / "src" / "onelook").as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, kind):
                yield name, node


def test_nothing_runs_what_it_reads():
    found = []
    for name, call in nodes(ast.Call):
        called = ast.unparse(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        # The default of torch.load depends on its version, that of np.load does not.
        if (
            called in FORBIDDEN_CALLS
            or (called == "torch.load" and given.get("weights_only") != "True")
            or given.get("allow_pickle", "False") != "False"
            or given.get("shell", "False") != "False"
        ):
            found.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
    assert not found


def test_pickle_and_the_network_have_one_home_each():
    found = []
    for name, node in nodes((ast.Import, ast.ImportFrom)):
        from_where = getattr(node, "module", None)
        for one in [from_where] if from_where else [alias.name for alias in node.names]:
            for module, homes in LIMITED.items():
                if one == module or one.startswith(f"{module}."):
                    found += [f"{name}:{node.lineno}: {one}"] if name not in homes else []
    assert not found


def offline(*words):
    command = [sys.executable, "-c", OFFLINE, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_watch_notices_a_connection():
    probe = OFFLINE.partition("from onelook")[0] + (
        "import socket; socket.create_connection(('127.0.0.1', 9))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 99


def test_answering_does_not_touch_the_network(shapes_folder, tmp_path):
    pictures = [shapes_folder / "shape00" / f"{i}.png" for i in range(2)]
    gallery = tmp_path / "gallery.db"
    offline("compare", *pictures)
    offline("embed", *pictures, "-o", tmp_path / "vectors.npz")
    offline("enroll", pictures[0], "-g", gallery)
    assert json.loads(offline("identify", pictures[1], "-g", gallery, "--json"))
    offline("models")
    offline("recipes")
    offline("data", shapes_folder)


@pytest.mark.slow
def test_reviewing_and_measuring_do_not_touch_the_network(shapes_folder, tmp_path):
    offline("review", shapes_folder, "-o", tmp_path / "review.html")
    offline("evaluate", "omniglot", "-p", "folder-one-shot", "--data", shapes_folder)


def test_what_is_installed_is_not_older_than_the_floors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    floors = [*project["dependencies"], *extras["train"], *extras["serve"], *extras["heif"]]
    for line in floors:
        package, _, lowest = line.partition(">=")
        installed = version(package).partition("+")[0]
        assert numbers(installed) >= numbers(lowest), line


def numbers(text):
    return [int(part) for part in text.split(".") if part.isdecimal()]
