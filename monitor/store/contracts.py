"""Contracts that were ever in force, by hash, and the cameras that they declare."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import text

from monitor.store.database import Connection


class DeclaredCamera(Protocol):
    """A camera as a contract declares it."""

    @property
    def name(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def line(self) -> str: ...
    @property
    def group(self) -> str: ...


class ContractText(Protocol):
    """A contract as it is kept: whose it is, its text and the text's hash, and its cameras."""

    @property
    def model(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def cameras(self) -> Sequence[DeclaredCamera]: ...


_KEEP = text("""
    INSERT INTO contract (contract_hash, model, text, taken_up_at) VALUES (:hash, :model, :text, :now)
    ON CONFLICT DO NOTHING
""")
_PLACE = text("""
    INSERT INTO camera (model, name, site, line, "group") VALUES (:model, :name, :site, :line, :group)
    ON CONFLICT (model, name) DO UPDATE SET site = excluded.site, line = excluded.line, "group" = excluded."group"
    WHERE (camera.site, camera.line, camera."group") IS DISTINCT FROM (excluded.site, excluded.line, excluded."group")
""")


def remember(conn: Connection, loaded: ContractText, now: datetime) -> bool:
    """Keep a contract's text and say where its cameras hang; a repeat changes nothing.

    Cameras that a contract no longer declares are kept: their numbers still stand. `now` is an aware datetime.

    Returns:
        True when this text was not known before.
    """
    new = conn.execute(_KEEP, {"hash": loaded.hash, "model": loaded.model, "text": loaded.text, "now": now})
    place_cameras(conn, loaded.model, loaded.cameras)
    return new.rowcount == 1


def place_cameras(conn: Connection, model: str, cameras: Sequence[DeclaredCamera]) -> None:
    """Insert the cameras of a model, or move them to the site, line and group that they now have."""
    if not cameras:
        return
    # In one order, so that two daemons that start at once do not wait for each other in a circle.
    rows = [
        {"model": model, "name": c.name, "site": c.site, "line": c.line, "group": c.group}
        for c in sorted(cameras, key=lambda c: c.name)
    ]
    conn.execute(_PLACE, rows)


def newest_texts(conn: Connection) -> dict[str, str]:
    """The contract of each model that was taken up last, as text."""
    rows = conn.execute(
        text("SELECT DISTINCT ON (model) model, text FROM contract ORDER BY model, taken_up_at DESC, contract_hash")
    )
    return {row.model: row.text for row in rows}
