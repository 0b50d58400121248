"""How large a gallery in a file can grow: enrolling, identifying, recall, memory, disk.

python benchmarks/gallery.py 10k 100k 1m [--record]

Embeddings: the shipped model's, of the drawings of Omniglot's evaluation set, multiplied. A
new identity lies between two real characters and a little aside, along the directions in
which characters differ; each of its images is moved as a real drawing is from the mean of
its own character. Five images an identity. Probes are more such images of the identities.
Beside it stands the limit of any exact search: one pass over the matrix in memory.
"""

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import onelook
from onelook.data.omniglot import omniglot
from onelook.data.sources import find_data
from onelook.gallery.gallery import Gallery
from onelook.gallery.store import Entry
from record import Clock, record

Floats = NDArray[np.float32]
SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
IMAGES_PER_IDENTITY = 5
ENROLLED_AT_ONCE = 1000
N_PROBES = 1000
N_SINGLE = 300
N_PASSES = 100
AT_ONCE = 50_000
THUMBNAIL = os.urandom(2000)


@dataclass(frozen=True)
class Mixture:
    """What identities and their images are drawn from.

    Args:
        means: (C, D) of the real classes.
        spread: (D, D), by which the means differ from their mean.
        residuals: (N, D) of real images from the mean of their class.
    """

    means: Floats
    spread: Floats
    residuals: Floats

    @classmethod
    def of(cls, embeddings: Floats, labels: NDArray[np.int64]) -> "Mixture":
        embeddings = unit(embeddings)
        means = np.stack([embeddings[labels == one].mean(0) for one in np.unique(labels)])
        values, vectors = np.linalg.eigh(np.cov((means - means.mean(0)).T))
        spread = vectors * np.sqrt(np.clip(values, 0, None))
        return cls(means, spread.astype(np.float32), embeddings - means[labels])

    def centres(self, n: int, rng: np.random.Generator) -> Floats:
        """Means (n, D) of new identities."""
        left, right = rng.integers(len(self.means), size=(2, n))
        share = rng.uniform(0, 0.5, size=(n, 1)).astype(np.float32)
        between = (1 - share) * self.means[left] + share * self.means[right]
        aside = rng.standard_normal((n, len(self.spread)), np.float32) @ self.spread.T
        return between + np.float32(0.3) * aside

    def images(self, centres: Floats, rng: np.random.Generator) -> Floats:
        """One embedding (N, D), of length 1, for each centre (N, D)."""
        moved = rng.integers(len(self.residuals), size=len(centres))
        return unit(centres + self.residuals[moved])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+", choices=SIZES)
    parser.add_argument("--data", help="where Omniglot lies")
    parser.add_argument("--folder", help="on the disk to be measured")
    parser.add_argument("--record", action="store_true", help="write results.json")
    arguments = parser.parse_args()
    verifier = onelook.load("omniglot")
    drawings = omniglot(find_data("omniglot", arguments.data), "evaluation")
    mixture = Mixture.of(verifier.embed(drawings.paths), drawings.labels)
    for size in arguments.sizes:
        folder = Path(tempfile.mkdtemp(prefix="gallery-", dir=arguments.folder))
        try:
            clock = Clock()
            figures = measure(verifier, mixture, SIZES[size], folder / "gallery.db")
        finally:
            shutil.rmtree(folder)
        for metric, value in figures.items():
            print(f"gallery-{size} {metric} {value:.6g}", flush=True)
            if arguments.record:
                record(
                    f"gallery-{size}",
                    verifier.name,
                    metric,
                    value,
                    interval=None,
                    seeds=[0],
                    minutes=clock.minutes,
                    command=f"python benchmarks/gallery.py {size} --record",
                )


