"""Clients that ask an HTTP service as fast as it answers, from a process of their own.

python benchmarks/load.py PORT REQUESTS.bin CLIENTS SECONDS

Each client keeps one connection and sends its next request when the answer is there. The
requests lie in a file, ready to be sent, so that next to nothing of the machine's time goes
into sending them. Prints one JSON object.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle

WARM_UP_SECONDS = 1.0


class Client(asyncio.Protocol):
    """One connection that is never without a request."""

    def __init__(self, requests: Iterator[bytes], seconds: list[float]) -> None:
        self._requests = requests
        self._seconds = seconds
        self._buffer = b""
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lowered = self._buffer[:head].lower()
        at = lowered.index(b"content-length:") + 15
        length = int(lowered[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) < head + 4 + length:
            return
        self._seconds.append(time.perf_counter() - self._begun)
        self.failures += not self._buffer.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        self._send()

    def _send(self) -> None:
        self._begun = time.perf_counter()
        self.transport.write(next(self._requests))  # type: ignore[attr-defined]


async def load(port: int, requests: list[bytes], n_clients: int, seconds: float) -> dict:
    """Requests/s, failures, and the seconds that requests took (p50, p99)."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    queue = cycle(requests)
    clients: list[Client] = []
    for _ in range(n_clients):
        _, client = await loop.create_connection(
            lambda: Client(queue, taken), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.sleep(WARM_UP_SECONDS)
    taken.clear()
    begun = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - begun
    ordered = sorted(taken)
    for client in clients:
        client.transport.abort()  # type: ignore[attr-defined]
    return {
        "rate": len(ordered) / elapsed,
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "failures": sum(client.failures for client in clients),
    }


if __name__ == "__main__":
    with open(sys.argv[2], "rb") as file:
        ready = json.load(file)
    result = load(
        int(sys.argv[1]),
        [bytes.fromhex(one) for one in ready],
        int(sys.argv[3]),
        float(sys.argv[4]),
    )
    print(json.dumps(asyncio.run(result)))
