"""One ageing lamp of the packaging line through intake, watch and incidents; `make bench BENCH=onset` has thirty."""

from __future__ import annotations

from pathlib import Path

from bench import onset
from monitor.store import frames
from monitor.store.database import Database


def test_an_ageing_lamp_is_one_incident_of_optics_with_its_true_start(database: Database, tmp_path: Path) -> None:
    with database.begin() as conn:
        frames.make_days(conn, [(onset.START + day * onset.DAY).date() for day in range(onset.DAYS)])
    found = onset.Plant(database, tmp_path).play(1, onset.fading)
    assert [incident.cause for incident in found] == ["optics"]
    error = onset.onset_error(found)
    assert error is not None
    assert abs(error) <= 5
    assert "brightness" in found[0].signals
