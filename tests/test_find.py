"""Find: the right box, a threshold for as many boxes as were compared, bounded work."""

import dataclasses
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

import onelook
from onelook.cli import main
from onelook.data.inputs import TextInput
from onelook.data.reading import read_bytes
from onelook.data.sources.lfw import lfw_people
from onelook.data.sources.omniglot import omniglot
from onelook.decision import Decision, IdentifyRow
from onelook.errors import DataError
from onelook.find import draw_findings, find
from onelook.models.encoders.sequence import LstmEncoder
from onelook.models.siamese import Siamese
from onelook.models.similarity import CosineSimilarity
from onelook.recipe import SequenceSettings
from onelook.verifier import from_function, from_model

DECISION = Decision(
    threshold=0.9, reject_below=0.8, far=0.01, prior=0.5, slope=20.0, intercept=-18.0,
    n_same=100, n_different=4000, n_classes=20,
)  # fmt: skip


def symbol(name, side=100):
    """A drawing of one symbol in a square of paper."""
    image = Image.new("L", (100, 100), 255)
    pen = ImageDraw.Draw(image)
    if name == "ring":
        pen.ellipse((20, 20, 80, 80), outline=0, width=6)
    elif name == "cross":
        pen.line((20, 20, 80, 80), fill=0, width=6)
        pen.line((20, 80, 80, 20), fill=0, width=6)
    elif name == "equals":  # of two strokes that do not touch
        pen.line((20, 38, 80, 38), fill=0, width=6)
        pen.line((20, 62, 80, 62), fill=0, width=6)
    elif name == "gate":
        pen.line((20, 80, 20, 20, 80, 20, 80, 80), fill=0, width=6)
    elif name == "arrow":
        pen.line((50, 85, 50, 15), fill=0, width=6)
        pen.line((25, 45, 50, 15, 75, 45), fill=0, width=6)
    return image.resize((side, side), Image.Resampling.BICUBIC)


def save(image, path):
    image.save(path)
    return str(path)


@pytest.fixture(scope="module")
def drawn():
    return onelook.load("omniglot")


