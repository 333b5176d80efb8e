"""What people do about alerts and incidents: acknowledge, silence, resolve with a note; and what became of them.

Every deed is a row that says who, when and why. A silence changes no state, an acknowledgement no message: the one
says that nobody wants to hear of it, the other that somebody has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from monitor.alerts.advice import advice_in_words
from monitor.alerts.evaluate import ACTIVE, OPEN
from monitor.alerts.labels import facts_of_alert, facts_of_incident
from monitor.alerts.matchers import fits, parse
from monitor.alerts.wording import when
from monitor.errors import TryAgain, UsageError
from monitor.records import ALL, Alert, AlertEvent, Window
from monitor.store import alerts, deeds, incidents, outbox, rankings, silences
from monitor.store.alerts import Opening
from monitor.store.database import Connection
from monitor.store.deeds import Deed, Kind
from monitor.store.incidents import Kept
from monitor.store.rankings import Said
from monitor.store.silences import Silence

LONGEST_SILENCE = timedelta(days=7)
BY_HAND = "resolved by "
"""What the reason of an incident that a person closed begins with."""


class NoSuchAlert(UsageError):
    """There is no alert, incident or silence in force of that name."""


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who does something: a name, and how they came in (`command line`, or a token's name)."""

    author: str
    via: str


@dataclass(frozen=True, slots=True)
class Figure:
    """What was found by the end of a window: in words, and of an alert in numbers with the limit beside them."""

    as_of: datetime
    said: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    limit: float | None = None

    def __str__(self) -> str:
        count = "" if self.n is None else f"; n {self.n:,}"
        return f"{self.said}{count} (window to {when(self.as_of)})"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an alert or an incident stands, and what people have done about it. `since` is UTC.

    `fired` is how it was told when it opened, `now` how it was when it was judged last.
    """

    key: str
    kind: str
    episode: int
    state: str
    severity: str
    since: datetime | None
    reason: str
    facts: dict[str, str]
    acknowledged: Deed | None = None
    silence: Silence | None = None
    fired: Figure | None = None
    now: Figure | None = None

    @property
    def is_active(self) -> bool:
        """Whether people were told of it and it is not over."""
        return self.state in ACTIVE


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a history: what happened, or who did what."""

    at: datetime
    what: str
    who: str
    said: str
    subject: str


def standing(
    conn: Connection, now: datetime, model: str = ALL, *, open_only: bool = True, prefix: str = ""
) -> list[Standing]:
    """Alerts and incidents of a model (or of all), alerts first; `open_only`: those that are pending or active."""
    found = [
        _of_alert(alert) for alert in alerts.read(conn, model, prefix=prefix) if alert.state in OPEN or not open_only
    ]
    kept = incidents.read(conn, model or None, open_only=open_only, key=prefix)
    found += [_of_incident(one) for one in kept]
    keys = [one.key for one in found]
    known, opened = deeds.acknowledged(conn, keys), alerts.openings(conn, keys)
    course = rankings.latest(conn, [one.key for one in kept])
    in_force = silences.read(conn, now)
    return [
        replace(
            one,
            acknowledged=known.get((one.key, one.episode)),
            silence=next((s for s in in_force if fits(s.matchers, one.facts)), None),
            fired=_fired(opened.get((one.key, one.episode))),
            now=one.now or _goes_on(course.get((one.key, one.episode))),
        )
        for one in found
    ]


def find(conn: Connection, key: str, now: datetime) -> Standing:
    """One alert or incident by its key (of an incident's episodes the last, or that of `key#episode`).

    Raises:
        NoSuchAlert: there is none.
    """
    name, _, number = key.rpartition("#")
    wanted = name if name and number.isdecimal() else key
    found = [one for one in standing(conn, now, open_only=False, prefix=wanted) if one.key in (wanted, key)]
    if wanted != key:
        found = [one for one in found if one.key == key or one.episode == int(number)] or found
    if not found:
        raise NoSuchAlert(f"there is no alert or incident {key!r}; `monitor alerts list --all` prints the keys")
    return max(found, key=lambda one: (one.key == key, one.episode))


