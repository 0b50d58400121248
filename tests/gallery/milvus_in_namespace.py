"""A standalone Milvus in a network namespace of its own, with one port that leads to it.

It listens on all interfaces; in a namespace that has nothing but a loopback no other
hears it. ``milvus_in_namespace.py FOLDER PORT`` keeps its data in FOLDER and forwards
127.0.0.1:PORT, of the namespace that this was started in, until it is told to end.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading

import milvus

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
# What is forgotten or dropped leaves the disk within seconds, not hours.
SETTINGS = {
    "dataCoord.gc.interval": 1,
    "dataCoord.gc.dropTolerance": 1,
    "proxy.timeTickInterval": 50,
    "queryCoord.checkInterval": 100,
    "queryCoord.distPullInterval": 100,
    "queryCoord.checkSegmentInterval": 100,
    "queryCoord.checkChannelInterval": 100,
    "queryCoord.checkIndexInterval": 100,
    "log.level": "warn",
}


def enter_namespace() -> None:
    """Move this process into a network namespace with a loopback only."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace of its own for Milvus")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def forward(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until one side ends."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(listener: socket.socket, port: int) -> None:
    """Connect everybody who comes to ``listener`` with ``port`` in the namespace."""
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:  # still starting
            client.close()
            continue
        for pair in ((client, server), (server, client)):
            threading.Thread(target=forward, args=pair, daemon=True).start()


def main(folder: str, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))  # before the move: out here
    enter_namespace()
    config = milvus.MilvusServerConfig(data_dir=folder)
    for name, value in SETTINGS.items():
        config.set(name, value)
    server = milvus.MilvusServer(config, wait_for_started=False)
    server.start()
    threading.Thread(target=serve, args=(listener, server.listen_port), daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(sys.argv[1], int(sys.argv[2]))
