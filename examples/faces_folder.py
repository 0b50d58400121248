"""Name the people in a folder of photographs: python examples/faces_folder.py PEOPLE.

PEOPLE holds one folder for each person. The first photograph of every second person is
enrolled; all other photographs are identified. Needs onelook[faces].
"""

import argparse
import tempfile
from pathlib import Path

import onelook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("people", type=Path, help="folder of PERSON/IMAGE")
    parser.add_argument("--model", default="dlib-faces", help="a shipped model or a folder")
    options = parser.parse_args()
    people = sorted(path for path in options.people.iterdir() if path.is_dir())
    enrolled, strangers = people[::2], people[1::2]
    with tempfile.TemporaryDirectory() as folder:
        gallery = onelook.Gallery(onelook.load(options.model), f"{folder}/people.db")
        for person in enrolled:
            gallery.enroll(person.name, photographs(person)[:1])
        known = answers(gallery, enrolled)
        unknown = answers(gallery, strangers)
        gallery.close()
    right = sum(said == person for person, said in known)
    wrong = sum(said not in (None, person) for person, said in known)
    accepted = sum(said is not None for _, said in unknown)
    print(f"known: {right} of {len(known)} photographs named, {wrong} named wrongly")
    print(f"unknown: {accepted} of {len(unknown)} photographs falsely accepted")


def photographs(person: Path) -> list[Path]:
    return sorted(person.iterdir())


def answers(gallery: onelook.Gallery, people: list[Path]) -> list[tuple[str, str | None]]:
    """Who is shown, and who the gallery says it is, for all but the first photographs."""
    return [
        (person.name, gallery.identify(photo).identity)
        for person in people
        for photo in photographs(person)[1:]
    ]


if __name__ == "__main__":
    main()
