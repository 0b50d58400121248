"""Gradients of several processes, and of chunks, against the plain one of one process.

    python benchmarks/gradient_equality.py --processes 1,2,3 --record

For every loss: the largest difference of a gradient's entries, relative to its largest
entry, in float64 and in float32. The network has convolutions, batch norm (whose statistics
are of all processes) and a pair head where the loss takes scores. "chunk" is one process
that embeds five items at a time, in a network without batch norm. ``--memory 256`` prints
the largest memory of one step on 2,048 drawings in chunks of 256, ``--memory 0`` unchunked.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onelook.data.sampling import Batch
from onelook.models.encoders import build_encoder
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import build_similarity
from onelook.recipe import NamedSettings
from onelook.training.losses import build_loss
from onelook.training.passes import gradient_in_parts, plan_batch
from onelook.training.processes import ALONE, Processes, joined, with_global_norms
from onelook.training.step import batch_loss, encode_piece, loss_of_embeddings
from record import record_all

N, SIZE = 23, 8  # no multiple of 2 or 3: shares differ
PML = {"loss": "MultiSimilarityLoss", "miner": "MultiSimilarityMiner"}
# Name: loss, arguments, similarity, twins.
CASES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "contrastive": ("contrastive", {}, "euclidean", "together"),
    "contrastive, twins apart": ("contrastive", {}, "euclidean", "apart"),
    "binary cross-entropy": ("binary-cross-entropy", {}, "weighted-l1", "together"),
    "binary cross-entropy, all pairs": (
        *("binary-cross-entropy", {"balanced": True}, "weighted-l1", "all-pairs"),
    ),
    "regression": ("regression", {}, "exponential", "together"),
    "triplet, all": ("triplet", {}, "euclidean", "together"),
    "triplet, active": ("triplet", {"active_only": True}, "euclidean", "together"),
    "triplet, hard": ("triplet", {"mining": "hard"}, "euclidean", "together"),
    "triplet, semi-hard": ("triplet", {"mining": "semi-hard"}, "euclidean", "together"),
    "triplet-list": ("triplet-list", {}, "euclidean", "together"),
    "ratio": ("ratio", {}, "euclidean", "together"),
    "supervised-contrastive": (
        *("supervised-contrastive", {"learn_temperature": True}, "cosine", "together"),
    ),
    "supervised-contrastive, two encoders": (
        *("supervised-contrastive", {}, "cosine", "two sides"),
    ),
    "prototypical": ("prototypical", {}, "euclidean", "together"),
    "pytorch-metric-learning": ("pytorch-metric-learning", PML, "cosine", "together"),
}
LIMITS = {"float32": 1e-6, "float64": 1e-12}


def encoder(norm: bool) -> nn.Module:
    layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6) if norm else nn.Identity(), nn.GELU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6 * (SIZE - 2) ** 2, 12))


def batch(twins: str) -> Batch:
    """Pairs, triplets and labels at once: a loss takes what it needs."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(8), 3)[:N]
    if twins == "all-pairs":
        return Batch(np.arange(N), labels)
    n = N - N % 2 if twins == "apart" else N
    slots = np.arange(n)
    left, right = rng.permutation(slots), rng.permutation(slots)
    return Batch(
        items=slots,
        labels=labels[:n],
        left=left,
        right=right,
        is_same=labels[left] == labels[right],
        anchor=left,
        positive=right,
        negative=rng.permutation(slots),
    )


def gradient(case: str, dtype: torch.dtype, how: str, processes: Processes) -> Tensor:
    """The gradient as one vector: "plain", "shared" by processes, or in "chunks"."""
    name, arguments, similarity, twins = CASES[case]
    torch.manual_seed(0)
    norm = how.endswith("norm")
    network: Siamese | PseudoSiamese
    compare = build_similarity(NamedSettings(name=similarity), 12)
    if twins == "two sides":
        network = PseudoSiamese(encoder(norm), encoder(norm), compare)
    else:
        network = Siamese(encoder(norm), compare)
    loss = build_loss(NamedSettings(name=name, arguments=arguments))
    together = nn.ModuleDict({"model": network, "loss": loss}).to(dtype)
    if processes.count > 1:
        with_global_norms(network)
    drawn, given = torch.randn(2, N, 1, SIZE, SIZE, dtype=dtype), batch(twins)
    left, right = drawn[0], drawn[1] if twins == "two sides" else None
    passes = "apart" if twins == "apart" else "together"
    if how.startswith("plain"):
        batch_loss(network, loss, given, left, right, passes)[0].backward()
    else:
        plan = plan_batch(
            len(given.items),
            two_sides=right is not None,
            twins=passes,
            chunk=5 if how == "chunk" else 0,
            processes=processes,
        )
        slots = plan.slots("left")
        sides = {"left": left[slots], "right": None if right is None else right[slots]}
        gradient_in_parts(
            together,
            plan,
            lambda number: encode_piece(network, sides, plan.pieces()[number]),
            lambda found: loss_of_embeddings(
                network, loss, given, found, right is not None
            ),
            again=how == "chunk",
        )
    entries = [p.grad.flatten() for p in together.parameters() if p.grad is not None]
    return torch.cat(entries).double()


