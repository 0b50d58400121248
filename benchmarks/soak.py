"""Does the service answer honest clients rightly while others do their worst?

python benchmarks/soak.py --minutes 20 --record

Honest clients compare, identify and embed drawings, first alone, then for the rest of the
time beside attackers, and every answer is checked against the library's. Attackers have a
process and an address of their own (all are loopback's): half requests, bodies byte by
byte, connections that are dropped, junk, icons that hold a picture of 177 megapixels,
pictures of 39.7 megapixels in 116 KB and a row of 39 million pixels, requests of many
images, explanations.
At the end the service gets SIGTERM under that load.
"""

import argparse
import io
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import numpy as np
import psutil
from PIL import Image

import onelook
from onelook.gallery.gallery import Gallery
from record import Clock, record_all
from service import read_drawings

N_DRAWINGS, N_HONEST, BATCH = 40, 2, 32
PAUSE = 0.05  # seconds between the requests of an honest client
ALONE = 0.2  # of the time
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "soak.png"
Files = list[tuple[str, tuple[str, bytes, str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--record", action="store_true", help="write the figures down")
    parser.add_argument("--attack", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        attack(arguments.attack)
        return
    clock, drawings = Clock(), read_drawings()[:N_DRAWINGS]
    with tempfile.TemporaryDirectory() as name:
        soak = Soak(drawings, Path(name) / "gallery.db")
        figures = soak.run(60 * arguments.minutes)
    for metric, value in figures.items():
        print(f"{metric}: {value:,.4g}")
    if arguments.record:
        soak.draw(PICTURE)
        record_all("soak", "omniglot", figures, seeds=[], minutes=clock.minutes)


class Soak:
    """A service, its clients, and what they saw."""

    def __init__(self, drawings: list[bytes], gallery: Path) -> None:
        self.drawings = drawings
        self.verifier = onelook.load("omniglot")
        self.vectors = self.verifier.embed(drawings)
        with Gallery(self.verifier, gallery) as there:
            for i, drawing in enumerate(drawings[: N_DRAWINGS // 2]):
                there.enroll(f"character {i}", [drawing])
        self.gallery = gallery
        self.under_attack, self.over = threading.Event(), threading.Event()
        self.seconds: dict[bool, list[float]] = {False: [], True: []}
        self.wrong: list[str] = []
        self.memory: list[tuple[float, float]] = []  # seconds, bytes

    def run(self, seconds: float) -> dict[str, float]:
        """Load the service for so long, stop it, and return the figures."""
        service, self.port = start(self.gallery)
        honest = [
            threading.Thread(target=self._ask_honestly, args=(i,)) for i in range(N_HONEST)
        ]
        for thread in honest:
            thread.start()
        attackers = None
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            if passed > ALONE * seconds and attackers is None:
                self.under_attack.set()
                attackers = subprocess.Popen(
                    [sys.executable, __file__, "--attack", str(self.port)]
                )
            self.memory.append((passed, psutil.Process(service.pid).memory_info().rss))
            time.sleep(1)
        self.over.set()  # a client that keeps its connection may lose it from here on
        stopping = time.monotonic()
        service.send_signal(signal.SIGTERM)
        service.wait(300)
        stopped = time.monotonic() - stopping
        for thread in honest:
            thread.join()
        if attackers is not None:
            attackers.send_signal(signal.SIGTERM)
            attackers.wait()
        if service.returncode or self.wrong:
            print(f"exit status {service.returncode}", *self.wrong[:9], sep="\n")
        alone, beside = (np.array(self.seconds[kind]) for kind in (False, True))
        half = [size for passed, size in self.memory if passed > seconds / 2]
        return {
            "requests_of_honest_clients": len(alone) + len(beside),
            "wrong_answers": len(self.wrong),
            "p50_alone": float(np.quantile(alone, 0.5)),
            "p99_alone": float(np.quantile(alone, 0.99)),
            "p50_under_attack": float(np.quantile(beside, 0.5)),
            "p99_under_attack": float(np.quantile(beside, 0.99)),
            "p99_ratio": float(np.quantile(beside, 0.99) / np.quantile(alone, 0.99)),
            "longest": float(beside.max()),
            "megabytes_highest": max(size for _, size in self.memory) / 1e6,
            "growth_of_second_half": half[-1] / half[0] - 1,
            "seconds_to_stop": stopped,
        }

    def draw(self, path: Path) -> None:
        """The curve of the memory."""
        path.parent.mkdir(exist_ok=True)
        passed, sizes = np.array(self.memory).T
        figure, axes = plt.subplots(figsize=(8, 3))
        axes.plot(passed / 60, sizes / 1e6)
        axes.axvline(ALONE * passed[-1] / 60, color="grey", linestyle="--")
        axes.set(xlabel="minutes (dashed: attackers begin)", ylabel="MB", ylim=(0, None))
        figure.savefig(path, dpi=100, bbox_inches="tight")

    def _ask_honestly(self, number: int) -> None:
        """Small requests, one after the other, whose answers are known."""
        rng, client = random.Random(number), client_at(f"127.0.0.{number + 2}", self.port)
        while not self.over.is_set():
            i, j = rng.sample(range(N_DRAWINGS), 2)
            beside, begun = self.under_attack.is_set(), time.perf_counter()
            try:
                fault = rng.choice((self._compare, self._identify, self._embed))(
                    client, i, j
                )
            except httpx.HTTPError as error:
                fault = f"{type(error).__name__}: {error}"
            if self.over.is_set():
                break
            if fault:
                self.wrong.append(fault)
            self.seconds[beside].append(time.perf_counter() - begun)
            time.sleep(PAUSE)

    def _compare(self, client: httpx.Client, i: int, j: int) -> str:
        found = client.post("/v1/compare", files=pair(self.drawings[i], self.drawings[j]))
        score = self.verifier.score(self.vectors[[i]], self.vectors[[j]])[0]
        right = found.is_success and abs(found.json()["score"] - score) < 1e-3
        return "" if right else f"compare {i} {j}, {score}: {found.text}"

    def _identify(self, client: httpx.Client, i: int, j: int) -> str:
        i %= N_DRAWINGS // 2
        found = client.post("/v1/identify", files=images("image", self.drawings[i]))
        right = found.is_success and found.json()["identity"] == f"character {i}"
        return "" if right else f"identify {i}: {found.text}"

    def _embed(self, client: httpx.Client, i: int, j: int) -> str:
        found = client.post("/v1/embed", files=images("images", self.drawings[i]))
        right = found.is_success and np.allclose(
            found.json()["vectors"], self.vectors[[i]], atol=1e-3
        )
        return "" if right else f"embed {i}: {found.text[:200]}"


def client_at(address: str, port: int) -> httpx.Client:
    """A client that has this address."""
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=60
    )


def start(gallery: Path) -> tuple["subprocess.Popen[str]", int]:
    """The service as a process of its own, and its port."""
    command = [
        sys.executable,
        "-m",
        "onelook",
        "serve",
        "--gallery",
        gallery,
        "--port",
        "0",
    ]
    service = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert service.stdout is not None
    said = ""
    while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", said)):
        line = service.stdout.readline()
        assert line, f"the service ended: {said}"
        said += line
    threading.Thread(target=service.stdout.read, daemon=True).start()
    return service, int(found[1])


def images(field: str, *pictures: bytes) -> Files:
    return [(field, (f"{i}.png", data, "image/png")) for i, data in enumerate(pictures)]


def pair(left: bytes, right: bytes) -> Files:
    return images("left", left) + images("right", right)


def picture(width: int, height: int, mode: str = "1") -> bytes:
    """A large picture in a small file."""
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def icon() -> bytes:
    """An ICO that says 16 x 16 and holds 13,300 x 13,300."""
    inside = picture(13_300, 13_300)
    head = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22)
    return head + inside


WORST = [
    icon(),
    picture(6300, 6300, "RGB"),
    picture(1, 39_000_000),
    picture(4400, 4400, "I;16"),
]


def attack(port: int) -> None:
    """Attack until SIGTERM, and print what was answered."""
    os.nice(10)  # they would have a machine of their own
    drawings, over, said = read_drawings()[:BATCH], threading.Event(), Counter[str]()
    signal.signal(signal.SIGTERM, lambda *_: over.set())

    def go_on(attack: Attack) -> None:
        client = client_at("127.0.0.1", port)
        while not over.is_set():
            try:
                answer = attack(client, port, drawings)
            except (httpx.HTTPError, OSError) as error:
                answer = type(error).__name__
            said[f"{attack.__name__[1:]}: {answer}"] += 1
            over.wait(0.01)

    threads = [threading.Thread(target=go_on, args=(one,)) for one in ATTACKS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("answers to attackers:", dict(said), flush=True)


def _half_header(client: httpx.Client, port: int, drawings: list[bytes]) -> str:
    with socket.create_connection(("127.0.0.1", port), 9) as link:
        link.sendall(b"POST /v1/compare HTT")
        time.sleep(2)
    return "dropped"


def _slow_body(client: httpx.Client, port: int, drawings: list[bytes]) -> str:
    head = "POST /v1/compare HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 9) as link:
        link.sendall(head.encode())
        for _ in range(50):
            link.sendall(b"x")
            time.sleep(0.1)
    return "dropped"


def _gone(client: httpx.Client, port: int, drawings: list[bytes]) -> str:
    """A whole request of large images, and nobody who waits for the answer."""
    request = client.build_request("POST", "/v1/compare", files=pair(WORST[1], WORST[1]))
    head = f"POST /v1/compare HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    for name in ("content-type", "content-length"):
        head += f"{name}: {request.headers[name]}\r\n"
    with socket.create_connection(("127.0.0.1", port), 9) as link:
        link.sendall(head.encode() + b"\r\n" + request.read())
    return "dropped"


def _junk(client: httpx.Client, port: int, drawings: list[bytes]) -> int:
    files = pair(os.urandom(9000), drawings[0][:400])
    return client.post("/v1/compare", files=files).status_code


def _worst(client: httpx.Client, port: int, drawings: list[bytes]) -> int:
    files = pair(*random.choices(WORST, k=2))
    return client.post("/v1/compare", files=files).status_code


def _many(client: httpx.Client, port: int, drawings: list[bytes]) -> int:
    return client.post("/v1/embed", files=images("images", *drawings)).status_code


def _explain(client: httpx.Client, port: int, drawings: list[bytes]) -> int:
    return client.post("/v1/explain", files=pair(*drawings[:2])).status_code


Attack = Callable[[httpx.Client, int, list[bytes]], str | int]
ATTACKS: list[Attack] = [
    *(_half_header, _slow_body, _gone, _junk, _many, _explain),
    *[_worst] * 3,
]


if __name__ == "__main__":
    main()
