"""Pair files: conventions, line numbers, and what each malformed file prints."""

import random
import zipfile

import numpy as np
import pytest

from onelook.data.items import Pairs
from onelook.data.sources.pair_files import read_pairs, resolver, write_pairs
from onelook.errors import DataError


def text(folder, content, name="pairs.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("separator", ["\t", ",", " ", "   ", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_separator_and_line_end_reads_the_same(tmp_path, separator, end):
    lines = ["# same=1", "", "a.png b.png 1", "# a remark", "a.png c.png 0"]
    content = end.join(
        line.replace(" ", separator) if "." in line else line for line in lines
    )
    pairs = read_pairs(text(tmp_path, "\ufeff" + content), check=False)
    assert pairs.left == ("a.png", "a.png") and pairs.right == ("b.png", "c.png")
    assert pairs.is_same.tolist() == [True, False]
    assert pairs.line_numbers.tolist() == [3, 5]


@pytest.mark.parametrize("same", [0, 1])
def test_the_header_and_the_option_say_the_same_thing(tmp_path, same):
    body = "a b 1\nc d 0\n"
    by_option = read_pairs(text(tmp_path, body), same=same, check=False)
    by_header = read_pairs(text(tmp_path, f"#same = {same}\n{body}"), check=False)
    expected = [1 == same, 0 == same]
    assert by_option.is_same.tolist() == by_header.is_same.tolist() == expected


def test_paths_with_spaces_and_commas_need_tabs(tmp_path):
    path = text(tmp_path, "# same=1\nAda L/1, a.png\tb c.png\t1\na,b.png c.png 0\n")
    pairs = read_pairs(path, check=False)
    assert pairs.left == ("Ada L/1, a.png", "a,b.png")
    assert pairs.right == ("b c.png", "c.png")


@pytest.mark.parametrize(
    "line",
    ['"a, b/0.png","c/1.png",1', '"a, b/0.png"; c/1.png; 1', "a, b\\0.png\tc\\1.png\t1"],
)
def test_quotes_and_backslashes_of_other_programs_are_read(tmp_path, line):
    for name in ("a, b/0.png", "c/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    pairs = read_pairs(text(tmp_path, f"# same=1\n{line}\r\n"), tmp_path)
    assert pairs.left == (f"{tmp_path}/a, b/0.png",)
    assert pairs.right == (f"{tmp_path}/c/1.png",) and pairs.is_same.all()


@pytest.mark.parametrize(
    ("content", "same", "message"),
    [
        (
            "10 300\nAda\t1\t2\n",
            1,
            "pairs.txt:1: this is LFW's format .* lfw-view2 reads it",
        ),
        ("# same=1\nimg_a,img_b,y\na,b,1\n", None, "pairs.txt:2: .* column names"),
        (
            "a b 1\n",
            None,
            r"pairs.txt:1: what does label '1' mean\? .*--same 1 or --same 0",
        ),
        (
            "# same=1\na b 1\n",
            0,
            "pairs.txt:1: the file says same=1, the option --same says 0",
        ),
        (
            "# same=1\n# same=0\na b 1",
            None,
            "pairs.txt:2: the file says same=0, an earlier",
        ),
        ("# same=2\na b 1\n", None, "pairs.txt:1: same must be 0 or 1, got '2'"),
        ("# same=1\n\na b\n", None, "pairs.txt:3: expected PATH PATH LABEL .*got 'a b'"),
        (
            "# same=1\na b c 1\n",
            None,
            "pairs.txt:2: expected .* a path with spaces needs tabs",
        ),
        ("# same=1\na b 7\n", None, "pairs.txt:2: label must be 0 or 1, got '7'"),
        (
            "left,right,label\na,b,1\n",
            1,
            "pairs.txt:1: 'left,right,label' is a line of column names; put # before",
        ),
        ("# same=1\n\n", None, "pairs.txt holds no pairs"),
        ("", None, "pairs.txt holds no pairs"),
        (b"# same=1\nJos\xe9 b 1\n", None, "pairs.txt:2: byte 0xe9 is not UTF-8"),
        ("# same=1\na b 1\n".encode("utf-16"), None, "pairs.txt:1: byte 0xff is not UTF-8"),
        ("# same=1\na\0 b 1\n", None, "pairs.txt:2: a zero byte"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path, content, same, message):
    with pytest.raises(DataError, match=message):
        read_pairs(text(tmp_path, content), same=same, check=False)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing.txt: no such file"):
        read_pairs(tmp_path / "nothing.txt", same=1)
    with pytest.raises(DataError, match=": is a folder, not a file$"):
        read_pairs(tmp_path, same=1)
    with pytest.raises(ValueError, match="same must be 0 or 1, got 2"):
        read_pairs(tmp_path / "pairs.txt", same=2)


def test_paths_are_resolved_under_a_folder_and_an_archive(tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "one" / name).touch()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("one/a.png", "")
        archive.writestr("one/b.png", "")
    path = text(tmp_path, "# same=1\na.png ./b.png 1\n")
    in_folder = read_pairs(path, tmp_path / "one")
    assert in_folder.left == (f"{tmp_path}/one/a.png",)
    in_archive = read_pairs(path, f"{tmp_path}/all.zip!/one")
    assert in_archive.right == (f"{tmp_path}/all.zip!/one/b.png",)
    with pytest.raises(
        DataError,
        match="pairs.txt:2: there is no file .*/a.png; paths are relative to --root",
    ):
        read_pairs(path, tmp_path)
    with pytest.raises(DataError, match="pairs.txt:2: there is no file .*all.zip!/a.png"):
        read_pairs(path, tmp_path / "all.zip")


def test_a_resolver_joins_like_a_shell_would(tmp_path):
    assert resolver()("x/1.png") == "x/1.png"
    assert resolver("faces")("/abs/1.png") == "/abs/1.png"
    assert resolver("a.zip")("x/../1.png") == "a.zip!/1.png"
    (tmp_path / "odd.zip").mkdir()  # a folder may be called so
    assert resolver(tmp_path / "odd.zip")("1.png") == f"{tmp_path}/odd.zip/1.png"


@pytest.mark.parametrize("same", [0, 1])
def test_written_pairs_read_back_equal(tmp_path, same):
    generator = random.Random(0)
    names = ["ü/a b.png", "c,d.png", "x.zip!/e/f.png", "plain.png"]
    n = 50
    pairs = Pairs(
        left=tuple(generator.choice(names) for _ in range(n)),
        right=tuple(generator.choice(names) for _ in range(n)),
        is_same=np.array([generator.random() < 0.5 for _ in range(n)]),
    )
    write_pairs(tmp_path / "out.txt", pairs, same)
    again = read_pairs(tmp_path / "out.txt", check=False)
    assert (again.left, again.right) == (pairs.left, pairs.right)
    np.testing.assert_array_equal(again.is_same, pairs.is_same)
    first = (tmp_path / "out.txt").read_text().splitlines()[0]
    assert first == f"# same={same}"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("name", ["a\tb", "a\nb", " a", "#a", ""])
def test_a_path_that_would_not_read_back_is_not_written(tmp_path, name):
    pairs = Pairs((name,), ("b",), is_same=np.array([True]))
    with pytest.raises(DataError, match="does not fit into a pair file"):
        write_pairs(tmp_path / "out.txt", pairs)
    assert not list(tmp_path.iterdir())


def test_pairs_of_unequal_columns_are_refused_and_a_subset_keeps_all():
    with pytest.raises(DataError, match="is_same has 2 entries for 1 pairs"):
        Pairs(("a",), ("b",), is_same=np.array([True, False]))
    pairs = Pairs(
        ("a", "b", "c"),
        ("d", "e", "f"),
        is_same=np.array([True, False, True]),
        targets=np.array([1, 2, 3], dtype=np.float32),
        folds=np.array([1, 1, 2]),
        line_numbers=np.array([5, 6, 7]),
    )
    part = pairs.subset(pairs.is_same)
    assert part.left == ("a", "c") and part.right == ("d", "f")
    assert part.targets.tolist() == [1, 3] and part.folds.tolist() == [1, 2]
    assert part.line_numbers.tolist() == [5, 7] and len(part) == 2
