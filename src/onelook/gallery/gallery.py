"""Gallery: enroll identities, identify probes and forget, above any kind of store."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.cohort import Cohort
from onelook.data.inputs import Item
from onelook.data.inputs.decoding import check_list, name_of, thumbnail_of
from onelook.data.inputs.quality import fault_of
from onelook.decision import Vote
from onelook.errors import GalleryError, UnfitError, UnknownIdentityError
from onelook.familiarity import Reason
from onelook.gallery.answers import Candidate, Identification, answer, best_images
from onelook.gallery.place import (
    answering,
    create_gallery,
    header_of,
    keep_cohort,
    keep_probes,
    learn,
    open_as_made,
    open_gallery,
    read_place,
)
from onelook.gallery.probes import Probes
from onelook.gallery.store import (
    Entry,
    Floats,
    GalleryStore,
    Hit,
    Stats,
    Stored,
    digest_of,
    forget_identity,
    forms_of,
    kept_name,
    read_all,
    redact_url,
    rename_identity,
    some_images,
    validate_name,
)
from onelook.gallery.stores import store_exists
from onelook.verifier import Verifier
from onelook.votes import identity_scores

log = logging.getLogger("onelook")

CANDIDATES = 10  # identities near a probe, at least, whose images vote
MOST_IMAGES = 100  # of an identity that vote
SHORTLIST = 500  # nearest entries that a pair head ranks, which no distance follows


@dataclass(frozen=True)
class Enrolled:
    """Numbers of images that were new, and that were enrolled before.

    ``warnings`` are (image, reason) of new ones that are poor examples: too small, blank,
    blurred, or unlike what the model was calibrated on.
    """

    n_new: int
    n_known: int
    warnings: tuple[tuple[str, str], ...] = ()


class Gallery:
    """Identities with the embeddings of their images, which tell who a new image shows.

    Args:
        verifier: The model. A gallery keeps its fingerprint and refuses another model.
        url: A file's path, ``postgresql://…`` or ``milvus://…``; a new gallery is created
            when it is first needed, so that a failing ``enroll`` leaves nothing behind.
        keep_originals: Keep the image files too, not only embeddings and thumbnails.
        store: The store at ``url``, where it is open already.

    Raises:
        GalleryError: If the gallery is one of another model.

    Example:
        >>> gallery = Gallery(verifier, "gallery.db")  # doctest: +SKIP
        >>> gallery.enroll("Ada", ["ada.jpg"])  # doctest: +SKIP
        >>> print(gallery.identify("who.jpg"))  # doctest: +SKIP
    """

    def __init__(
        self,
        verifier: Verifier,
        url: str | Path,
        *,
        keep_originals: bool = False,
        store: GalleryStore | None = None,
    ) -> None:
        self.verifier = verifier
        self.url = url
        self.keep_originals = keep_originals
        if store is None and store_exists(url):
            store = open_gallery(verifier, url)
        self._store = store
        self._learning: Probes | None = None
        if store is not None:
            place = read_place(store)
            self.verifier = answering(verifier, place)
            self._learning = None if place.probes is None else Probes(place.probes)
        self._lock = threading.Lock()

    @classmethod
    def open(cls, url: str | Path, *, keep_originals: bool = False) -> "Gallery":
        """A gallery as it was made: with its own model, decision and cohort.

        Args:
            url: Where the gallery is.
            keep_originals: Keep the image files too, not only embeddings and thumbnails.

        Raises:
            GalleryError: If there is none, or its model is not where it was.
        """
        verifier, store = open_as_made(url)
        return cls(verifier, url, keep_originals=keep_originals, store=store)

    def use_cohort(
        self, images: Sequence[Item] | str | Path | Cohort | None, name: str = ""
    ) -> None:
        """Answer beside unlabelled images of the gallery's place, from now on and after.

        Processes that have the gallery open go on as before until they open it again.

        Args:
            images: As ``Verifier.with_cohort`` takes them; None for plain scores again.
            name: What answers call the images; by default the folder's name.

        Raises:
            DataError: If there are too few images, or one cannot be read.
        """
        plain = self.verifier.plain
        beside = plain if images is None else plain.with_cohort(images, name)
        keep_cohort(self.store, beside.cohort)
        keep_probes(self.store, None)
        self.verifier, self._learning = beside, None

    def learn_from_probes(self) -> None:
        """Answer beside the last 1,000 probes, from the first 20 on and ever after.

        Embeddings of familiar ones are kept with the gallery, without images or names.
        ``use_cohort`` ends it and forgets them. Other processes go on as before.
        """
        keep_cohort(self.store, None)
        self._learning = Probes(np.zeros((0, self.verifier.embedding_size), np.float32))
        self._learn(self._learning)

    @property
    def store(self) -> GalleryStore:
        """The store, which is created when it is first needed."""
        with self._lock:
            if self._store is None:
                self._store = create_gallery(self.verifier, self.url)
            return self._store

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of identities."""
        return 0 if self._store is None else self._store.stats().n_identities

    def __bool__(self) -> bool:
        return True  # an empty gallery is a gallery

    def __repr__(self) -> str:
        try:
            size = f"{len(self):,} identities"
        except GalleryError:
            size = "not available"  # closed, or its server does not answer
        return f"<Gallery {redact_url(self.url)} of {self.verifier.name!r}: {size}>"

    def enroll(
        self,
        identity: str,
        images: Sequence[Item],
        metadata: dict[str, Any] | None = None,
        *,
        strict: bool = False,
    ) -> Enrolled:
        """Add images of an identity; returns once they are durable.

        An image that is already enrolled under this name is not encoded again.

        Args:
            identity: Name of who or what the images show.
            images: As ``Verifier.embed`` takes them.
            metadata: JSON values that are kept with each image.
            strict: Refuse poor examples instead of warning of them.

        Raises:
            DataError: If an image cannot be read, or is refused; then none is enrolled.
            ValueError: If there is no image, or the name cannot be kept.
        """
        if not check_list(images):
            raise ValueError(f"enroll needs at least one image of {identity!r}, got 0")
        pairs = [(identity, image) for image in images]
        return self.enroll_many(pairs, metadata, strict=strict)

    def enroll_many(
        self,
        images: Sequence[tuple[str, Item]],
        metadata: dict[str, Any] | None = None,
        *,
        strict: bool = False,
    ) -> Enrolled:
        """``enroll`` of (identity, image) pairs, all of them or none."""
        taken = self.verifier.input_of("right")
        items = [image for _, image in images]
        called = [name_of(item, f"image {i}") for i, item in enumerate(items, 1)]
        data = [taken.content(*one) for one in zip(items, called, strict=True)]
        digests = [digest_of(content) for content in data]
        names = [validate_name(identity) for identity, _ in images]
        wanted = list(zip(names, digests, strict=True))
        known = set[tuple[str, str]]()
        if self._store is not None:
            known = {(who, one) for who in set(names) for one in self.digests(who)}
        rows = [
            i for i, key in enumerate(wanted) if key not in known and wanted.index(key) == i
        ]
        loaded = [taken.load(data[i], called[i]) for i in rows]
        vectors = self.verifier.embed_loaded(loaded, "right")
        seen = zip(rows, loaded, self._reasons(loaded, vectors), strict=True)
        faults = [(called[i], fault_of(taken, data[i], x) or why) for i, x, why in seen]
        warnings = [(name, why) for name, why in faults if why]
        if strict and warnings:
            raise UnfitError(*map(": ".join, warnings))
        entries = [
            Entry(
                identity=names[i],
                vector=vector,
                digest=digests[i],
                metadata=metadata or {},
                thumbnail=thumbnail_of(data[i]) if taken.subject else None,
                original=data[i] if self.keep_originals else None,
            )
            for i, vector in zip(rows, vectors, strict=True)
        ]
        n_new = sum(self.store.enroll(entries)) if entries else 0
        return Enrolled(n_new, len(images) - n_new, tuple(warnings))

    def _reasons(self, loaded: Sequence[Any], vectors: Floats) -> list[Reason]:
        """Why each of N images to enroll is not familiar."""
        if not (self.verifier.shared and loaded):
            return [None] * len(loaded)
        return self.verifier.reasons(loaded, vectors, ["it"] * len(loaded))

    def enroll_vectors(
        self,
        identities: Sequence[str],
        vectors: NDArray[Any],
        metadata: Sequence[dict[str, Any]] | None = None,
    ) -> Enrolled:
        """Add embeddings without images; returns once they are durable.

        Args:
            identities: N names.
            vectors: Embeddings (N, D) of the right side by this gallery's model.
            metadata: JSON values to keep with each; none by default.

        Raises:
            GalleryError: If D is not the gallery's.
            ValueError: If there are not as many vectors as names, or a name cannot be kept.
        """
        vectors = header_of(self.verifier).checked(vectors)
        notes = metadata or [{} for _ in identities]
        entries = [
            Entry(validate_name(identity), vector, digest_of(vector.tobytes()), note)
            for identity, vector, note in zip(identities, vectors, notes, strict=True)
        ]
        n_new = sum(self.store.enroll(entries))
        return Enrolled(n_new, len(entries) - n_new)

    def identify(self, image: Item, k: int = 5) -> Identification:
        """Who an image, or an embedding (D,), shows, and the ``k`` best matches."""
        return self.identify_many([image], k)[0]

    def identify_many(self, images: Sequence[Item], k: int = 5) -> list[Identification]:
        """``identify`` for many images at once.

        Raises:
            DataError: If an image cannot be read.
            GalleryError: If an embedding is not of the gallery's size.
            ValueError: If ``k`` is not positive.
        """
        if k < 1:
            raise ValueError(f"k must be positive, got {k}")
        if not len(check_list(images)):
            return []
        return self.identify_embedded(*self._probes(images), k)

    def identify_embedded(
        self, vectors: Floats, reasons: Sequence[Reason], k: int
    ) -> list[Identification]:
        """``identify`` for embeddings (N, D), and why the image of each is not familiar."""
        stats = self.store.stats()
        vectors = self.store.header.checked(vectors)
        nearest = self._nearest(vectors, min(k, stats.n_identities), stats.n_images)
        answers = [
            self._answer(vector, hits, stats, k, reason)
            for vector, hits, reason in zip(vectors, nearest, reasons, strict=True)
        ]
        if self._learning is not None and self._learning.add(vectors, reasons):
            self._learn(self._learning)
        return answers

    def _learn(self, probes: Probes) -> None:
        """Keep the probes and answer beside them."""
        try:
            self.verifier = learn(self.store, self.verifier, probes)
        except GalleryError as error:  # of a read-only file, say
            self._learning = None
            log.warning(f"the gallery learns from no more probes: {error}")

    def digests(self, identity: str) -> set[str]:
        """The ``digest_of`` every image that is enrolled under this name."""
        forms = forms_of(identity)
        return {entry.digest for name in forms for entry in read_all(self.store, name)}

    def forget(self, identity: str) -> int:
        """Remove an identity, also from disk, and return the number of its images.

        Raises:
            UnknownIdentityError: If it is not enrolled.
        """
        return forget_identity(self.store, identity)

    def rename(self, identity: str, new: str) -> int:
        """Rename an identity, or join it to another, and return the number of its images.

        Raises:
            UnknownIdentityError: If it is not enrolled.
            ValueError: If the new name cannot be kept.
        """
        return rename_identity(self.store, identity, new)

    def has(self, identity: str) -> bool:
        """Whether an identity of this name is enrolled."""
        return bool(self.store.read(kept_name(self.store, identity), limit=1))

    def entry(self, number: int) -> Stored:
        """The enrolled image with this ``id``, which ``Match.entry`` names.

        Raises:
            UnknownIdentityError: If there is none, or it was forgotten.
        """
        found = self.store.read(after=number - 1, limit=1)
        if not found or found[0].id != number:
            raise UnknownIdentityError(f"no image {number} in the gallery")
        return found[0]

    def identities(self) -> dict[str, int]:
        """Number of images of every identity, sorted by name."""
        return self.store.identities()

    def images(
        self, identity: str | None = None, after: int = 0, limit: int = 100
    ) -> list[Stored]:
        """Up to ``limit`` entries with an ``id`` above ``after``, in the order of ids.

        Raises:
            UnknownIdentityError: If the identity is not enrolled.
        """
        identity = None if identity is None else kept_name(self.store, identity)
        found = self.store.read(identity, after, limit)
        if identity is not None and not found and not self.store.read(identity, limit=1):
            some_images(0, identity)
        return found

    def stats(self) -> dict[str, Any]:
        """Counts, bytes on disk, the model, and how neighbours are searched."""
        stats, header = self.store.stats(), self.store.header
        similarity = self.verifier.scores
        search = stats.search
        if not similarity.follows_near:
            search = (
                f"the {SHORTLIST} nearest by {similarity.near} distance ({search}), then "
                f"ranked by {similarity.name} scores"
            )
        return {
            "identities": stats.n_identities,
            "images": stats.n_images,
            "bytes": stats.n_bytes,
            "search": search,
            "model": header.model,
            "cohort": self.verifier.normalised_by,
            "fingerprint": header.fingerprint,
            "embedding_size": header.embedding_size,
        }

    def maintain(self) -> None:
        """Rebuild the index and give space back, where that is due."""
        self.store.maintain()

    def close(self) -> None:
        """Close the file, or the connections to the server."""
        if self._learning is not None and self._learning.n_new:
            self._learn(self._learning)
        if self._store is not None:
            self._store.close()

    def _probes(self, images: Sequence[Item]) -> tuple[Floats, list[Reason]]:
        """Embeddings (N, D) of the left side; arrays (D,) are embeddings already.

        And why the image of each is not familiar.
        """
        reasons: list[Reason] = [None] * len(images)
        vectors: dict[int, NDArray[Any]] = {
            i: np.asarray(image, np.float32)
            for i, image in enumerate(images)
            if isinstance(image, np.ndarray) and image.ndim == 1
        }
        others = [i for i in range(len(images)) if i not in vectors]
        called = [name_of(images[i], f"image {i + 1}") for i in others]
        embedded, found = self.verifier.look([images[i] for i in others], called)
        vectors |= dict(zip(others, embedded, strict=True))
        for i, reason in zip(others, found, strict=True):
            reasons[i] = reason
        return np.stack([vectors[i] for i in range(len(images))]), reasons

    def _nearest(
        self, vectors: Floats, n_identities: int, n_images: int
    ) -> list[list[Hit]]:
        """For each vector the images near it, of at least ``n_identities`` identities."""
        follows = self.verifier.scores.follows_near
        n_wanted = min(n_images, max(4 * n_identities, 16) if follows else SHORTLIST)
        found = self.store.search(vectors, n_wanted) if n_wanted else [[] for _ in vectors]
        for i, hits in enumerate(found):
            n_asked = n_wanted
            while len({hit.identity for hit in hits}) < n_identities and n_asked < n_images:
                n_asked = min(4 * n_asked, n_images)
                hits = self.store.search(vectors[i : i + 1], n_asked)[0]
            found[i] = hits
        return found

    def _answer(
        self, vector: Floats, hits: Sequence[Hit], stats: Stats, k: int, reason: Reason
    ) -> Identification:
        decision = self.verifier.decision
        found = best_images(hits, self._scores(vector, [hit.vector for hit in hits]))
        several = stats.n_images > stats.n_identities
        if several and decision is not None and decision.most_images > 1:
            found = self._voted(vector, found[: max(2 * k, CANDIDATES)], decision.vote)
        return answer(
            found,
            self.verifier.dissimilarities(np.array([one.score for one in found])),
            decision=decision,
            stats=stats,
            k=k,
            cohort=self.verifier.normalised_by,
            reason=reason,
        )

    def _scores(self, probe: Floats, vectors: Sequence[Floats]) -> NDArray[Any]:
        """(N,) scores of a probe (D,) with N embeddings."""
        if not vectors:
            return np.empty(0)
        return self.verifier.score(
            np.repeat(probe[None], len(vectors), axis=0), np.stack(vectors)
        )

    def _voted(
        self, probe: Floats, candidates: Sequence[Candidate], vote: Vote
    ) -> list[Candidate]:
        """The candidates by the vote of their images, the latest 100 of each."""
        images = self.store.images_of([one.identity for one in candidates], MOST_IMAGES)
        vectors: dict[str, list[Floats]] = {}
        for image in images:
            vectors.setdefault(image.identity, []).append(image.vector)
        # Another process may have forgotten one meanwhile.
        left = [one for one in candidates if one.identity in vectors]
        if not left:
            return []
        counts = [len(vectors[one.identity]) for one in left]
        scores = identity_scores(
            self.verifier.score_matrix,
            probe[None],
            np.stack([vector for one in left for vector in vectors[one.identity]]),
            np.cumsum([0, *counts[:-1]]),
            vote,
        )[0]
        return [
            replace(one, score=float(score), n_images=n_images)
            for one, score, n_images in zip(left, scores, counts, strict=True)
        ]
