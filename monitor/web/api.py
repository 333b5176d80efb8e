"""Frames, reviews and business events over HTTP: one body is one batch is one transaction, answered after COMMIT."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

from monitor.errors import DependencyAway, OtherContent, TryAgain, UsageError
from monitor.ingest import stage
from monitor.ingest.feedback import is_feedback
from monitor.ingest.lines import Lines
from monitor.store import ledger
from monitor.store.ledger import Receipt
from monitor.web import bodies
from monitor.web.bodies import Flight, Hold, Work
from monitor.web.problem import Refused, come_back
from monitor.web.view import Site

MEDIA_TYPE = "application/x-ndjson"
_TAKEN_TYPES = frozenset({MEDIA_TYPE, "application/ndjson", "application/jsonl", "application/x-jsonlines"})
WORKERS = 4
"""Bodies that are taken in at once, each in a thread with one connection to the database."""
REJECTS_TOLD = 20
BATCH_ID = r"^[!-~]{1,200}$"
Given = Annotated[str | None, Header(pattern=BATCH_ID)]
Asked = Annotated[str | None, Query(pattern=BATCH_ID)]
FRAMES = "frames"
_SECONDS_AWAY = 5


class SetAside(BaseModel):
    """A line, or one detection of a stored frame, that was set aside. `monitor rejects` keeps it."""

    model_config = ConfigDict(extra="forbid")

    line: int
    whole_line: bool
    reason: str
    detail: str


class Taken(BaseModel):
    """What became of a body: lines = stored + duplicate + rejected + blank. It is committed."""

    model_config = ConfigDict(extra="forbid")

    batch: str
    source: str
    repeated: bool
    """Whether this very body had been taken in before; the counts are those of that time."""
    lines: int
    stored: int
    duplicate: int
    rejected: int
    blank: int
    detections_rejected: int
    rejects: list[SetAside]
    """The first of what was set aside."""


def add_intake(app: FastAPI, site: Site) -> None:
    """Add `POST /v1/frames`, `/v1/reviews` and `/v1/events` to the application."""
    intake = _Intake(site)

    _add_refusals(app)

    async def taken(request: Request, kind: str, given: str | None, batch: str | None) -> Taken:
        token = request.scope["token"]
        said = {*request.headers.getlist("idempotency-key"), *request.query_params.getlist("batch")}
        if len(said) > 1:
            raise Refused(400, "Idempotency-Key and ?batch= say two different ids; send one of them")
        _see_its_type(request)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        announced = request.headers.get("content-length")
        with intake.flight.hold() as hold:
            size = None if announced is None else int(announced)
            body = await bodies.read(request.stream(), size, intake.flight, hold)
            sent = Sent(kind, token.source or token.name, body, encoding, given or batch)
            del body
            return await to_thread.run_sync(intake.take, sent, hold, limiter=intake.workers)

    @app.post("/v1/frames")
    async def take_frames(request: Request, idempotency_key: Given = None, batch: Asked = None) -> Taken:
        """Take in frame records, one a line (NDJSON), as one batch.

        The answer comes after the batch is committed. A line that cannot be taken in costs no other line its place:
        it is counted as rejected, and the first twenty are told with their reason. Send a body again, unchanged and
        with the same batch id, until it is answered with 200: it is then stored once, however often it was sent.
        Without an id the body's own hash is its id.
        """
        return await taken(request, FRAMES, idempotency_key, batch)

    @app.post("/v1/reviews")
    async def take_reviews(request: Request, idempotency_key: Given = None, batch: Asked = None) -> Taken:
        """Take in reviews, one a line (NDJSON), as one batch; the promises are those of `/v1/frames`.

        A review may come before the frame that it speaks of: it waits, and counts in the hour of the frame.
        """
        return await taken(request, "reviews", idempotency_key, batch)

    @app.post("/v1/events")
    async def take_events(request: Request, idempotency_key: Given = None, batch: Asked = None) -> Taken:
        """Take in business events, one a line (NDJSON), as one batch; the promises are those of `/v1/frames`."""
        return await taken(request, "events", idempotency_key, batch)


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def refuse_the_id(request: Request, error: RequestValidationError) -> Response:
        # The batch id is the one thing that a request may say wrongly and the framework looks at.
        return Refused(
            400,
            "a batch id (Idempotency-Key, or ?batch=) is 1 to 200 printable ASCII characters without spaces, such as "
            "a UUID; send it so, or leave it out",
        ).response()

    @app.exception_handler(ClientDisconnect)
    async def forget(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody is there to read it; nothing was taken in


def _see_its_type(request: Request) -> None:
    said = request.headers.get("content-type", MEDIA_TYPE).partition(";")[0].strip().lower()
    if said not in _TAKEN_TYPES:
        raise Refused(
            415,
            f"a body of Content-Type {said[:60]!a} is not taken; send one record a line as {MEDIA_TYPE}",
            {"Accept": MEDIA_TYPE},
        )


@dataclass(slots=True)
class Sent:
    """A body as it was sent: what its lines hold, by whom, in which encoding, under which id (None: none)."""

    kind: str
    source: str
    packed: bytes
    encoding: str
    given: str | None

    @property
    def ledger(self) -> str:
        """What the names of such batches begin with: an id may stand for one batch of each kind."""
        return "http" if self.kind == FRAMES else f"http-{self.kind}"


def file_name(kind: str, batch: str) -> str:
    """What a batch is called where files are: the name tells what its lines hold, whatever the id looks like."""
    if kind == FRAMES:
        return f"http/{batch}" + ".jsonl" * is_feedback(batch)
    return f"http/{batch}.{kind}.jsonl"


class _Intake:
    """What bodies are taken in with, and its bounds on all of them together."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._work = Work()
        self.flight = Flight()
        self.workers = CapacityLimiter(WORKERS)

    def take(self, sent: Sent, hold: Hold) -> Taken:
        """One body, from its bytes to its commit.

        Raises:
            Refused: it is not taken in, and why.
        """
        body = bodies.unpack(sent.packed, sent.encoding, hold)
        lines = bodies.cut(body)
        batch = sent.given or hashlib.sha256(body).hexdigest()
        with self._work.turn(len(body)):
            sent.packed = body = b""
            try:
                repeated, found = self._store(sent, batch, lines)
            except OtherContent:
                raise Refused(
                    409, f"batch {batch} was taken in before with other content; give every body an id of its own"
                ) from None
            except TryAgain as error:
                raise come_back(503, str(error), 1) from None
            except DependencyAway as error:
                raise come_back(503, str(error), _SECONDS_AWAY) from None
            except UsageError as error:
                raise Refused(422, str(error)) from None
        return _answer(batch, sent.source, repeated, found)

    def _store(self, sent: Sent, batch: str, lines: Lines) -> tuple[bool, Receipt]:
        """Whether the batch had been taken in before, and what became of it."""
        contracts, source = self._site.contracts(), sent.source
        if not contracts:
            raise DependencyAway(
                "no contract is in force; put one TOML a model into the contracts folder, then send it again"
            )
        # Not the id itself: what was chosen elsewhere must not look like a name that the ledger gives.
        name = f"{sent.ledger}:{hashlib.sha256(batch.encode()).hexdigest()}"
        found = self._receipt(source, name)
        repeated = found is not None
        if found is None:
            database, now, workers = self._site.database, self._site.clock(), self._site.workers
            done = stage.take_lines(
                database, source, name, file_name(sent.kind, batch), lines, contracts, now, workers
            )
            repeated = done.repeated == done.lines
            found = self._receipt(source, name)
        if found is None:
            raise TryAgain("the batch was taken away by retention just now; send it again")
        if found.sha256 != lines.sha256():
            raise ledger.other_content(source, name)
        return repeated, found

    def _receipt(self, source: str, name: str) -> Receipt | None:
        with self._site.database.begin() as conn:
            return ledger.receipt(conn, source, name, REJECTS_TOLD)


def _answer(batch: str, source: str, repeated: bool, found: Receipt) -> Taken:
    counts = found.counts
    return Taken(
        batch=batch,
        source=source,
        repeated=repeated,
        lines=counts.lines,
        stored=counts.stored,
        duplicate=counts.duplicate,
        rejected=counts.rejected,
        blank=counts.blank,
        detections_rejected=counts.detections_rejected,
        rejects=[
            SetAside(line=number, whole_line=whole, reason=reason, detail=detail)
            for number, whole, reason, detail in found.rejects
        ],
    )
