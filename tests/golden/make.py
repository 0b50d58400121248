"""Write the golden figures: what onelook answers before its code is moved.

In this folder: embeddings, scores and verdicts of pairs for every shipped model, a gallery
file, model folders in today's format, and the state of an interrupted training.
``tests/test_golden.py`` asks later code for the same.
"""

import contextlib
import json
import os
import shutil
import signal
import threading
import zipfile
from pathlib import Path

import numpy as np

import onelook

HERE = Path(__file__).parent
N_PAIRS = 1000
N_IMAGES = {
    "omniglot": 120,
    "faces": 60,
    "faces-aligned": 40,
    "dlib-faces": 40,
    "dlib-faces-mirrored": 40,
}
FOLDERS = ("model-cosine", "model-weighted-l1")
SMALL = {
    "encoder.arguments": {"width": 8, "embedding_size": 16},
    "precision": "fp32",
    "data.validation_fraction": 0.5,
}
HEAD = {
    "similarity.name": "weighted-l1",
    "loss": {"name": "binary-cross-entropy"},
    "sampling": {"name": "pairs", "batch_size": 64},
}
INTERRUPTED_AFTER = 4.0  # seconds


def addresses_of(model: str, data: Path) -> list[str]:
    """The images that a model is asked about: addresses relative to the data folder."""
    if model not in N_IMAGES or model == "omniglot":
        archive = "omniglot/images_evaluation.zip"
        wanted, n_class, n_of_class = "images_evaluation/Tibetan/", 30, 4
    else:
        archive, wanted, n_class, n_of_class = "lfw/lfw-deepfunneled.zip", "", 20, 3
    folders: dict[str, list[str]] = {}
    with zipfile.ZipFile(data / archive) as opened:
        for name in sorted(opened.namelist()):
            if name.startswith(wanted) and name.endswith((".png", ".jpg")):
                folders.setdefault(name.rpartition("/")[0], []).append(name)
    chosen = [names[:n_of_class] for names in folders.values() if len(names) >= n_of_class]
    flat = [f"{archive}!/{name}" for names in chosen[:n_class] for name in names]
    return flat[: N_IMAGES.get(model, 60)]


def pairs_of(n_images: int) -> np.ndarray:
    """Pairs (1000, 2) of rows, the same every time."""
    return np.random.default_rng(0).integers(0, n_images, (N_PAIRS, 2))


def write_answers(model: str, data: Path) -> None:
    verifier = onelook.load(HERE / model if model in FOLDERS else model)
    addresses = addresses_of(model, data)
    embeddings = verifier.embed([str(data / address) for address in addresses])
    left, right = pairs_of(len(addresses)).T
    scores = verifier.score(embeddings[left], embeddings[right])
    answers = [verifier.judge("a", "b", float(score)) for score in scores]
    np.savez_compressed(
        HERE / f"{model}.npz",
        addresses=addresses,
        embeddings=embeddings,
        scores=scores,
        verdicts=[answer.verdict for answer in answers],
        probabilities=np.array([a.probability for a in answers], float),
        fingerprint=verifier.fingerprint,
    )


def write_gallery(data: Path) -> None:
    verifier = onelook.load("omniglot")
    addresses = addresses_of("omniglot", data)
    path = HERE / "characters.db"
    for old in HERE.glob("characters.db*"):
        old.unlink()
    answers = []
    with onelook.Gallery(verifier, str(path)) as gallery:
        for i in range(0, 80, 4):
            gallery.enroll(f"character{i // 4:02}", [str(data / addresses[i])])
        for address in addresses[1::4]:
            found = gallery.identify(str(data / address))
            answers.append(
                {
                    "probe": address,
                    "identity": found.identity,
                    "matches": [[m.identity, m.score] for m in found.matches],
                }
            )
    (HERE / "characters.json").write_text(json.dumps(answers, indent=1) + "\n")


def write_trainings() -> None:
    for name, changes in {"cosine": {}, "weighted-l1": HEAD}.items():
        out = HERE / f"model-{name}"
        shutil.rmtree(out, ignore_errors=True)
        onelook.train("digits", out=out, changes={**SMALL, **changes, "epochs": 2})
        for leftover in ("report.html", "log.jsonl"):
            (out / leftover).unlink(missing_ok=True)
        shutil.rmtree(out / "training")
    out = HERE / "training"
    shutil.rmtree(out, ignore_errors=True)
    threading.Timer(INTERRUPTED_AFTER, signal.raise_signal, [signal.SIGINT]).start()
    with contextlib.suppress(onelook.Interrupted):
        onelook.train("digits", out=out, changes={**SMALL, "epochs": 30})


def main() -> None:
    data = Path(os.environ["ONELOOK_DATA"])
    write_trainings()
    for model in [*N_IMAGES, *FOLDERS]:
        write_answers(model, data)
    write_gallery(data)


if __name__ == "__main__":
    main()
