"""The load with attackers of ``benchmarks/soak.py``, for seconds instead of minutes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(
    sys.platform != "linux", reason="clients have addresses 127.0.0.2 and 3"
)
def test_honest_clients_get_right_answers_beside_attackers(data_root):
    done = subprocess.run(
        [sys.executable, SOAK, "--minutes", "0.4"],
        env={**os.environ, "ONELOOK_DATA": str(data_root)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\w+): ([\d.,e+-]+)$", done.stdout, re.MULTILINE)
    figures = {name: float(value.replace(",", "")) for name, value in found}
    assert figures["wrong_answers"] == 0, done.stdout
    assert figures["requests_of_honest_clients"] > 20
    assert figures["longest"] < 20 and figures["seconds_to_stop"] < 65
    assert "worst: 422" in done.stdout and "junk: 422" in done.stdout
