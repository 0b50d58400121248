"""The examples run on real data, as their first lines say."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import start_service
from PIL import Image
from workspace import fill

import onelook

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.slow, pytest.mark.data]


@pytest.fixture
def folder(data_root, tmp_path):
    fill(tmp_path, data_root)
    return tmp_path


def run(example: str, *arguments: str, folder: Path) -> str:
    answer = subprocess.run(
        [sys.executable, EXAMPLES / example, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_people_are_named_and_others_are_unknown(folder):
    known, unknown = run("faces_folder.py", "people", folder=folder).splitlines()
    assert known.startswith("known: 1") and " of 180 photographs" in known
    assert " of 180 photographs falsely accepted" in unknown


def test_a_network_of_ones_own_is_trained_saved_and_loaded(folder):
    printed = run("own_encoder.py", "photos", "runs/own", "--epochs", "2", folder=folder)
    assert printed.split()[-1] in ("same", "different", "unsure")


def test_a_film_is_named_frame_by_frame(folder):
    shown = [(folder / f"{name}.png") for name in ("ka", "ka-by-another", "stranger", "ka")]
    frames = [Image.open(path).convert("L") for path in shown]
    blank = Image.new("L", frames[0].size, 255)
    frames.insert(3, blank)
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    with onelook.Gallery(onelook.load("omniglot"), folder / "film.db") as gallery:
        gallery.enroll("ka", [folder / "ka.png"])
        gallery.enroll("kha", [folder / "kha.png"])
    asked = ("video.py", "film.gif", "--gallery", "film.db")
    changes = run(*asked, folder=folder).splitlines()
    assert changes[:2] == ["frame 0: ka", "frame 2: unknown"]
    assert changes[2].startswith("frame 3: no answer: no ink")
    assert changes[3:] == ["frame 4: ka"]
    assert run(*asked, "--every", "4", folder=folder).splitlines() == ["frame 0: ka"]


def test_a_client_enrolls_and_identifies(folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start_service(f"onelook serve --gallery g.db --port {port}", folder)
    try:
        url = f"http://127.0.0.1:{port}"
        images = ("ka.png", "ka-by-another.png")
        printed = run("http_client.py", *images, "--url", url, folder=folder)
    finally:
        server.terminate()
        server.wait(60)
    assert printed.splitlines()[1].startswith("known ka 0.89")
