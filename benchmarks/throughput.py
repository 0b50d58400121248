"""How fast onelook is, beside what people would run instead and beside the limit.

python benchmarks/throughput.py
python benchmarks/throughput.py --tables training --networks compact

One run measures everything on the same data with the same networks and writes the figures
to results.json. Run it alone on the machine. Each file in ``speed/`` describes its table.
"""

import argparse
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from record import Clock, machine, record
from speed import files, gpu, memory, switches, training
from speed.networks import RECIPES, material_of, training_files
from speed.table import Row

TABLES = ("switches", "training", "files", "memory", "gpu")


def main() -> None:
    arguments = _arguments()
    command = shlex.join(["python", "benchmarks/throughput.py", *sys.argv[1:]])
    # A stopped contender would outlive a run that is ended from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(machine())
    clock = Clock()

    def keep(rows: list[Row]) -> None:
        for row in rows:
            record(*row, interval=None, seeds=[0], minutes=clock.minutes, command=command)

    networks, tables = arguments.networks, arguments.tables
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network in networks:
            training_files(material_of(network), folder)
        for network in networks:
            if {"switches", "training"} & set(tables):
                # The limit of the training table runs with what pays here.
                gains = switches.measure(network, not arguments.no_compile)
                keep(switches.report(gains))
            if "training" in tables:
                keep(training.measure(network, folder, gains.best()))
            if "files" in tables:
                keep(files.measure(network, folder))
    if "memory" in tables:
        keep(memory.measure())
    if "gpu" in tables:
        keep(gpu.measure(networks))
    print(f"\n{clock.minutes:.1f} minutes")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument(
        "--networks", nargs="+", choices=list(RECIPES), default=list(RECIPES)
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="leave torch.compile out (minutes)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
