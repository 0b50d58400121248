"""What a gallery answers by: the folder of its model, its decision and its cohort.

A copy of a model may be calibrated anew, and answers by other thresholds then, though its
embeddings are the same. So a gallery keeps the decision that it was made with.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onelook.cohort import Cohort
from onelook.decision import Decision
from onelook.errors import CheckpointError, GalleryError
from onelook.gallery.probes import Probes, beside_probes
from onelook.gallery.store import Floats, GalleryStore, Header, redact_url
from onelook.gallery.stores import create_store, open_store, store_exists
from onelook.loading import load
from onelook.verifier import Verifier
from onelook.zoo import shipped_names

log = logging.getLogger("onelook")


@dataclass(frozen=True, eq=False)
class Place:
    """What a gallery keeps of its model ("" for one that ships) and of its place.

    ``probes`` are embeddings (N, D) of the last ones, where it learns from them.
    """

    folder: str = ""
    decision: Decision | None = None
    cohort: Cohort | None = None
    probes: Floats | None = None


def read_place(store: GalleryStore) -> Place:
    """What a gallery keeps; a gallery of an older onelook keeps nothing."""
    kept = {name: _checked(name, value) for name, value in store.settings().items()}
    try:
        model = json.loads(kept.get("decision", b"{}"))
        decision = model.get("decision")
        return Place(
            model.get("folder", ""),
            None if decision is None else Decision.from_dict(decision),
            _cohort(kept["cohort"]) if kept.get("cohort") else None,
            _cohort(kept["probes"]).embeddings if kept.get("probes") else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GalleryError(
            f"what the gallery answers by cannot be read ({error}); restore a backup"
        ) from error


def keep_decision(store: GalleryStore, verifier: Verifier) -> None:
    """Let a gallery answer by the decision of a model."""
    decision = verifier.plain.decision
    content = {
        "folder": "" if verifier.folder is None else str(verifier.folder),
        "decision": None if decision is None else decision.to_dict(),
    }
    store.keep("decision", _signed(json.dumps(content).encode()))


def keep_cohort(store: GalleryStore, cohort: Cohort | None) -> None:
    """Let a gallery answer beside a cohort, or beside none."""
    store.keep("cohort", _signed(b"" if cohort is None else _bytes_of(cohort)))


def keep_probes(store: GalleryStore, embeddings: Floats | None) -> None:
    """Keep embeddings (N, D) of probes, or forget them and learn from none."""
    content = b"" if embeddings is None else _bytes_of(Cohort(embeddings))
    store.keep("probes", _signed(content))


def learn(store: GalleryStore, verifier: Verifier, probes: Probes) -> Verifier:
    """Keep the probes, and the model beside them."""
    embeddings = probes.take()
    keep_probes(store, embeddings)
    return beside_probes(verifier, embeddings)


def answering(verifier: Verifier, place: Place) -> Verifier:
    """The model that was given, beside the gallery's cohort; another decision is said."""
    given = verifier.plain.decision
    if place.decision is not None and given != place.decision:
        log.warning(
            f"the gallery was made with other thresholds than those of {verifier.name} "
            "here, which answers; without a model named it answers by its own"
        )
    if place.cohort is not None and verifier.cohort is None:
        return verifier.with_cohort(place.cohort)
    if place.probes is not None and verifier.cohort is None:
        return beside_probes(verifier, place.probes)
    return verifier


def own_model(store: GalleryStore) -> Verifier:
    """The model of a gallery, with the decision that the gallery keeps."""
    place, name = read_place(store), store.header.model
    if not Path(place.folder).is_dir():
        place = replace(place, folder="")
    if not place.folder and name not in shipped_names():
        raise GalleryError(
            f"the gallery was made with the model {name!r}, which is not where it was; "
            "name its folder with --model"
        )
    try:
        verifier = load(place.folder or name)
    except CheckpointError as error:
        raise GalleryError(f"{error}; name the gallery's model with --model") from error
    if place.decision is not None:
        verifier = verifier.plain
        verifier.decision = place.decision
    return verifier


def header_of(verifier: Verifier) -> Header:
    """The header of a new gallery of this model."""
    return Header(
        fingerprint=verifier.fingerprint,
        model=verifier.name,
        embedding_size=verifier.embedding_size,
        metric=verifier.scores.near,
    )


def create_gallery(verifier: Verifier, url: str | Path) -> GalleryStore:
    """A new store for a model, with its decision and cohort."""
    try:
        store = create_store(url, header_of(verifier))
        keep_decision(store, verifier)
        if verifier.cohort is not None:
            keep_cohort(store, verifier.cohort)
        return store
    except GalleryError:
        if not store_exists(url):
            raise
        return open_gallery(verifier, url)  # another process has created it meanwhile


def open_gallery(verifier: Verifier, url: str | Path) -> GalleryStore:
    """The store at ``url``.

    Raises:
        GalleryError: If it was made with another model.
    """
    return _opened_by(url, lambda store: verifier)[1]


def open_as_made(url: str | Path) -> tuple[Verifier, GalleryStore]:
    """The store at ``url``, with the model that it was made with.

    Raises:
        GalleryError: If there is none, or its model is not where it was.
    """
    return _opened_by(url, own_model)


def _opened_by(
    url: str | Path, model_of: Callable[[GalleryStore], Verifier]
) -> tuple[Verifier, GalleryStore]:
    store = open_store(url)
    try:
        verifier = model_of(store)
        _check_model(store, verifier, url)
    except BaseException:
        store.close()
        raise
    return verifier, store


def _check_model(store: GalleryStore, verifier: Verifier, url: str | Path) -> None:
    """Refuse a gallery that was made with another model."""
    header, place = store.header, redact_url(url)
    if header.fingerprint != verifier.fingerprint:
        raise GalleryError(
            f"the gallery {place} was made with the model {header.model!r} "
            f"({header.fingerprint}), not with {verifier.name!r} ({verifier.fingerprint}): "
            f"use --model {header.model} or its folder, or embed the images again: onelook "
            f"gallery migrate {place} NEW --model MODEL"
        )


def _signed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


def _checked(name: str, value: bytes) -> bytes:
    if hashlib.sha256(value[32:]).digest() != value[:32]:
        raise GalleryError(
            f"the {name} that the gallery keeps is damaged; restore a backup of it"
        )
    return value[32:]


def _bytes_of(cohort: Cohort) -> bytes:
    facts = {
        "size": cohort.embeddings.shape[1],
        "name": cohort.name,
        "notes": cohort.notes,
        "reach": cohort.reach,
    }
    embeddings = np.ascontiguousarray(cohort.embeddings, "<f4")
    return json.dumps(facts).encode() + b"\n" + embeddings.tobytes()


def _cohort(content: bytes) -> Cohort:
    first, _, numbers = content.partition(b"\n")
    facts: dict[str, Any] = json.loads(first)
    embeddings = np.frombuffer(numbers, "<f4").reshape(-1, facts["size"])
    return Cohort(embeddings, facts["name"], tuple(facts["notes"]), facts["reach"])