def acknowledge(conn: Connection, key: str, who: Who, note: str, now: datetime) -> Standing:
    """Write down that somebody has taken an active alert on; the same person's second time changes nothing.

    Raises:
        UsageError: there is no such alert, or it is not active.
    """
    one = find(conn, key, now)
    if not one.is_active:
        raise UsageError(f"{one.key} is {one.state}; only what is firing can be acknowledged")
    done = deeds.read(conn, one.key, episode=one.episode)
    if not any(deed.deed == "acknowledged" and deed.author == who.author for deed in done):
        _write(conn, "acknowledged", one, who, note, now)
    return find(conn, key, now)


def silence(
    conn: Connection, matchers: Sequence[str], who: Who, reason: str, ends_at: datetime, now: datetime
) -> int:
    """Tell nobody of the alerts that fit all of `matchers` until `ends_at`; returns the silence's number.

    Raises:
        UsageError: a matcher is none, or the end is not within the next seven days.
    """
    if not now < ends_at <= now + LONGEST_SILENCE:
        raise UsageError(
            f"a silence ends within {LONGEST_SILENCE.days} days from now, which is until"
            f" {now + LONGEST_SILENCE:%Y-%m-%d %H:%M} UTC; {ends_at.isoformat(timespec='minutes')} is not"
        )
    number = silences.add(conn, Silence(0, parse(matchers), who.author, reason, now, ends_at))
    deeds.add(conn, Deed("silenced", who.author, who.via, reason, now, silence_id=number))
    return number


def unsilence(conn: Connection, number: int, who: Who, reason: str, now: datetime) -> Silence:
    """End a silence early; what it held back and is still on is told at once.

    Raises:
        NoSuchAlert: no silence of that number is in force.
    """
    ended = silences.lift(conn, number, now)
    if ended is None:
        raise NoSuchAlert(f"no silence {number} is in force; `monitor alerts silences` prints those that are")
    deeds.add(conn, Deed("unsilenced", who.author, who.via, reason, now, silence_id=number))
    return ended


def resolve(conn: Connection, key: str, who: Who, note: str, now: datetime) -> Standing:
    """End an active alert or incident by hand with a note, or add the note to the last episode of one that is over.

    What is still wrong opens a new episode when it is judged again.

    Raises:
        UsageError: there is no such alert, or it never fired.
        TryAgain: it was judged at the same moment.
    """
    one = find(conn, key, now)
    opening = next(
        (e for e in alerts.events(conn, one.key) if e.episode == one.episode and e.to_state != "resolved"), None
    )
    if opening is None:
        raise UsageError(f"{one.key} has never fired; there is nothing to resolve")
    if not one.is_active:
        _write(conn, "noted", one, who, note, now)
        return one
    because = f"{BY_HAND}{who.author}: {note}"
    window = _close(conn, one, opening, because, now)
    said = f"{one.key}: {because}; it had been {one.state} since {when(one.since or opening.decided_at)}."
    evidence = {**opening.evidence, "sentence": said, "reason": because, "resolved_by": who.author, "note": note}
    event = replace(
        opening,
        from_state=one.state,
        to_state="resolved",
        window=window,
        decided_at=now,
        evidence=evidence,
    )
    outbox.add(conn, alerts.add_event(conn, event), event, outbox.told_through(conn, opening.id), now)
    _write(conn, "resolved", one, who, note, now)
    return find(conn, one.key, now)


def history(conn: Connection, now: datetime, key: str | None = None, limit: int = 100) -> list[Entry]:
    """What happened and who did what, the newest first: of one alert or incident, or everything.

    Of one alert the silences that fit it are told too.

    Raises:
        UsageError: there is no such alert.
    """
    told = {one.id: one for one in silences.read(conn)}
    if key is None:
        done, events = deeds.read(conn, limit=limit), alerts.latest_events(conn, limit)
    else:
        one = find(conn, key, now)
        fitting = [number for number, silence in told.items() if fits(silence.matchers, one.facts)]
        done = deeds.read(conn, one.key, silences=fitting, limit=limit)
        events = alerts.events(conn, one.key, limit)
    entries = [_of_deed(deed, told) for deed in done] + [_of_event(event) for event in events]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:limit]