def work(out: Path) -> None:
    """In each process: all gradients; the first one writes them."""
    with joined() as processes:
        found = {
            f"{case}/{dtype}": gradient(
                case, getattr(torch, dtype), "shared, norm", processes
            ).numpy()
            for case in CASES
            for dtype in LIMITS
        }
        if processes.is_first:
            np.savez(out, **found)


def shared_gradients(count: int) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gradients.npz"
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        start += ["--nproc-per-node", str(count), __file__, "--work", str(out)]
        subprocess.run(start, check=True, timeout=240, env={**os.environ})
        with np.load(out) as file:
            return dict(file)


def difference(found: np.ndarray, expected: Tensor) -> float:
    return float(np.abs(found - expected.numpy()).max() / expected.abs().max())


def peak_bytes(chunk: int, n: int = 2048) -> int:
    """The largest memory of one step of the compact network on ``n`` drawings, 0: whole."""
    torch.manual_seed(0)
    settings = NamedSettings(name="compact", arguments={"width": 32, "embedding_size": 128})
    settings.arguments.update(input_shape=(1, 28, 28))
    compare = build_similarity(NamedSettings(name="cosine"), 128)
    network = Siamese(build_encoder(settings), compare)
    loss = build_loss(NamedSettings(name="supervised-contrastive"))
    given = Batch(np.arange(n), np.arange(n) // 2)
    plan = plan_batch(n, two_sides=False, twins="together", chunk=chunk)
    sides = {"left": torch.rand(n, 1, 28, 28), "right": None}
    gradient_in_parts(
        nn.ModuleDict({"model": network, "loss": loss}),
        plan,
        lambda number: encode_piece(network, sides, plan.pieces()[number]),
        lambda found: loss_of_embeddings(network, loss, given, found, False),
        again=chunk > 0,
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", default="1,2,3")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--memory", type=int, metavar="CHUNK")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    if options.work:
        return work(options.work)
    if options.memory is not None:
        return print(f"{peak_bytes(options.memory) / 1e6:,.0f} MB")
    begun, worst = time.monotonic(), 0.0
    counts = [int(count) for count in options.processes.split(",")]
    shared = {count: shared_gradients(count) for count in counts}
    found: dict[str, dict[str, float]] = {}
    for case in CASES:
        figures = {}
        for dtype, limit in LIMITS.items():
            kind = getattr(torch, dtype)
            plain = gradient(case, kind, "plain, norm", ALONE)
            for count in counts:
                there = shared[count][f"{case}/{dtype}"]
                figures[f"{dtype}_{count}_processes"] = difference(there, plain)
            chunked = gradient(case, kind, "chunk", ALONE).numpy()
            whole = gradient(case, kind, "plain", ALONE)
            figures[f"{dtype}_chunk"] = difference(chunked, whole)
            here = max(v for key, v in figures.items() if key.startswith(dtype))
            worst = max(worst, here / limit)
        print(f"{case:38}", *(f"{key} {value:.1e}" for key, value in figures.items()))
        for key, value in figures.items():
            dtype, how = key.split("_", 1)
            found.setdefault(how.replace("_", " "), {})[f"{dtype}_{case}"] = value
    minutes = (time.monotonic() - begun) / 60
    for how, figures in found.items() if options.record else ():
        record_all("gradient-equality", how, figures, seeds=[0], minutes=minutes)
    if worst > 1:
        sys.exit(f"a gradient differs by {worst:.1f} times the limit {LIMITS}")


if __name__ == "__main__":
    main()
