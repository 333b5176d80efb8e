"""The packaging line's cameras before the calibrated lanes: when did it begin, and is a quiet plant quiet?

Frames of the example's plant are drawn, measured and logged as an inference service does it, a few an hour, and go
through the real intake; then the watch and the incidents run over Postgres, exactly as the daemon runs them. The
drifts begin two weeks after the baseline's end, so that an onset can be named too early as well as too late.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from monitor.alerts import gather
from monitor.client import FrameLogger, frame_record, image_stats
from monitor.drift import baseline, watch
from monitor.ingest import stage as intake
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import load_contract
from monitor.store import frames, incidents, migrate
from monitor.store.database import Database, open_database
from monitor.watch import Incident

EXAMPLE = Path(__file__).parents[1] / "examples" / "packaging-line"
sys.path.insert(0, str(EXAMPLE))

import plant  # noqa: E402 (the example's scripts import each other by their plain names)
from production import DAY_WOBBLE, SHIFT_END_S, SHIFT_START_S  # noqa: E402

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
BASELINE, QUIET, DAYS = 28, 14, 60
CHANGE = BASELINE + QUIET
"""The first day of a drift."""
FRAMES = 48
"""A day: three an hour of the shift."""
CAMERA = "cam-1"
SEEDS = range(1, 11)
FADING = 0.005
"""Of a new lamp's light, a day: in ten weeks it loses a third."""
BLUR = 0.7
"""Of the swapped lens, in pixels."""
CONTRACT = """
[model]
name = "{model}"
[[classes]]
name = "carton"
[cameras]
list = [{{ name = "cam-1" }}]
"""

Scenario = Callable[[plant.Scene, int], plant.Scene]


def still(scene: plant.Scene, day: int) -> plant.Scene:
    """Nothing happens."""
    return scene


def fading(scene: plant.Scene, day: int) -> plant.Scene:
    """The lamp ages, evenly from the day of change on."""
    return replace(scene, light=scene.light * (1 - FADING * max(0, day - CHANGE + 1)))


def swapped(scene: plant.Scene, day: int) -> plant.Scene:
    """From the day of change on, another lens."""
    return replace(scene, blur_sigma=BLUR if day >= CHANGE else scene.blur_sigma)


@dataclass(frozen=True)
class Plant:
    """Where a scenario is played: a migrated database and a folder for contracts and logs."""

    database: Database
    folder: Path

    def play(self, seed: int, scenario: Scenario, frames_a_day: int = FRAMES) -> list[Incident]:
        """Draw, log, take in, watch and gather; returns the incidents in the order of their opening."""
        model = f"{scenario.__name__}-{seed}"
        contract = self.folder / f"{model}.toml"
        contract.write_text(CONTRACT.format(model=model), encoding="utf-8")
        loaded = load_contract(contract)
        end = START + DAYS * DAY
        self._log(model, seed, scenario, frames_a_day)
        intake.run(self.database, self.folder / "spool", {model: loaded}, end)
        period = Window(START, START + BASELINE * DAY)
        baseline.from_logs(self.database, loaded, "v1", period, end)
        now = end + timedelta(hours=2)
        watch.run(self.database, loaded, now)
        gather.run(self.database, loaded, now)
        with self.database.begin() as conn:
            found = [one.incident for one in incidents.read(conn, model)]
        return sorted(found, key=lambda one: one.opened_on)

    def _log(self, model: str, seed: int, scenario: Scenario, frames_a_day: int) -> None:
        with FrameLogger(self.folder / "spool" / "incoming") as log:
            for day in range(DAYS):
                wobble = 1 + DAY_WOBBLE * np.random.default_rng([seed, day]).standard_normal()
                scene = scenario(plant.Scene(camera=CAMERA, light=wobble), day)
                spacing = (SHIFT_END_S - SHIFT_START_S) / frames_a_day
                for index in range(frames_a_day):
                    draw = np.random.default_rng([seed, day, index + 1])
                    at = START + day * DAY + timedelta(seconds=SHIFT_START_S + spacing * (index + draw.random()))
                    log.log(_record(model, f"{day}-{index}", at, plant.draw(scene, draw)[0]))


def _record(model: str, number: str, at: datetime, frame: Any) -> dict[str, object]:
    height, width = frame.shape[:2]
    return frame_record(
        event_id=f"{model}-{number}",
        captured_at=at,
        model=model,
        version="v1",
        camera=CAMERA,
        width=width,
        height=height,
        image=image_stats(frame),
    )


def onset_error(found: list[Incident]) -> int | None:
    """Days from the true start to the onset of the first incident; None: there is none, or it came before."""
    first: date = (START + CHANGE * DAY).date()
    if not found or found[0].opened_on < first:
        return None
    return (found[0].onset - first).days


def figures() -> Iterator[dict[str, Any]]:
    """Ten seeds each of an ageing lamp, a swapped lens and nothing at all."""
    with (
        tempfile.TemporaryDirectory(prefix="monitor-onset-") as name,
        open_database(Settings(state_dir=Path(name) / "state")) as database,
    ):
        migrate.upgrade(database.engine)
        with database.begin() as conn:
            frames.make_days(conn, [(START + day * DAY).date() for day in range(DAYS)])
        line = Plant(database, Path(name))
        for scenario, within in ((fading, 5), (swapped, 2)):
            errors = [onset_error(line.play(seed, scenario)) for seed in SEEDS]
            near = sum(error is not None and abs(error) <= within for error in errors)
            yield {
                "name": f"onset.{scenario.__name__}.seeds_within_{within}_days",
                "value": near,
                "unit": f"of {len(errors)} seeds",
                "against": f"errors in days: {errors}",
                "ratio": near / len(errors),
                "goal": ">= 8",
                "holds": near >= 8,
            }
        told = {seed: [f"{i.cause} {i.onset}" for i in line.play(seed, still)] for seed in SEEDS}
        loud = {seed: said for seed, said in told.items() if said}
        yield {
            "name": "onset.still.seeds_with_an_incident",
            "value": len(loud),
            "unit": f"of {len(told)} seeds, {DAYS - BASELINE} days each",
            "against": f"limit of 0{f'; {loud}' if loud else ''}",
            "ratio": None,
            "goal": "0",
            "holds": not loud,
        }
