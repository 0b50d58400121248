"""How large a gallery in a file can grow: enrolling, identifying, recall, memory, disk.

python benchmarks/gallery.py 10k 100k 1m [--record] [--keep FOLDER]

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
from onelook.data.sources import find
from onelook.data.sources.omniglot import omniglot
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="+", choices=SIZES)
    parser.add_argument("--data", help="where Omniglot lies")
    parser.add_argument("--keep", help="folder whose galleries are kept and used again")
    parser.add_argument("--record", action="store_true", help="write results.json")
    arguments = parser.parse_args()
    verifier = onelook.load("omniglot")
    drawings = omniglot(find("omniglot", arguments.data), "evaluation")
    mixture = Mixture.of(verifier.embed(drawings.paths), drawings.labels)
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="gallery-"))
    try:
        for size in arguments.sizes:
            clock = Clock()
            for metric, value in measure(verifier, mixture, size, folder).items():
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
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)


def measure(
    verifier: onelook.Verifier, mixture: Mixture, size: str, folder: Path
) -> dict[str, float]:
    """All figures of a gallery; times in seconds, sizes in bytes.

    Figures of its creation are left out if the folder exists already.
    """
    path, n = folder / f"{size}.db", SIZES[size]
    rng = np.random.default_rng(0)
    centres = mixture.centres(-(-n // IMAGES_PER_IDENTITY), rng)
    owners = np.arange(n) // IMAGES_PER_IDENTITY
    vectors = np.empty((n, centres.shape[1]), np.float32)
    for start in range(0, n, AT_ONCE):
        some = owners[start : start + AT_ONCE]
        vectors[start : start + AT_ONCE] = mixture.images(centres[some], rng)
    probes = mixture.images(centres[rng.integers(len(centres), size=N_PROBES)], rng)
    more = mixture.images(centres[:N_SINGLE], rng)
    figures: dict[str, float] = {}
    if not path.exists():
        figures |= make(verifier, path, vectors, owners)
    figures["disk_bytes"] = sum(file.stat().st_size for file in folder.glob(f"{size}.db*"))
    # In a process of its own, whose memory holds nothing else of this gallery.
    with get_context("spawn").Pool(1) as pool:
        opening, n_bytes = pool.apply(open_and_search, (path, probes))
    figures |= {"open_seconds": opening, "memory_bytes": n_bytes}
    gallery = Gallery(verifier, path)
    print(f"{n} images in {path}; {gallery.store.stats().search}", flush=True)
    figures |= identify(gallery, vectors, kept_rows(vectors, owners), probes)
    figures |= enroll_and_forget(gallery, more)
    gallery.close()
    passing = [seconds_of(lambda q=q: vectors @ q) for q in probes[:N_PASSES]]
    return figures | percentiles("limit", passing)


def make(
    verifier: onelook.Verifier, path: Path, vectors: Floats, owners: NDArray[np.int64]
) -> dict[str, float]:
    """Enroll everything in durable batches, and build the index."""
    gallery = Gallery(verifier, path)
    seconds = 0.0
    for start in range(0, len(vectors), ENROLLED_AT_ONCE):
        rows = range(start, min(start + ENROLLED_AT_ONCE, len(vectors)))
        entries = [
            Entry(f"identity {owners[i]}", vectors[i], digest(vectors[i])) for i in rows
        ]
        begun = time.perf_counter()
        gallery.store.enroll(entries)
        seconds += time.perf_counter() - begun
    indexing = seconds_of(gallery.maintain)
    gallery.close()
    return {"enroll_per_second": len(vectors) / seconds, "index_seconds": indexing}


def identify(
    gallery: Gallery, vectors: Floats, kept: NDArray[np.int64], probes: Floats
) -> dict[str, float]:
    """Times of single answers, and how often the search finds the true nearest image.

    The best match need not show that image: all images of an identity vote.
    """
    gallery.identify(probes[0])
    seconds, on_cpu = [], []
    for probe in probes:
        begun, cpu_begun = time.perf_counter(), time.process_time()
        gallery.identify(probe)
        seconds.append(time.perf_counter() - begun)
        on_cpu.append(time.process_time() - cpu_begun)
    nearest = [gallery.store.search(probe[None], 1)[0][0].id for probe in probes]
    right = kept[np.array(nearest) - 1] == exact_best(vectors, probes)  # ids count from 1
    return {
        "recall_at_1": float(right.mean()),
        **percentiles("identify", seconds),
        **percentiles("identify_cpu", on_cpu),
    }


def enroll_and_forget(gallery: Gallery, vectors: Floats) -> dict[str, float]:
    """Times of enrolling one image, and of forgetting it from disk too."""
    entries = [
        Entry(f"new {i}", vector, digest(vector), {}, THUMBNAIL)
        for i, vector in enumerate(vectors)
    ]
    enrolling = [seconds_of(lambda e=e: gallery.store.enroll([e])) for e in entries]
    forgetting = [seconds_of(lambda e=e: gallery.forget(e.identity)) for e in entries]
    return percentiles("enroll", enrolling) | percentiles("forget", forgetting)


def kept_rows(vectors: Floats, owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that are entries: two images of an identity that were moved alike are one."""
    seen = {}
    for row, (owner, vector) in enumerate(zip(owners.tolist(), vectors, strict=True)):
        seen.setdefault((owner, digest(vector)), row)
    return np.array(list(seen.values()))


def percentiles(what: str, seconds: list[float]) -> dict[str, float]:
    return {f"{what}_p{p}_seconds": float(np.percentile(seconds, p)) for p in (50, 99)}


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
    """Resident memory of this process, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Vectors (N, D) at length 1, in float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def digest(vector: Floats) -> str:
    return hashlib.sha256(vector.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
