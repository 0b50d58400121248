"""Read changed copies of good inputs, and keep each that is not read or refused in order.

python tests/fuzz/fuzz.py --seconds 60
python tests/fuzz/fuzz.py --seconds 600 --only image --seed 7

Refused in order is an OnelookError of one line, within ten seconds and in the memory that
its target states. Other inputs are kept in ``tests/fuzz/seeds/TARGET/``, which the quick
tests read ever after.
"""

import argparse
import hashlib
import math
import resource
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from targets import Target, every_target

from onelook.errors import OnelookError

SEEDS = Path(__file__).parent / "seeds"
SLOWEST = 10  # seconds that one input may take
MOST_BYTES = 2**16
INTERESTING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f",
    b"\n",
    b'"',
    b"-1",
)


class Late(Exception):
    """An input took too long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--only", help="the name of one target")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    n_failed = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, target in every_target(stack, folder):
            if arguments.only in (None, name):
                n_failed += fuzz(name, target, arguments.seconds, arguments.seed)
    sys.exit(bool(n_failed))


def fuzz(name: str, target: Target, seconds: float, seed: int) -> int:
    """Read changed inputs for a while; gives the number of those that failed."""
    rng = np.random.default_rng(seed)
    n, failed, begun = 0, dict[str, tuple[str, str]](), time.monotonic()
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as used:
        seeds = target.seeds(Path(made))
        for data in seeds:
            failure(target, data, Path(used))
        most = peak_megabytes() + target.megabytes
        while time.monotonic() - begun < seconds:
            data = changed(seeds, rng)
            why = failure(target, data, Path(used))
            n += 1
            if not why and peak_megabytes() > most:
                why, most = f"memory: more than {most:.0f} MB", math.inf
            place = why.partition(": ")[0]  # one input of each kind
            if why and place not in failed:
                failed[place] = why, kept(name, data)
    spent = time.monotonic() - begun
    print(
        f"{name:8} {n:9,} cases, {spent:5.0f} s, {peak_megabytes():5.0f} MB, "
        f"{len(failed)} failed"
    )
    for why, path in failed.values():
        print(f"  {why}\n    {path}")
    sys.stdout.flush()
    return len(failed)


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def failure(target: Target, data: bytes, folder: Path) -> str:
    """What is wrong with how an input was read; "" where nothing is."""
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SLOWEST)
    try:
        target.read(data, folder)
    except OnelookError as error:
        return f"an error of many lines: {str(error)[:200]!r}" if "\n" in str(error) else ""
    except (Exception, Late) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {where.filename}:{where.lineno}: {error}"[:300]
    finally:
        signal.alarm(0)
    return ""


def _late(*_: object) -> None:
    raise Late(f"more than {SLOWEST} s")


def changed(seeds: list[bytes], rng: np.random.Generator) -> bytes:
    """A copy of a good input with one to eight changes."""
    data = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(int(rng.integers(1, 9))):
        at, kind = int(rng.integers(len(data) + 1)), int(rng.integers(7))
        length = int(rng.integers(1, 1 + min(64, max(1, len(data)))))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << int(rng.integers(8))
        elif kind == 1 and data:
            data[at % len(data)] = int(rng.integers(256))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[max(0, at - length) : at]
        elif kind == 4:
            value = INTERESTING[rng.integers(len(INTERESTING))]
            data[at : at + len(value)] = value
        elif kind == 5:
            other = seeds[rng.integers(len(seeds))]
            start = int(rng.integers(len(other)))
            data[at : at + length] = other[start : start + length]
        elif rng.random() < 0.1:
            del data[at:]
    return bytes(data[:MOST_BYTES])


def kept(name: str, data: bytes) -> str:
    """Keep an input for the quick tests."""
    path = SEEDS / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return (
        str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    )


if __name__ == "__main__":
    main()
