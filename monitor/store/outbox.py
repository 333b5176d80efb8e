"""The outbox: messages about alerts, written with the event, sent afterwards, and only then marked.

A message is claimed for a short while by pushing its `not_before` ahead: whoever dies between sending and marking
leaves it to be sent again, under the same key. What one rule has to say at once goes out as one parcel, and a parcel
that has to be sent again holds what it held before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from monitor.records import AlertEvent
from monitor.store.alerts import event_of
from monitor.store.database import Connection

MOST = 1000
"""Messages in one parcel."""
_EVENT = (
    "{0}.alert_key, {0}.episode, {0}.from_state, {0}.to_state, {0}.window_start, {0}.window_end, {0}.decided_at,"
    " {0}.value, {0}.threshold, {0}.n, {0}.evidence, {0}.event_id"
)
_OF_EVENT = 12
# The first open message of each alert to each channel: those behind it wait.
_FRONT = (
    "WITH front AS (SELECT delivery_key FROM (SELECT o.delivery_key,"
    " row_number() OVER (PARTITION BY o.channel, e.alert_key ORDER BY o.event_id) AS place"
    " FROM outbox o JOIN alert_event e USING (event_id)"
    " WHERE o.sent_at IS NULL AND o.given_up_at IS NULL AND o.channel = ANY(:channels)) f WHERE place = 1)"
)
_OPEN = "o.sent_at IS NULL AND o.given_up_at IS NULL"
_FIRST = text(
    f"{_FRONT} SELECT o.delivery_key, o.channel, o.group_key, o.parcel, e.to_state"  # noqa: S608 - constants
    " FROM outbox o JOIN alert_event e USING (event_id) JOIN front USING (delivery_key)"
    f" WHERE {_OPEN} AND o.not_before <= :now ORDER BY o.event_id, o.channel LIMIT 1 FOR UPDATE OF o SKIP LOCKED"
)
_WITH_IT = text(
    f"{_FRONT}, taken AS (SELECT o.delivery_key"  # noqa: S608 - constants
    " FROM outbox o JOIN alert_event e USING (event_id) JOIN front USING (delivery_key)"
    f" WHERE {_OPEN} AND o.channel = :channel AND (o.delivery_key = :first OR (:parcel <> '' AND o.parcel = :parcel)"
    " OR (:parcel = '' AND o.parcel = '' AND o.group_key = :group AND :group <> '' AND e.to_state = :state"
    " AND o.not_before <= :now)) ORDER BY o.event_id LIMIT :most FOR UPDATE OF o SKIP LOCKED)"
    " UPDATE outbox SET attempts = attempts + 1, not_before = :until,"
    " parcel = CASE WHEN :parcel = '' THEN :first ELSE :parcel END"
    " FROM taken WHERE outbox.delivery_key = taken.delivery_key RETURNING outbox.delivery_key"
)
_DELIVERIES = text(
    "SELECT o.delivery_key, o.channel, o.attempts, o.parcel, coalesce(o.due_at, e.decided_at),"  # noqa: S608
    f" {_EVENT.format('e')}, {_EVENT.format('f')}"
    " FROM outbox o JOIN alert_event e USING (event_id) LEFT JOIN alert_event f ON f.alert_key = e.alert_key"
    " AND f.episode = e.episode AND f.to_state <> 'resolved'"
    " WHERE o.delivery_key = ANY(:keys) ORDER BY o.event_id"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one channel. `key` is the same at every attempt; `attempts` counts this one too.

    `opening` is the event that opened the episode; `due_at` is when it could first be sent.
    """

    key: str
    channel: str
    attempts: int
    event: AlertEvent
    opening: AlertEvent
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Parcel:
    """Messages that go out as one, at least one; `key` stands for all of them, however often they are sent."""

    key: str
    channel: str
    deliveries: tuple[Delivery, ...]

    @property
    def state(self) -> str:
        """What all of them turned to."""
        return self.deliveries[0].event.to_state


def delivery_key(alert_key: str, episode: int, to_state: str, channel: str) -> str:
    """32 hex digits that stand for one turn of one alert told to one channel, however often it is sent."""
    identity = "\x1f".join((alert_key, str(episode), to_state, channel))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def group_key(event: AlertEvent) -> str:
    """What events that are told as one have in common: the model and rule; an incident is a group by itself."""
    rule, scope = event.evidence.get("rule"), event.evidence.get("scope") or {}
    if not rule or "incident" in event.evidence or "model" not in scope:
        return event.alert_key
    return f"{scope['model']}/{rule}"


