"""Alerts over HTTP: how they stand, who has them in hand, silences. Who does something is named by the token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict

from monitor.alerts import life
from monitor.alerts.life import Entry, NoSuchAlert, Standing, Who
from monitor.alerts.words import LONGEST, one_line
from monitor.errors import DependencyAway, TryAgain, UsageError
from monitor.records import ALL
from monitor.store import silences
from monitor.store.database import Connection
from monitor.store.silences import Silence
from monitor.web.problem import Refused, come_back
from monitor.web.view import Site

T = TypeVar("T")
MOST_BYTES = 16 << 10
"""Bytes of a body."""
SECONDS = 10.0
"""How long a body may take to arrive."""
SHOWN = 1000
"""Alerts in one answer."""
DOERS = 2
"""Deeds that are done at once, each with one connection to the database."""

Words = Annotated[str, msgspec.Meta(max_length=LONGEST)]


class TakeOnRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Who takes an alert on; without `by` the token's name stands."""

    by: Words = ""
    note: Words = ""


class ResolveRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Who ends an alert, and what it was."""

    note: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]
    by: Words = ""


class SilenceRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Which alerts nobody is to be told of (all matchers fit, such as `camera=cam-3`), until when and why."""

    matchers: Annotated[list[str], msgspec.Meta(min_length=1, max_length=20)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]
    ends_at: Annotated[datetime, msgspec.Meta(tz=True)]
    by: Words = ""


COMMANDS: dict[tuple[str, str], type[msgspec.Struct] | None] = {
    ("POST", "/v1/alerts/{key:path}/ack"): TakeOnRecord,
    ("POST", "/v1/alerts/{key:path}/resolve"): ResolveRecord,
    ("POST", "/v1/silences"): SilenceRecord,
    ("DELETE", "/v1/silences/{number}"): None,
}
"""What is done over HTTP beside taking records in, and the body that says it; None: there is none."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FigureState(_Answer):
    """What was found by the end of a window (`as_of`); an incident has words alone."""

    as_of: datetime
    said: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    limit: float | None


class AlertState(_Answer):
    """How an alert or an incident stands: `fired` is how it was told when it opened, `now` how it is by now."""

    key: str
    kind: str
    episode: int
    state: str
    severity: str
    since: datetime | None
    reason: str
    labels: dict[str, str]
    acknowledged_by: str | None
    silenced_until: datetime | None
    fired: FigureState | None
    now: FigureState | None


class HistoryLine(_Answer):
    """What happened, or who did what."""

    at: datetime
    what: str
    who: str
    said: str
    subject: str


class AlertList(_Answer):
    """Alerts and incidents; the first thousand."""

    alerts: list[AlertState]


class AlertStory(_Answer):
    """One alert or incident with its history, the newest first."""

    alert: AlertState
    history: list[HistoryLine]


class SilenceState(_Answer):
    """A silence."""

    id: int
    matchers: list[str]
    by: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    in_force: bool


class SilenceList(_Answer):
    """Silences, the newest first."""

    silences: list[SilenceState]


def add_alerts(app: FastAPI, site: Site) -> None:
    """Add `/v1/alerts` and `/v1/silences` to the application."""
    _add_reading(app, site)
    _add_deeds(app, site)


def _add_reading(app: FastAPI, site: Site) -> None:
    @app.get("/v1/alerts")
    def list_alerts(model: str = ALL, all: str = "") -> AlertList:
        """Alerts and incidents that are pending or firing; with `all` every series that a rule watches too."""
        with _answering(), site.begin() as conn:
            found = life.standing(conn, site.clock(), _name(model), open_only=not _is_yes(all))
        # What is on comes first: a thousand series that are well must not crowd it out.
        found.sort(key=lambda one: not one.is_active)
        return AlertList(alerts=[_state(one) for one in found[:SHOWN]])

    @app.get("/v1/alerts/{key:path}")
    def show_alert(key: str) -> AlertStory:
        """One alert or incident with what happened and who did what."""
        with _answering(), site.begin() as conn:
            now = site.clock()
            one, entries = life.find(conn, _name(key), now), life.history(conn, now, key)
        return AlertStory(alert=_state(one), history=[_line(entry) for entry in entries])

    @app.get("/v1/silences")
    def list_silences(all: str = "") -> SilenceList:
        """Silences in force; with `all` those that are over too."""
        now = site.clock()
        with _answering(), site.begin() as conn:
            found = silences.read(conn, None if _is_yes(all) else now)
        return SilenceList(silences=[_silence(one, now) for one in found])


def _add_deeds(app: FastAPI, site: Site) -> None:
    doers = CapacityLimiter(DOERS)

    async def do(deed: Callable[[Connection, datetime], T]) -> T:
        def work() -> T:
            with _answering(), site.database.begin() as conn:
                return deed(conn, site.clock())

        return await to_thread.run_sync(work, limiter=doers)

    @app.post("/v1/alerts/{key:path}/ack")
    async def take_on(request: Request, key: str) -> AlertState:
        """Say that somebody has taken an active alert or incident on."""
        said = await _said(request, TakeOnRecord)
        who, note = _who(request, said.by), _flat(said.note) if said.note else ""
        return _state(await do(lambda conn, now: life.acknowledge(conn, _name(key), who, note, now)))

    @app.post("/v1/alerts/{key:path}/resolve")
    async def resolve(request: Request, key: str) -> AlertState:
        """End an active alert or incident by hand; of one that is over, add a note."""
        said = await _said(request, ResolveRecord)
        who, note = _who(request, said.by), _flat(said.note)
        return _state(await do(lambda conn, now: life.resolve(conn, _name(key), who, note, now)))

    @app.post("/v1/silences")
    async def silence(request: Request) -> SilenceState:
        """Tell nobody of the alerts that fit, for seven days at most; they are judged as ever."""
        said = await _said(request, SilenceRecord)
        who, reason = _who(request, said.by), _flat(said.reason)

        def begin(conn: Connection, now: datetime) -> SilenceState:
            number = life.silence(conn, said.matchers, who, reason, said.ends_at, now)
            return next(_silence(one, now) for one in silences.read(conn, now) if one.id == number)

        return await do(begin)

    @app.delete("/v1/silences/{number}")
    async def unsilence(request: Request, number: str) -> SilenceState:
        """End a silence; what it held back and is still on is told."""
        if not number.isdecimal() or len(number) > 15:
            raise Refused(404, "a silence has a number; /v1/silences tells those that are in force")
        who = _who(request, "")

        def end(conn: Connection, now: datetime) -> SilenceState:
            return _silence(life.unsilence(conn, int(number), who, "", now), now)

        return await do(end)


def _is_yes(said: str) -> bool:
    return said.lower() not in ("", "0", "false", "no")


def _name(said: str) -> str:
    """A name as the database can be asked for it; nothing is called what it cannot."""
    if "\0" in said:
        raise Refused(404, "no name holds a NUL; /v1/alerts tells the keys")
    return said


async def _said(request: Request, record: type[T]) -> T:
    """The body as `record`.

    Raises:
        Refused: 413 too large, 408 too slow, 400 it is no such record.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BYTES:
                    raise Refused(413, f"the body has more than {MOST_BYTES:,} bytes", limit=MOST_BYTES)
    except TimeoutError:
        raise Refused(408, f"the body has not arrived within {SECONDS:g} s; send it again") from None
    try:
        return msgspec.json.decode(bytes(body) or b"{}", type=record)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is not what /openapi.json describes: {error}") from None


