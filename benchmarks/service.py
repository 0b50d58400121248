"""How fast the service answers, beside what its parts could do at best.

python benchmarks/service.py

The shipped Omniglot model answers over HTTP, with 1, 8 and 32 clients in a process of their
own on the same cores. Beside it stand, measured in turn in the same rounds: the bare
embedding rate (the larger one of one thread and of all cores, in batches of 32), the bare
decoding rate, and an empty request (a FastAPI route that does nothing, asked by the same 32
clients). The limit is what the three add up to, one after the other, for as many images as
a request holds; searching the gallery is not in it, so the figures kept are those of
comparing. The one-client rows show the machine as much as the service: where other work
runs on it, each of a request's threads waits for a core.
"""

import argparse
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch

import onelook
from onelook.gallery.gallery import Gallery
from onelook.verifier import Verifier
from record import Clock, machine, record

HERE = Path(__file__).parent
MODEL = "omniglot"
N_DRAWINGS, N_ENROLLED, BATCH = 512, 200, 32
CLIENTS = (1, 8, 32)
BOUNDARY = "onelook-benchmark"
# What a service of this make answers when it does nothing.
EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
app = FastAPI()
@app.get("/")
async def empty(): return JSONResponse({"status": "ok"})
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""


def main() -> None:
    arguments = _arguments()
    command = shlex.join(["python", "benchmarks/service.py", *sys.argv[1:]])
    print(machine(), "load average", *os.getloadavg())
    clock = Clock()
    drawings = read_drawings()
    verifier = onelook.load(MODEL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        enroll(verifier, drawings[:N_ENROLLED], folder / "gallery.db")
        rounds = measure(verifier, drawings, folder, arguments)
    report = {route: summary(rounds, route) for route in ("compare", "identify")}
    print_table(rounds, report)
    print(f"\n{clock.minutes:.1f} minutes, load average", *os.getloadavg())
    if arguments.record:
        for metric in ("ratio_limit", "p99_seconds", "requests_per_second"):
            record(
                "service-32-clients",
                MODEL,
                metric,
                report["compare"][metric],
                interval=None,
                seeds=[0],
                minutes=clock.minutes,
                command=command,
            )


def read_drawings() -> list[bytes]:
    """Drawings of characters that the model never saw, spread over alphabets."""
    root = Path(os.environ["ONELOOK_DATA"])
    with zipfile.ZipFile(root / "omniglot" / "images_evaluation.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png"))
        step = len(names) // N_DRAWINGS
        return [archive.read(name) for name in names[::step][:N_DRAWINGS]]


def enroll(verifier: Verifier, drawings: list[bytes], path: Path) -> None:
    with Gallery(verifier, path) as gallery:
        gallery.enroll_many([(f"character {i}", d) for i, d in enumerate(drawings)])