def add(conn: Connection, event_id: int, event: AlertEvent, channels: Sequence[str], now: datetime) -> None:
    """A message about `event` for each channel; belongs into the transaction that stores the event."""
    row = (event_id, event.alert_key, event.episode, event.to_state, group_key(event))
    for channel in channels:
        _write(conn, [row], channel, now)


def claim(conn: Connection, channels: Sequence[str], now: datetime, until: datetime) -> Parcel | None:
    """Take the oldest message that is due on one of `channels`, with those that go with it; None: nothing is due.

    A message waits while an earlier one of the same alert to the same channel is neither sent nor given up. Messages
    that another worker is taking are passed over. They are this worker's until `until`.
    """
    first = conn.execute(_FIRST, {"channels": list(channels), "now": now}).one_or_none()
    if first is None:
        return None
    key, channel, group, parcel, state = first
    asked = {"channels": [channel], "channel": channel, "first": key, "parcel": parcel, "group": group}
    taken = conn.execute(_WITH_IT, {**asked, "state": state, "now": now, "until": until, "most": MOST})
    return _parcel(conn, [row[0] for row in taken])


def _parcel(conn: Connection, keys: Sequence[str]) -> Parcel:
    found, parcel = [], ""
    for key, channel, attempts, parcel, due_at, *events in conn.execute(_DELIVERIES, {"keys": list(keys)}):  # noqa: B007
        event, opening = events[:_OF_EVENT], events[_OF_EVENT:]
        told = event_of(event)
        opened = event_of(opening) if opening[0] is not None else told
        found.append(Delivery(key, channel, attempts, told, opened, due_at))
    return Parcel(parcel, found[0].channel, tuple(found))


def mark_sent(conn: Connection, keys: Sequence[str], now: datetime) -> None:
    """The channel has them."""
    conn.execute(
        text("UPDATE outbox SET sent_at = :now, last_error = '' WHERE delivery_key = ANY(:keys)"),
        {"keys": list(keys), "now": now},
    )


def postpone(conn: Connection, keys: Sequence[str], error: str, not_before: datetime) -> None:
    """The channel did not take them: again from `not_before` on."""
    conn.execute(
        text("UPDATE outbox SET last_error = :error, not_before = :at WHERE delivery_key = ANY(:keys)"),
        {"keys": list(keys), "error": error[:500], "at": not_before},
    )


def give_up(conn: Connection, keys: Sequence[str], error: str, now: datetime) -> None:
    """No further attempt; later messages of the same alert no longer wait for them."""
    conn.execute(
        text("UPDATE outbox SET last_error = :error, given_up_at = :now WHERE delivery_key = ANY(:keys)"),
        {"keys": list(keys), "error": error[:500], "now": now},
    )


def hold(conn: Connection, key: str, silence_id: int, until: datetime) -> None:
    """A silence holds the message back until its end; the attempt does not count."""
    conn.execute(
        text(
            "UPDATE outbox SET held_by = :silence, not_before = :until, due_at = :until, parcel = '',"
            " attempts = greatest(attempts - 1, 0) WHERE delivery_key = :key"
        ),
        {"key": key, "silence": silence_id, "until": until},
    )


def drop_stale(conn: Connection, now: datetime) -> int:
    """Give up what a silence has made stale; returns how many messages those were.

    An episode that is over before its silence is: neither its beginning nor its end is told.
    """
    opened = conn.execute(
        text(
            "UPDATE outbox SET given_up_at = :now, last_error = 'over before its silence was' FROM alert_event e"
            " WHERE e.event_id = outbox.event_id AND sent_at IS NULL AND given_up_at IS NULL AND held_by IS NOT NULL"
            " AND e.to_state <> 'resolved' AND EXISTS (SELECT FROM alert_event f WHERE f.alert_key = e.alert_key"
            " AND f.episode = e.episode AND f.to_state = 'resolved' AND f.decided_at <= outbox.due_at)"
        ),
        {"now": now},
    )
    ended = conn.execute(
        text(
            "UPDATE outbox SET given_up_at = :now, last_error = 'what it ends was never told' FROM alert_event e"
            " WHERE e.event_id = outbox.event_id AND sent_at IS NULL AND given_up_at IS NULL"
            " AND e.to_state = 'resolved' AND EXISTS (SELECT FROM alert_event f JOIN outbox p"
            " ON p.event_id = f.event_id AND p.channel = outbox.channel AND p.held_by IS NOT NULL"
            " AND p.given_up_at IS NOT NULL WHERE f.alert_key = e.alert_key AND f.episode = e.episode"
            " AND f.to_state <> 'resolved')"
        ),
        {"now": now},
    )
    return int(opened.rowcount) + int(ended.rowcount)


