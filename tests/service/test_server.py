"""The server as a process: it answers, stops in good order, and refuses to be open."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest
from asking import drawing, omniglot, pair

from onelook.card import TrainingCard
from onelook.cli import main
from onelook.gallery.gallery import Gallery
from onelook.loading import load
from onelook.service import server
from onelook.service.tokens import Tokens, add_token

# A model that takes its time, served by the same code as ``onelook serve``.
SLOW = """
import sys, time
import numpy as np
from onelook.service.app import create_app
from onelook.service.server import serve
from onelook.verifier import from_function

def slowly(images):
    time.sleep(0.5)
    return np.array([[image.width, 1.0] for image in images])

serve(create_app(from_function(slowly)), "127.0.0.1", 0, lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@contextmanager
def running(*command: str):
    """A process, and its URL once it answers; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        said = ""
        while not (found := re.search(r"http://\S+:\d+", said)):
            line = process.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def stop(process, number=signal.SIGTERM) -> str:
    """What it says after it was told to stop; it must end by itself, without an error."""
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


def ask_first(url: str) -> bytes:
    """What a client reads that asks, as curl does, before it sends 100 MB."""
    host, port = url.removeprefix("http://").split(":")
    head = (
        "POST /v1/compare HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = b""
        while b'"}' not in answer:
            answer += connection.recv(4096)
    return answer


@pytest.mark.slow
def test_a_service_on_loopback_from_start_to_stop(tmp_path):
    command = ["-m", "onelook", "-v", "serve", "-m", "omniglot", "--port", "0"]
    with running(*command, "--gallery", str(tmp_path / "g.db")) as (process, url):
        with httpx.Client(base_url=url, timeout=60) as client:
            while client.get("/readyz").status_code == 503:
                time.sleep(0.1)
            answer = client.post("/v1/compare", files=pair(drawing(1), drawing(2)))
            verifier = omniglot()
            left, right = verifier.embed([drawing(1), drawing(2)])
            expected = float(verifier.score(left[None], right[None])[0])
            assert answer.json()["score"] == pytest.approx(expected, abs=1e-5)
            client.post(
                "/v1/enroll",
                files=[("images", ("x.png", drawing(1)))],
                data={"identity": "Ada"},
            )
            found = client.post("/v1/identify", files={"image": drawing(1)}).json()
            assert found["identity"] == "Ada"
            assert client.get("/").text.startswith("<!")
            assert "# omniglot" in client.get("/v1/model").json()["card_text"].lower()
            assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
        assert ask_first(url).startswith(b"HTTP/1.1 413")
        said = stop(process)
    assert "POST /v1/compare 200" in said
    assert "Ada" not in said
    # The gallery was closed, and holds what was acknowledged.
    with Gallery(verifier, tmp_path / "g.db") as gallery:
        assert gallery.identities() == {"Ada": 1}


FEW = """
import resource
from onelook.service import connections
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
connections.IDLE_SECONDS, connections.CHECK_SECONDS = 1, 0.1
"""


@pytest.mark.slow
def test_connections_that_send_nothing_are_closed_and_keep_no_one_out():
    with running("-c", FEW + SLOW) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        held = []
        process.send_signal(signal.SIGSTOP)  # so that many are accepted at a time
        for _ in range(60):
            held.append(socket.create_connection((host, int(port)), timeout=30))
        process.send_signal(signal.SIGCONT)
        for i in range(600):  # more than it may open files
            held.append(socket.create_connection((host, int(port)), timeout=30))
            held[-1].sendall(b"" if i % 2 else b"GET / HTTP/1.1\r\nHost: 127")
        assert httpx.get(f"{url}/healthz", timeout=10).status_code == 200
        for one in held:  # closed, by the cap or by the time
            with suppress(ConnectionResetError):
                while one.recv(1000):
                    pass
            one.close()
        assert httpx.get(f"{url}/healthz", timeout=10).status_code == 200
        said = stop(process)
    assert said == "44 connections are open: the longest idle are closed\nstopped\n"


LATE = """
import sys, time
import numpy as np
from onelook.service import server
from onelook.service.app import create_app
from onelook.verifier import from_function

verifier = from_function(lambda images: np.ones((len(images), 2)))
load = type(verifier.input).load
type(verifier.input).load = lambda *args: [time.sleep(0.5), load(*args)][1]
server.STOP_SECONDS, server.REFUSE_SECONDS = 3, 2
server.serve(create_app(verifier), "127.0.0.1", 0, lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.slow
def test_a_stop_refuses_what_is_not_done_in_time():
    with running("-c", LATE) as (process, url):
        while httpx.get(f"{url}/readyz").status_code == 503:
            time.sleep(0.1)
        with ThreadPoolExecutor(2) as pool, httpx.Client(timeout=60) as client:
            files = [("images", ("x.png", drawing(1)))] * 15
            asked = [pool.submit(client.post, f"{url}/v1/embed", files=files)] * 2
            while "onelook_waiting_images 0.0" in httpx.get(f"{url}/metrics").text:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            answers = [one.result() for one in asked]
            said, _ = process.communicate(timeout=60)
            assert time.monotonic() - begun < 6
        assert [answer.status_code for answer in answers] == [503, 503]
        assert "it stops" in answers[0].json()["error"]
        assert process.returncode == 0 and said.endswith("stopped\n"), said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_was_accepted(number):
    with running("-c", SLOW) as (process, url):
        while httpx.get(f"{url}/readyz").status_code == 503:
            time.sleep(0.1)
        with ThreadPoolExecutor(12) as pool, httpx.Client(timeout=60) as client:
            files = pair(drawing(1), drawing(2))
            asked = [
                pool.submit(client.post, f"{url}/v1/compare", files=files)
                for _ in range(12)
            ]
            # All are accepted, and the model has not answered the last of them.
            while "onelook_waiting_images 24.0" not in httpx.get(f"{url}/metrics").text:
                assert not all(one.done() for one in asked)
                time.sleep(0.01)
            process.send_signal(number)
            answers = [one.result() for one in asked]
        assert [answer.status_code for answer in answers] == [200] * 12
        assert {answer.json()["score"] for answer in answers} == {1.0}
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert said.endswith("stopped\n")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")


def test_tokens_are_made_listed_and_revoked_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "tokens.json"

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["token", str(path), *arguments])
        output = capsys.readouterr()
        return end.value.code or 0, output.out, output.err

    status, secret, said = run("--name", "till", "--write")
    assert status == 0 and "cannot be shown again" in said
    assert Tokens(path).find(secret.strip()).may_write
    status, out, _ = run("--name", "desk", "--json")
    made = json.loads(out)
    assert not Tokens(path).find(made["token"]).may_write
    _, out, _ = run()
    assert re.search(r"till +reads and writes, 20", out)
    assert re.search(r"desk +reads, 20", out)
    status, out, said = run("--revoke", "till")
    assert "till: revoked" in said and "till" not in out
    assert Tokens(path).find(secret.strip()) is None
    status, _, said = run("--revoke", "till")
    assert status == 1 and "no token 'till'; it has: desk" in said


def test_another_address_is_refused_without_a_token(capsys, tmp_path):
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(SystemExit) as end:
            main(["serve", "-m", "omniglot", "--host", host, "--port", "0"])
        assert end.value.code == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: --host {host} opens the service to other machines")
        assert "onelook token" in said
    with pytest.raises(SystemExit):
        main(["serve", "--host", "0.0.0.0", "--token-file", str(tmp_path / "none")])
    assert "no token file" in capsys.readouterr().err


def test_a_taken_port_says_so(capsys, monkeypatch):
    monkeypatch.setattr(server, "limit_threads", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(SystemExit) as end:
            main(["serve", "-m", "omniglot", "--port", str(taken.getsockname()[1])])
    assert end.value.code == 1
    assert "Address already in use; --port 0 takes a free port" in capsys.readouterr().err


def test_answers_leave_at_once():
    """Else a lone client waits 40 ms: Nagle's algorithm against delayed acknowledgement."""
    with server._bind("127.0.0.1", 0) as bound:
        with socket.create_connection(bound.getsockname()):
            accepted, _ = bound.accept()

            async def connect():
                loop = asyncio.get_running_loop()
                transport, _ = await loop.connect_accepted_socket(
                    asyncio.Protocol, accepted
                )
                inner = transport.get_extra_info("socket")
                no_delay = inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                transport.close()
                await asyncio.sleep(0)
                return no_delay

            assert asyncio.run(connect()) == 1


@pytest.mark.slow
def test_a_service_with_tokens_listens_on_other_addresses(tmp_path):
    secret = add_token(tmp_path / "tokens.json", "a", False)
    command = [
        "-m",
        "onelook",
        "serve",
        "--model",
        "omniglot",
        "--port",
        "0",
        "--host",
        "127.0.0.2",
    ]
    command += ["--token-file", str(tmp_path / "tokens.json")]
    with running(*command) as (process, url):
        assert url.startswith("http://127.0.0.2:")
        request = urllib.request.Request(f"{url}/v1/model")
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(request)
        refused.value.close()
        request.add_header("Authorization", f"Bearer {secret}")
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["name"] == "omniglot"
        assert secret not in stop(process)


def test_matrix_products_leave_a_core_free(monkeypatch):
    asked, before = [], sys.getswitchinterval()
    monkeypatch.setattr(server.sys, "setswitchinterval", asked.append)
    monkeypatch.setattr(server, "use_threads", asked.append)
    monkeypatch.setattr(server, "threadpool_limits", asked.append)
    monkeypatch.setattr(server, "threads", lambda: 5)
    for n, expected in ((1, 1), (2, 1), (4, 3), (8, 5)):
        monkeypatch.setattr(server, "cores", lambda n=n: n)
        server.limit_threads()
        assert asked[-3:] == [server.SWITCH_SECONDS, expected, expected]
    assert server.SWITCH_SECONDS < before


def test_serve_takes_the_model_of_its_gallery(tmp_path, monkeypatch, capsys):
    served = []
    monkeypatch.setattr(server, "limit_threads", lambda: None)
    monkeypatch.setattr(server, "serve", lambda app, *_: served.append(app.state.backend))
    for name in ("faces", "omniglot"):
        with Gallery(load(name), tmp_path / f"{name}.db") as gallery:
            gallery.enroll("Ada", [drawing(1)])
        with pytest.raises(SystemExit):
            main(["serve", "--gallery", str(tmp_path / f"{name}.db")])
        assert served[-1].verifier.name == name
    own = load("omniglot")
    own.card = TrainingCard(name="mine")
    with Gallery(own, tmp_path / "mine.db") as gallery:
        gallery.enroll("Ada", [drawing(1)])
    with pytest.raises(SystemExit):
        main(["serve", "--gallery", str(tmp_path / "mine.db")])
    message = "'mine', which is not where it was; name its folder with --model"
    assert message in capsys.readouterr().err and len(served) == 2
