"""Hub: encoders and model folders of the Hugging Face hub, fetched and pushed.

Nothing here is called unless a user names a model of the hub. The settings of
``huggingface_hub`` hold: HF_HUB_OFFLINE, HF_ENDPOINT, HF_HOME, HF_TOKEN.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from onelook.card import TrainingCard
from onelook.data.inputs import ImageInput
from onelook.errors import CheckpointError, OnelookError, one_line
from onelook.extras import import_extra
from onelook.files import write_whole
from onelook.model_folder import (
    COHORT_FILE,
    FAMILIARITY_FILE,
    ModelFile,
    cohort_of,
    familiarity_of,
    read_file,
    read_settings,
    weights_of,
)
from onelook.recipe import ImageSettings
from onelook.runtime.onnx import GRAPH_FILES, WEIGHTS_FILE
from onelook.verifier import from_model
from onelook.zoo import (
    FETCHABLE,
    SETTINGS_FILE,
    existing_folder,
    fetched_folder,
    hub_address,
)

log = logging.getLogger(__name__)

README, RECORD_FILE, PREPROCESSING = "README.md", "hub.json", "preprocessor_config.json"
OWN_FILES = [
    *(SETTINGS_FILE, WEIGHTS_FILE, *GRAPH_FILES.values()),
    *(COHORT_FILE, FAMILIARITY_FILE, README),
]
ENCODER_FILES = [
    *("config.json", PREPROCESSING),
    *("model*.safetensors", "model.safetensors.index.json"),
]
FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}  # Pillow's numbers


def fetch(name: str) -> Path:
    """The folder of a model of the hub in the user's cache, which is fetched if need be.

    What was fetched before is not fetched again: its revision is compared with the hub's.

    Args:
        name: A name of ``onelook models``, or ``hf-hub:ORG/NAME[@REVISION]``: an encoder of
            the package transformers, or a model folder of onelook.

    Raises:
        CheckpointError: If the hub does not answer or has no such model, the model is no
            vision transformer, was damaged, or has changed since it was fetched.
        OnelookError: If the extra ``hub`` is not installed.
    """
    address, folder = hub_address(name), fetched_folder(name)
    if address is None or folder is None:
        known = ", ".join(one.name for one in FETCHABLE)
        raise CheckpointError(
            f"unknown model {name!r}; known: {known}, hf-hub:ORG/NAME, "
            "hf-hub:ORG/NAME@REVISION"
        )
    repository, revision = address
    if (folder / SETTINGS_FILE).is_file():
        _check_revision(name, folder, repository, revision)
        return folder
    size = "".join(f", {one.megabytes:,} MB," for one in FETCHABLE if one.name == name)
    log.warning(f"fetching {name}{size} from {_hub().constants.ENDPOINT}/{repository}")
    with _explained(repository, revision):
        found = _hub().snapshot_download(
            repository, revision=revision or None, allow_patterns=OWN_FILES + ENCODER_FILES
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        fresh = Path(temporary) / "model"
        if (Path(found) / SETTINGS_FILE).is_file():
            shutil.copytree(found, fresh)
            _check_files(fresh)
        else:
            _write_encoder(name, repository, Path(found), fresh)
        record = {"repository": repository, "revision": Path(found).name}
        write_whole(fresh / RECORD_FILE, json.dumps(record) + "\n")
        if not folder.exists():  # else another process was faster
            fresh.rename(folder)
    return folder


def push(model: str | Path, repository: str, *, public: bool = False) -> str:
    """Put a model folder on the hub and return its address there.

    A new repository is private unless it is to be ``public``. A cohort goes with the
    folder: the embeddings of the images that it was made of.

    Raises:
        CheckpointError: If there is no such model, it was damaged, or the hub refuses.
        OnelookError: If the extra ``hub`` is not installed.
    """
    address = f"hf-hub:{repository}"
    if hub_address(address) is None:
        raise CheckpointError(f"the repository must be ORG/NAME, got {repository!r}")
    folder = existing_folder(model)
    _check_files(folder)
    api = _hub().HfApi()
    with _explained(repository, ""):
        api.create_repo(repository, private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=OWN_FILES,
            commit_message="Push a model of onelook",
        )
    return f"{address}@{done.oid}"


def _hub() -> Any:
    found = import_extra("huggingface_hub", "hub", "the Hugging Face hub")
    for part in ("constants", "errors"):  # which it does not import itself
        import_extra(f"huggingface_hub.{part}", "hub")
    return found


def _check_revision(name: str, folder: Path, repository: str, revision: str) -> None:
    """Refuse a model that has another revision on the hub than when it was fetched."""
    try:
        known = json.loads((folder / RECORD_FILE).read_text("utf-8"))["revision"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / RECORD_FILE} does not say what was fetched: remove {folder} and "
            f"fetch again"
        ) from error
    if known == revision or _hub().constants.HF_HUB_OFFLINE:
        return
    with _explained(repository, revision):
        now = _hub().HfApi().model_info(repository, revision=revision or None).sha
    if now != known:
        raise CheckpointError(
            f"{name} was fetched at revision {known}, and {repository} is now at {now}: "
            f"onelook fetch hf-hub:{repository}@{now} fetches that one beside it; to have "
            f"it as {name}, remove {folder} first"
        )


def _check_files(folder: Path) -> None:
    """Read all files of a model folder, each of which has a digest."""
    file, _ = read_settings(folder)
    weights_of(folder, file)
    cohort_of(folder, file)
    familiarity_of(folder, file)
    for side, sha256 in file.graphs.items() if isinstance(file, ModelFile) else ():
        read_file(folder / GRAPH_FILES[side], sha256)


def _write_encoder(name: str, repository: str, found: Path, folder: Path) -> None:
    """Write the model folder of an encoder that transformers can read."""
    import_extra("torch", "hub", "fetching an encoder")
    from onelook.models.encoders.hub import read_encoder
    from onelook.models.network import build_model

    known = next((one for one in FETCHABLE if one.name == name), None)
    try:
        settings = _image_settings(found / PREPROCESSING)
        pooling = known.pooling if known else ""
        encoder, arguments = read_encoder(str(found), settings.height, pooling)
        network = {
            "encoder": {"name": "hub", "arguments": arguments},
            "similarity": {"name": "cosine", "arguments": {}},
        }
        card = TrainingCard(
            name=name.removeprefix("hf-hub:"), purpose=known.purpose if known else ""
        )
        model, images = build_model(network, encoder), ImageInput(settings)
        from_model(model, images, card=card, network=network).save(folder)
    except OnelookError:
        raise
    except Exception as error:  # transformers may fail in any way on a stranger's model
        raise CheckpointError(
            f"{repository} holds no image encoder for onelook ({one_line(error)}): it "
            "takes vision transformers of the package transformers, or folders of onelook"
        ) from error
    text = (
        f"# {card.name}\n\nAn encoder of images: "
        f"[{repository}](https://huggingface.co/{repository}), revision {found.name}, "
        f"fetched and exported by onelook. Licence: "
        f"{known.licence if known else 'see its page'}. It has no thresholds of its own: "
        "`onelook calibrate` fits them.\n"
    )
    write_whole(folder / README, text)


def _image_settings(path: Path) -> ImageSettings:
    """How images are prepared: whole and padded, as the file normalises them."""
    if not path.is_file():
        raise ValueError(f"it has no {path.name}")
    content = json.loads(path.read_text("utf-8"))
    size = content.get("crop_size") or content["size"]
    if isinstance(size, dict):
        size = size.get("height") or size["shortest_edge"]
    normalised = content.get("do_normalize", True)
    return ImageSettings(
        height=size,
        width=size,
        channels=3,
        fit="pad",
        resample=FILTERS.get(content.get("resample"), "bicubic"),
        mean=tuple(content["image_mean"]) if normalised else (0.0,),
        std=tuple(content["image_std"]) if normalised else (1.0,),
    )


@contextmanager
def _explained(repository: str, revision: str) -> Iterator[None]:
    """What ``huggingface_hub`` raises, as an error that says what to do."""
    errors, endpoint = _hub().errors, _hub().constants.ENDPOINT
    at = f"{repository}@{revision}" if revision else repository
    try:
        yield
    except errors.GatedRepoError as error:
        why = "is gated: accept its terms on its page, then log in with: hf auth login"
        raise CheckpointError(f"{endpoint}/{repository} {why}") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{repository} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        why = "does not exist, or is private: log in with: hf auth login"
        raise CheckpointError(f"{endpoint}/{repository} {why}") from error
    except errors.HfHubHTTPError as error:
        why = (error.server_message or one_line(error)).rstrip(".")
        if error.response.status_code in (401, 403):
            why += "; log in with: hf auth login"
        raise CheckpointError(f"{endpoint} refused {at}: {why}") from error
    except errors.HFValidationError as error:
        raise CheckpointError(one_line(error)) from error
    except (
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
        errors.HTTPError,
        RuntimeError,  # of hf_xet
    ) as error:
        if _hub().constants.HF_HUB_OFFLINE:
            why = f"{at} was not fetched, and HF_HUB_OFFLINE keeps onelook off the network"
            raise CheckpointError(why) from error
        raise CheckpointError(
            f"{endpoint} does not answer for {at}: {one_line(error.__cause__ or error)}; "
            "check the network, or HF_ENDPOINT"
        ) from error
