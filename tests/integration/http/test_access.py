"""Every route × every role, on this machine and from elsewhere; and that no route is without its rule."""

from __future__ import annotations

import base64
from datetime import timedelta

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text

from monitor.store import tokens
from monitor.store.tokens import SCOPES
from monitor.web import access
from monitor.web.access import HEADERS, ROUTES
from monitor.web.app import routes

ROLES = ("nobody", *SCOPES, "expired", "revoked", "stranger")
OPEN_TO_ALL = {"/healthz"}


def test_every_route_has_its_right_and_every_right_its_route(plant):
    served = {
        (method, route.path)
        for route in routes(plant.site, plant.metrics).routes
        for method in (route.methods if isinstance(route, APIRoute) else {"?"})
    }
    assert served == set(ROUTES)
    assert set(ROUTES.values()) <= {*SCOPES, access.OPEN}
    assert [path for (method, path), right in ROUTES.items() if method != "GET" and right == access.OPEN] == []


def header(plant, role: str) -> dict[str, str]:
    """What somebody in this role sends along."""
    if role == "nobody":
        return {}
    if role == "stranger":
        return {"Authorization": "Bearer monitor_" + "x" * 43}
    scopes = SCOPES if role in ("expired", "revoked") else (role,)
    secret = plant.token(*scopes, source=role)
    return {"Authorization": f"Bearer {secret}"}


def prepare(plant) -> None:
    """End the tokens that are to be ended."""
    for role in ("expired", "revoked"):
        header(plant, role)
    with plant.database.begin() as conn:
        conn.execute(text("UPDATE access_token SET created_at = created_at - interval '9 days',"
                          " expires_at = created_at - interval '1 second' WHERE source = 'expired'"))  # fmt: skip
        assert tokens.revoke(conn, " ".join((*SCOPES, "revoked")), plant.now)


def expected(method: str, path: str, role: str, everywhere: bool) -> int:
    """The status by the rules as they are written, not by the table of routes."""
    if path in OPEN_TO_ALL:
        return 200
    if path.startswith(("/v1/alerts", "/v1/silences")) and method != "GET":
        # A frame is no word about an alert, and no silence has such a number.
        taken = 404 if method == "DELETE" else 400
        return taken if role == "operate" else 403 if role in SCOPES else 401
    if method == "POST":
        right = "review" if path == "/v1/reviews" else "ingest"
        return 200 if role == right else 403 if role in SCOPES else 401
    # No stream and no incident is named, so there is nothing to explain; no alert has a name with braces.
    seen = 404 if path in ("/why", "/incident") or "{" in path else 200
    if not everywhere:
        return seen
    return {"read": seen, "ingest": 403, "review": 403, "operate": 403, "admin": 403}.get(role, 401)


@pytest.mark.parametrize("everywhere", [False, True])
def test_every_route_times_every_role(request, body, everywhere):
    plant = request.getfixturevalue("open_plant" if everywhere else "plant")
    prepare(plant)
    found = {}
    with httpx.Client(base_url=plant.address, timeout=60) as client:
        for (method, path), _ in ROUTES.items():
            for role in ROLES:
                headers = {"Content-Type": "application/x-ndjson"} | header(plant, role)
                answer = client.request(method, path, headers=headers, content=body(1) if method == "POST" else None)
                found[method, path, role] = answer.status_code
                for name, value in HEADERS.items():
                    assert answer.headers[name] == value
    assert found == {key: expected(*key, everywhere) for key in found}
    assert len(found) == len(ROUTES) * len(ROLES)
    assert plant.ask("SELECT string_agg(DISTINCT source, ' ') FROM frame") == "ingest"


@pytest.mark.parametrize("everywhere", [False, True])
def test_what_is_not_in_the_table_is_not_there(request, everywhere):
    plant = request.getfixturevalue("open_plant" if everywhere else "plant")
    with httpx.Client(base_url=plant.address) as client:
        for path in ("/docs", "/redoc", "/v1", "/v1/frames/", "/static/../metrics/x", "/%2e%2e/etc/passwd"):
            assert client.get(path).status_code == 404
        for method in ("PUT", "DELETE", "PATCH", "GET", "HEAD", "OPTIONS", "TRACE"):
            answer = client.request(method, "/v1/frames")
            assert answer.status_code == 405
            assert answer.headers["allow"] == "POST"
        assert client.post("/").headers["allow"] == "GET, HEAD"


def test_head_answers_as_get_does_without_what_it_says(open_plant, plant):
    for path in ("/healthz", "/", "/metrics", "/v1/alerts", "/nowhere"):
        whole, head = httpx.get(f"{plant.address}{path}"), httpx.head(f"{plant.address}{path}")
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert httpx.head(f"{open_plant.address}/").status_code == 401
    assert httpx.head(f"{open_plant.address}/", headers=open_plant.bearer("read")).status_code == 200


def test_a_browser_reads_with_the_token_as_its_password(open_plant, body):
    secret = open_plant.token("read")
    with httpx.Client(base_url=open_plant.address) as client:
        asked = client.get("/")
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic realm=")
        assert client.get("/", auth=("anything", secret)).status_code == 200
        assert client.get(f"/?token={secret}").status_code == 401
        assert client.get("/", auth=(secret, "")).status_code == 401