@pytest.fixture
def sheet(tmp_path):
    """Five symbols on a page, each 100 pixels in a place of 160."""
    page = Image.new("L", (640, 360), 255)
    places = {}
    for i, name in enumerate(("ring", "cross", "equals", "gate", "arrow")):
        x, y = 20 + 160 * (i % 4), 20 + 170 * (i // 4)
        page.paste(symbol(name), (x, y))
        ys, xs = np.nonzero(np.asarray(symbol(name)) < 128)
        places[name] = (x + xs.min(), y + ys.min(), x + xs.max() + 1, y + ys.max() + 1)
    return save(page, tmp_path / "sheet.png"), places


def of_pixels(images):
    """Grey pixels of a window, without its light."""
    small = [
        np.asarray(i.convert("L").resize((16, 16), Image.Resampling.BOX)) for i in images
    ]
    values = np.stack(small).reshape(len(images), -1).astype(float)
    return values - values.mean(1, keepdims=True) + 1e-6


def noise(size, seed):
    """A smooth random photograph."""
    values = np.random.default_rng(seed).normal(size=(size[1], size[0]))
    values = ndimage.gaussian_filter(values, 6)
    return Image.fromarray(
        np.clip(128 + 40 * values / values.std(), 0, 255).astype(np.uint8)
    )


def edges(box):
    return box.left, box.top, box.right, box.bottom


def overlap(box, truth):
    """Intersection over union, in a plain way."""
    covered = [
        {
            (x, y)
            for x in range(round(b[0]), round(b[2]))
            for y in range(round(b[1]), round(b[3]))
        }
        for b in (box, truth)
    ]
    return len(covered[0] & covered[1]) / len(covered[0] | covered[1])


@pytest.mark.parametrize("name", ["ring", "cross", "equals", "gate", "arrow"])
def test_a_symbol_is_found_on_a_sheet_of_drawings(name, sheet, drawn, tmp_path):
    path, places = sheet
    query = save(symbol(name, 70), tmp_path / "query.png")
    findings = find(drawn, query, path)
    assert findings.how == "components" and findings.is_found
    assert overlap(edges(findings.boxes[0]), places[name]) > 0.8
    assert findings.boxes[0].score == max(box.score for box in findings.boxes)
    assert findings.probability == findings.boxes[0].probability > 0.5


def test_strokes_that_belong_together_are_one_box_and_boxes_do_not_cover_each_other(
    sheet, drawn, tmp_path
):
    path, places = sheet
    query = save(symbol("equals"), tmp_path / "query.png")
    boxes = [edges(box) for box in find(drawn, query, path, k=20).boxes]
    assert overlap(boxes[0], places["equals"]) > 0.8
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            wide = min(one[2], other[2]) - max(one[0], other[0])
            high = min(one[3], other[3]) - max(one[1], other[1])
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
            assert max(wide, 0) * max(high, 0) <= 0.5 * min(areas)


def test_what_is_not_on_the_sheet_is_not_found(sheet, drawn, tmp_path):
    spiral = Image.new("L", (120, 120), 255)
    angle = np.linspace(0, 6 * np.pi, 200)
    x, y = 60 + 2.6 * angle * np.cos(angle), 60 + 2.6 * angle * np.sin(angle)
    ImageDraw.Draw(spiral).line([*zip(x, y, strict=True)], fill=0, width=6)
    findings = find(drawn, save(spiral, tmp_path / "spiral.png"), sheet[0])
    assert findings.is_found is False and findings.boxes
    assert findings.probability < 0.5
    assert str(findings).startswith("not found: best of")


def test_a_large_sheet_gives_boxes_in_its_own_pixels(sheet, drawn, tmp_path):
    path, places = sheet
    with Image.open(path) as page:
        large = page.resize((1920, 1080), Image.Resampling.BICUBIC)
    query = save(symbol("gate"), tmp_path / "query.png")
    found = find(drawn, query, save(large, tmp_path / "large.png")).boxes[0]
    assert overlap([edge / 3 for edge in edges(found)], places["gate"]) > 0.8


def test_a_part_of_a_photograph_is_found_through_windows(tmp_path):
    photograph = noise((320, 200), 0)
    part = photograph.crop((190, 60, 270, 140))
    query = save(part.resize((50, 50)), tmp_path / "part.png")
    findings = find(from_function(of_pixels), query, save(photograph, tmp_path / "p.png"))
    assert findings.how == "windows"
    assert overlap(edges(findings.boxes[0]), (190, 60, 270, 140)) > 0.6
    assert findings.is_found is findings.probability is findings.threshold is None
    assert "has no threshold" in str(findings)


def test_work_on_a_huge_picture_is_bounded(tmp_path):
    sizes = []

    def embed(images):
        sizes.append((len(images), max(max(image.size) for image in images)))
        return of_pixels(images)

    wide = save(noise((800, 60), 1).resize((8000, 600)), tmp_path / "wide.png")
    query = save(noise((40, 40), 2), tmp_path / "query.png")
    findings = find(from_function(embed), query, wide)
    assert 100 < findings.n_boxes < 1000
    assert max(count for count, _ in sizes) <= 64 and max(side for _, side in sizes) <= 1024
    assert findings.boxes[0].right <= 8000 and findings.boxes[0].bottom <= 600


def test_the_threshold_is_that_for_so_many_boxes_where_the_model_has_one(tmp_path):
    query = save(noise((50, 50), 0), tmp_path / "query.png")
    picture = save(noise((200, 200), 1), tmp_path / "picture.png")
    plain = from_function(of_pixels)
    plain.decision = DECISION
    one = find(plain, query, picture)
    assert one.threshold == 0.9 and not one.is_for_many and "of single pairs" in str(one)
    assert one.rate == pytest.approx(1 - 0.99**one.n_boxes)
    rows = [
        {"gallery_size": size, "threshold": threshold, "fpir": 0.05}
        for size, threshold in ((1, 0.9), (10_000, 0.98))
    ]
    plain.decision = dataclasses.replace(
        DECISION,
        identify=tuple(IdentifyRow(**row) for row in rows),
    )
    many = find(plain, query, picture)
    expected = 0.9 + 0.08 * np.log(many.n_boxes) / np.log(10_000)
    assert many.threshold == pytest.approx(expected)
    assert many.rate == 0.05 and many.is_for_many
    assert f"for {many.n_boxes} boxes" in str(many)


def test_many_boxes_make_one_of_them_less_likely_to_be_the_query(tmp_path):
    query = save(noise((50, 50), 0), tmp_path / "query.png")
    picture = save(noise((200, 200), 1), tmp_path / "picture.png")
    verifier = from_function(of_pixels)
    verifier.decision = DECISION
    best = find(verifier, query, picture)
    prior = 0.5 / best.n_boxes
    odds = np.exp(20 * best.boxes[0].score - 18) * prior / (1 - prior)
    assert best.probability == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_requests_that_cannot_be_answered_say_what_to_do(drawn, sheet, tmp_path):
    query = save(symbol("ring"), tmp_path / "query.png")
    blank = save(Image.new("L", (200, 200), 255), tmp_path / "blank.png")
    with pytest.raises(DataError, match="blank.png: no ink.*give a picture with drawings"):
        find(drawn, query, blank)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        find(drawn, query, sheet[0], k=0)
    with pytest.raises(DataError, match="nothing.png: no such file"):
        find(drawn, str(tmp_path / "nothing.png"), sheet[0])
    preprocess = TextInput.fit(["a dog"], SequenceSettings(kind="text"))
    texts = from_model(
        Siamese(LstmEncoder(2 + len(preprocess.vocabulary)), CosineSimilarity()), preprocess
    )
    with pytest.raises(DataError, match="takes no pictures on the left side.*--model"):
        find(texts, query, sheet[0])


def test_bytes_are_looked_at_as_files_are(sheet, drawn, tmp_path):
    path, _ = sheet
    query = tmp_path / "query.png"
    symbol("gate").save(query)
    by_bytes = find(drawn, query.read_bytes(), read_bytes(path))
    by_name = find(drawn, query, path)
    assert by_bytes.boxes == by_name.boxes
    assert (by_bytes.query, by_bytes.picture) == ("query", "picture")


def test_without_the_detector_faces_are_looked_for_through_windows(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlib", None)
    picture = save(noise((120, 120), 1).convert("RGB"), tmp_path / "picture.png")
    findings = find(onelook.load("faces"), picture, picture)
    assert findings.how == "windows" and findings.boxes[0].score > 0.9


def test_the_card_says_whether_a_detector_frames_the_pictures(tmp_path):
    pytest.importorskip("dlib")
    verifier = onelook.load("faces")
    picture = save(noise((120, 120), 1).convert("RGB"), tmp_path / "picture.png")
    changes = {"purpose": "faces of clocks"}
    verifier.card = verifier.card.model_copy(update=changes)
    assert find(verifier, picture, picture).how == "faces"
    verifier.card = verifier.card.model_copy(update={"subject": ""})
    assert find(verifier, picture, picture).how == "windows"


def test_findings_are_drawn(sheet, drawn, tmp_path):
    query = save(symbol("gate"), tmp_path / "query.png")
    findings = find(drawn, query, sheet[0])
    with Image.open(draw_findings(findings, tmp_path / "found.png")) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[1] > 1000
    assert (pixels[..., 2] - pixels[..., 0] > 60).sum() > 500  # the blue frame


def test_the_command_finds_draws_and_answers(sheet, tmp_path, capsys):
    path, places = sheet
    query = save(symbol("cross"), tmp_path / "query.png")
    out = tmp_path / "found.png"
    with pytest.raises(SystemExit) as stop:
        main(["find", query, path, "-m", "omniglot", "-o", str(out), "-k", "3", "--json"])
    assert stop.value.code == 0 and out.stat().st_size > 1000
    answer = json.loads(capsys.readouterr().out)
    assert answer["is_found"] is True and answer["how"] == "components"
    assert len(answer["boxes"]) == 3 and answer["n_boxes"] >= 5
    best = answer["boxes"][0]
    box = [best[edge] for edge in ("left", "top", "right", "bottom")]
    assert overlap(box, places["cross"]) > 0.8
    with pytest.raises(SystemExit) as stop:
        main(["find", query, path, "-m", "omniglot"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("found: best of")


@pytest.mark.data
def test_a_photograph_without_faces_gives_no_box(tmp_path, data_root):
    pytest.importorskip("dlib")
    people = lfw_people(data_root, "DevTest")
    picture = save(noise((300, 200), 3).convert("RGB"), tmp_path / "picture.png")
    findings = find(onelook.load("faces"), people.paths[0], picture)
    assert findings.boxes == () and findings.n_boxes == 0 and findings.how == "faces"
    assert findings.is_found is False and findings.probability == 0.0
    assert str(findings) == "not found: no face in the picture"
    assert draw_findings(findings, tmp_path / "none.png").stat().st_size > 1000


@pytest.mark.data
def test_characters_are_found_on_sheets_and_others_are_not(data_root, drawn, tmp_path):
    data = omniglot(data_root, "evaluation")
    rng = np.random.default_rng(5)
    hits = found = wrong = 0
    for i in range(20):
        labels = rng.choice(data.labels.max() + 1, 13, replace=False)
        items = [rng.choice(np.flatnonzero(data.labels == n), 2, False) for n in labels]
        page = Image.new("L", (800, 600), 255)
        for place, item in enumerate(items[:12]):
            with Image.open(io.BytesIO(read_bytes(data.paths[item[0]]))) as drawing:
                page.paste(
                    drawing.convert("L"), (40 + place % 4 * 190, 40 + place // 4 * 190)
                )
        path = save(page, tmp_path / f"{i}.png")
        findings = find(drawn, data.paths[items[5][1]], path)
        box = edges(findings.boxes[0])
        centre = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        hits += 230 <= centre[0] <= 335 and 230 <= centre[1] <= 335
        found += findings.is_found
        wrong += find(drawn, data.paths[items[12][1]], path).is_found
    assert hits >= 17 and found >= 13 and wrong <= 4


@pytest.mark.data
@pytest.mark.parametrize("model", ["faces", "dlib-faces"])
def test_a_person_is_found_in_a_group(model, data_root, tmp_path):
    pytest.importorskip("dlib")
    people = lfw_people(data_root, "DevTest")
    verifier = onelook.load(model)
    rng = np.random.default_rng(3)
    counts = np.bincount(people.labels)
    hits = 0
    for _ in range(8):
        asked, *others = [
            rng.choice(np.flatnonzero(counts > 1)),
            *rng.choice(len(counts), 3),
        ]
        query, there = rng.choice(np.flatnonzero(people.labels == asked), 2, False)
        shown = [there, *(rng.choice(np.flatnonzero(people.labels == n)) for n in others)]
        group = Image.new("RGB", (500, 500), "grey")
        for place, item in enumerate(shown):
            with Image.open(io.BytesIO(read_bytes(people.paths[item]))) as photograph:
                group.paste(photograph, (250 * (place % 2), 250 * (place // 2)))
        findings = find(verifier, people.paths[query], save(group, tmp_path / "g.png"))
        assert findings.how == "faces" and findings.n_boxes >= 3
        best = findings.boxes[0]
        hits += best.right < 280 and best.bottom < 280
    assert hits >= 6
