"""What is fuzzed: all that reads bytes from outside, and what good bytes look like."""

import hashlib
import io
import json
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from onelook.data.archives import open_tree
from onelook.data.inputs.decoding import FORMATS, decode, header_in
from onelook.data.reading import read_bytes
from onelook.data.sources.pair_files import read_pairs
from onelook.gallery.gallery import Gallery
from onelook.gallery.stores import opened
from onelook.loading import load
from onelook.model_folder import digest_of
from onelook.recipe import read_recipe, recipe_names
from onelook.training.state import load_state, save_state
from onelook.vectors import Vectors, read_vectors, write_vectors

ANSWERS = {200, 201, 400, 404, 405, 411, 413, 415, 422}


@dataclass(frozen=True)
class Target:
    """Something that reads bytes.

    Args:
        seeds: Good inputs; ``folder`` is empty and only for them.
        read: Reads one input, may write in ``folder``, and raises nothing but an
            OnelookError for what it refuses.
        megabytes: How much memory all inputs together may add to what the good ones took.
    """

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[bytes, Path], object]
    megabytes: int = 256


def picture(mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (33, 21), 255 if mode in "L1" else "white")
    ImageDraw.Draw(image).line([(3, 3), (20, 15), (30, 4)], 0 if mode in "L1" else "red", 2)
    return image


def images(folder: Path) -> list[bytes]:
    made = []
    for mode in ("RGB", "L", "P", "1", "RGBA", "CMYK", "I;16"):
        for kind in FORMATS:
            file = io.BytesIO()
            try:
                picture("L" if mode == "I;16" else "RGB").convert(mode).save(file, kind)
            except (OSError, ValueError):
                continue  # the format has no such pixels
            made.append(file.getvalue())
    return made


def read_image(data: bytes, folder: Path) -> None:
    header_in(io.BytesIO(data), "fuzzed")
    decode(data, "fuzzed", 4_000_000)


def heifs(folder: Path) -> list[bytes]:
    import pillow_heif

    made = []
    for mode in ("RGB", "L", "RGBA"):
        file = io.BytesIO()
        pillow_heif.from_pillow(picture().convert(mode)).save(file)
        made.append(file.getvalue())
    return made


def graphs(folder: Path) -> list[bytes]:
    load("omniglot").plain.save(folder / "model")
    return [(folder / "model" / "model.onnx").read_bytes()]


def read_graph(data: bytes, folder: Path) -> None:
    """The graph of a model folder with the right digests, answering one image."""
    model = folder / "model"
    if not model.is_dir():
        load("omniglot").plain.save(model)
    content = json.loads((model / "model.json").read_bytes())
    content["graphs"]["left"] = hashlib.sha256(data).hexdigest()
    text = json.dumps(content | {"digest": digest_of(content)})
    (model / "model.json").write_text(text)
    (model / "model.onnx").write_bytes(data)
    load(model).embed([picture()])


def pair_files(folder: Path) -> list[bytes]:
    return [
        b"# same=1\na.png\tb.png\t1\nc.png\td.png\t0\n",
        b'# same=0\nleft,right,label\n"a, b.png",c.png,1\n',
        b"10\t300\nAda\t1\t4\nAda\t1\tBob\t2\n",
        "# same=1\nå.png b.png 1\n\n# note\n".encode(),
        b"\xef\xbb\xbf# same=1\r\na\\b.png,c.png,0\r\n",
    ]


def read_pair_file(data: bytes, folder: Path) -> None:
    (folder / "pairs.csv").write_bytes(data)
    read_pairs(folder / "pairs.csv", same=1, check=False)


def recipes(folder: Path) -> list[bytes]:
    shipped = Path(__file__).parents[2] / "src" / "onelook" / "recipes"
    return [(shipped / f"{name}.yaml").read_bytes() for name in recipe_names()]


def read_recipe_file(data: bytes, folder: Path) -> None:
    (folder / "recipe.yaml").write_bytes(data)
    read_recipe(folder / "recipe.yaml")


def model_files(folder: Path) -> list[bytes]:
    load("omniglot").plain.save(folder / "model")
    return [(folder / "model" / "model.json").read_bytes()]


def read_model(data: bytes, folder: Path) -> None:
    """Settings whose digest is right, since a wrong one hides all others behind it."""
    model = folder / "model"
    if not model.is_dir():
        load("omniglot").plain.save(model)
    try:
        content = json.loads(data)
        data = json.dumps(content | {"digest": digest_of(content)}).encode()
    except (AttributeError, RecursionError, TypeError, ValueError):
        pass  # as damaged as it is
    (model / "model.json").write_bytes(data)
    load(model)


def states(folder: Path) -> list[bytes]:
    save_state(folder / "last.pt", {"weights": torch.arange(6.0), "position": {"step": 3}})
    return [(folder / "last.pt").read_bytes()]


def read_state(data: bytes, folder: Path) -> None:
    (folder / "last.pt").write_bytes(data)
    load_state(folder / "last.pt")


