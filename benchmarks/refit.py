"""Fit thresholds for galleries and decisions beside cohorts of shipped models again.

python benchmarks/refit.py omniglot faces faces-aligned photos
python benchmarks/refit.py dlib-faces dlib-faces-mirrored

All else in the models stays. They are fitted on the classes that the model's decision was
fitted on: those that its own training held out, for dlib's network LFW's peopleDevTest, for
photos things and products.
"""

import argparse
import json

from calibrate_faces import ENCODERS, embeddings_of
from onelook.calibration.fit import fit_cohorts, with_galleries
from onelook.calibration.pairs import useful_groups
from onelook.calibration.rows import cohort_rows, identify_rows
from onelook.data.sources import find
from onelook.data.sources.lfw import lfw_people
from onelook.evaluation.unseen import held_out_classes
from onelook.files import write_whole
from onelook.loading import load
from onelook.model_folder import digest_of, read_settings
from onelook.tables import aligned
from onelook.zoo import SETTINGS_FILE, existing_folder
from photos import both
from ship import beside_cohorts, in_galleries, put_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="a shipped model")
    for name in parser.parse_args().names:
        refit(name)


def refit(name: str) -> None:
    """Write the decisions beside cohorts into the folder of a shipped model."""
    verifier = load(name).plain
    decision = verifier.decision
    assert decision is not None
    if name in ENCODERS:
        items = lfw_people(find("lfw"), "DevTest")
        embeddings = embeddings_of(verifier, items.paths)
    else:
        items = both() if name == "photos" else held_out_classes(verifier)
        embeddings = verifier.embed(items.paths)
    settings = {"far": decision.far, "prior": decision.prior, "seed": 0}
    labelled = (items.labels, useful_groups(items.labels, items.groups))
    found = fit_cohorts(
        with_galleries(decision, verifier, embeddings, embeddings, *labelled),
        *(verifier.scores, embeddings, *labelled),
        **settings,
    )
    print(f"{name}: {len(items):,} held-out images")
    print(aligned(identify_rows(found) + cohort_rows(found)), flush=True)
    path = existing_folder(name) / SETTINGS_FILE
    _, content = read_settings(path.parent)
    content["decision"] = found.to_dict()
    content["digest"] = digest_of(content)
    write_whole(path, json.dumps(content, indent=1) + "\n")
    rows = {"galleries": in_galleries(found), "beside a cohort": beside_cohorts(found)}
    put_rows(path.with_name("README.md"), rows)


if __name__ == "__main__":
    main()
