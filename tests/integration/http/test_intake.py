"""Frames over HTTP: what is acknowledged is stored once, and whatever cannot be taken is a sentence."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import zstandard
from sqlalchemy import text

from monitor.web import bodies


def problem(answer: httpx.Response, status: int) -> str:
    """The sentence of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    return said["detail"]


def counts(answer: httpx.Response) -> tuple[int, ...]:
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["lines"] == said["stored"] + said["duplicate"] + said["rejected"] + said["blank"]
    return tuple(said[name] for name in ("lines", "stored", "duplicate", "rejected", "blank"))


def test_a_body_is_one_batch_of_its_source(plant, body):
    with plant.sender("line-7") as client:
        answer = client.post("/v1/frames", content=body(3))
    assert counts(answer) == (3, 3, 0, 0, 0)
    assert answer.json()["source"] == "line-7"
    assert answer.json()["batch"] == hashlib.sha256(body(3)).hexdigest()
    assert plant.ask("SELECT count(*) FROM batch WHERE source = 'line-7' AND lines = 3") == 1
    assert plant.stored() == plant.ask("SELECT count(*) FROM frame WHERE source = 'line-7'") == 3


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("zstd", zstandard.compress), ("GZIP", gzip.compress), ("identity", bytes)],
)
def test_a_packed_body_is_the_same_body(plant, body, encoding, pack):
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=pack(body(20)), headers={"Content-Encoding": encoding})
        assert counts(answer) == (20, 20, 0, 0, 0)
        assert client.post("/v1/frames", content=body(20)).json()["repeated"]
    assert plant.stored() == 20


def test_each_line_is_counted_and_the_first_rejects_are_told(plant, body, record):
    bad = b"".join(record(f"bad{n}", model="rollers") for n in range(25))
    sent = (
        body(4) + b"\n" + body(1) + b"{half\n" + record("box", detections=[{"class": "dent", "confidence": 2}]) + bad
    )
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=sent)
    assert counts(answer) == (33, 4, 1, 27, 1)
    told = answer.json()["rejects"]
    assert [one["line"] for one in told] == [7, 8, *range(9, 27)]
    assert told[0]["reason"] == "not_json"
    assert told[2]["reason"] == "unknown_model"
    assert "put its TOML into the contracts folder" in told[2]["detail"]


def test_the_same_id_with_the_same_bytes_is_answered_as_before(plant, body, record):
    sent = body(5) + record("x", model="rollers")
    with plant.sender() as client:
        first = client.post("/v1/frames", content=sent, headers={"Idempotency-Key": "shift-1"})
        plant.contracts["rollers"] = plant.contracts["presses"]
        again = client.post(
            "/v1/frames?batch=shift-1", content=gzip.compress(sent), headers={"Content-Encoding": "gzip"}
        )
    assert first.json()["repeated"] is False
    assert again.json() == first.json() | {"repeated": True}
    assert plant.stored() == 5
    assert plant.ask("SELECT count(*) FROM batch") == 1


def test_the_same_id_with_other_content_is_a_conflict(plant, body):
    with plant.sender() as client:
        client.post("/v1/frames?batch=a", content=body(2))
        said = problem(client.post("/v1/frames?batch=a", content=body(3)), 409)
        assert "give every body an id of its own" in said
        problem(client.post("/v1/frames?batch=a", content=body(2), headers={"Idempotency-Key": "b"}), 400)
    with plant.sender("line-8") as other:
        assert counts(other.post("/v1/frames?batch=a", content=body(3))) == (3, 3, 0, 0, 0)
    assert plant.stored() == 5


@pytest.mark.parametrize("where", ["headers", "query"])
def test_of_two_ids_none_is_chosen(plant, body, where):
    with plant.sender() as client:
        two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")] if where == "headers" else []
        query = "?batch=a&batch=b" if where == "query" else ""
        said = problem(client.post(f"/v1/frames{query}", content=body(2), headers=two), 400)
        assert "two different ids" in said
        same = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
        assert client.post("/v1/frames", content=body(2), headers=same).json()["batch"] == "a"
    assert plant.stored() == 2


def test_ids_that_would_look_alike_to_the_ledger_are_apart(plant, body):
    ids = ["a", "a+2", "a%", "a_", "%", "http:x", "a'--", '"quoted"', "../a"]
    with plant.sender() as client:
        for number, each in enumerate(ids):
            answer = client.post("/v1/frames", content=body(1, start=number), headers={"Idempotency-Key": each})
            assert answer.json()["batch"] == each
            assert counts(answer) == (1, 1, 0, 0, 0)
    assert plant.stored() == plant.ask("SELECT count(*) FROM batch") == len(ids)