def silenced_by(in_force: Collection[Silence], facts: dict[str, str]) -> Silence | None:
    """Of the silences that fit the one that lasts longest; None: none does."""
    return max((one for one in in_force if fits(one.matchers, facts)), key=lambda one: one.ends_at, default=None)


def _close(conn: Connection, one: Standing, opening: AlertEvent, because: str, now: datetime) -> Window:
    """End an episode; returns the window that it is told for."""
    if one.kind == "incident":
        [kept] = [i for i in incidents.read(conn, open_only=True, key=one.key) if i.key == one.key]
        held = next((i for i in incidents.open_ones(conn, kept.watch) if i.key == one.key), None)
        if held is None:
            raise TryAgain(f"{one.key} was closed at the same moment; look again")
        day = max(now.astimezone(UTC).date(), held.incident.opened_on)
        incidents.save(conn, replace(held, incident=replace(held.incident, closed_on=day, closed_because=because)))
        return Window(_midnight(day), _midnight(day) + timedelta(days=1))
    [alert] = [a for a in alerts.read(conn, prefix=one.key) if a.key == one.key]
    # No `calm_since`: what a person ended and is back was not restless, it was not mended.
    over = replace(alert, state="resolved", breaches=0, clears=0, reason=because, calm_since=None)
    if alert.episode != one.episode or not alerts.save(conn, over):
        raise TryAgain(f"{one.key} was judged at the same moment; look again")
    return Window(alert.window_end - (opening.window.end - opening.window.start), alert.window_end)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _write(conn: Connection, deed: Kind, one: Standing, who: Who, note: str, now: datetime) -> None:
    deeds.add(conn, Deed(deed, who.author, who.via, note, now, one.key, one.episode))


def _of_alert(alert: Alert) -> Standing:
    told = (alert.state, alert.severity, alert.since, alert.reason)
    figures = (alert.value, alert.low, alert.high, alert.n, alert.threshold)
    now = Figure(alert.window_end, alert.reason, *figures)
    return Standing(alert.key, "alert", alert.episode, *told, facts_of_alert(alert), now=now)


def _fired(opened: Opening | None) -> Figure | None:
    if opened is None:
        return None
    figures = (opened.value, opened.low, opened.high, opened.n, opened.threshold)
    return Figure(opened.window_end, opened.said, *figures)


def _goes_on(said: Said | None) -> Figure | None:
    if said is None:
        return None
    end = _midnight(said.day) + timedelta(days=1)
    return Figure(end, " ".join([said.finding, *advice_in_words(said.causes)]))


def _of_incident(kept: Kept) -> Standing:
    incident, watch = kept.incident, kept.watch
    state = "firing" if incident.closed_on is None else "resolved"
    facts = facts_of_incident(kept.key, watch.model, watch.version, watch.stage, incident)
    reason = incident.closed_because or f"{', '.join(incident.signals)} since {incident.onset}"
    return Standing(
        kept.key, "incident", kept.episode, state, facts["severity"], _midnight(incident.onset), reason, facts
    )


def _of_deed(deed: Deed, told: dict[int, Silence]) -> Entry:
    silence = told.get(deed.silence_id or 0)
    subject = deed.alert_key or (f"silence {silence.id}: {', '.join(silence.matchers)}" if silence else "a silence")
    until = f" (until {when(silence.ends_at)})" if silence is not None and deed.deed == "silenced" else ""
    return Entry(deed.at, deed.deed, f"{deed.author} ({deed.via})", deed.note + until, subject)


def _of_event(event: AlertEvent) -> Entry:
    said = str(event.evidence.get("sentence", ""))
    return Entry(event.decided_at, event.to_state, "monitor", said, event.alert_key)
