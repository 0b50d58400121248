"""Every command that writes, stopped at some moment: what was there stays whole."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from faults.writers import READS, WRITERS


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
# A training that was killed is resumed in tests/training/test_train.py.
@pytest.mark.parametrize("writer", [one for one in WRITERS if one != "training"])
def test_a_stopped_writer_leaves_all_whole_and_can_be_run_again(
    writer, number, known, tmp_path
):
    disk = tmp_path / "disk"
    shutil.copytree(Path(known["IN"]) / "disk", disk)
    environment = known | {"DISK": str(disk)}

    def start(script: str) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(["bash", "-c", script], env=environment, **pipes)

    before = _files(disk)
    process = start(f"exec $onelook {WRITERS[writer]}")
    while _files(disk) == before and process.poll() is None:
        time.sleep(0.001)
    time.sleep(random.Random(writer).random() * 0.05)  # in the midst of writing
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert "Traceback" not in said
    reads = start(READS)
    assert reads.communicate(timeout=120)[0].endswith("read\n")
    again = start(f"NAME=third; $onelook {WRITERS[writer]} && {READS}")
    assert again.communicate(timeout=240)[0].endswith("read\n")


def _files(folder: Path) -> list[tuple[str, int, int]]:
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            found.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
        except FileNotFoundError:  # was renamed meanwhile
            continue
    return found
