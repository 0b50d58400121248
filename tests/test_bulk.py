"""Shards: equal to embedding at once, whole after every stop, of one model and list."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import onelook
from onelook import bulk
from onelook.bulk import embed_shards, read_shards
from onelook.errors import CheckpointError, DataError, GalleryError
from onelook.gallery.gallery import Gallery
from onelook.gallery.moving import import_vectors
from onelook.vectors import embed_files
from onelook.verifier import from_function

pytest.importorskip("pyarrow")


def corner(images):
    return np.array([[image.convert("L").getpixel((0, 0)), 1.0] for image in images])


@pytest.fixture(autouse=True)
def small(monkeypatch, request):
    if "slow" not in request.keywords:
        monkeypatch.setattr(bulk, "SHARD", 8)
        monkeypatch.setattr(bulk, "BLOCK", 4)


@pytest.fixture
def verifier():
    return from_function(corner, "euclidean", "corner")


@pytest.fixture
def folder(tmp_path):
    """00.png … 20.png, whose grey is ten times their number, in folders of ten."""
    root = tmp_path / "images"
    for i in range(21):
        (root / f"class{i // 10}").mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * i).save(root / f"class{i // 10}" / f"{i:02}.png")
    return root


def all_of(out):
    parts = list(read_shards(out))
    names = [name for part in parts for name in part.paths]
    return names, np.concatenate([part.vectors for part in parts])


def test_shards_hold_what_embedding_at_once_gives(verifier, folder, tmp_path):
    out = tmp_path / "vectors"
    done = embed_shards(verifier, [str(folder)], out, progress=False)
    whole = embed_files(verifier, [folder], progress=False)
    names, vectors = all_of(out)
    assert names == list(whole.paths)
    np.testing.assert_array_equal(vectors, whole.vectors)
    assert (done.n_vectors, done.size, done.n_before, done.bad) == (21, 2, 0, [])
    files = ["00000.parquet", "00001.parquet", "00002.parquet", "bad.tsv", "embed.json"]
    assert sorted(one.name for one in out.iterdir()) == files


def test_a_shard_that_is_there_is_not_made_again(verifier, folder, tmp_path):
    out, encode, seen = tmp_path / "vectors", verifier.embed, []

    def until_the_second_shard(items, side):
        if len(seen) == 12:
            raise MemoryError
        seen.extend(items)
        return encode(items, side)

    verifier.embed = until_the_second_shard
    with pytest.raises(MemoryError):
        embed_shards(verifier, [str(folder)], out, progress=False)
    with pytest.raises(DataError, match="holds 1 of 3 shards; the same onelook embed"):
        all_of(out)
    (out / ".00001.parquet.1234").write_bytes(b"of a process that was killed")
    seen.clear()
    verifier.embed = lambda items, side: (seen.extend(items), encode(items, side))[1]
    done = embed_shards(verifier, [str(folder)], out, progress=False)
    assert (done.n_before, sum(isinstance(one, str) for one in seen)) == (8, 13)
    names, vectors = all_of(out)
    assert len(set(names)) == 21 and vectors[:, 0].tolist() == [10 * i for i in range(21)]
    assert not list(out.glob(".*"))


def test_ctrl_c_finishes_the_shard_in_work(verifier, folder, tmp_path):
    out, encode = tmp_path / "vectors", verifier.embed

    def press(items, side):
        os.kill(os.getpid(), signal.SIGINT)
        verifier.embed = encode
        return encode(items, side)

    verifier.embed = press
    with pytest.raises(KeyboardInterrupt):
        embed_shards(verifier, [str(folder)], out, progress=False)
    assert [one.name for one in out.glob("*.parquet")] == ["00000.parquet"]
    assert embed_shards(verifier, [str(folder)], out, progress=False).n_before == 8


def test_bad_items_are_listed_also_after_a_resume(verifier, folder, tmp_path):
    out = tmp_path / "vectors"
    (folder / "class0" / "03.png").write_bytes(b"no picture")
    (folder / "class1" / "12.png").rename(folder / "class1" / os.fsdecode(b"1\xe9.png"))
    done = embed_shards(verifier, [str(folder)], out, progress=False)
    lines = (out / "bad.tsv").read_text("utf-8").splitlines()
    assert done.n_vectors == 19 and len(done.bad) == len(lines) == 2
    assert lines[0].startswith(f"{folder}/class0/03.png\tnot an image")
    assert lines[1] == f"{folder}/class1/1\\udce9.png\tits name is not UTF-8; rename it"
    again = embed_shards(verifier, [str(folder)], out, progress=False)
    assert (again.n_before, again.bad) == (21, done.bad)
    for one in folder.rglob("*.png"):
        one.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of 21 images can be read: see .*bad\.tsv"):
        embed_shards(verifier, [str(folder)], tmp_path / "none", progress=False)


def test_another_model_list_or_folder_is_refused(verifier, folder, tmp_path):
    out = tmp_path / "vectors"
    embed_shards(verifier, [str(folder)], out, progress=False)
    other = from_function(lambda images: corner(images) * 2, "euclidean", "other")
    with pytest.raises(
        DataError, match=r"was begun with the model corner .*, not with the"
    ):
        embed_shards(other, [str(folder)], out, progress=False)
    first = folder / "class0" / "00.png"
    first.rename(first.with_name("0.png"))
    with pytest.raises(DataError, match="was begun with images whose names have the dig"):
        embed_shards(verifier, [str(folder)], out, progress=False)
    first.with_name("0.png").unlink()
    with pytest.raises(DataError, match="was begun with 21 images, not with 20 images"):
        embed_shards(verifier, [str(folder)], out, progress=False)
    with pytest.raises(DataError, match=r"images holds other files \(class0\); name a new"):
        embed_shards(verifier, [str(folder)], folder, progress=False)
    (out / "embed.json").write_text("{}")
    with pytest.raises(DataError, match=r"embed\.json cannot be read"):
        embed_shards(verifier, [str(folder)], out, progress=False)


def test_a_damaged_shard_is_named(verifier, folder, tmp_path):
    out = tmp_path / "vectors"
    embed_shards(verifier, [str(folder)], out, progress=False)
    (out / "00001.parquet").write_bytes(b"half")
    with pytest.raises(DataError, match=r"00001\.parquet cannot be read as embeddings"):
        embed_shards(verifier, [str(folder)], out, progress=False)


def test_several_workers_give_what_one_gives(tmp_path):
    omniglot, folder = onelook.load("omniglot"), tmp_path / "drawings"
    folder.mkdir()
    for i in range(20):
        image = Image.new("L", (40, 40), 255)
        image.paste(0, (5, 5, 10 + i, 12))
        image.save(folder / f"{i}.png")
    (folder / "7.png").write_bytes(b"no picture")
    one, two = tmp_path / "one", tmp_path / "two"
    embed_shards(omniglot, [str(folder)], one, progress=False)
    done = embed_shards(omniglot, [str(folder)], two, workers=2, progress=False)
    assert done.n_vectors == 19 and done.bad[0][0] == str(folder / "7.png")
    assert all_of(one)[0] == all_of(two)[0]
    np.testing.assert_allclose(all_of(one)[1], all_of(two)[1], atol=1e-6)


def test_several_workers_need_a_model_that_they_can_load(verifier, folder, tmp_path):
    with pytest.raises(CheckpointError, match="no model 'corner'"):
        embed_shards(verifier, [str(folder)], tmp_path / "v", workers=2, progress=False)
    omniglot = onelook.load("omniglot")
    omniglot._fingerprint = "changed"
    with pytest.raises(CheckpointError, match="need a model that is saved as it is"):
        embed_shards(omniglot, [str(folder)], tmp_path / "v", workers=2, progress=False)


def test_shards_are_enrolled_by_the_folders_in_their_names(verifier, folder, tmp_path):
    out = tmp_path / "vectors"
    verifier._fingerprint = "beef"  # a function has none
    embed_shards(verifier, [str(folder)], out, progress=False)
    with Gallery(verifier, tmp_path / "g.db") as gallery:
        assert import_vectors(gallery, out).n_moved == 21
        assert import_vectors(gallery, out).n_known == 21
        assert gallery.identities() == {"class0": 10, "class1": 10, "class2": 1}
    other = onelook.load("omniglot")
    with Gallery(other, tmp_path / "other.db") as gallery:
        with pytest.raises(GalleryError, match="is of the model beef"):
            import_vectors(gallery, out)
        with pytest.raises(DataError, match=r"has no embed\.json"):
            import_vectors(gallery, folder)


def write_table(path, n):
    import pyarrow
    from pyarrow import parquet

    images = []
    for i in range(n):
        image = Image.new("1", (105, 105), 1)
        image.paste(0, (10, 10, 20 + i % 70, 20 + i // 70 % 70))
        file = io.BytesIO()
        image.save(file, "PNG")
        images.append(file.getvalue())
    parquet.write_table(pyarrow.table({"image": images}), path, row_group_size=512)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "stop"),
    [("1", signal.SIGKILL), ("2", signal.SIGKILL), ("2", signal.SIGINT)],
)
def test_a_killed_command_goes_on(tmp_path, workers, stop):
    table, out = tmp_path / "t.parquet", tmp_path / "vectors"
    write_table(table, 9000)
    command = [sys.executable, "-m", "onelook", "embed", str(table), "--out", str(out)]
    command += ["--workers", workers]
    begun = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (out / "00000.parquet").exists() and time.monotonic() < until:
        time.sleep(0.02)
    begun.send_signal(stop)
    _, err = begun.communicate(timeout=120)
    n_done = len(list(out.glob("*.parquet")))
    assert 1 <= n_done < 3
    if stop == signal.SIGINT:
        assert begun.returncode == 130 and "the same command again goes on" in err
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "model: omniglot" in ended.stderr
    assert f"{4096 * n_done:,} images were there before" in ended.stdout
    names, vectors = all_of(out)
    assert names == [f"{table}!/{i}" for i in range(9000)] and vectors.shape == (9000, 256)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ray_gives_what_one_process_gives_and_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    table, home = tmp_path / "t.parquet", tmp_path / "home"
    write_table(table, 600)
    home.mkdir()
    command = [sys.executable, "-m", "onelook", "embed", str(table), "-m", "omniglot"]
    environment = {**os.environ, "HOME": str(home), "TMPDIR": "/tmp"}
    before = set(os.listdir("/tmp"))
    for workers in ("1", "ray"):
        more = ["--out", str(tmp_path / workers), "--workers", workers]
        ended = subprocess.run([*command, *more], capture_output=True, env=environment)
        assert ended.returncode == 0, ended.stderr
    left = [one for one in set(os.listdir("/tmp")) - before if one.startswith("ray")]
    assert left == [] and list(home.iterdir()) == []
    one, ray = all_of(tmp_path / "1"), all_of(tmp_path / "ray")
    assert one[0] == ray[0]
    np.testing.assert_allclose(one[1], ray[1], atol=1e-6)
