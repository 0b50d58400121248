"""Schemathesis: whatever is sent, answers are those that the OpenAPI document promises."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
import schemathesis
from asking import drawing, omniglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from page_server import PageServer
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

pytestmark = pytest.mark.slow
load_all_checks()

# Images that can be read and files that cannot, with and without pixels to speak of.
FILES = [drawing(seed) for seed in range(6)]
FILES += [drawing(1, kind="JPEG"), drawing(2, side=7), b"", b"GIF89a", FILES[0][:90]]
schemathesis.openapi.format("binary", st.sampled_from(FILES))
# A form that fits the document may hold a file that is no image: that is what 422 is for.
LEFT_OUT = ("positive_data_acceptance",)
CHECKED = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]

EXAMPLES = {"/v1/explain": 6}  # each takes a second
# Identities and entries by made-up names are not there.
NEVER_ANSWERED = {
    "GET /v1/identities/{identity}",
    "GET /v1/thumbnails/{identity}",
    "DELETE /v1/identities/{identity}",
    "PATCH /v1/identities/{identity}",
    "GET /v1/entries/{entry}/thumbnail",
}


@pytest.fixture(scope="module")
def api():
    with tempfile.TemporaryDirectory() as folder:
        server = PageServer(omniglot(), Path(folder) / "gallery.db")
        server.gallery.enroll("Ada", FILES[:2])
        try:
            yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        finally:
            server.close()


def ask(operation: APIOperation, mode: GenerationMode) -> Counter[int]:
    """Put generated requests to one route; how often each status came back."""
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES.get(operation.path, 25),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        answer = case.call(timeout=60)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKED)

    try:
        check()
    except Unsatisfiable:  # nothing can be wrong with a route without parameters
        assert mode is GenerationMode.NEGATIVE
    return statuses


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_those_of_the_document(api, mode):
    """In both modes: what fits the document, and what does not."""
    operations = [result.ok() for result in api.get_all_operations()]
    seen = {operation.label: ask(operation, mode) for operation in operations}
    asked = {label: statuses for label, statuses in seen.items() if statuses}
    assert not [s for statuses in asked.values() for s in statuses if s >= 500], asked
    if mode is GenerationMode.POSITIVE:
        # The checks would pass on a service that refused everything.
        never = {label for label in asked if not {200, 201} & set(asked[label])}
        assert never <= NEVER_ANSWERED and len(asked) == len(seen), asked
    else:
        assert len(asked) >= 8, asked
