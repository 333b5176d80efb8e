"""A plant whose inspectors look at doubtful frames more often, from files to measurements: what the shares say."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from plants import CONTRACT, NOW, Record, contract, frame, review

from monitor.ingest import stage as ingest
from monitor.records import Measurement
from monitor.review import stage
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import measurements
from monitor.store.database import Database

CAMERAS, DAYS, FRAMES, EACH = 14, 7, 150, 20
BANDS = np.array([[0.1, 0.29], [0.31, 0.49], [0.51, 0.69], [0.71, 0.84], [0.86, 0.99]])
MIX = np.array([0.05, 0.1, 0.2, 0.3, 0.35])
WRONG = np.array([0.45, 0.3, 0.18, 0.1, 0.05])
CHOSEN = np.array([0.5, 0.4, 0.1, 0.05, 0.04])
FIRST = datetime.fromisoformat("2026-03-02T00:00:00+00:00")


def open_contract(folder: Path) -> dict[str, LoadedContract]:
    contract(folder)
    said = CONTRACT.replace('list = [{ name = "cam-1" }, { name = "cam-2" }]', 'policy = "open"')
    (folder / "line.toml").write_text(said + "[drift]\nmin_n = 10\n", encoding="utf-8")
    return {"line": load_contract(folder / "line.toml")}


def written(folder: Path, name: str, records: list[Record]) -> None:
    (folder / "incoming").mkdir(exist_ok=True)
    (folder / "incoming" / name).write_text("\n".join(map(json.dumps, records)), encoding="utf-8")


def draw(folder: Path) -> dict[tuple[str, datetime], float]:
    """Write the plant's files; returns the share of wrong detections by camera and day."""
    rng = np.random.default_rng(4)
    frames, reviews, truth = [], [], {}
    for camera in range(CAMERAS):
        rates = WRONG * rng.uniform(0.85, 1.15)
        for day in range(DAYS):
            band = rng.choice(5, FRAMES, p=MIX)
            wrong = rng.random((FRAMES, EACH)) < rates[band, None]
            low, high = BANDS[band].T[:, :, None]
            confidence = low + rng.random((FRAMES, EACH)) * (high - low)
            corrected = np.where(wrong, rng.random(wrong.shape) < 0.95, rng.random(wrong.shape) < 0.01)
            start = FIRST + timedelta(days=day)
            truth[f"cam-{camera}", start] = float(wrong.mean())
            for i in range(FRAMES):
                name = f"{camera}-{day}-{i}"
                at = (start + timedelta(minutes=9 * i)).isoformat()
                seen = [("carton", value) for value in confidence[i]]
                frames.append(frame(name, 0, seen, captured_at=at, camera=f"cam-{camera}", slices={}))
                if rng.random() < CHOSEN[band[i]]:
                    reviews.append(said("r" + name, name, corrected[i], float(CHOSEN[band[i]])))
                    if rng.random() < 0.2:
                        reviews.append(said("s" + name, name, wrong[i], None) | {"settles": True})
    written(folder, "frames.jsonl", frames)
    written(folder, "said.reviews.jsonl", reviews)
    return truth


def said(name: str, event_id: str, corrected: np.ndarray, chosen: float | None) -> Record:
    verdicts = [
        {"verdict": "false_positive" if one else "confirmed", "index": i} for i, one in enumerate(corrected.tolist())
    ]
    return review(name, event_id, 20_000, verdicts) | ({} if chosen is None else {"review_prob": chosen})


def test_the_honest_share_is_right_and_the_raw_one_is_not(database: Database, tmp_path: Path) -> None:
    contracts = open_contract(tmp_path / "contracts")
    truth = draw(tmp_path)
    done = ingest.drain(database, tmp_path, contracts, NOW)
    assert done.rejected == 0
    stage.settle(database)
    assert stage.run(database, contracts["line"], NOW) == DAYS
    with database.begin() as conn:
        found = {
            name: {
                (m.key.scope.camera, m.window.start): m
                for m in measurements.read(conn, "line", signal="override", class_name="", measure=name)
                if m.key.scope.camera
            }
            for name in ("raw", "honest", "honest_low", "honest_high")
        }

    def values(name: str) -> np.ndarray:
        rows: dict[tuple[str, datetime], Measurement] = found[name]
        return np.array([rows[key].value for key in cells], dtype=np.float64)

    cells = sorted(key for key, one in found["honest"].items() if one.state == "ok")
    assert len(cells) > 0.9 * CAMERAS * DAYS
    right = np.array([truth[key] for key in cells])
    raw, honest, low, high = (values(name) for name in ("raw", "honest", "honest_low", "honest_high"))
    assert np.mean(raw / right) > 1.4
    assert abs(np.mean(honest - right)) < 0.01
    assert 0.93 <= np.mean((low <= right) & (right <= high)) <= 0.99
