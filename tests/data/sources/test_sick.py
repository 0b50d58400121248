"""SICK from text files and zips."""

import zipfile

import numpy as np
import pytest

from onelook.data.sources import open_source
from onelook.data.sources.sick import sick
from onelook.errors import DataError

SICK = (
    "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\r\n"
    '6\tHe says "no\tA dog, a cat\t3.3\tNEUTRAL\r\n'
    "7\tA\tB\t5\tNEUTRAL\r\n"
)


@pytest.mark.parametrize("place", ["", "sick"])
@pytest.mark.parametrize("zipped", [False, True])
def test_sick_reads_text_and_official_zips(tmp_path, place, zipped):
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    if zipped:
        with zipfile.ZipFile(folder / "sick_trial.zip", "w") as archive:
            archive.writestr("SICK_trial.txt", SICK)
    else:
        (folder / "SICK_trial.txt").write_bytes(SICK.encode())
    pairs = sick(tmp_path, "trial")
    assert pairs.left == ('He says "no', "A") and pairs.right == ("A dog, a cat", "B")
    np.testing.assert_allclose(pairs.targets, [3.3, 5], rtol=1e-6)
    assert pairs.line_numbers.tolist() == [2, 3] and pairs.is_same is None


def test_a_wrong_sick_is_named_with_its_line(tmp_path):
    with pytest.raises(DataError, match="no SICK_train.txt and no sick_train.zip"):
        sick(tmp_path)
    (tmp_path / "SICK_train.txt").write_text(SICK.replace("\t5\t", "\t5.5\t"))
    with pytest.raises(DataError, match="SICK_train.txt:3: relatedness must be .* got 5.5"):
        sick(tmp_path)
    with pytest.raises(ValueError, match="unknown split 'val' of SICK; known: train"):
        sick(tmp_path, "val")


def test_the_trial_pairs_are_the_validation_of_a_training(tmp_path):
    for split in ("train", "trial"):
        (tmp_path / f"SICK_{split}.txt").write_text(SICK)
    pairs = open_source("sick", "train+trial", tmp_path)
    assert pairs.splits.tolist() == ["train", "train", "validation", "validation"]
    train, held = pairs.hold_out(0.1, seed=0)
    assert len(train) == len(held) == 2 and pairs.left_side == "text"


@pytest.mark.data
def test_the_real_pairs_have_the_published_counts(data_root):
    for split, n_pairs in (("train", 4_500), ("trial", 500), ("test", 4_927)):
        pairs = sick(data_root, split)
        assert len(pairs) == n_pairs
        assert pairs.targets.min() >= 1 and pairs.targets.max() <= 5