def vectors(ending: str) -> Callable[[Path], list[bytes]]:
    def made(folder: Path) -> list[bytes]:
        values = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
        written = Vectors(("a", "b", "c", "d"), values, [], "0" * 16)
        return [write_vectors(folder / f"v.{ending}", written).read_bytes()]

    return made


def vectors_reader(ending: str) -> Callable[[bytes, Path], object]:
    def read(data: bytes, folder: Path) -> Vectors:
        (folder / f"v.{ending}").write_bytes(data)
        return read_vectors(folder / f"v.{ending}")

    return read


def zips(folder: Path) -> list[bytes]:
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name in ("top/a/1.png", "top/b/2.png", "top/b/å.png"):
                archive.writestr(name, images(folder)[0])
        made.append(file.getvalue())
    return made


def read_zip(data: bytes, folder: Path) -> None:
    (folder / "fuzzed.zip").write_bytes(data)
    tree = open_tree(folder / "fuzzed.zip").unwrapped()
    for name in tree.names[:3]:
        read_bytes(tree.address(name))


def tars(folder: Path) -> list[bytes]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("top/a/1.png", "top/b/2.png"):
            info, data = tarfile.TarInfo(name), images(folder)[0]
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return [file.getvalue()]


def read_tar(data: bytes, folder: Path) -> None:
    (folder / "fuzzed.tar").write_bytes(data)
    open_tree(folder / "fuzzed.tar")


def galleries(folder: Path) -> list[bytes]:
    path = folder / "g.db"
    with Gallery(load("omniglot"), path) as gallery:
        values = np.random.default_rng(0).normal(size=(12, 256)).astype(np.float32)
        gallery.enroll_vectors([f"who {i % 5}" for i in range(12)], values)
        gallery.forget("who 3")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [path.read_bytes()]


def read_gallery(data: bytes, folder: Path) -> None:
    for file in folder.glob("g.db*"):
        file.unlink()
    (folder / "g.db").write_bytes(data)
    with opened(folder / "g.db") as store:
        store.search(np.ones((1, store.header.embedding_size), np.float32), 3)
        store.read()
        store.identities()


TARGETS = {
    "image": Target(images, read_image),
    "heic": Target(heifs, read_image),
    "onnx": Target(graphs, read_graph),
    "pairs": Target(pair_files, read_pair_file),
    "recipe": Target(recipes, read_recipe_file),
    "model": Target(model_files, read_model),
    "state": Target(states, read_state),
    "npz": Target(vectors("npz"), vectors_reader("npz")),
    "parquet": Target(vectors("parquet"), vectors_reader("parquet")),
    "zip": Target(zips, read_zip),
    "tar": Target(tars, read_tar),
    "gallery": Target(galleries, read_gallery),
}


def forms(folder: Path) -> list[bytes]:
    file = io.BytesIO()
    picture().save(file, "PNG")
    parts = [
        b'--xyz\r\nContent-Disposition: form-data; name="%s"; filename="%s.png"\r\n'
        b"Content-Type: image/png\r\n\r\n%s\r\n" % (name, name, file.getvalue())
        for name in (b"left", b"right", b"image")
    ]
    end = b"--xyz--\r\n"
    text = b'--xyz\r\nContent-Disposition: form-data; name="identity"\r\n\r\nAda\r\n'
    return [parts[0] + parts[1] + end, parts[2] + end, text + parts[2] + end]


def bodies(folder: Path) -> list[bytes]:
    return [
        b'{"identity": "Ada Lovelace"}',
        '{"identity": "å\\u00e9", "more": [1.5e3, null, {"a": true}]}'.encode(),
        b"[" * 400 + b"]" * 400,
    ]


def served(stack: ExitStack, folder: Path) -> dict[str, Target]:
    """The application, asked in this process: forms, and bodies of JSON."""
    from starlette.testclient import TestClient

    from onelook.service.app import create_app

    verifier = load("omniglot")
    gallery = stack.enter_context(Gallery(verifier, folder / "asked.db"))
    app = create_app(verifier, gallery)
    client = stack.enter_context(
        TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    )
    while client.get("/readyz").status_code != 200:
        pass
    kind = {"content-type": "multipart/form-data; boundary=xyz"}

    def read(data: bytes, folder: Path) -> None:
        for path in ("/v1/compare", "/v1/identify"):
            answer = client.post(path, content=data, headers=kind)
            assert answer.status_code in ANSWERS, f"{path}: {answer.status_code}"
            answer.json()

    def read_json(data: bytes, folder: Path) -> None:
        gallery.enroll_vectors(["Ada"], np.ones((1, 256), np.float32))
        answer = client.patch("/v1/identities/Ada", content=data)
        assert answer.status_code in ANSWERS, answer.status_code
        answer.json()
        for name in gallery.identities():
            gallery.forget(name)

    return {"http": Target(forms, read), "json": Target(bodies, read_json)}


def every_target(stack: ExitStack, folder: Path) -> Iterator[tuple[str, Target]]:
    """All targets by name; what they need open is closed with ``stack``."""
    yield from TARGETS.items()
    yield from served(stack, folder).items()
