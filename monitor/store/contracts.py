"""Contracts that were ever in force, by hash, which of them are so now, and the cameras that they declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import text

from monitor.demand import Demand
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
    """A contract as it is kept: whose it is, its text and the text's hash, its file's name, cameras, stages
    and bounds."""

    @property
    def model(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def cameras(self) -> Sequence[DeclaredCamera]: ...
    @property
    def stages(self) -> Sequence[str]: ...
    @property
    def demands(self) -> Sequence[Demand]: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """The contract of a model that is in force: its text, and the name of the file that held it."""

    model: str
    file: str
    text: str


_KEEP = text("""
    INSERT INTO contract (contract_hash, model, text, file, in_force, taken_up_at)
    VALUES (:hash, :model, :text, :file, false, :now) ON CONFLICT DO NOTHING
""")
_OUT = text("UPDATE contract SET in_force = false WHERE model = :model AND in_force AND contract_hash <> :hash")
_IN = text("""
    UPDATE contract SET in_force = true, file = :file
    WHERE contract_hash = :hash AND (NOT in_force OR file <> :file)
""")
_PLACE = text("""
    INSERT INTO camera (model, name, site, line, "group") VALUES (:model, :name, :site, :line, :group)
    ON CONFLICT (model, name) DO UPDATE SET site = excluded.site, line = excluded.line, "group" = excluded."group"
    WHERE (camera.site, camera.line, camera."group") IS DISTINCT FROM (excluded.site, excluded.line, excluded."group")
""")
_STAGE = text("""
    INSERT INTO model_stage (model, stage, place) VALUES (:model, :stage, :place)
    ON CONFLICT (model, stage) DO UPDATE SET place = excluded.place WHERE model_stage.place <> excluded.place
""")
_DEMAND = text("""
    INSERT INTO demand (model, rule, pillar, severity, signal, measure, class_name, above, below, relative, min_n,
        owner, contract_hash)
    VALUES (:model, :rule, :pillar, :severity, :signal, :measure, :class_name, :above, :below, :relative, :min_n,
        :owner, :hash)
    ON CONFLICT (model, rule) DO NOTHING
""")


def take_up(conn: Connection, contracts: Iterable[ContractText], now: datetime) -> None:
    """Keep the contracts that are in force, and end all others. `now` is an aware datetime."""
    models, rows = [], []
    for loaded in contracts:
        remember(conn, loaded, now)
        models.append(loaded.model)
        own = {"model": loaded.model, "hash": loaded.hash}
        rows += [own | asdict(one) for one in loaded.demands]
    conn.execute(
        text("UPDATE contract SET in_force = false WHERE in_force AND model <> ALL(:models)"), {"models": models}
    )
    conn.execute(text("DELETE FROM demand"))
    if rows:
        conn.execute(_DEMAND, rows)


def remember(conn: Connection, loaded: ContractText, now: datetime) -> bool:
    """Keep a contract's text as the one in force for its model, and say where its cameras hang and its stages stand.

    A repeat changes nothing. Cameras that a contract no longer declares are kept: their numbers still stand. `now` is
    an aware datetime.

    Returns:
        True when this text was not known before.
    """
    values = {"hash": loaded.hash, "model": loaded.model, "file": loaded.file}
    new = conn.execute(_KEEP, {**values, "text": loaded.text, "now": now})
    conn.execute(_OUT, {"model": loaded.model, "hash": loaded.hash})
    conn.execute(_IN, {"hash": loaded.hash, "file": loaded.file})
    place_cameras(conn, loaded.model, loaded.cameras)
    _order_stages(conn, loaded.model, loaded.stages)
    return new.rowcount == 1


def in_force(conn: Connection) -> list[Kept]:
    """The contracts that were in force when they were last taken up, by model."""
    rows = conn.execute(text("SELECT model, file, text FROM contract WHERE in_force ORDER BY model"))
    return [Kept(*row) for row in rows]


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


def _order_stages(conn: Connection, model: str, stages: Sequence[str]) -> None:
    """Say which stages a pipeline has, and in which order images go through them; none for a model that is none."""
    gone = text("DELETE FROM model_stage WHERE model = :model AND stage <> ALL(:stages)")
    conn.execute(gone, {"model": model, "stages": list(stages)})
    if rows := [{"model": model, "stage": stage, "place": i} for i, stage in enumerate(stages, 1)]:
        conn.execute(_STAGE, rows)


def newest_texts(conn: Connection) -> dict[str, str]:
    """The contract of each model that is in force, or else was taken up last, as text."""
    order = "model, in_force DESC, taken_up_at DESC, contract_hash"
    rows = conn.execute(text(f"SELECT DISTINCT ON (model) model, text FROM contract ORDER BY {order}"))  # noqa: S608
    return {row.model: row.text for row in rows}
