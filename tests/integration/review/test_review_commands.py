"""`monitor reviews`, `monitor release`, `monitor rollups audit`: what they say, and what they put right."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from plants import CONTRACT, START, contract, frame, review, take
from sqlalchemy import text

from monitor.cli.main import parser
from monitor.errors import UsageError
from monitor.records import Window
from monitor.review import recount, stage
from monitor.settings import Settings
from monitor.store import reviews
from monitor.store.database import Database


@pytest.fixture
def reviewed(database: Database, settings: Settings, tmp_path: Path) -> Database:
    """Forty frames, thirty of them reviewed: each third was a false positive, and one object was missed."""
    contracts = contract(tmp_path / "c")
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "line.toml").write_text(CONTRACT, encoding="utf-8")
    take(database, contracts, "f.jsonl", [frame(f"e{i}", i, [("carton", 0.6)]) for i in range(40)])
    said = [
        review(
            f"r{i}",
            f"e{i}",
            100,
            [{"verdict": "confirmed" if i % 3 else "false_positive", "index": 0}],
            review_prob=0.75,
            missed=[{"class": "pouch"}] if i == 0 else [],
        )
        for i in range(30)
    ]
    take(database, contracts, "r.reviews.jsonl", [*said, review("late", "nobody", 200, [])])
    stage.settle(database)
    return database


def run(settings: Settings, *words: str) -> int:
    args = parser().parse_args(words)
    code: int = args.run(args, settings)
    return code


def test_a_summary_says_both_shares_with_their_intervals(
    reviewed: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, "reviews", "summary", "line", "--from", "2026-03-01", "--to", "2026-03-03") == 0
    said = capsys.readouterr().out
    # Wilson's interval of 10 in 30 is 19.2 to 51.2 %.
    assert "corrected: raw 33.3% (19.2% to 51.2%, n = 30); honest 33.3%" in said
    assert "false positive: raw 33.3%" in said
    assert "missed: 4.8%" in said, "one of the 21 objects that are there"
    assert "confidence 0.5 to 0.7: raw 33.3%" in said
    assert "confidence 0.7 to 0.85: raw unknown" in said
    assert "\n  carton: raw 33.3%" in said
    assert "\n  cam-1: raw 33.3%" in said
    run(settings, "reviews", "summary", "line", "--from", "2025-03-01", "--to", "2025-03-03")
    assert "no review of line" in capsys.readouterr().out


def test_a_list_shows_what_waits(reviewed: Database, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(settings, "reviews", "list", "--waiting") == 0
    said = capsys.readouterr().out
    assert "nobody: waits for its frame from " in said
    assert said.endswith("1 review waits for its frame\n")
    run(settings, "reviews", "list", "--most", "2")
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_an_audit_finds_and_repairs_what_somebody_changed(
    reviewed: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    window = Window(START, START + timedelta(hours=3))
    assert recount.run(reviewed, window).differing == 0
    with reviewed.begin() as conn:
        conn.execute(
            text("UPDATE review_rollup SET confirmed = confirmed + 1, reviewed = reviewed + 1 WHERE band = 2")
        )
        conn.execute(text("DELETE FROM review_rollup WHERE missed > 0 AND slice_name = ''"))
    period = ("--from", "2026-03-02", "--to", "2026-03-03")
    assert run(settings, "rollups", "audit", *period) == 1
    said = capsys.readouterr().out
    assert "confirmed 21 stored, 20 counted" in said
    assert "missed 0 stored, 1 counted" in said
    assert run(settings, "rollups", "audit", *period, "--repair") == 0
    assert recount.run(reviewed, window).differing == 0
    assert run(settings, "rollups", "audit", *period) == 0


def test_a_deployment_is_noted_once(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "line.toml").write_text(CONTRACT, encoding="utf-8")
    for _ in range(2):
        assert run(settings, "release", "note", "v2", "--at", "2026-03-02T09:00", "--text", "new lamp") == 0
    capsys.readouterr()
    assert run(settings, "release", "list") == 0
    assert capsys.readouterr().out == "2026-03-02 09:00  line v2: new lamp\n"
    with pytest.raises(UsageError, match="write one of them"):
        run(settings, "release", "note", "v2", "--model", "other", "--text", "x")
    with pytest.raises(UsageError, match="still to come"):
        run(settings, "release", "note", "v2", "--at", "2999-01-01", "--text", "x")
    assert (
        run(settings, "release", "note", "v3\n", "--at", "2026-03-03", "--text", "forged:\n2026-03-04  line v4") == 0
    )
    capsys.readouterr()
    run(settings, "release", "list")
    assert capsys.readouterr().out.splitlines()[-1] == "2026-03-03 00:00  line v3: forged: 2026-03-04 line v4"
    with pytest.raises(UsageError, match="at most 128"):
        run(settings, "release", "note", "v" * 129, "--text", "x")


def test_the_override_lane_gets_its_daily_counts(reviewed: Database) -> None:
    days = [START.date() + timedelta(days=i) for i in (-1, 0, 1)]
    with reviewed.begin() as conn:
        found = reviews.by_band(conn, "line", "v1", "", ["cam-2", "cam-1"], days)
        assert reviews.by_band(conn, "line", "v9", "", ["cam-1"], days) is None
        assert reviews.come(conn, "line")
        assert not reviews.come(conn, "other")
    assert found is not None
    assert found.reviewed.sum() == found.reviewed[1, 1, 2] == 30
    assert found.overridden.sum() == found.overridden[1, 1, 2] == 10


def test_a_late_review_has_its_day_watched_again(reviewed: Database, tmp_path: Path) -> None:
    with reviewed.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO baseline (model, version, source, frames, sha256, contract_hash, created_at, note)"
                " VALUES ('line', 'v1', 'logs', 1, '', '', now(), '')"
            )
        )
        conn.execute(
            text(
                "INSERT INTO watched_day SELECT 'line', 'v1', day, 24, 40, baseline_id, '' FROM baseline,"
                " (VALUES (date '2026-03-02'), (date '2026-03-03')) AS d (day)"
            )
        )
    take(reviewed, contract(tmp_path / "c"), "l.reviews.jsonl", [review("l", "e35", 9000, [])])
    stage.settle(reviewed)
    with reviewed.begin() as conn:
        found = conn.execute(text("SELECT day, frames FROM watched_day ORDER BY day")).all()
    assert [frames for _, frames in found] == [-1, 40]