@pytest.mark.parametrize(
    "bad", ["a%0d%0aSet-Cookie:%20x=1", "%00", "schicht-%C3%BC", "a%20b", "", "x" * 201, "%E2%80%AE"]
)
def test_an_id_that_is_none_is_refused(plant, body, bad):
    with plant.sender() as client:
        answer = client.post(f"/v1/frames?batch={bad}", content=body(1))
    assert "printable ASCII" in problem(answer, 400)
    assert "set-cookie" not in answer.headers
    assert plant.stored() == 0


def test_a_unicode_id_in_the_header_is_refused(plant, body):
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=body(1), headers={"Idempotency-Key": "schicht-ü".encode()})
    assert "printable ASCII" in problem(answer, 400)


def test_two_at_once_with_one_id_are_stored_once(plant, body):
    sent = [body(50), body(50), body(51)] * 4
    plant.token("ingest", source="line-7")

    def post(content: bytes) -> int:
        with plant.sender() as client:
            return client.post("/v1/frames?batch=same", content=content).status_code

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(post, sent))
    winner = plant.stored()
    assert winner in (50, 51)
    assert [code for code, content in zip(answers, sent, strict=True) if content.count(b"\n") == winner] == [200] * (
        8 if winner == 50 else 4
    )
    assert set(answers) == {200, 409}


def test_a_hundred_at_once(plant, body):
    def post(number: int) -> int:
        with plant.sender(f"line-{number % 5}") as client:
            for _ in range(50):
                answer = client.post(f"/v1/frames?batch=b{number}", content=body(40, start=40 * number))
                if answer.status_code == 200:
                    return answer.json()["stored"]
                assert answer.status_code in (429, 503), answer.text
                assert int(answer.headers["retry-after"]) >= 1
        raise AssertionError("never taken in")

    for number in range(5):
        plant.token("ingest", source=f"line-{number}")
    with ThreadPoolExecutor(100) as pool:
        assert sum(pool.map(post, range(100))) == 4000
    assert plant.stored() == 4000
    assert plant.ask("SELECT sum(count) FROM intake_total WHERE outcome = 'stored'") == 4000
    assert plant.differing() == 0


@pytest.mark.parametrize(
    ("content", "headers", "status", "sentence"),
    [
        (b"", {}, 400, "the body is empty"),
        (b"x" * (bodies.MOST_BYTES + 1), {}, 413, "send it in parts"),
        (gzip.compress(b"\n" * 20_001, mtime=0), {"Content-Encoding": "gzip"}, 413, "more than 20,000 lines"),
        (gzip.compress(b"x" * (1 << 25), mtime=0), {"Content-Encoding": "gzip"}, 413, "unpacked"),
        (zstandard.compress(b"x" * (1 << 25)), {"Content-Encoding": "zstd"}, 413, "unpacked"),
        (gzip.compress(b"{}\n" * 99, mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400, "no whole gzip"),
        (gzip.compress(b"{}\n", mtime=0) + b"more", {"Content-Encoding": "gzip"}, 400, "no whole gzip"),
        (zstandard.compress(b"{}\n" * 99)[:-5], {"Content-Encoding": "zstd"}, 400, "no whole zstd"),
        (b"{}\n", {"Content-Encoding": "gzip"}, 400, "no whole gzip"),
        (b"{}\n", {"Content-Encoding": "br"}, 415, "send gzip, zstd or plain"),
        (b"{}\n", {"Content-Encoding": "gzip, gzip"}, 415, "send gzip, zstd or plain"),
        (b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/x-ndjson"),
        (b"{}", {"Content-Type": "application/json"}, 415, "application/x-ndjson"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_a_sentence(plant, content, headers, status, sentence):
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=content, headers=headers)
        assert sentence in problem(answer, status)
        assert (answer.json().get("limit") is not None) == (status == 413)
        assert client.get("/healthz").status_code == 200
    assert plant.ask("SELECT count(*) FROM batch") == 0


def test_a_bomb_is_refused_before_it_is_unpacked(plant):
    pieces = gzip.compress(b"\0" * (1 << 20)) * 1024
    assert len(pieces) < 2 << 20
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=pieces, headers={"Content-Encoding": "gzip"})
        assert "unpacked" in problem(answer, 413)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"event_id": "\xff"}\n', "not_utf8"),
        (b"x" * (bodies.MOST_BYTES - 1) + b"\n", "line_too_long"),
        (b"\0\0\n", "not_json"),
    ],
    ids=["not UTF-8", "one line of 16 MiB", "zeros"],
)
def test_a_bad_line_is_a_reject_and_the_next_is_stored(plant, record, content, reason):
    sent = content + (record(1) if len(content) < 100 else b"")
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=sent)
    assert answer.json()["rejects"][0]["reason"] == reason
    assert answer.json()["stored"] == sent.count(b"\n") - 1
    assert plant.ask("SELECT max(length(raw)) FROM reject") <= 1 << 16


