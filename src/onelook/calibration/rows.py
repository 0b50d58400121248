"""What a calibration found, as rows of names and texts for people and reports."""

from collections.abc import Sequence

from onelook.calibration.fit import CrossCheck
from onelook.calibration.groups import GroupRates
from onelook.card import CalibrationFacts
from onelook.decision import Decision
from onelook.metrics import Interval
from onelook.tables import Rows

SHOWN_SIZE = 20  # of the galleries whose identities have several images


def summary_rows(decision: Decision) -> Rows:
    """What a decision says, the most important first."""
    found = decision.intervals
    rows = [
        ("threshold", f"score {decision.threshold:.4f}{ends(found.get('threshold'))}"),
        ("false-accept rate", f"{decision.far:.4g}{ends(found.get('far'))}"),
    ]
    if decision.frr is not None:
        rows.append(("false-reject rate", f"{decision.frr:.4g}{ends(found.get('frr'))}"))
    if decision.reject_below < decision.threshold:
        rows.append(("unsure", f"from {decision.reject_below:.4f} to the threshold"))
    counts = f"{decision.n_same:,} same and {decision.n_different:,} different pairs"
    made_of = f" ({decision.pairs})" if decision.pairs else ""
    rows.append(("fitted on", f"{counts}{made_of} of {decision.n_classes:,} classes"))
    rows.append(("prior", f"{decision.prior:g} of the pairs are the same"))
    return [*rows, *cohort_rows(decision)]


def check_rows(check: CrossCheck | None) -> Rows:
    """What decisions do on classes that did not fit them."""
    if check is None:
        return []
    left_out = f"on classes left out, {check.n_folds} folds"
    return [
        ("measured false accepts", f"{check.far:.4g} {left_out}"),
        ("measured false rejects", f"{check.frr:.4g} {left_out}"),
        ("calibration error", f"{check.reliability.error:.3f} {left_out}"),
    ]


def familiarity_rows(facts: CalibrationFacts | None) -> Rows:
    """How many images are called unfamiliar, where that was measured."""
    if facts is None or facts.flagged_own is None:
        return []
    text = f"{facts.flagged_own:.2%} of images like its own"
    if facts.flagged_others is not None:
        text += f", {facts.flagged_others:.1%} of pictures of other kinds"
    return [("called unfamiliar", text)]


def identify_rows(decision: Decision) -> Rows:
    """Thresholds and rates for each size of gallery, and for several images at one size."""
    rows = []
    sizes = [row.gallery_size for row in decision.identify if row.n_images > 1]
    shown = max((size for size in sizes if size <= SHOWN_SIZE), default=0)
    for row in decision.identify:
        if row.n_images > 1 and row.gallery_size != shown:
            continue
        known = "" if row.known is None else f", {row.known:.3f} of the known identified"
        rates = f"{row.fpir:.4f} of the unknown falsely accepted{known}"
        name = f"{row.gallery_size:,} enrolled"
        name += f", {row.n_images} images each" if row.n_images > 1 else ""
        rows.append((name, f"threshold {row.threshold:.4f}: {rates}"))
    return rows


def cohort_rows(decision: Decision) -> Rows:
    """What the decision says beside unlabelled images of another place."""
    return [
        (
            f"cohort of {found.cohort_size:,}",
            f"{found.kind} score {found.threshold:.4f}: false accepts {found.far:.4g}, "
            f"false rejects {found.frr:.4g}",
        )
        for found in decision.cohorts
    ]


def group_rows(groups: Sequence[GroupRates]) -> Rows:
    """Errors by group."""
    rows = []
    for group in groups:
        text = f"{group.n_items:,} images: {group.verdict}"
        if group.rates is not None:
            rates = group.rates
            text = (
                f"false accepts {rates.far:.4g}{ends(rates.far_interval)}, false rejects "
                f"{rates.frr:.4g}{ends(rates.frr_interval)}, {text}"
            )
        rows.append((group.name, text))
    return rows


def ends(interval: Interval | None) -> str:
    """The text that follows a figure with an interval."""
    if interval is None:
        return ""
    return f" (95%: {interval[0]:.4g} to {interval[1]:.4g})"
