"""Tables of pairs: columns, quotes, labels, and what each malformed table prints."""

import numpy as np
import pytest

from onelook.data.sources.pair_tables import read_pair_table
from onelook.errors import DataError
from onelook.recipe import DataSettings


def read(path, root="", same=None, **settings):
    settings = DataSettings(source="pair-table", **settings)
    return read_pair_table(path, root, settings, same)


def text(folder, content, name="pairs.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_table_of_texts_keeps_quotes_commas_and_newlines(tmp_path):
    content = 'left,label,right\n"a ""b"", c",4.5,plain\n"two\nlines",1,x\nlast,2,y\n'
    pairs = read(
        text(tmp_path, content, "t.csv"),
        label="target",
        left_side="text",
        right_side="text",
    )
    assert pairs.left == ('a "b", c', "two\nlines", "last")
    assert pairs.right == ("plain", "x", "y")
    assert pairs.targets.dtype == np.float32 and pairs.targets.tolist() == [4.5, 1, 2]
    assert pairs.line_numbers.tolist() == [2, 3, 5] and pairs.is_same is None


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_a_table_pairs_an_image_with_a_text(tmp_path, separator):
    (tmp_path / "1.png").touch()
    content = f"# same=0\nid{separator}picture{separator}title{separator}match\n"
    content += f"7{separator}1.png{separator}a cat{separator}0\n"
    pairs = read(
        text(tmp_path, content, "t.csv"),
        left_column="picture",
        right_column="title",
        label_column="match",
        right_side="text",
        root=tmp_path,
    )
    assert pairs.left == (f"{tmp_path}/1.png",) and pairs.right == ("a cat",)
    assert pairs.is_same.tolist() == [True] and pairs.line_numbers.tolist() == [3]


def test_words_as_labels_need_no_convention(tmp_path):
    path = text(tmp_path, "left,right,label\na,b,same\na,c,Different\n")
    pairs = read(path, left_side="text", right_side="text")
    assert pairs.is_same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "a,b,c\n1,2,3\n",
            {},
            "pairs.txt:1: no column 'left', 'right' or 'label' in 'a,b,c'",
        ),
        ("", {}, "pairs.txt:1: no column 'left'"),
        ("left,right,label\na,b\n", {}, "pairs.txt:2: expected 3 fields, got 2: 'a,b'"),
        ("left,right,label\na,b,1\n", {}, "pairs.txt:2: what does label '1' mean"),
        ("left,right,label\na,b,yes\n", {"same": 1}, "pairs.txt:2: label must be .*'yes'"),
        ("left,right,label\na,,1\n", {"same": 1}, "pairs.txt:2: column 'right' is empty"),
        (
            "left,right,label\na,b,x\n",
            {"label": "target"},
            "must be a number, got 'x'",
        ),
        ("left,right,label\na,b,nan\n", {"label": "target"}, "must be a number"),
        (
            'left,right,label\n\n"a,b,1\nc,d,1\n',
            {"same": 1},
            "pairs.txt:3: .*check the quotes",
        ),
        ("left,right,label\n", {"same": 1}, "holds no pairs below"),
        (
            "left,right,label\na,b,1\n",
            {"same": 1, "left_side": "path"},
            "pairs.txt:2: there is no",
        ),
        (
            "# same=0\nleft,right,label\na,b,1\n",
            {"same": 1},
            "pairs.txt:1: the file says same=0",
        ),
    ],
)
def test_a_malformed_table_is_named_with_its_line(tmp_path, content, options, message):
    options = {"left_side": "text", "right_side": "text", **options}
    with pytest.raises(DataError, match=message):
        read(text(tmp_path, content), **options)
