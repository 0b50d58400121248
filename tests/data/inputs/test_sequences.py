from pathlib import Path

import numpy as np
import pytest
import torch

from onelook.data.inputs.images import Preprocess
from onelook.data.inputs.sequences import (
    Sequences,
    SequenceStore,
    StrokePreprocess,
    TextPreprocess,
    preprocess_from_dict,
    read_strokes,
    to_device,
)
from onelook.errors import DataError
from onelook.recipe import ImageSettings, SequenceSettings

WORDS = SequenceSettings(kind="text")
# An L of two strokes: 30 down, then, a step to the right, 15 to the right.
STROKES = "START\n10,-10,0\n10,-20,5\n10,-40,9\nBREAK\n15,-40,20\n30,-40,40\nBREAK\n"


def strokes(max_length: int = 64) -> StrokePreprocess:
    return StrokePreprocess(SequenceSettings(kind="strokes", max_length=max_length))


@pytest.fixture
def drawn(tmp_path: Path) -> str:
    (tmp_path / "drawn.txt").write_text(STROKES)
    return str(tmp_path / "drawn.txt")


def test_words_are_lower_case_without_punctuation():
    fitted = TextPreprocess.fit(["It's HERE, here -- now!"], WORDS)
    assert fitted.vocabulary == ("here", "it's", "now")


def test_characters_are_every_character():
    settings = SequenceSettings(kind="text", unit="character", max_length=3)
    fitted = TextPreprocess.fit(["aB b"], settings)
    assert fitted.vocabulary == ("b", " ", "a")
    tokens = fitted.load_many(["b a and more", "x"])
    assert tokens.values.tolist() == [[2, 3, 4], [1, 0, 0]]
    assert tokens.lengths.tolist() == [3, 1]


def test_rare_words_are_unknown():
    settings = SequenceSettings(kind="text", min_count=2)
    fitted = TextPreprocess.fit(["a b a", "b c"], settings)
    assert fitted.vocabulary == ("a", "b")
    assert fitted.n_tokens == 4
    assert fitted.load_many(["c a z"]).values.tolist() == [[1, 2, 1]]


def test_a_text_without_words_is_one_unknown():
    loaded = TextPreprocess(WORDS, ("a",)).load_many(["", "...", "a"])
    assert loaded.values.tolist() == [[1], [1], [2]]
    assert loaded.lengths.tolist() == [1, 1, 1]


def test_tokens_spell_the_text_again():
    texts = ["one two three", "three one", "two two one three"]
    fitted = TextPreprocess.fit(texts, WORDS)
    loaded = fitted.load_many(texts)
    assert loaded.values.dtype == torch.int64
    for text, tokens, length in zip(texts, *loaded, strict=True):
        words = [fitted.vocabulary[token - 2] for token in tokens[:length]]
        assert " ".join(words) == text
        assert not tokens[length:].any()


def test_a_vocabulary_that_repeats_is_refused():
    with pytest.raises(ValueError, match="must not repeat"):
        TextPreprocess(WORDS, ("a", "a"))


def test_strokes_are_read_in_the_order_drawn(drawn):
    first, second = read_strokes(drawn)
    assert first.tolist() == [[10, -10], [10, -20], [10, -40]]
    assert second.tolist() == [[15, -40], [30, -40]]


def test_points_follow_the_ink_at_even_distances(drawn):
    # 45 units of ink, 11 points: each stroke opens with one, the other 9 lie 5 units apart.
    points = strokes(11).load(drawn)
    assert points.shape == (11, 3)
    assert points.dtype == np.float32
    path = np.cumsum(points[:, :2], axis=0) * 30 + [20, -25]  # size and centre undone
    expected = [(10, y) for y in range(-10, -41, -5)] + [(x, -40) for x in (15, 20, 25, 30)]
    np.testing.assert_allclose(path, expected, atol=1e-4)
    assert points[:, 2].tolist() == [0] * 6 + [1] + [0] * 3 + [1]


@pytest.mark.parametrize("max_length", [1, 2, 3, 7, 100])
def test_there_are_never_more_points_than_asked_for(drawn, max_length):
    assert 1 <= len(strokes(max_length).load(drawn)) <= max_length


def test_size_place_and_speed_of_the_drawing_do_not_matter(drawn, tmp_path):
    # Twice as large, elsewhere, and with another point on a straight line.
    moved = tmp_path / "moved.txt"
    moved.write_text(
        "START\n120,20,0\n120,0,1\n120,-1,2\n120,-40,3\nBREAK\n130,-40,4\n160,-40,5\nBREAK\n"
    )
    np.testing.assert_allclose(strokes().load(str(moved)), strokes().load(drawn), atol=1e-6)


def test_a_dot_is_one_point(tmp_path):
    (tmp_path / "dot.txt").write_text("START\n5,5,0\n5,5,9\nBREAK\n")
    assert strokes().load(str(tmp_path / "dot.txt")).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"START\n1,2,3\n1;2;3\n", r"line 3: expected x,y,t, START or BREAK, got '1;2;3'"),
        (b"START\n1,nan,3\n", "line 2: expected"),
        (b"START\nBREAK\n", "no points"),
        (b"", "no points"),
        (b"\xff\xfe\x00", "not a stroke file"),
    ],
)
def test_a_wrong_stroke_file_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "wrong.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        strokes().load_many([str(path)])
    assert str(caught.value).startswith(f"{path}: ")


