"""Fit the decisions beside cohorts of shipped models again; all else in them stays.

python benchmarks/refit_cohorts.py omniglot faces

They are fitted on the classes that the model's decision was fitted on: those that its own
training held out, or, for dlib's network, LFW's peopleDevTest.
"""

import argparse
import dataclasses
import json

from calibrate_faces import ENCODERS, embeddings_of
from onelook.calibration.fit import fit_cohorts
from onelook.calibration.rows import cohort_rows
from onelook.data.sources import find
from onelook.data.sources.lfw import lfw_people
from onelook.evaluation.unseen import held_out_classes
from onelook.files import write_whole
from onelook.loading import load
from onelook.model_folder import digest_of, read_settings
from onelook.tables import aligned
from onelook.zoo import SETTINGS_FILE, existing_folder
from ship import beside_cohorts


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
        items = held_out_classes(verifier)
        embeddings = verifier.embed(items.paths)
    bare = dataclasses.replace(decision, cohorts=())
    settings = {"far": decision.far, "prior": decision.prior, "seed": 0}
    found = fit_cohorts(
        bare, verifier.scores, embeddings, items.labels, items.groups, **settings
    )
    print(f"{name}: {len(items):,} held-out images")
    print(aligned(cohort_rows(found)), flush=True)
    path = existing_folder(name) / SETTINGS_FILE
    _, content = read_settings(path.parent)
    content["decision"] = found.to_dict()
    content["digest"] = digest_of(content)
    write_whole(path, json.dumps(content, indent=1) + "\n")
    card = path.with_name("README.md")
    lines = card.read_text("utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("| beside a cohort |")]
    rows = [i for i, line in enumerate(lines) if line.startswith("| galleries |")]
    for i in rows:
        lines.insert(i + 1, f"| beside a cohort | {beside_cohorts(found)} |")
    write_whole(card, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
