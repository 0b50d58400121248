"""About: the model, the limits, the figures and the document."""

import copy

import jsonschema_rs
import numpy as np
import pytest
from asking import asking, drawing, omniglot, pair, several
from prometheus_client.parser import text_string_to_metric_families

from onelook.cohort import Cohort
from onelook.service.about import Histogram, describe_model
from onelook.service.settings import ServiceSettings


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("about")
    settings = ServiceSettings(card_text="# a card", max_images=7)
    with asking(settings, folder / "gallery.db") as client:
        yield client


def test_the_model_is_described(client):
    answer = client.get("/v1/model").json()
    verifier = omniglot()
    assert answer["name"] == "omniglot"
    assert answer["fingerprint"] == verifier.fingerprint
    assert (answer["similarity"], answer["subject"]) == ("cosine", "drawing")
    assert answer["takes"] == "images, seen as 48 x 48"
    assert answer["decision"]["threshold"] == verifier.decision.threshold
    assert answer["card"] == verifier.card.model_dump(mode="json", exclude_defaults=True)
    assert answer["card_text"] == "# a card"
    assert answer["card_html"] == "<h3>a card</h3>\n"


def test_curves_of_the_calibration_stand_beside_the_decision():
    verifier = omniglot()
    curves = {
        "thresholds": [0.1, 0.5],
        "far": [0.2, 0.01],
        "frr": [0.05, 0.3],
        "histogram": {"edges": [0.0, 0.5, 1.0], "same": [0.1, 0.9], "different": [1, 0]},
    }
    import dataclasses

    decision = dataclasses.replace(verifier.decision, curves=curves)
    other = copy.copy(verifier)
    other.decision = decision
    content = describe_model(other, "", "")
    assert content.decision is not None and "curves" not in content.decision
    assert content.calibration is not None
    assert (content.calibration.far, content.calibration.frr) == ([0.2, 0.01], [0.05, 0.3])
    assert content.calibration.histogram == Histogram(**curves["histogram"])
    assert content.calibration.thresholds == [0.1, 0.5]


def test_a_cohort_is_named():
    verifier = omniglot()
    embeddings = np.random.default_rng(0).normal(size=(20, verifier.embedding_size))
    here = verifier.with_cohort(Cohort(embeddings.astype(np.float32), "here"))
    content = describe_model(here, "", "")
    assert content.cohort == "centred by 20 images: here"
    assert content.decision is not None and content.decision["kind"] == "centred"
    assert describe_model(verifier, "", "").cohort == ""


def test_settings_tell_the_limits(client):
    answer = client.get("/v1/settings").json()
    assert answer == {
        "writable": True,
        "gallery": True,
        "max_bytes": 32 << 20,
        "max_pixels": 40_000_000,
        "max_images": 7,
        "token_needed": False,
        "on_device": False,
    }


def test_figures_are_counted_by_route_and_status():
    with asking() as client:
        client.post("/v1/compare", files=pair(drawing(1), drawing(2)))
        client.post("/v1/embed", files=several(*map(drawing, range(5))))
        client.post("/v1/compare", files=pair(b"x", drawing(2)))
        client.get("/v1/none")
        client.request("BREW", "/v1/none/secret-name")
        text = client.get("/metrics").text
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    def count(method, route, status):
        labels = {"method": method, "route": route, "status": status}
        return values["onelook_requests_total", *sorted(labels.items())]

    assert count("POST", "/v1/compare", "200") == 1
    assert count("POST", "/v1/compare", "422") == 1
    assert count("GET", "none", "404") == 1
    assert count("other", "none", "404") == 1
    assert values["onelook_request_seconds_count", ("route", "/v1/embed")] == 1
    assert values[("onelook_waiting_images",)] == 0
    # The two of warming up, and those of the requests.
    assert values[("onelook_batch_size_count",)] >= 3
    assert values[("onelook_batch_size_sum",)] == 2 + 2 * 32 + 2 + 5
    assert "secret-name" not in text


def test_the_document_describes_every_route_with_examples(client):
    document = client.get("/openapi.json").json()
    paths = document["paths"]
    for path in (
        "/v1/compare",
        "/v1/embed",
        "/v1/identify",
        "/v1/enroll",
        "/v1/identities",
        "/v1/identities/{identity}",
        "/v1/explain",
        "/healthz",
        "/readyz",
        "/metrics",
    ):
        assert path in paths
    for operations in paths.values():
        for operation in operations.values():
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {})
                if int(status) >= 400:
                    assert schema["schema"]["$ref"].endswith("/Failure")
    schemas = document["components"]["schemas"]
    assert "verdict" in schemas["Comparison"]["required"]
    assert "verdict" in schemas["Identification"]["required"]
    form = paths["/v1/enroll"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["required"] == ["identity", "images"]
    assert "HTTPValidationError" not in schemas


def test_every_json_answer_has_an_example_that_fits_its_schema(client):
    document = client.get("/openapi.json").json()
    n = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            for status in {"200", "201"} & set(operation["responses"]):
                answer = operation["responses"][status]["content"].get("application/json")
                if answer is not None:
                    schema = {**answer["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, answer["example"])
                    n += 1
    assert n == 14


def test_no_page_loads_scripts_from_elsewhere(client):
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
