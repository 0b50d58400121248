"""Guards: neither another name, nor another page, nor a stranger gets through."""

import pytest
from asking import asking, drawing, pair, several
from starlette.testclient import TestClient

from onelook.service.app import create_app
from onelook.service.server import check_address, hosts_of, is_loopback
from onelook.service.settings import LOOPBACK_NAMES, ServiceSettings
from onelook.service.tokens import Tokens, add_token, revoke_token


@pytest.fixture(scope="module")
def client():
    with asking() as client:
        yield client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A client of a service with tokens, and a reading and a writing secret."""
    folder = tmp_path_factory.mktemp("guarded")
    path = folder / "tokens.json"
    secrets = add_token(path, "reads", False), add_token(path, "writes", True)
    settings = ServiceSettings(tokens=Tokens(path), hosts=None)
    with asking(settings, folder / "gallery.db") as client:
        yield client, *secrets


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"]
)
def test_loopback_names_are_answered(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost.", "a@b:c"]
)
def test_a_name_that_a_web_page_made_up_is_not(client, host):
    answer = client.get("/v1/model", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json() == {"error": "this service does not answer under that host name"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_write_that_another_page_made_the_browser_send_is_refused(client, headers):
    files = pair(drawing(1), drawing(2))
    answer = client.post("/v1/compare", files=files, headers=headers)
    assert answer.status_code == 403
    assert answer.json() == {"error": "web pages of other origins may not use this service"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://localhost:8000", "Host": "localhost:8000"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_the_services_own_page_and_programs_may_write(client, headers):
    files = pair(drawing(1), drawing(2))
    assert client.post("/v1/compare", files=files, headers=headers).status_code == 200


def test_no_page_of_another_origin_may_read_unless_it_is_named(client):
    headers = {"Origin": "https://shop.example"}
    answer = client.get("/v1/model", headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    settings = ServiceSettings(cors=("https://shop.example",))
    with asking(settings) as named:
        answer = named.get("/v1/model", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        files = pair(drawing(1), drawing(2))
        answer = named.post("/v1/compare", files=files, headers=headers)
        assert answer.status_code == 200
        other = {"Origin": "https://other.example"}
        answer = named.post("/v1/compare", files=files, headers=other)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_every_answer_carries_the_careful_headers(client):
    for path in ("/", "/web/main.js", "/v1/model", "/nope", "/healthz"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert client.get("/v1/model").headers["cache-control"] == "no-store"
    assert client.get("/").headers["cache-control"] == "no-cache"


def test_without_a_token_nothing_is_told_but_that_one_is_needed(guarded):
    client, *_ = guarded
    for method, path in [
        ("GET", "/v1/model"),
        ("GET", "/metrics"),
        ("GET", "/v1/identities"),
        ("GET", "/v1/thumbnails/Ada"),
        ("GET", "/v1/entries/1/thumbnail"),
        ("POST", "/v1/compare"),
        ("POST", "/v1/embed"),
        ("POST", "/v1/explain"),
        ("POST", "/v1/identify"),
        ("POST", "/v1/enroll"),
        ("DELETE", "/v1/identities/Ada"),
        ("PATCH", "/v1/identities/Ada"),
    ]:
        for headers in ({}, bearer("wrong"), {"Authorization": "Basic abc"}):
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert set(answer.json()) == {"error"}
    assert client.get("/healthz").status_code == 200
    assert client.get("/").status_code == 200
    settings = client.get("/v1/settings").json()
    assert settings["token_needed"] and not settings["writable"]


def test_a_reading_token_asks_and_a_writing_token_enrolls(guarded):
    client, reads, writes = guarded
    files, data = several(drawing(1)), {"identity": "Ada"}
    answer = client.post("/v1/enroll", files=files, data=data, headers=bearer(reads))
    assert answer.status_code == 403
    assert answer.json()["error"].startswith("the token only reads")
    for method in ("DELETE", "PATCH"):
        answer = client.request(method, "/v1/identities/Ada", headers=bearer(reads))
        assert answer.status_code == 403
    answer = client.post("/v1/enroll", files=files, data=data, headers=bearer(writes))
    assert answer.status_code == 201
    image = {"image": ("a.png", drawing(1))}
    answer = client.post("/v1/identify", files=image, headers=bearer(reads))
    assert answer.json()["identity"] == "Ada"
    assert not client.get("/v1/settings", headers=bearer(reads)).json()["writable"]
    assert client.get("/v1/settings", headers=bearer(writes)).json()["writable"]


def test_a_token_is_revoked_while_the_service_runs(tmp_path):
    path = tmp_path / "tokens.json"
    secret = add_token(path, "a", False)
    with asking(ServiceSettings(tokens=Tokens(path))) as client:
        assert client.get("/v1/model", headers=bearer(secret)).status_code == 200
        revoke_token(path, "a")
        assert client.get("/v1/model", headers=bearer(secret)).status_code == 401


def test_a_read_only_service_enrolls_nothing(tmp_path):
    settings = ServiceSettings(read_only=True)
    with asking(settings, tmp_path / "gallery.db") as client:
        answer = client.post(
            "/v1/enroll", files=several(drawing(1)), data={"identity": "Ada"}
        )
        assert answer.status_code == 403
        assert answer.json()["error"].startswith("this service is read-only")
        assert not client.get("/v1/settings").json()["writable"]
        assert client.get("/v1/identities").json()["total"] == 0


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_only_loopback_needs_no_token(host, expected, tmp_path):
    assert is_loopback(host) == expected
    if expected:
        check_address(host, None)
    else:
        with pytest.raises(ValueError, match="opens the service to other machines"):
            check_address(host, None)
    add_token(tmp_path / "tokens.json", "a", False)
    check_address(host, Tokens(tmp_path / "tokens.json"))


def test_which_names_are_answered_follows_from_the_address():
    assert hosts_of("127.0.0.2", ()) == (*LOOPBACK_NAMES, "127.0.0.2")
    assert hosts_of("localhost", ("shop.example",))[-1] == "shop.example"
    assert hosts_of("0.0.0.0", ()) is None
    assert hosts_of("0.0.0.0", ("shop.example",)) == ("shop.example",)


def test_an_application_without_settings_answers_loopback_names_only():
    from asking import omniglot

    with TestClient(create_app(omniglot()), base_url="http://10.0.0.1") as client:
        assert client.get("/v1/model").status_code == 421