def measure(
    verifier: Verifier, drawings: list[bytes], folder: Path, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measure everything once in every round, so that drift of the machine cancels."""
    requests = write_requests(drawings, folder)
    pixels = [verifier.input.load(d, "drawing") for d in drawings]
    rounds = []
    service = [str(Path(sys.executable).parent / "onelook"), "serve", "--model", MODEL]
    service += ["--gallery", str(folder / "gallery.db"), "--port"]
    with (
        serving(service, "/readyz") as port,
        serving([sys.executable, "-c", EMPTY], "/") as empty_port,
    ):
        for number in range(arguments.rounds):
            seconds = arguments.seconds
            one: dict[str, Any] = {
                "embed": embed_rate(verifier, pixels, seconds),
                "decode": decode_rate(verifier, drawings, seconds),
                "empty": ask(empty_port, requests["empty"], 32, seconds),
            }
            for route in ("compare", "identify"):
                for n in CLIENTS:
                    one[f"{route} {n}"] = ask(port, requests[route], n, seconds)
            rounds.append(one)
            print(f"round {number + 1}: load average {os.getloadavg()[0]:.1f}", flush=True)
    return rounds


def embed_rate(verifier: Verifier, pixels: list[Any], seconds: float) -> float:
    """Images/s of the bare model, with the best number of threads."""
    rates = []
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        batches = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
        rates.append(BATCH * rate_of(verifier.embed_loaded, batches, seconds / 2))
    return max(rates)


def decode_rate(verifier: Verifier, drawings: list[bytes], seconds: float) -> float:
    """Images/s of the bare preprocessing in one thread; two threads are slower."""
    preprocess = verifier.input
    return rate_of(lambda data: preprocess.load(data, "drawing"), drawings, seconds)


def rate_of(work: Callable[[Any], object], items: list[Any], seconds: float) -> float:
    """Items/s, after one call that is not counted."""
    work(items[0])
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        work(items[n % len(items)])
        n += 1
    return n / (time.perf_counter() - begun)


def write_requests(drawings: list[bytes], folder: Path) -> dict[str, Path]:
    """Files of requests that are ready to be sent, by route."""
    others = [*drawings[1:], drawings[0]]
    bodies = {
        "compare": [
            form({"left": a, "right": b}) for a, b in zip(drawings, others, strict=True)
        ],
        "identify": [form({"image": drawing}) for drawing in drawings],
    }
    requests = {
        route: [post(f"/v1/{route}", body) for body in all_bodies]
        for route, all_bodies in bodies.items()
    }
    requests["empty"] = [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"]
    paths = {}
    for route, ready in requests.items():
        paths[route] = folder / f"{route}.json"
        paths[route].write_text(json.dumps([one.hex() for one in ready]))
    return paths


def form(fields: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    for name, data in fields.items():
        body.write(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; '
            f'filename="{name}.png"\r\nContent-Type: image/png\r\n\r\n'.encode()
        )
        body.write(data + b"\r\n")
    body.write(f"--{BOUNDARY}--\r\n".encode())
    return body.getvalue()


def post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def serving(command: list[str], ready: str) -> Iterator[int]:
    """A server process on a free port, until the block ends."""
    port = free_port()
    process = subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}{ready}", process)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        time.sleep(0.5)
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                break
    raise SystemExit(f"{process.args} does not answer at {url}")


def ask(port: int, requests: Path, n_clients: int, seconds: float) -> dict[str, float]:
    """What the clients measured."""
    command = [sys.executable, HERE / "load.py", port, requests, n_clients, seconds]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    if result["failures"]:
        raise SystemExit(f"{result['failures']} requests failed: {requests.name}")
    return result


def limit_of(one: dict[str, Any], route: str) -> float:
    """Requests/s if embedding, decoding and HTTP came one after the other."""
    n_images = 2 if route == "compare" else 1
    seconds = n_images / one["embed"] + n_images / one["decode"] + 1 / one["empty"]["rate"]
    return 1 / seconds


def summary(rounds: list[dict[str, Any]], route: str) -> dict[str, float]:
    """Of 32 clients: the median of the rounds."""
    key = f"{route} 32"
    return {
        "ratio_limit": median(one[key]["rate"] / limit_of(one, route) for one in rounds),
        "p99_seconds": median(one[key]["p99"] for one in rounds),
        "requests_per_second": median(one[key]["rate"] for one in rounds),
    }


def print_table(rounds: list[dict[str, Any]], report: dict[str, dict[str, float]]) -> None:
    middle = {name: median(one[name] for one in rounds) for name in ("embed", "decode")}
    print(f"\nbare embedding  {middle['embed']:8.0f} images/s")
    print(f"bare decoding   {middle['decode']:8.0f} images/s")
    empty = median(one["empty"]["rate"] for one in rounds)
    print(f"empty request   {empty:8.0f} requests/s with 32 clients\n")
    print("route      clients  requests/s   p50 ms   p99 ms  of the limit")
    for route in report:
        for n in CLIENTS:
            key = f"{route} {n}"
            rate, p50, p99 = (
                median(one[key][name] for one in rounds) for name in ("rate", "p50", "p99")
            )
            share = median(one[key]["rate"] / limit_of(one, route) for one in rounds)
            print(
                f"{route:10} {n:7} {rate:11.0f} {1e3 * p50:8.1f} {1e3 * p99:8.1f} "
                f"{share:13.2f}"
            )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument(
        "--no-record", dest="record", action="store_false", help="print only"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
