"""How fast all of LFW is embedded into shards, beside the bare rate and after a kill.

python benchmarks/bulk.py
python benchmarks/bulk.py --workers 2 --copies 4
python benchmarks/bulk.py --workers ray

The bare rate is decoding the images and running the encoder on the arrays, in plain
loops, in as many processes of one thread at once as there are workers. A worker's ratio is
the bare time by the seconds that ``onelook embed`` takes, starting its processes included;
once by the clock and once by the processor's time, which other programs change less. Run
it alone on the machine.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import onelook
from onelook.bulk import embed_shards, read_shards
from onelook.data.archives import addresses_of
from record import Clock, machine, record_all

MODEL = "faces"
BLOCK = 256
MINUTES_AT_MOST = 10


def bare(addresses: list[str]) -> tuple[float, float, float]:
    """Seconds of decoding and of encoding in one thread, and of the processor for both."""
    verifier = onelook.load(MODEL)
    verifier.embed(addresses[:4])  # opens what is opened once
    decoding = encoding = 0.0
    before = time.process_time()
    for at in range(0, len(addresses), BLOCK):
        begun = time.perf_counter()
        pixels = verifier.input.load_many(addresses[at : at + BLOCK], workers=1)
        inputs = verifier.input.to_inputs(pixels)
        decoded = time.perf_counter()
        verifier.encoder(inputs, "left")
        decoding += decoded - begun
        encoding += time.perf_counter() - decoded
    return decoding, encoding, time.process_time() - before


def bare_seconds(addresses: list[str], processes: int) -> tuple[float, float]:
    """Wall time of ``bare`` over equal shares in so many processes at once; processor's."""
    shares = [addresses[i::processes] for i in range(processes)]
    with get_context("spawn").Pool(processes) as pool:
        times = pool.map(bare, shares, chunksize=1)
    for decoding, encoding, _ in times:
        print(f"  bare, {processes}: decoding {decoding:.2f} s, encoding {encoding:.2f} s")
    return max(a + b for a, b, _ in times), sum(cpu for *_, cpu in times)


def shard_seconds(
    archives: list[str], out: Path, workers: int | str
) -> tuple[float, float]:
    """Wall and processor time of embedding into an empty folder; the model is loaded."""
    verifier = onelook.load(MODEL)
    begun, before = time.perf_counter(), sum(os.times()[:4])
    embed_shards(verifier, archives, out, workers=workers, progress=False)
    return time.perf_counter() - begun, sum(os.times()[:4]) - before


def killed_and_resumed(archive: str, out: Path, workers: str) -> dict[str, float]:
    """What a command leaves that was killed after two shards and then run again."""
    command = [sys.executable, "-m", "onelook", "embed", archive, "--out", str(out)]
    command += ["-m", MODEL, "--workers", workers]
    begun = subprocess.Popen(command)
    until = time.monotonic() + 60 * MINUTES_AT_MOST
    while len(list(out.glob("*.parquet"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    n_kept = sum(1 for _ in out.glob("*.parquet"))
    subprocess.run(command, check=True)
    names = [name for part in read_shards(out) for name in part.paths]
    missing = set(addresses_of([archive], {".jpg"})) - set(names)
    figures = {"rows": len(names), "duplicates": len(names) - len(set(names))}
    return {**figures, "missing": len(missing), "shards_kept": n_kept}


def measured(
    archives: list[str], folder: Path, workers: str, rounds: int
) -> tuple[str, dict[str, float]]:
    """The fastest of some rounds of both, in turns since the machine varies."""
    addresses = addresses_of(archives, {".jpg"})
    n = os.cpu_count() or 1 if workers == "ray" else int(workers)
    given = workers if workers == "ray" else n
    bares, walls = [], []
    for i in range(rounds):
        bares.append(bare_seconds(addresses, n))
        walls.append(shard_seconds(archives, folder / f"{workers}-{i}", given))
    print(f"{len(addresses):,} images, {workers}: {walls} s, bare {bares} s")
    bare_wall, wall = min(bares)[0], min(walls)[0]
    figures = {"seconds": wall, "bare_seconds": bare_wall, "ratio_limit": bare_wall / wall}
    figures["images_per_second"] = len(addresses) / wall
    label = f"{MODEL}, Ray, {n} actors"
    if workers != "ray":  # whose processes are not this one's children
        label = f"{MODEL}, {n} worker" + ("s" if n > 1 else "")
        figures["ratio_limit_cpu"] = min(c for _, c in bares) / min(c for _, c in walls)
    if len(archives) > 1:
        label += f", {len(archives)} times LFW"
    return label, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", nargs="+", default=["1", "2"])
    parser.add_argument("--copies", type=int, default=1, help="of LFW in the list")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest counts")
    arguments = parser.parse_args()
    clock = Clock()
    print(machine())
    archive = os.path.join(os.environ["ONELOOK_DATA"], "lfw", "lfw-deepfunneled.zip")
    with tempfile.TemporaryDirectory() as name:
        folder, copies = Path(name), arguments.copies
        archives = [archive] + [f"{folder}/lfw{i}.zip" for i in range(1, copies)]
        for link in archives[1:]:
            os.symlink(archive, link)
        for workers in arguments.workers:
            label, figures = measured(archives, folder, workers, arguments.rounds)
            record_all("bulk-embed", label, figures, seeds=[], minutes=clock.minutes)
            print(label, figures)
        if "2" in arguments.workers and copies == 1:
            figures = killed_and_resumed(archive, folder / "killed", "2")
            label = f"{MODEL}, killed and resumed"
            record_all("bulk-embed", label, figures, seeds=[], minutes=clock.minutes)
            print(label, figures)


if __name__ == "__main__":
    main()