def orphaned(conn: Connection, channels: Sequence[str], decided_before: datetime) -> list[tuple[str, str]]:
    """Open messages (key, channel) of old events to channels that are not configured any more."""
    rows = conn.execute(
        text(
            "SELECT o.delivery_key, o.channel FROM outbox o JOIN alert_event e USING (event_id)"
            " WHERE o.sent_at IS NULL AND o.given_up_at IS NULL AND o.channel <> ALL(:channels)"
            " AND e.decided_at < :before ORDER BY o.event_id"
        ),
        {"channels": list(channels), "before": decided_before},
    )
    return [(row[0], row[1]) for row in rows]


def divert(
    conn: Connection, channel: str, fallback: str, waiting_since: datetime | None, tried: int, now: datetime
) -> int:
    """Write to the fallback too what a receiver has not taken in `tried` attempts; returns how many messages.

    With `waiting_since` the receiver is away: then everything goes that was tried once, or waits since before that.
    """
    rows = conn.execute(
        text(
            "SELECT o.event_id, e.alert_key, e.episode, e.to_state, o.group_key"
            " FROM outbox o JOIN alert_event e USING (event_id)"
            " WHERE o.channel = :channel AND o.sent_at IS NULL AND o.given_up_at IS NULL"
            " AND (o.attempts >= :tried OR (CAST(:since AS timestamptz) IS NOT NULL"
            " AND (o.attempts > 0 OR o.due_at < :since))) AND (o.held_by IS NULL OR o.not_before <= :now)"
            " AND NOT EXISTS (SELECT FROM outbox p WHERE p.event_id = o.event_id AND p.channel = :fallback)"
            " ORDER BY o.event_id"
        ),
        {"channel": channel, "fallback": fallback, "since": waiting_since, "tried": tried, "now": now},
    ).all()
    _write(conn, rows, fallback, now)
    return len(rows)


def follow(conn: Connection, fallback: str, now: datetime) -> int:
    """Write the ends of those episodes to the fallback whose beginnings went that way; returns how many."""
    rows = conn.execute(
        text(
            "SELECT f.event_id, f.alert_key, f.episode, f.to_state, p.group_key FROM outbox p"
            " JOIN alert_event e USING (event_id) JOIN alert_event f ON f.alert_key = e.alert_key"
            " AND f.episode = e.episode AND f.to_state = 'resolved' AND e.to_state <> 'resolved'"
            " WHERE p.channel = :fallback AND p.given_up_at IS NULL"
            " AND NOT EXISTS (SELECT FROM outbox q WHERE q.event_id = f.event_id AND q.channel = :fallback)"
            " ORDER BY f.event_id"
        ),
        {"fallback": fallback},
    ).all()
    _write(conn, rows, fallback, now)
    return len(rows)


def _write(conn: Connection, rows: Iterable[Sequence[Any]], channel: str, now: datetime) -> None:
    for event_id, alert_key, episode, to_state, group in rows:
        conn.execute(
            text(
                "INSERT INTO outbox (delivery_key, event_id, channel, not_before, due_at, group_key)"
                " VALUES (:key, :event, :channel, :now, :now, :group) ON CONFLICT (delivery_key) DO NOTHING"
            ),
            {
                "key": delivery_key(alert_key, episode, to_state, channel),
                "event": event_id,
                "channel": channel,
                "now": now,
                "group": group,
            },
        )


def told_through(conn: Connection, event_id: int) -> list[str]:
    """The channels that messages about an event were written for."""
    rows = conn.execute(
        text("SELECT channel FROM outbox WHERE event_id = :event ORDER BY channel"), {"event": event_id}
    )
    return list(rows.scalars())


def still_on(conn: Connection, channel: str) -> list[AlertEvent]:
    """The openings of the episodes that are not over, but for those that this channel has still to be told of.

    What was given up is among them: a receiver that was away for days is told when it is back.
    """
    rows = conn.execute(
        text(
            f"SELECT {_EVENT.format('e')} FROM ("  # noqa: S608 - constants
            " SELECT alert_key, episode FROM alert WHERE state IN ('firing', 'flapping')"
            " UNION ALL SELECT incident_key, episode FROM incident WHERE closed_on IS NULL) k"
            " JOIN alert_event e ON e.alert_key = k.alert_key AND e.episode = k.episode AND e.to_state <> 'resolved'"
            " WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.event_id = e.event_id AND o.channel = :channel"
            " AND o.sent_at IS NULL AND o.given_up_at IS NULL) ORDER BY e.event_id"
        ),
        {"channel": channel},
    )
    return [event_of(tuple(row)) for row in rows]
