import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from onelook.comparison import Comparison
from onelook.errors import OnelookError
from onelook.metrics import far_at, frr_at, reliability
from onelook.report.inputs import ReportInputs, ShownPair
from onelook.report.page import write_report


def picture(seed=0, shape=(20, 30)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def shown(left, right, left_name, right_name, is_same, far_apart, p=None, marked=None):
    """A pair that the model judges different; without a verdict where p is None."""
    threshold, verdict = (None, None) if p is None else (1.0, False)
    answer = Comparison(
        left_name, right_name, 0.0, far_apart, p, verdict, threshold, far=None
    )
    return ShownPair(left, right, is_same, answer, marked)


@pytest.fixture(scope="module")
def full_inputs():
    rng = np.random.default_rng(0)
    is_same = np.arange(300) % 3 == 0
    scores = rng.normal(size=300) + 2.0 * is_same
    history = [
        {"step": 5 * i, "epoch": i / 2, "loss": 1 / (i + 1), "learning_rate": 1e-3}
        for i in range(20)
    ]
    history += [
        {"step": 5 * i, "epoch": i / 2, "validation": 1 - 0.3 / i} for i in range(1, 9)
    ]
    labels = np.arange(40) % 4
    return ReportInputs(
        title="a <title> & more",
        recipe={
            "about": "Reproduces <nothing>.",
            "epochs": 10,
            "loss": {"name": "contrastive", "arguments": {"margin": 2.0}},
            "augment": {},
        },
        data={"images": 12345, "source": "drawn"},
        history=history,
        figure="held-out AUC",
        result_lines=[(f"figure {i}", f"0.{i}000") for i in range(6)],
        scores=scores,
        is_same=is_same,
        threshold=1.0,
        dissimilarity=-scores,
        embeddings=np.eye(4)[labels] + 0.1 * rng.normal(size=(40, 4)),
        labels=labels,
        class_names=["a", "b", "c", "d"],
        pixels=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8),
        confusion=(["a", "b"], np.array([[9, 1], [3, 7]])),
        hardest=[
            shown(picture(1), picture(2, (9, 9, 3)), "Ada", "Bob", False, 1.2345, 0.25),
            shown(picture(3, (9, 9, 1)), picture(4), "Cleo", "Cleo", True, 9.0),
        ],
        typical=[
            shown(picture(5), picture(6), "Dan", "Eve", False, 0.5, 0.1),
            shown(picture(5), picture(6), "Fay", "Fay", True, 0.6, 0.2),
        ],
        calibration=[("threshold", "score 1.0000")],
        reliability=reliability([0.2, 0.2, 0.9, 0.9], [True, False, True, True], 0.5),
        identify=[("20 enrolled", "threshold 2.5000")],
        by_group=[("<left-handed>", "false accepts 0.0123")],
    )


@pytest.fixture(scope="module")
def page(full_inputs, tmp_path_factory):
    path = write_report(
        full_inputs, tmp_path_factory.mktemp("report") / "new" / "report.html"
    )
    return path.read_text("utf-8")


def test_the_report_has_every_section_and_links_to_each(page):
    headings = re.findall(r'<section id="([^"]+)"><h2>([^<]+)</h2>', page)
    assert [name for _, name in headings] == [
        "Results",
        "Training",
        "Pairs",
        "ROC and DET",
        "Distances",
        "Calibration",
        "Confusion",
        "Map",
        "Settings",
    ]
    assert re.findall(r'<a href="#([^"]+)">', page) == [key for key, _ in headings]


def test_the_report_asks_no_network(page):
    assert "http:" not in page and "https:" not in page and "<script" not in page
    assert "<link" not in page and "@import" not in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    kinds = "data:image/png;base64,", "data:image/svg+xml;base64,", "#"
    assert sources and all(s.startswith(kinds) for s in sources)
    assert "default-src 'none'" in page


def test_names_from_outside_are_escaped(page):
    assert "<title>a &lt;title&gt; &amp; more</title>" in page
    assert "Reproduces &lt;nothing&gt;." in page


def test_every_picture_has_an_alternative_text(page):
    assert all(" alt=" in tag for tag in re.findall(r"<img[^>]*>", page))
    # Loss, validation, ROC, DET, distances, reliability, confusion, map; no constant rate.
    assert page.count("data:image/svg+xml") == 8
    assert 'alt="held-out AUC by epoch, from 0.7 to 0.9625"' in page


def test_headline_figures_come_first(page):
    cards = page[page.index('class="cards"') : page.index("<table>")]
    assert re.findall(r"<b>([^<]+)</b>", cards) == ["0.0000", "0.1000", "0.2000", "0.3000"]
    assert "0.5000" in page


def test_calibration_shows_the_decision_galleries_and_groups(page):
    section = page[page.index('<section id="calibration">') :]
    section = section[: section.index("</section>")]
    for text in ("score 1.0000", "20 enrolled", "&lt;left-handed&gt;", "0.0123", "ECE 0."):
        assert text in section