@pytest.mark.parametrize(
    "said",
    ["Bearer", "Bearer  x", "Basic", "Basic !", "Basic " + base64.b64encode(b"\xff:\xff").decode(), "Token x", ""],
)
def test_an_authorization_that_is_none(open_plant, said):
    answer = httpx.get(f"{open_plant.address}/", headers={"Authorization": said})
    assert answer.status_code == 401


def test_a_browsers_password_never_writes(plant, body):
    """A page of another site can have a browser send it along."""
    answer = httpx.post(
        f"{plant.address}/v1/frames",
        content=body(1),
        auth=("any", plant.token("ingest", source="line-7")),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 401
    assert "Basic" not in answer.headers["www-authenticate"]
    assert plant.stored() == 0


def test_a_token_writes_as_its_source_whatever_is_said(plant, body, record):
    with plant.sender("line-7") as client:
        answer = client.post("/v1/frames?source=line-8", content=body(1), headers={"X-Source": "line-8"})
        assert answer.json()["source"] == "line-7"
        rejected = client.post("/v1/frames", content=record(2, source="line-8"))
        assert rejected.json()["rejected"] == 1, "a record has no source"
    assert plant.ask("SELECT string_agg(DISTINCT source, ' ') FROM batch") == "line-7"


@pytest.mark.parametrize(
    ("host", "answered"),
    [("localhost", True), ("LOCALHOST:8080", True), ("127.0.0.1", True), ("127.9.9.9:1", True), ("[::1]:8080", True),
     ("localhost.", True), ("plant.example", False), ("localhost.evil.example", False), ("127.0.0.1.evil", False),
     ("evil.example:8080", False), ("10.0.0.1", False), ("[::2]", False), ("localhost:x", False), ("", False),
     ("127.0.0.1@evil.example", False), ("[::1]evil", False)],
)  # fmt: skip
def test_only_the_names_of_this_machine_are_answered_to(plant, host, answered):
    for path in ("/", "/metrics", "/healthz", "/openapi.json"):
        answer = httpx.get(f"{plant.address}{path}", headers={"Host": host})
        assert (answer.status_code == 200) == answered
        assert answered or answer.status_code == 421


def test_from_elsewhere_any_name_is_good(open_plant):
    answer = httpx.get(f"{open_plant.address}/", headers={"Host": "plant.example"} | open_plant.bearer("read"))
    assert answer.status_code == 200


def test_what_a_proxy_says_is_not_believed(open_plant):
    said = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost", "X-Real-IP": "127.0.0.1",
            "Forwarded": "for=127.0.0.1;host=localhost"}  # fmt: skip
    assert httpx.get(f"{open_plant.address}/", headers=said).status_code == 401


def test_a_revoked_token_is_known_within_seconds(plant, body, monkeypatch):
    with plant.sender("line-7") as client:
        assert client.post("/v1/frames", content=body(1)).status_code == 200
        with plant.database.begin() as conn:
            assert tokens.revoke(conn, "ingest line-7", plant.now)
            assert not tokens.revoke(conn, "ingest line-7", plant.now)
        assert client.post("/v1/frames", content=body(2)).status_code == 200, "believed for a few seconds"
        monkeypatch.setattr(access, "REMEMBERED_S", 0.0)
        assert client.post("/v1/frames", content=body(3)).status_code == 401
    plant.secrets.clear()
    assert plant.stored() == 2


def test_a_token_ends_to_the_second_even_while_it_is_remembered(plant, body):
    with plant.sender("line-7") as client:
        assert client.post("/v1/frames", content=body(1)).status_code == 200
        plant.now += timedelta(days=1)
        assert client.post("/v1/frames", content=body(2)).status_code == 401


def test_while_the_database_is_away_who_was_good_still_sees_how_it_stands(open_plant, admin, monkeypatch):
    headers, name = open_plant.bearer("read"), open_plant.database.engine.url.database
    with httpx.Client(base_url=open_plant.address, headers=headers, timeout=60) as client:
        assert client.get("/metrics").status_code == 200
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        open_plant.database.engine.dispose()
        monkeypatch.setattr(access, "REMEMBERED_S", 0.0)
        assert client.get("/metrics").status_code == 200
        stranger = client.get("/metrics", headers={"Authorization": "Bearer monitor_who"})
        assert stranger.status_code == 503
        assert stranger.headers["retry-after"]
        assert client.get("/healthz").status_code == 200


def test_use_is_noted_once_a_minute(plant, body, monkeypatch):
    monkeypatch.setattr(access, "REMEMBERED_S", 0.0)
    used = "SELECT last_used_at FROM access_token WHERE name = 'ingest line-9'"
    with plant.sender("line-9") as client:
        assert plant.ask(used) is None
        client.post("/v1/frames", content=body(1))
        first = plant.ask(used)
        assert first == plant.now
        plant.now += timedelta(seconds=59)
        client.post("/v1/frames", content=body(2))
        assert plant.ask(used) == first
        plant.now += timedelta(seconds=1)
        client.post("/v1/frames", content=body(3))
        assert plant.ask(used) == plant.now


def test_answers_are_counted_by_route_alone(plant):
    for path in ("/healthz", "/wp-admin.php", "/.env", "/healthz"):
        httpx.get(f"{plant.address}{path}")
    page = httpx.get(f"{plant.address}/metrics").text
    assert 'monitor_http_answers_total{path="/healthz",status="200"}' in page
    assert 'monitor_http_answers_total{path="other",status="404"}' in page
    assert "wp-admin" not in page