def test_stroke_sequences_are_padded(drawn, tmp_path):
    (tmp_path / "dot.txt").write_text("START\n5,5,0\nBREAK\n")
    loaded = strokes(11).load_many([str(tmp_path / "dot.txt"), drawn])
    assert loaded.values.shape == (2, 11, 3)
    assert loaded.values.dtype == torch.float32
    assert loaded.lengths.tolist() == [1, 11]
    assert not loaded.values[0, 1:].any()


def test_every_preprocessing_survives_the_way_through_a_dict():
    for preprocess in (
        Preprocess(ImageSettings(height=5, width=6)),
        TextPreprocess.fit(["a b"], WORDS),
        strokes(9),
    ):
        assert preprocess_from_dict(preprocess.to_dict()) == preprocess


@pytest.mark.parametrize(
    "content", [{"kind": "smell"}, {}, {"kind": "strokes", "depth": 3}, {"kind": "image"}]
)
def test_a_wrong_dict_is_a_value_error(content):
    with pytest.raises(ValueError, match="smell|None|depth|height"):
        preprocess_from_dict(content)


def test_a_store_gives_what_load_many_gives():
    texts = ["one two three", "three", "two one", "three"]
    fitted = TextPreprocess.fit(texts, WORDS)
    store = SequenceStore.prepare(texts, fitted)
    assert len(store) == 3
    for wanted in (texts, ["three", "three"], ["two one"]):
        gathered, expected = store.gather(store.rows(wanted)), fitted.load_many(wanted)
        assert gathered.values.dtype == torch.int64
        assert torch.equal(gathered.values, expected.values)
        assert torch.equal(gathered.lengths, expected.lengths)
    assert store.gather([]).values.shape[0] == 0


def test_a_store_refuses_bad_strokes_or_skips_them(drawn, tmp_path):
    addresses = [drawn, str(tmp_path / "gone.txt")]
    with pytest.raises(DataError, match="1 of 2 stroke files cannot be read"):
        SequenceStore.prepare(addresses, strokes())
    store = SequenceStore.prepare(addresses, strokes(), skip_bad=True)
    assert store.bad == [(addresses[1], "no such file")]
    assert torch.equal(
        store.gather(store.rows([drawn])).values, strokes().load_many([drawn]).values
    )
    for address, message in ((addresses[1], "no such file"), ("x", "not among")):
        with pytest.raises(DataError, match=message):
            store.rows([address])
    with pytest.raises(DataError, match="1 of 1"):
        SequenceStore.prepare(addresses[1:], strokes(), skip_bad=True)


def test_to_device_moves_tensors_and_sequences():
    moved = to_device(Sequences(torch.zeros(2, 3), torch.ones(2)), "meta")
    assert isinstance(moved, Sequences)
    assert {moved.values.device.type, moved.lengths.device.type} == {"meta"}
    assert to_device(torch.zeros(2), "meta").device.type == "meta"


@pytest.mark.data
def test_every_stroke_file_of_omniglot_is_read(data_root):
    from onelook.data.archives import open_tree

    tree = open_tree(data_root / "omniglot" / "strokes_background_small1.zip")
    addresses = [tree.address(name) for name in tree.names if name.endswith(".txt")]
    assert len(addresses) == 2720  # 136 characters, 20 drawers
    store = SequenceStore.prepare(addresses, strokes(96))
    assert len(store) == 2720
    loaded = store.gather(range(len(store)))
    assert loaded.values.shape[1] <= 96
    assert loaded.lengths.min() >= 1
    # The summed steps stay in the drawing: half its longer side from its centre.
    paths = loaded.values[:, :, :2].cumsum(1)
    assert paths.abs().max() <= 0.5 + 1e-4


@pytest.mark.data
def test_strokes_lie_on_the_ink_of_the_image(data_root):
    """The image and the pen of one drawing agree: most points fall on dark pixels."""
    from onelook.data.inputs.images import decode, read_bytes

    name = "Greek/character01/0394_01"
    folder = data_root / "omniglot"
    image = f"{folder}/images_background.zip!/images_background/{name}.png"
    ink = np.asarray(decode(read_bytes(image), image)) < 128
    pen = f"{folder}/strokes_background_small1.zip!/strokes_background_small1/{name}.txt"
    points = np.concatenate(read_strokes(pen))
    columns, lines = np.rint(points[:, 0]).astype(int), np.rint(-points[:, 1]).astype(int)
    thick = np.zeros_like(ink)
    thick[1:-1, 1:-1] = [
        [ink[y - 1 : y + 2, x - 1 : x + 2].any() for x in range(1, 104)]
        for y in range(1, 104)
    ]
    assert thick[lines, columns].mean() > 0.9


@pytest.mark.data
def test_sick_sentences_are_words(data_root):
    lines = (data_root / "sick" / "SICK_train.txt").read_text("utf-8").splitlines()[1:]
    texts = [text for line in lines for text in line.split("\t")[1:3]]
    fitted = TextPreprocess.fit(texts, WORDS)
    assert 2000 < len(fitted.vocabulary) < 2600
    assert fitted.vocabulary[0] == "a"
    store = SequenceStore.prepare(texts, fitted)
    gathered = store.gather(store.rows(texts))
    assert gathered.values.min() == 0
    assert not (gathered.values == 1).any()  # fitted on them, so nothing is unknown
    assert gathered.lengths.max() <= 40
