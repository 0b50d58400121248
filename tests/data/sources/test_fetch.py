"""Downloads from a server of our own: resumed, verified, atomic, clear when refused."""

import contextlib
import dataclasses
import hashlib
import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from onelook.data.sources import DATA_SETS, download, find
from onelook.data.sources import fetch as module
from onelook.data.sources.fetch import Archive, NetworkError, fetch
from onelook.errors import DataError
from onelook.files import cache_folder

BODY = random.Random(0).randbytes(700_000)
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        body = server.files.get(self.path.rpartition("/")[2])
        if body is None:
            self.send_error(404, "Not Found")
            return
        start = 0
        if server.knows_ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_error(416, "Range Not Satisfiable")
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = len(body) if server.stop_after is None else start + server.stop_after
        # A client that is killed half-way hangs up.
        with contextlib.suppress(ConnectionError):
            for at in range(start, min(end, len(body)), 50_000):
                self.wfile.write(body[at : min(at + 50_000, end)])
                time.sleep(server.delay)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.ranges = {"file.bin": BODY}, []
    server.knows_ranges, server.stop_after, server.delay = True, None, 0.0
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_arrives_whole_and_is_fetched_once(server, tmp_path):
    to = tmp_path / "deep" / "file.bin"
    for _ in range(2):
        got = fetch(f"{server.url}/file.bin", to, md5=MD5)
        assert got == to and to.read_bytes() == BODY
    assert server.ranges == [None] and files(to.parent) == ["file.bin"]


def test_a_download_goes_on_where_it_stopped(server, tmp_path):
    to = tmp_path / "file.bin"
    server.stop_after = 300_000
    with pytest.raises(
        NetworkError, match="stopped after 300,000 of 700,000 bytes; run again"
    ):
        fetch(f"{server.url}/file.bin", to, md5=MD5)
    assert files(tmp_path) == ["file.bin.part"]
    server.stop_after = None
    fetch(f"{server.url}/file.bin", to, md5=MD5)
    assert to.read_bytes() == BODY and server.ranges == [None, "bytes=300000-"]
    assert files(tmp_path) == ["file.bin"]


