"""Texts as tokens: words, characters, vocabularies."""

import numpy as np
import pytest

from onelook.data.inputs import TextInput
from onelook.errors import DataError
from onelook.recipe import SequenceSettings

WORDS = SequenceSettings(kind="text")


def test_words_are_lower_case_without_punctuation():
    fitted = TextInput.fit(["It's HERE, here -- now!"], WORDS)
    assert fitted.vocabulary == ("here", "it's", "now")


def test_characters_are_every_character():
    settings = SequenceSettings(kind="text", unit="character", max_length=3)
    fitted = TextInput.fit(["aB b"], settings)
    assert fitted.vocabulary == ("b", " ", "a")
    tokens = fitted.load_many(["b a and more", "x"])
    assert tokens.values.tolist() == [[2, 3, 4], [1, 0, 0]]
    assert tokens.lengths.tolist() == [3, 1]


def test_rare_words_are_unknown():
    settings = SequenceSettings(kind="text", min_count=2)
    fitted = TextInput.fit(["a b a", "b c"], settings)
    assert fitted.vocabulary == ("a", "b")
    assert fitted.encoder_arguments() == {"vocabulary_size": 4}
    assert fitted.load_many(["c a z"]).values.tolist() == [[1, 2, 1]]


def test_a_text_without_words_is_one_unknown():
    loaded = TextInput(WORDS, ("a",)).load_many(["", "...", "a"])
    assert loaded.values.tolist() == [[1], [1], [2]]
    assert loaded.lengths.tolist() == [1, 1, 1]


def test_tokens_spell_the_text_again():
    texts = ["one two three", "three one", "two two one three"]
    fitted = TextInput.fit(texts, WORDS)
    loaded = fitted.load_many(texts)
    assert loaded.values.dtype == np.int64
    for text, tokens, length in zip(texts, *loaded, strict=True):
        words = [fitted.vocabulary[token - 2] for token in tokens[:length]]
        assert " ".join(words) == text
        assert not tokens[length:].any()


def test_a_vocabulary_that_repeats_is_refused():
    with pytest.raises(ValueError, match="must not repeat"):
        TextInput(WORDS, ("a", "a"))


def test_a_store_gives_what_load_many_gives():
    texts = ["one two three", "three", "two one", "three"]
    fitted = TextInput.fit(texts, WORDS)
    store = fitted.store(texts)
    assert len(store) == 3
    for wanted in (texts, ["three", "three"], ["two one"]):
        gathered, expected = store.gather(store.rows(wanted)), fitted.load_many(wanted)
        assert gathered.values.dtype == np.int64
        np.testing.assert_array_equal(gathered.values, expected.values)
        np.testing.assert_array_equal(gathered.lengths, expected.lengths)
    assert store.gather([]).values.shape[0] == 0


@pytest.mark.data
def test_sick_sentences_are_words(data_root):
    lines = (data_root / "sick" / "SICK_train.txt").read_text("utf-8").splitlines()[1:]
    texts = [text for line in lines for text in line.split("\t")[1:3]]
    fitted = TextInput.fit(texts, WORDS)
    assert 2000 < len(fitted.vocabulary) < 2600
    assert fitted.vocabulary[0] == "a"
    store = fitted.store(texts)
    gathered = store.gather(store.rows(texts))
    assert gathered.values.min() == 0
    assert not (gathered.values == 1).any()  # fitted on them, so nothing is unknown
    assert gathered.lengths.max() <= 40


def test_a_text_comes_as_str_or_bytes_and_nothing_else():
    texts = TextInput(WORDS, ("a", "cat"))
    assert texts.load("A cat").tolist() == texts.load(b"a cat").tolist() == [2, 3]
    with pytest.raises(DataError, match=r"^text 2: expected a text \(str\), got ndarray$"):
        texts.load_many(["a", np.zeros(3)])
