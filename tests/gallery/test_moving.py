"""Galleries between stores and models, and embeddings without images."""

import io

import numpy as np
import pytest
from PIL import Image

from onelook.errors import GalleryError
from onelook.gallery.gallery import Gallery
from onelook.gallery.moving import copy, import_vectors, migrate
from onelook.gallery.store import read_all
from onelook.gallery.stores import opened
from onelook.vectors import Vectors, write_vectors
from onelook.verifier import from_function


def grey(images):
    return np.stack([[np.asarray(i.convert("L")).mean() / 255, 1.0] for i in images])


def dark(images):
    return np.stack([[1 - v[0], 2.0, 3.0] for v in grey(images)])


def picture(value) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def verifier():
    return from_function(grey, "euclidean", "grey")


@pytest.fixture
def people(verifier, tmp_path):
    url = tmp_path / "people.db"
    with Gallery(verifier, url, keep_originals=True) as gallery:
        gallery.enroll("Ada", [picture(10), picture(12)], {"note": "x"})
        gallery.enroll("Bob", [picture(200)])
    return url


def everything(url):
    with opened(url) as store:
        return [
            (e.identity, e.digest, e.metadata, e.thumbnail, e.original, e.vector.tolist())
            for e in read_all(store)
        ]


def test_a_copy_holds_everything_and_can_be_begun_again(people, tmp_path):
    moved = copy(people, tmp_path / "copy.db", progress=False)
    assert (moved.n_moved, moved.n_known) == (3, 0)
    assert everything(tmp_path / "copy.db") == everything(people)
    again = copy(people, tmp_path / "copy.db", progress=False)
    assert (again.n_moved, again.n_known) == (0, 3)


def test_a_copy_into_another_models_gallery_is_refused(people, tmp_path):
    Gallery(from_function(dark, "euclidean", "dark"), tmp_path / "other.db").stats()
    with pytest.raises(GalleryError, match="onelook gallery migrate embeds"):
        copy(people, tmp_path / "other.db", progress=False)
    with pytest.raises(GalleryError, match="no gallery at"):
        copy(tmp_path / "nothere.db", tmp_path / "new.db", progress=False)


def test_a_migration_embeds_with_the_other_model(people, tmp_path):
    other = from_function(dark, "euclidean", "dark")
    with opened(people) as store:  # one entry that has no picture at all
        store.enroll([_without_picture(read_all(store))])
    moved = migrate(other, people, tmp_path / "new.db", progress=False)
    assert moved.n_moved == 3 and moved.left_behind == (("Cy", 4),)
    with Gallery(other, tmp_path / "new.db") as gallery:
        assert gallery.identities() == {"Ada": 2, "Bob": 1}
        vector = gallery.images("Bob")[0].vector
    np.testing.assert_allclose(vector, [1 - 200 / 255, 2.0, 3.0], atol=1e-6)


def _without_picture(entries):
    from onelook.gallery.store import Entry

    first = next(iter(entries))
    return Entry("Cy", first.vector, "0" * 64)


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_embeddings_are_enrolled_without_images(verifier, tmp_path, ending):
    paths = ("people/Ada/1.jpg", "people/Ada/2.jpg", "Bob.jpg")
    vectors = np.array([[0.1, 1], [0.2, 1], [0.9, 1]], np.float32)
    content = Vectors(paths, vectors, [], verifier.fingerprint)
    file = write_vectors(tmp_path / f"v{ending}", content)
    with Gallery(verifier, tmp_path / "g.db") as gallery:
        assert import_vectors(gallery, file).n_moved == 3
        assert import_vectors(gallery, file).n_known == 3
        assert gallery.identities() == {"Ada": 2, "Bob": 1}
        assert gallery.identify(np.array([0.88, 1]), k=1).matches[0].identity == "Bob"
        assert gallery.images("Bob")[0].metadata == {"path": "Bob.jpg"}


def test_embeddings_of_another_model_are_refused(verifier, tmp_path):
    vectors = np.ones((1, 2), np.float32)
    file = write_vectors(tmp_path / "v.npz", Vectors(("a/b.png",), vectors, [], "beef"))
    with Gallery(verifier, tmp_path / "g.db") as gallery:
        with pytest.raises(GalleryError, match="is of the model beef"):
            import_vectors(gallery, file)
        wide = Vectors(("a/b.png",), np.ones((1, 5), np.float32), [])
        with pytest.raises(GalleryError, match=r"shape \(N, 2\)"):
            import_vectors(gallery, write_vectors(tmp_path / "w.npz", wide))