def _who(request: Request, by: str) -> Who:
    token = request.scope["token"]
    return Who(_flat(by) if by else token.name, f"token {token.name}")


def _flat(said: str) -> str:
    try:
        return one_line(said)
    except UsageError as error:
        raise Refused(400, str(error)) from None


@contextmanager
def _answering() -> Iterator[None]:
    """What the rooms raise, as refusals."""
    try:
        yield
    except NoSuchAlert as error:
        raise Refused(404, str(error)) from None
    except TryAgain as error:
        raise come_back(503, str(error), 1) from None
    except DependencyAway as error:
        raise come_back(503, str(error), 5) from None
    except UsageError as error:
        raise Refused(409, str(error)) from None


def _state(one: Standing) -> AlertState:
    return AlertState(
        key=one.key,
        kind=one.kind,
        episode=one.episode,
        state=one.state,
        severity=one.severity,
        since=one.since,
        reason=one.reason,
        labels={name: value for name, value in one.facts.items() if value},
        acknowledged_by=None if one.acknowledged is None else one.acknowledged.author,
        silenced_until=None if one.silence is None else one.silence.ends_at,
        fired=None if one.fired is None else FigureState(**asdict(one.fired)),
        now=None if one.now is None else FigureState(**asdict(one.now)),
    )


def _line(entry: Entry) -> HistoryLine:
    return HistoryLine(at=entry.at, what=entry.what, who=entry.who, said=entry.said, subject=entry.subject)


def _silence(one: Silence, now: datetime) -> SilenceState:
    return SilenceState(
        id=one.id,
        matchers=list(one.matchers),
        by=one.author,
        reason=one.reason,
        starts_at=one.starts_at,
        ends_at=one.over_at,
        in_force=one.in_force(now),
    )