def measure(
    verifier: onelook.Verifier, mixture: Mixture, n: int, path: Path
) -> dict[str, float]:
    """All figures of a gallery of ``n`` images; times in seconds, sizes in bytes."""
    rng = np.random.default_rng(0)
    centres = mixture.centres(-(-n // IMAGES_PER_IDENTITY), rng)
    owners = np.arange(n) // IMAGES_PER_IDENTITY
    vectors = np.empty((n, centres.shape[1]), np.float32)
    for start in range(0, n, AT_ONCE):
        some = owners[start : start + AT_ONCE]
        vectors[start : start + AT_ONCE] = mixture.images(centres[some], rng)
    probes = mixture.images(centres[rng.integers(len(centres), size=N_PROBES)], rng)
    gallery = Gallery(verifier, path)
    enrolling, kept = enroll(gallery, vectors, owners)
    indexing = seconds_of(gallery.maintain)
    gallery.close()
    # In a process of its own, whose memory holds nothing else of this gallery.
    with get_context("spawn").Pool(1) as pool:
        opening, n_bytes = pool.apply(open_and_search, (path, probes))
    gallery = Gallery(verifier, path)
    gallery.identify(probes[0])
    print(f"{n} images in {path}; {gallery.store.stats().search}", flush=True)
    best, identifying = [], []
    for probe in probes:
        begun = time.perf_counter()
        found = gallery.identify(probe)
        identifying.append(time.perf_counter() - begun)
        best.append(kept[found.matches[0].entry - 1])  # a new file counts from 1
    passing = [seconds_of(lambda q=q: vectors @ q) for q in probes[:N_PASSES]]
    on_disk = gallery.store.stats().n_bytes or 0
    singles = [
        seconds_of(lambda e=e: gallery.store.enroll([e]))
        for e in (
            Entry("new", vector, digest(vector), {}, THUMBNAIL)
            for vector in mixture.images(centres[:N_SINGLE], rng)
        )
    ]
    gallery.close()
    return {
        "recall_at_1": float(np.mean(np.array(best) == exact_best(vectors, probes))),
        "identify_p50_seconds": float(np.percentile(identifying, 50)),
        "identify_p99_seconds": float(np.percentile(identifying, 99)),
        "limit_p50_seconds": float(np.percentile(passing, 50)),
        "limit_p99_seconds": float(np.percentile(passing, 99)),
        "enroll_p50_seconds": float(np.percentile(singles, 50)),
        "enroll_p99_seconds": float(np.percentile(singles, 99)),
        "enroll_per_second": len(kept) / enrolling,
        "index_seconds": indexing,
        "open_seconds": opening,
        "memory_bytes": n_bytes,
        "disk_bytes": on_disk,
    }


def open_and_search(path: Path, probes: Floats) -> tuple[float, int]:
    """Seconds until the first answer, and the memory that many answers take, in bytes."""
    verifier = onelook.load("omniglot")
    verifier.score(probes[:1], probes[:1])
    resting = resident_bytes()
    begun = time.perf_counter()
    gallery = Gallery(verifier, path)
    gallery.identify(probes[0])
    opening = time.perf_counter() - begun
    for probe in probes:
        gallery.identify(probe)
    n_bytes = resident_bytes() - resting
    gallery.close()
    return opening, n_bytes


def enroll(
    gallery: Gallery, vectors: Floats, owners: NDArray[np.int64]
) -> tuple[float, NDArray[np.int64]]:
    """Enroll everything, some at a time, each time durably.

    Returns:
        The seconds that took, and which rows were kept: two images of one identity that
        were moved alike are one entry.
    """
    seconds, new = 0.0, []
    for start in range(0, len(vectors), ENROLLED_AT_ONCE):
        rows = range(start, min(start + ENROLLED_AT_ONCE, len(vectors)))
        entries = [
            Entry(f"identity {owners[i]}", vectors[i], digest(vectors[i])) for i in rows
        ]
        begun = time.perf_counter()
        new += gallery.store.enroll(entries)
        seconds += time.perf_counter() - begun
    return seconds, np.flatnonzero(new)


def exact_best(vectors: Floats, probes: Floats) -> NDArray[np.int64]:
    """The row (N,) that is nearest to each probe (N, D)."""
    best, scores = np.zeros(len(probes), np.int64), np.full(len(probes), -np.inf)
    for start in range(0, len(vectors), AT_ONCE // 10):
        some = probes @ vectors[start : start + AT_ONCE // 10].T
        at = some.argmax(1)
        found = some[np.arange(len(probes)), at]
        best[found > scores] = start + at[found > scores]
        scores = np.maximum(scores, found)
    return best


def seconds_of(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def resident_bytes() -> int:
    """Memory of this process, with what of mapped files is in it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Vectors (N, D) at length 1, in float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def digest(vector: Floats) -> str:
    return hashlib.sha256(vector.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