def test_no_contract_in_force_is_not_a_reject(plant, body):
    plant.contracts = {}
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=body(1))
    assert "no contract is in force" in problem(answer, 503)
    assert answer.headers["retry-after"] == "5"
    assert plant.ask("SELECT count(*) FROM batch") == 0


def test_a_body_in_work_keeps_nobody_waiting(plant, body):
    """Four bodies stand before a lock; what needs no lock answers, and then all four are stored."""
    with plant.sender() as client, ThreadPoolExecutor(4) as pool:
        client.post("/v1/frames", content=body(1, start=999))
        with plant.database.engine.begin() as holding:
            holding.execute(text("LOCK TABLE frame_key IN ACCESS EXCLUSIVE MODE"))
            waiting = (
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
                " WHERE NOT granted AND datname = current_database()"
            )
            posts = [pool.submit(client.post, "/v1/frames", content=body(5, start=5 * n)) for n in range(4)]
            until(lambda: plant.ask(waiting) == 4)
            for path in ("/healthz", "/metrics", "/static/page.css"):
                assert client.get(path, timeout=5).status_code == 200
            assert not any(one.done() for one in posts), "nothing is acknowledged before its commit"
        assert [one.result().json()["stored"] for one in posts] == [5] * 4
    assert plant.stored() == 21


def test_too_many_bytes_at_once_are_put_off(plant, body, monkeypatch):
    monkeypatch.setattr(bodies, "MOST_BYTES", 1 << 30)
    with plant.sender() as client:
        answer = client.post("/v1/frames", content=iter([b"x" * (1 << 20)] * 65))
        assert "too many bytes" in problem(answer, 429)
        assert answer.headers["retry-after"] == "1"
        assert client.post("/v1/frames", content=body(1)).status_code == 200, "its share was given back"
    assert plant.stored() == 1


def test_the_database_away_is_said_and_nothing_is_lost(plant, body, admin):
    name = plant.database.engine.url.database
    with plant.sender() as client:
        assert client.post("/v1/frames", content=body(1)).status_code == 200
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        plant.database.engine.dispose()
        answer = client.post("/v1/frames", content=body(2))
        assert "try again" in problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        assert counts(client.post("/v1/frames", content=body(2))) == (2, 1, 1, 0, 0)
    assert plant.stored() == 2


def raw(plant, head: str, content: bytes = b"") -> socket.socket:
    """A request written by hand on a connection of its own."""
    host, port = plant.address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    token = plant.token("ingest", source="line-7")
    sent = f"POST /v1/frames HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{head}\r\n\r\n"
    connection.sendall(sent.encode() + content)
    return connection


def until(wanted, seconds: float = 30) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not wanted():
        assert time.monotonic() < deadline, "it has not come to pass"
        pause.wait(0.02)


def test_a_body_that_does_not_come_ends(plant, monkeypatch):
    monkeypatch.setattr(bodies, "SECONDS", 0.2)
    monkeypatch.setattr("monitor.web.linger.SECONDS", 0.2)
    with raw(plant, "Content-Length: 100", b"{") as connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"smaller bodies" in answer


def test_a_head_that_does_not_come_ends(plant, monkeypatch):
    monkeypatch.setattr("monitor.web.server.HEAD_S", 0.2)
    host, port = plant.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        assert connection.recv(1000) == b"", "closed without a word"


@pytest.mark.parametrize("head", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_sender_that_goes_away_leaves_nothing(plant, body, head):
    with raw(plant, head, body(1)[:50]):
        pass
    with plant.sender() as client:
        assert client.post("/v1/frames", content=body(1)).json()["repeated"] is False
    assert plant.ask("SELECT count(*) FROM batch") == 1


@pytest.mark.parametrize(
    "head",
    ["Content-Length: -1", "Content-Length: x", "Content-Length: 1\r\nContent-Length: 2", "Transfer-Encoding: gzip"],
)
def test_a_length_that_is_none_is_refused(plant, head):
    with raw(plant, head, b"{}\n") as connection:
        answer = connection.recv(1000)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert plant.ask("SELECT count(*) FROM batch") == 0


def test_a_length_too_short_takes_in_what_it_says(plant, body, record):
    with raw(
        plant, f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body(1))}", body(1) + b"garbage\r\n\r\n"
    ) as connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"lines":1,' in answer


def test_sums_by_source_are_what_was_sent(plant, body):
    for source, count in (("line-7", 3), ("line-8", 5)):
        with plant.sender(source) as client:
            client.post("/v1/frames", content=body(count))
    for source, count in (("line-7", 3), ("line-8", 5)):
        found = "SELECT count FROM reporting.intake WHERE source = :source AND outcome = 'stored'"
        assert plant.ask(found, source=source) == count
