"""Every command that writes, on a disk that is full and on one that is read-only.

The disks are real ones, mounted in a namespace of each test's own.
"""

import subprocess

import pytest

from faults.writers import READS, WRITERS

FAULTS = {
    "full": "dd if=/dev/zero of=$DISK/filler bs=4k 2>/dev/null",
    "read-only": "mount -o remount,ro $DISK",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_fails_in_one_line_and_what_was_there_stays(
    writer, fault, known, tmp_path
):
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"""
        mount -t tmpfs -o size=16m none $DISK && cp -r $IN/disk/. $DISK || exit 99
        cd $DISK
        sums() {{
            find . -type f ! -name filler ! -path './run/*' ! -name '*-shm' \\
                ! -name '*-wal' ! -name '*.usearch' | sort | xargs -d '\\n' sha256sum
        }}
        {FAULTS[fault]}
        before=$(sums)
        $onelook {WRITERS[writer]}
        echo rc $?
        diff <(echo "$before") <(sums) && echo same
        rm -f filler 2>/dev/null
        {READS}
    """
    run = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script],
        env=known | {"DISK": str(disk)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if run.returncode == 99 or "unshare: " in run.stderr:
        pytest.skip("this machine mounts no disks for tests")
    said = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and str(disk) in said[0], run.stderr
    assert "rc 1\nsame\n" in run.stdout and run.stdout.endswith("read\n"), run
    assert "Traceback" not in run.stderr
