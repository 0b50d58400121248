"""A page that compares two pictures in the browser, for any server of static files."""

import json
import tarfile
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from onelook.data.inputs import ImageInput
from onelook.data.sources.fetch import fetch
from onelook.errors import CheckpointError
from onelook.files import cache_folder, write_whole
from onelook.runtime.onnx import OnnxEncoder
from onelook.verifier import Verifier

HERE = Path(__file__).parent
PAGE_FILES = ("index.html", "style.css", "main.js", "model.js", "preprocess.js")
RUNTIME = "onnxruntime-web-1.30.0.tgz"
RUNTIME_URL = f"https://registry.npmjs.org/onnxruntime-web/-/{RUNTIME}"  # 33 MB, MIT
RUNTIME_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
RUNTIME_FILES = (  # 14 MB
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
SIMILARITIES = ("cosine", "euclidean", "squared-euclidean", "manhattan", "exponential")


def write_page(verifier: Verifier, folder: Path) -> None:
    """Write a folder of static files that answers with a model in the browser.

    ONNX Runtime Web is fetched into the user's cache the first time.

    Args:
        verifier: A model of images that answers through ONNX Runtime.
        folder: Where the files go; made where needed.

    Raises:
        CheckpointError: If the model cannot answer in a browser.
        DataError: If ONNX Runtime Web cannot be fetched, or is not the one expected.
    """
    content = _settings(verifier)  # refuses before anything is fetched
    assert isinstance(verifier.encoder, OnnxEncoder)
    weights, graphs = verifier.encoder.files({})
    files = {
        "model.json": json.dumps(content).encode(),
        "model.onnx": graphs["left"],
        "model.safetensors": weights,
        **{name: (HERE / name).read_bytes() for name in PAGE_FILES},
        **_runtime(),
    }
    if verifier.familiarity is not None:
        files["familiarity.safetensors"] = save(verifier.familiarity.tensors())
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_whole(folder / name, data)


def _settings(verifier: Verifier) -> dict[str, Any]:
    """What model.js reads, if it can answer for this model."""
    why, name = "", verifier.scores.name
    if not isinstance(verifier.encoder, OnnxEncoder):
        why = "it does not answer through ONNX Runtime: onelook export writes one that does"
    elif not isinstance(verifier.input, ImageInput) or not verifier.shared:
        why = "the page takes models with one encoder of whole images"
    elif verifier.cohort is not None:
        why = "the page knows no cohorts: export the model without one"
    elif name not in SIMILARITIES:
        why = f"the page scores by {', '.join(SIMILARITIES)}, not {name}"
    if why:
        raise CheckpointError(f"{verifier.name} cannot answer in a browser: {why}")
    decision = verifier.decision
    keys = ("threshold", "reject_below", "far", "seen", "slope", "intercept")
    return {
        "name": verifier.name,
        "preprocess": verifier.input.to_dict(),
        "similarity": name,
        "decision": decision and {key: getattr(decision, key) for key in keys},
        "familiar": verifier.familiarity is not None,
    }


def _runtime() -> dict[str, bytes]:
    """The files of ONNX Runtime Web, fetched once."""
    folder = cache_folder() / "web"
    folder.mkdir(parents=True, exist_ok=True)
    archive = fetch(RUNTIME_URL, folder / RUNTIME, sha512=RUNTIME_SHA512)
    with tarfile.open(archive) as package:
        members = {
            name: package.extractfile(f"package/dist/{name}") for name in RUNTIME_FILES
        }
        return {name: member.read() for name, member in members.items() if member}