def test_a_server_without_ranges_sends_it_all_again(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(BODY[:1000])
    server.knows_ranges = False
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_part_that_is_whole_already_only_needs_its_name(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(BODY)
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert files(tmp_path) == ["file.bin"]


def test_a_sha512_is_checked_as_an_md5_is(server, tmp_path):
    right = hashlib.sha512(BODY).hexdigest()
    with pytest.raises(DataError, match=f"has sha512 {right}, not {right[::-1]}"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", sha512=right[::-1])
    assert files(tmp_path) == []
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", sha512=right)
    assert files(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("start", [b"", b"wrong" * 1000])
def test_a_wrong_checksum_leaves_nothing_in_place(server, tmp_path, start):
    if start:
        (tmp_path / "file.bin.part").write_bytes(start)
    else:
        server.files["file.bin"] = BODY[:-1] + b"?"
    with pytest.raises(DataError, match=f"has md5 [0-9a-f]{{32}}, not {MD5}; run again"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert files(tmp_path) == []


def test_a_zip_without_a_checksum_gets_the_zip_test(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "0123456789")
    good = buffer.getvalue()
    server.files = {"good.zip": good, "cut.zip": good[:-10]}
    server.files["bad.zip"] = good.replace(b"0123456789", b"0123456780", 1)
    assert fetch(f"{server.url}/good.zip", tmp_path / "good.zip").read_bytes() == good
    for name, why in (("cut.zip", "File is not a zip"), ("bad.zip", "a.txt is damaged")):
        with pytest.raises(DataError, match=rf"{name} .* is not a whole zip file \({why}"):
            fetch(f"{server.url}/{name}", tmp_path / name)
    assert files(tmp_path) == ["good.zip"]


def test_a_file_put_there_by_hand_is_verified_and_never_overwritten(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match="not .*; move .*file.bin away to fetch it again"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", md5=MD5)
    assert (tmp_path / "file.bin").read_bytes() == b"mine" and server.ranges == []


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_refused_network_gives_one_line_with_url_and_folder(server, tmp_path):
    url = f"http://127.0.0.1:{closed_port()}/file.bin"
    with pytest.raises(NetworkError) as caught:
        fetch(url, tmp_path / "file.bin", md5=MD5)
    message = str(caught.value)
    assert "\n" not in message and "Connection refused" in message
    assert url in message and f"put it into {tmp_path} as file.bin" in message
    with pytest.raises(NetworkError, match=r"cannot fetch .*/none.zip \(Not Found\)"):
        fetch(f"{server.url}/none.zip", tmp_path / "none.zip")


def test_a_server_that_falls_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    server.delay = 0.8
    with pytest.raises(NetworkError, match="timed out"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", md5=MD5)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match="cannot write .*taken/file.bin: File exists"):
        fetch("http://127.0.0.1/file.bin", tmp_path / "taken" / "file.bin")


SCRIPT = """
import sys; from pathlib import Path; from onelook.data.sources.fetch import fetch
fetch(sys.argv[1], Path(sys.argv[2]), md5=sys.argv[3])
"""


def test_a_killed_download_goes_on_and_two_at_once_do_not_mix(server, tmp_path):
    server.delay = 0.1
    url, to = f"{server.url}/file.bin", tmp_path / "file.bin"
    command = [sys.executable, "-c", SCRIPT, url, str(to), MD5]
    process = subprocess.Popen(command)
    part = tmp_path / "file.bin.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(
        DataError, match="another process is fetching .*file.bin, or a file beside it; wait"
    ):
        fetch(url, to, md5=MD5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = part.stat().st_size
    assert 0 < kept < len(BODY) and not to.exists()
    server.delay = 0.0
    fetch(url, to, md5=MD5)
    assert to.read_bytes() == BODY and server.ranges[-1] == f"bytes={kept}-"


def replace_archives(monkeypatch, name, *archives):
    changed = dataclasses.replace(DATA_SETS[name], archives=archives)
    monkeypatch.setitem(DATA_SETS, name, changed)


def test_a_source_is_fetched_from_the_mirror_when_the_home_is_gone(
    server, tmp_path, monkeypatch
):
    gone = f"http://127.0.0.1:{closed_port()}/file.bin"
    both = Archive("file.bin", (gone, f"{server.url}/file.bin"), md5=MD5)
    replace_archives(monkeypatch, "att", both)
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert download("att") == tmp_path / "att_faces"
    assert files(tmp_path / "att_faces") == ["file.bin"]
    replace_archives(monkeypatch, "att", Archive("file.bin", (gone,)))
    with pytest.raises(NetworkError, match="cannot fetch"):
        download("att", tmp_path / "elsewhere")
    for name in ("mnist", "digits"):
        with pytest.raises(DataError, match=f"{name}' cannot be downloaded; .* omniglot"):
            download(name)


def test_the_alignments_of_lfw_land_where_lfw_is_looked_for(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path))
    monkeypatch.delenv("ONELOOK_DATA", raising=False)
    server.files["lfw-funneled.tgz"] = BODY
    url = f"{server.url}/lfw-funneled.tgz"
    replace_archives(monkeypatch, "lfw-funneled", Archive("lfw-funneled.tgz", (url,), MD5))
    assert download("lfw-funneled") == tmp_path / "lfw" == find("lfw")


def test_the_cache_is_the_user_s_by_default(monkeypatch):
    monkeypatch.delenv("ONELOOK_CACHE")
    assert str(cache_folder()) == os.path.expanduser("~/.cache/onelook")


def test_every_official_file_has_an_address_and_a_way_to_be_verified():
    for source in DATA_SETS.values():
        for archive in source.archives:
            assert archive.urls and all(u.startswith("http") for u in archive.urls)
            if archive.md5 is None:
                assert archive.name.endswith(".zip")  # zip's own test is what is left
            else:
                assert len(archive.md5) == 32 and int(archive.md5, 16)


def test_scikit_learn_s_checksums_name_the_same_mirrors():
    from sklearn.datasets import _lfw

    theirs = {
        f.filename: f.url for f in (_lfw.ARCHIVE, _lfw.FUNNELED_ARCHIVE, *_lfw.TARGETS)
    }
    ours = {
        archive.name: archive.urls[1]
        for source in DATA_SETS.values()
        for archive in source.archives
        if archive.urls[1:]
    }
    assert ours == theirs


@pytest.mark.data
def test_the_real_lists_have_the_published_checksums(data_root):
    known = {
        a.name: a.md5 for name in ("omniglot", "lfw") for a in DATA_SETS[name].archives
    }
    for name in ("pairs.txt", "pairsDevTrain.txt", "people.txt", "peopleDevTest.txt"):
        content = (data_root / "lfw" / name).read_bytes()
        assert hashlib.md5(content).hexdigest() == known[name]
    runs = (data_root / "omniglot" / "all_runs.zip").read_bytes()
    assert hashlib.md5(runs).hexdigest() == known["all_runs.zip"]
