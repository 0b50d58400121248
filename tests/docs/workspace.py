"""The files that the pages speak of, made from the real data sets."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

N_ENROLLED, N_OTHERS = 20, 22  # characters of the Tibetan alphabet
N_PHOTOS = 12  # of a class


def fill(folder: Path, data: Path) -> None:
    """Drawings, a sheet of them, photographs in class folders, pairs and texts."""
    _write_drawings(folder, data / "omniglot" / "images_evaluation.zip")
    _write_photos(folder, data / "grocery" / "photos")
    _write_faces(folder, data / "att_faces" / "att_faces.zip")
    _write_tables(folder)


def _write_drawings(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as drawings:
        tibetan = [name for name in drawings.namelist() if "/Tibetan/char" in name]
        by_place = {
            (int(name.split("/character")[1][:2]), int(name[-6:-4])): drawings.read(name)
            for name in tibetan
            if name.endswith(".png")
        }
    for name, place in {
        "ka": (1, 1),
        "ka-by-another": (1, 2),
        "kha": (2, 1),
        "stranger": (21, 1),
    }.items():
        (folder / f"{name}.png").write_bytes(by_place[place])
    for character in range(1, N_ENROLLED + 1):
        _write(folder / f"characters/character{character:02d}", by_place[character, 1])
    for character in range(1, N_ENROLLED + N_OTHERS + 1):
        for drawer in range(2, 7):
            path = folder / f"others/character{character:02d}"
            _write(path, by_place[character, drawer], f"{drawer}.png")
            if drawer < 4 and character <= N_ENROLLED:
                named = f"character{character:02d}.png"
                _write(folder / f"drawn-by-{drawer}", by_place[character, drawer], named)
    sheet = Image.new("L", (4 * 125, 3 * 125), 255)
    for cell, character in enumerate([9, 12, 1, 15, 4, 18, 7, 3, 20, 11, 6, 14]):
        drawing = Image.open(BytesIO(by_place[character, 3])).convert("L")
        sheet.paste(drawing, (cell % 4 * 125 + 10, cell // 4 * 125 + 10))
    sheet.save(folder / "sheet.png")


def _write(folder: Path, content: bytes, name: str = "1.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def _write_photos(folder: Path, photos: Path) -> None:
    """Every fourth product is kept for the evaluation."""
    for number, product in enumerate(sorted(photos.iterdir())):
        root = folder / ("other-photos" if number % 4 == 3 else "photos")
        for photo in sorted(product.iterdir())[:N_PHOTOS]:
            _write(root / product.name.lower(), photo.read_bytes(), photo.name)


def _write_faces(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as faces:
        for name in faces.namelist():
            if name.endswith(".pgm"):
                image = Image.open(BytesIO(faces.read(name)))
                person = folder / "people" / Path(name).parent.name
                person.mkdir(parents=True, exist_ok=True)
                image.save(person / f"{Path(name).stem}.png")


def _write_tables(folder: Path) -> None:
    """Pairs of photographs, of texts, and of both, as docs/pairs.md describes them."""
    rng = np.random.default_rng(0)
    classes = sorted(path for path in (folder / "photos").iterdir())
    images = [sorted(path.iterdir()) for path in classes]
    lines, captions, names = ["# same=1"], ["left,right,label"], ["left,right,label"]
    for number, own in enumerate(images):
        other = images[(number + 1 + int(rng.integers(len(images) - 1))) % len(images)]
        left = own[0].relative_to(folder)
        for label, paths in ((1, own[1:4]), (0, other[1:4])):
            said = "same" if label else "different"
            for path in paths:
                lines.append(f"{left} {path.relative_to(folder)} {label}")
            words = paths[0].parent.name.replace("-", " ")
            captions.append(f"{left},{words},{said}")
            names.append(f"{own[0].parent.name.replace('-', ' ')},{words},{said}")
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    (folder / "captions.csv").write_text("\n".join(captions) + "\n")
    (folder / "names.csv").write_text("\n".join(names) + "\n")
