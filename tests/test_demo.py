"""The demonstration, where Omniglot can be neither found nor fetched."""

import pytest

import onelook
import onelook.demo
from onelook.errors import DataError


@pytest.mark.slow
def test_without_omniglot_the_digits_are_trained_measured_and_compared(
    tmp_path, monkeypatch
):
    def absent(name, data=None):
        raise DataError(f"{name} is absent")

    monkeypatch.setattr(onelook.demo, "find", absent)
    monkeypatch.setattr(onelook.demo, "download", absent)
    lines = []
    run = onelook.demo.demo(out=tmp_path / "demo", progress=False, echo=lines.append)
    text = "\n".join(lines)
    assert "using the handwritten digits of scikit-learn instead" in text
    assert "two drawings of one class: " in text and "drawings of two classes: " in text
    figures = dict(run.figures)
    one_shot, auc = list(figures)[:2]
    assert one_shot.startswith("one-shot accuracy") and 0 < float(figures[one_shot]) <= 1
    assert auc == "AUC, pairs of unseen classes" and 0.5 < float(figures[auc]) <= 1
    report = run.report.read_text("utf-8")
    for section in ("results", "training", "pairs", "confusion", "map", "settings"):
        assert f'<section id="{section}">' in report
    assert (tmp_path / "demo" / "comparison.png").stat().st_size > 1000
    assert onelook.load(tmp_path / "demo").fingerprint == run.verifier.fingerprint