def test_wrong_pairs_show_their_pictures_and_figures(page):
    pairs = page[page.index("Hardest pairs") :]
    assert "Dissimilarity: 1.2345" in pairs and "Dissimilarity: 9.0000" in pairs
    assert "Probability: 0.2500" in pairs
    assert "Ada <i>and</i> Bob" in pairs
    assert pairs.count("Cleo") == 3  # two alternative texts, one name
    encoded = re.findall(r'src="data:image/png;base64,([^"]+)"', pairs)
    shown = [np.array(Image.open(io.BytesIO(base64.b64decode(code)))) for code in encoded]
    np.testing.assert_array_equal(shown[0], picture(1))
    np.testing.assert_array_equal(shown[1], picture(2, (9, 9, 3)))
    np.testing.assert_array_equal(shown[2][:, :, 0], picture(3, (9, 9, 1))[:, :, 0])


def test_the_error_counts_at_the_threshold_are_those_of_a_plain_loop(page, full_inputs):
    page = " ".join(page.split())
    missed = taken = 0
    for score, same in zip(full_inputs.scores, full_inputs.is_same, strict=True):
        missed += bool(same) and score < 1.0
        taken += not same and score >= 1.0
    assert f"{missed} of 100 same pairs are judged different" in page
    assert f"{taken} of 200 different pairs are judged the same" in page
    far = far_at(full_inputs.scores, full_inputs.is_same, 1.0)
    frr = frr_at(full_inputs.scores, full_inputs.is_same, 1.0)
    assert f"accepts {far:.4f} of" in page and f"rejects {frr:.4f} of" in page


def test_the_threshold_is_shown_as_a_dissimilarity(page):
    code = re.search(r'svg\+xml;base64,([^"]+)" alt="Histograms', page)[1]
    shown = float(re.search(r"threshold (-?[0-9.]+)<", base64.b64decode(code).decode())[1])
    assert shown == pytest.approx(-1.0, abs=0.01)


def test_typical_pairs_say_whether_the_verdict_is_right(page):
    first, second = page[page.index("Drawn at random") :].split("<figcaption>")[1:3]
    assert '<b class="different">different</b>, judged different ✓' in first
    assert '<b class="same">same</b>, judged different ✗' in second


def test_settings_are_shown_flat(page):
    assert "<th>margin</th><td>2</td>" in page and "<td>12,345</td>" in page
    assert "<h3>augment</h3>" not in page and "<details><summary>" in page


def test_confusions_are_listed_by_name(page):
    assert "b answered as a: 3 of 10" in page and "a answered as b: 1 of 10" in page


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(OnelookError, match=r"jinja2 .*onelook\[train\]"):
        write_report(ReportInputs("none"), tmp_path / "r.html")


def test_an_empty_report_says_why_each_section_is_missing(tmp_path):
    text = write_report(ReportInputs(title="none"), tmp_path / "r.html").read_text("utf-8")
    assert text.count("<section") == 1 and text.count("<li>") == 9
    assert "no figure was measured" in text and "no scored pairs" in text
    assert "no episodes" in text and "no embeddings" in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_same": np.ones(300, dtype=bool)}, "all 300 pairs are same pairs"),
        ({"scores": np.full(300, np.nan)}, "300 scores are not finite"),
        ({"embeddings": np.ones((3, 2))}, "a map needs 6 items, and there are 3"),
        ({"dissimilarity": None}, "no dissimilarities were given"),
        ({"confusion": (["a"], np.zeros((1, 1)))}, "the episodes hold no answer"),
        (
            {"history": [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": float("nan")}]},
            "no training of two",
        ),
    ],
)
def test_a_part_that_cannot_be_drawn_is_left_out_with_its_reason(
    changes, reason, full_inputs, tmp_path
):
    known = {"title": "part", "labels": full_inputs.labels}
    known |= {"scores": full_inputs.scores, "dissimilarity": -full_inputs.scores}
    known |= {"is_same": full_inputs.is_same}
    inputs = ReportInputs(**{**known, **changes})
    assert reason in write_report(inputs, tmp_path / "r.html").read_text("utf-8")


def test_a_large_confusion_shows_the_most_confused_classes(tmp_path):
    matrix = 10 * np.eye(50, dtype=int)
    matrix[48, 49] = 5
    inputs = ReportInputs("big", confusion=([f"class{i}" for i in range(50)], matrix))
    text = write_report(inputs, tmp_path / "r.html").read_text("utf-8")
    assert "The 30 most confused of 50 classes" in text
    assert "class48 answered as class49: 5 of 15" in text
    code = re.search(r'svg\+xml;base64,([^"]+)" alt="Confusion', text)[1]
    drawn = base64.b64decode(code).decode()
    assert ">class48</text>" in drawn and ">class40</text>" not in drawn


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    path = write_report(ReportInputs("old"), tmp_path / "r.html")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(ReportInputs("new"), path)
    assert "<title>old</title>" in path.read_text("utf-8")


def test_what_misled_the_model_is_shown_beside_a_wrong_pair(tmp_path):
    marks = picture(5, (20, 30, 3)), picture(6, (20, 30, 3))
    pair = shown(picture(1), picture(2), "Ada", "B<b", True, 1.2, marked=marks)
    page = write_report(ReportInputs("t", hardest=[pair]), tmp_path / "r.html").read_text()
    assert page.count("<img ") == 4
    assert 'alt="set apart: Ada"' in page and 'alt="set apart: B&lt;b"' in page
    assert "Orange marks what sets a same pair apart" in page
