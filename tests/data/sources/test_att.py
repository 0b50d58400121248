"""The AT&T faces, however they are packed."""

import zipfile

import pytest

from onelook.data.sources import open_source
from onelook.data.sources.att import att
from onelook.errors import DataError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


PORTRAITS = [f"s{person}/{i}.pgm" for person in range(1, 41) for i in range(1, 11)]


@pytest.mark.parametrize("kind", ["plain tree", "seed tree", "zip in folder", "zip itself"])
def test_att_is_the_same_in_every_packing(tmp_path, kind):
    seed = [
        ("testing/" if n.split("/")[0] in ("s5", "s6", "s7") else "training/") + n
        for n in PORTRAITS
    ]
    root = tmp_path
    if kind == "plain tree":
        touch(tmp_path / "orl_faces", *PORTRAITS, "README")
    elif kind == "seed tree":
        root = touch(tmp_path / "any", *seed, "training/README")
    else:
        with zipfile.ZipFile(tmp_path / "att_faces.zip", "w") as archive:
            for name in seed:
                archive.writestr(name, "")
        root = tmp_path / "att_faces.zip" if kind == "zip itself" else tmp_path
    data = att(root)
    assert data.class_names == tuple(f"s{i}" for i in range(1, 41))
    assert [p.rpartition("/")[2] for p in data.paths[:10]] == [
        f"{i}.pgm" for i in range(1, 11)
    ]
    assert data.of_split("test").class_names == ("s5", "s6", "s7")
    assert len(data.of_split("train")) == 370
    for fold in range(1, 9):
        people = data.subset(data.folds == fold).class_names
        assert people == tuple(f"s{i}" for i in range(5 * fold - 4, 5 * fold + 1))


def test_att_that_is_missing_or_cut_is_said_so(tmp_path, caplog):
    with pytest.raises(DataError, match="no portraits .* put att_faces.zip there"):
        att(tmp_path)
    att(touch(tmp_path, *PORTRAITS[:30]))
    assert "has 30 portraits, AT&T has 400: is it whole?" in caplog.text


def test_a_part_leaves_out_one_fold(tmp_path):
    touch(tmp_path, *PORTRAITS)
    assert open_source("att", "not-fold8", tmp_path).class_names[-1] == "s35"
    assert len(open_source("att", root=tmp_path)) == 400
    with pytest.raises(ValueError, match="unknown part 'not-fold9' of att; known: train"):
        open_source("att", "not-fold9", tmp_path)


@pytest.mark.data
def test_the_real_faces_have_the_published_counts(data_root, caplog):
    data = att(data_root)
    assert len(data) == 400 and data.n_classes == 40 and len(data.of_split("test")) == 30
    assert caplog.text == ""
