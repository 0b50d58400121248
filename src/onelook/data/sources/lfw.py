"""Labeled Faces in the Wild: photographs, View 1, View 2 and the lists of people."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onelook.data.archives import Tree, locate, open_tree
from onelook.data.items import Dataset, Pairs
from onelook.data.sources.fetch import Archive
from onelook.data.sources.pair_files import parse_pairs, read_lines, read_pairs
from onelook.data.sources.source import Source, unknown_part
from onelook.errors import DataError
from onelook.files import expanded
from onelook.recipe import DataSettings

# Best aligned first: what ``variant=None`` takes when there are several.
VARIANTS = {
    "deep-funneled": ("lfw-deepfunneled", "lfw_deepfunneled"),
    "funneled": ("lfw-funneled", "lfw_funneled"),
    "plain": ("lfw",),
}
_PLACES = ("", "lfw")
N_FOLDS = 10  # of View 2
# A tree before a .tgz, which would have to be unpacked once more.
SUFFIXES = (".zip", "", ".tgz", ".tar.gz")
_PHOTOGRAPH = re.compile(r"(?:(.*)/)?([^/]+)/\2_(\d{4})\.jpg")
_FETCH = "onelook data lfw --download fetches the official archives"


@dataclass(frozen=True)
class _Faces:
    """Where each photograph lies."""

    variant: str
    source: str
    addresses: dict[tuple[str, int], str]

    def find(self, person: str, number: int) -> str:
        try:
            return self.addresses[person, number]
        except KeyError:
            raise DataError(
                f"{self.source} has no image {number} of {person}; is the archive whole?"
            ) from None

    def find_path(self, path: str) -> str:
        match = _PHOTOGRAPH.fullmatch(path)
        if not match:
            raise DataError(f"expected PERSON/PERSON_0001.jpg, got {path!r}")
        return self.find(match[2], int(match[3]))


def lfw(root: str | Path, variant: str | None = None) -> Dataset:
    """All photographs of LFW, people as classes.

    ``root`` has ``lfw-deepfunneled``, ``lfw-funneled`` or ``lfw`` as .zip, .tgz or tree,
    directly or in ``lfw/``, or is one of these. ``variant`` is ``"deep-funneled"``,
    ``"funneled"`` or ``"plain"``; None takes the first of these that is there.
    """
    return _people_dataset(_faces(root, variant))


def lfw_view1(root: str | Path, split: str = "train") -> Pairs:
    """The pairs of View 1, for development: ``"train"`` (2,200) or ``"test"`` (1,000)."""
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r} of LFW's View 1; known: train, test")
    path = _list(root, f"pairsDev{split.title()}.txt")
    return read_lfw_pairs(path, _faces(root).find)


def lfw_view2(root: str | Path) -> Pairs:
    """The 6,000 pairs of View 2 in their 10 folds, for the one final report."""
    return read_lfw_pairs(_list(root, "pairs.txt"), _faces(root).find)


def lfw_pair_file(
    root: str | Path, name: str = "pairs_train.txt", variant: str | None = None
) -> Pairs:
    """Pairs from a ``PATH PATH 1|0`` file beside LFW, 1 = same person."""
    faces = _faces(root, variant)
    pairs = read_pairs(_list(root, name), same=1, resolve=faces.find_path, check=False)
    people = {address: address.split("/")[-2] for address in (*pairs.left, *pairs.right)}
    return replace(pairs, identities=people)


def lfw_people(root: str | Path, part: str, variant: str | None = None) -> Dataset:
    """The photographs of an official list of people, which lies beside the photographs.

    ``part`` is ``"DevTrain"`` (4,038 people), ``"DevTest"`` (1,711), ``"folds"`` (all
    people, with their fold of View 2), or ``"not-fold1,2"`` (the people of other folds).
    """
    left_out = folds_of_part(part) if part.startswith("not-fold") else []
    in_folds = part == "folds" or bool(left_out)
    if not in_folds and part not in ("DevTrain", "DevTest"):
        raise unknown_part(SOURCE, part)
    path = _list(root, "people.txt" if in_folds else f"people{part}.txt")
    faces = _faces(root, variant)
    folds = _read_people(path, faces, in_folds)
    whole = _people_dataset(faces)
    fold_of = np.array([folds.get(name, 0) for name in whole.class_names])[whole.labels]
    if in_folds:
        whole = replace(whole, folds=fold_of)
    kept = (fold_of > 0) & ~np.isin(fold_of, left_out)
    return whole.subset(kept, f"{whole.name} {part}")


def folds_of_part(part: str) -> list[int]:
    """The folds that ``"not-fold3"`` or ``"not-fold1,2,3"`` leaves out."""
    numbers = part.removeprefix("not-fold").split(",")
    folds = sorted({int(n) for n in numbers if n.isdecimal()})
    inside = [fold for fold in folds if 1 <= fold <= N_FOLDS]
    if len(inside) < len(numbers) or len(inside) == N_FOLDS:
        raise DataError(
            f"part {part!r} of LFW: expected not-fold and distinct folds from 1 to "
            f"{N_FOLDS}, such as not-fold3 or not-fold1,2,3, and not all of them"
        )
    return folds


def _read_people(path: Path, faces: _Faces, with_folds: bool) -> dict[str, int]:
    """Fold of each person, from 1, out of ``PERSON COUNT`` lines below their count."""
    lines = read_lines(path)
    at = 0

    def count() -> int:
        nonlocal at
        text = lines[at].strip() if at < len(lines) else ""
        at += 1
        if not text.isdecimal():
            raise DataError(f"{path}:{at}: expected a count, got {text!r}")
        return int(text)

    folds: dict[str, int] = {}
    for fold in range(1, (count() if with_folds else 1) + 1):
        for _ in range(count()):
            line = lines[at] if at < len(lines) else ""
            at += 1
            person, _, n_images = line.strip().partition("\t")
            if not n_images.isdecimal():
                raise DataError(f"{path}:{at}: expected PERSON and a count, got {line!r}")
            if person in folds:
                raise DataError(f"{path}:{at}: {person} is listed twice")
            try:
                faces.find(person, int(n_images))
            except DataError as error:
                raise DataError(f"{path}:{at}: {error}") from error
            folds[person] = fold
    if any(line.strip() for line in lines[at:]):
        raise DataError(f"{path}:{at + 1}: more lines than the counts above them say")
    return folds


def _people_dataset(faces: _Faces) -> Dataset:
    photographs = sorted(faces.addresses)
    people, labels = np.unique([person for person, _ in photographs], return_inverse=True)
    paths = tuple(faces.addresses[photograph] for photograph in photographs)
    names = tuple(people.tolist())
    return Dataset(f"LFW {faces.variant}", paths, labels.astype(np.int64), names)


def _list(root: str | Path, name: str) -> Path:
    base = expanded(root)
    found = locate(base.parent if base.is_file() else base, _PLACES, (name,))
    if found is None and base.is_dir():  # root is the tree of people itself
        found = locate(base.parent, ("",), (name,))
    if found is None:
        raise DataError(f"no {name} in {root}; {_FETCH}")
    return found


def _faces(root: str | Path, variant: str | None = None) -> _Faces:
    if variant not in (None, *VARIANTS):
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    base = expanded(root)
    for kind in VARIANTS if variant is None else (variant,):
        for path in _candidates(base, kind):
            addresses = _photographs(open_tree(path), kind)
            if addresses:
                return _Faces(kind, str(path), addresses)
    wanted = "LFW" if variant is None else f"{variant} LFW"
    raise DataError(f"no photographs of {wanted} in {root}; {_FETCH}")


def _candidates(base: Path, variant: str) -> list[Path]:
    names = [stem + suffix for stem in VARIANTS[variant] for suffix in SUFFIXES]
    if base.is_file():
        return [base] if _variant_of(base.name) == variant else []
    found = [base / place / name for place in _PLACES for name in names]
    found = [path for path in found if path.exists()]
    if _variant_of(base.name) == variant and next(base.glob("*/*_0001.jpg"), None):
        found.insert(0, base)
    return found


def _variant_of(name: str) -> str:
    lower = name.lower()
    if "funneled" not in lower:
        return "plain"
    return "deep-funneled" if "deep" in lower else "funneled"


def _photographs(tree: Tree, variant: str) -> dict[tuple[str, int], str]:
    found = {}
    for name in tree.names:
        match = _PHOTOGRAPH.fullmatch(name)
        # A folder lfw/ may hold the tree of another variant.
        if match and (variant != "plain" or "funneled" not in (match[1] or "")):
            found[match[2], int(match[3])] = tree.address(name)
    return found


def read_lfw_pairs(path: str | Path, resolve: Callable[[str, int], str]) -> Pairs:
    """Read ``pairs.txt``, ``pairsDevTrain.txt`` or ``pairsDevTest.txt`` of LFW.

    The first line is ``N`` or ``FOLDS N``. Each fold has N lines ``PERSON I J`` (same),
    then N lines ``PERSON I PERSON J`` (different), with tabs between. ``resolve`` gives the
    address of a person's image; an error that it raises is given the line's number.
    """
    lines = read_lines(path)
    n_folds, n_each = _lfw_header(path, lines[0])
    n_pairs = 2 * n_each * n_folds

    def parse(numbered: tuple[int, str]) -> tuple[str, str, float]:
        i, line = numbered
        fields = line.rstrip().split("\t")
        if len(fields) not in (3, 4):
            raise DataError(
                f"expected 3 or 4 tab-separated fields, got {len(fields)}: {line!r}"
            )
        if i == n_pairs:
            raise DataError(f"line 1 says {n_pairs} pairs, here is one more")
        fold, place = divmod(i, 2 * n_each)
        if (len(fields) == 3) != (place < n_each):
            expected = "3 fields (same)" if place < n_each else "4 fields (different)"
            raise DataError(
                f"expected {expected} for pair {place + 1} of fold {fold + 1} ({n_each} "
                f"same pairs, then {n_each} different), got {len(fields)}: {line!r}"
            )
        other = fields[0] if len(fields) == 3 else fields[2]
        left = resolve(fields[0], _image_number(fields[1]))
        return left, resolve(other, _image_number(fields[-1])), len(fields) == 3

    filled = [(n, line) for n, line in enumerate(lines[1:], start=2) if line.strip()]
    pairs = parse_pairs(path, [(n, (i, line)) for i, (n, line) in enumerate(filled)], parse)
    if len(pairs) != n_pairs:
        raise DataError(
            f"{path}: line 1 says {n_pairs} pairs, the file has {len(pairs)}; is it whole?"
        )
    if n_folds == 1:
        return pairs
    return replace(pairs, folds=np.arange(n_pairs, dtype=np.int64) // (2 * n_each) + 1)


def _lfw_header(path: str | Path, line: str) -> tuple[int, int]:
    fields = line.split()
    if len(fields) not in (1, 2) or not all(f.isdecimal() and int(f) > 0 for f in fields):
        raise DataError(
            f"{path}:1: expected the number of pairs of each kind, or folds and that "
            f"number, got {line!r}"
        )
    return (int(fields[0]) if len(fields) == 2 else 1), int(fields[-1])


def _image_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise DataError(f"an image's number is a whole number from 1, got {text!r}")
    return int(text)


def _open(
    root: str | Path, settings: DataSettings, variant: str | None = None
) -> Dataset | Pairs:
    if settings.pair_file:
        return lfw_pair_file(root, settings.pair_file, variant)
    if settings.part == "all":
        return lfw(root, variant)
    return lfw_people(root, settings.part, variant)


_HOME = "http://vis-www.cs.umass.edu/lfw"


def _archive(name: str, md5: str, mirror: str = "") -> Archive:
    """One official file; scikit-learn fetches the same bytes from the mirror."""
    mirrors = [f"https://ndownloader.figshare.com/files/{mirror}"] if mirror else []
    return Archive(name, (f"{_HOME}/{name}", *mirrors), md5=md5)


def _source(
    name: str, about: str, photographs: Archive, variant: str | None = None
) -> Source:
    return Source(
        name,
        about,
        lambda root, settings: _open(root, settings, variant),
        parts=("DevTrain", "DevTest", "folds", "not-fold1,2", "all"),
        protocol="lfw-view1",
        archives=(photographs, *_LISTS),
        marks=tuple(s + end for v in VARIANTS.values() for s in v for end in SUFFIXES),
        folder="lfw",
        # Ten folds would decode nearly the same photographs ten times.
        one_store=True,
    )


_LISTS = (
    _archive("pairs.txt", "9f1ba174e4e1c508ff7cdf10ac338a7d", "5976006"),
    _archive("pairsDevTrain.txt", "4f27cbf15b2da4a85c1907eb4181ad21", "5976012"),
    _archive("pairsDevTest.txt", "5132f7440eb68cf58910c8a45a2ac10b", "5976009"),
    _archive("people.txt", "450f0863dd89e85e73936a6d71a3474b"),
    _archive("peopleDevTrain.txt", "54eaac34beb6d042ed3a7d883e247a21"),
    _archive("peopleDevTest.txt", "e4bf5be0a43b5dcd9dc5ccfcb8fb19c5"),
)
SOURCE = _source(
    "lfw",
    "13,233 photographs of 5,749 people, deep-funneled (or as they lie there)",
    _archive("lfw-deepfunneled.tgz", "68331da3eb755a505a502b5aacb3c201"),
)
FUNNELED = _source(
    "lfw-funneled",
    "the same photographs, funneled",
    _archive("lfw-funneled.tgz", "1b42dfed7d15c9b2dd63d5e5840c86ad", "5976015"),
    "funneled",
)
PLAIN = _source(
    "lfw-plain",
    "the same photographs, not aligned",
    _archive("lfw.tgz", "a17d05bd522c52d84eca14327a23d494", "5976018"),
    "plain",
)
