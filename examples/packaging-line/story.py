"""Fourteen weeks of the packaging line in minutes: real frames, a real detector, the daemon's own jobs.

    python examples/packaging-line/story.py                    the story, told week by week
    python examples/packaging-line/story.py --undrifted        the same weeks without drift: nothing should happen
    python examples/packaging-line/story.py --serve            and leave the status page up

Each day the cameras' frames are drawn and inferred (two processes), logged through the client library and dropped
into the spool; then every job of the daemon runs once with the clock of the story. After four weeks the baseline is
frozen. Precision is the one thing here that the daemon never sees: only the example knows the truth.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from detector import Score
from plant import CAMERAS
from production import CLEAN_DAYS, DAYS
from shift import HERE, MODEL, VERSION, Shift, work

from monitor.alerts.evaluate import ACTIVE, matches
from monitor.cli import main as command
from monitor.daemon.context import Context
from monitor.daemon.run import run_once
from monitor.drift import baseline
from monitor.records import Alert, AlertEvent, Measurement, Window
from monitor.settings import Settings, load_settings
from monitor.spec.load import Shelf
from monitor.store import alerts, incidents, measurements, migrate, rankings, reporting
from monitor.store.database import Connection, Database, open_database
from monitor.store.incidents import Kept
from monitor.watch import label

WEEKS = DAYS // 7
FRAMES = 60  # a camera and day
STATE = Path("state/demo")
AFTER_MIDNIGHT = timedelta(hours=2)  # when the day's jobs run: the day's window has closed and settled


@dataclass(frozen=True)
class Week:
    """One line of the story; `precision` is the truth's, `worst` the largest PSI of a camera that a rule watches."""

    week: int
    frames: int
    confidence: float | None
    brightness: float | None
    precision: float
    recall: float
    worst: float | None
    worst_of: str
    worst_limit: float | None
    firing: int
    fired: list[str]
    """Alerts that began to fire in this week: rule, and class or camera."""


@dataclass
class Outcome:
    """What happened, for people, tests and benches."""

    start: datetime
    weeks: list[Week] = field(default_factory=list)
    events: list[AlertEvent] = field(default_factory=list)
    open: list[Alert] = field(default_factory=list)
    incidents: list[Kept] = field(default_factory=list)
    held_likely: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    """The likely causes of each incident by name, in words: when it opened, and by the end."""
    daily_precision: list[float] = field(default_factory=list)

    @property
    def first_alert_day(self) -> int | None:
        """Day of the story on whose frames the first alert fired."""
        return self._first(self.events)

    @property
    def light_alert_day(self) -> int | None:
        """The same of the first alert about the light: the lens that was swapped is another story."""
        return self._first(self.light_events)

    @property
    def light_events(self) -> list[AlertEvent]:
        """What was told by rules about brightness and contrast."""
        return [event for event in self.events if "brightness" in event.alert_key or "contrast" in event.alert_key]

    def _first(self, events: list[AlertEvent]) -> int | None:
        fired = [event.window.start for event in events if event.to_state in ACTIVE]
        return (min(fired) - self.start).days if fired else None


def tell(database: Database, settings: Settings, seed: int, drifted: bool, out: TextIO) -> Outcome:
    """Run the fourteen weeks, ending yesterday, and print them week by week."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    outcome = Outcome(start=today - timedelta(days=DAYS))
    context = Context(settings, database, Shelf(settings.contracts_dir))
    print(HEADER, file=out, flush=True)
    scores: list[Score] = []
    for day, score in _work_days(settings, outcome.start, seed, drifted):
        now = outcome.start + timedelta(days=day + 1) + AFTER_MIDNIGHT
        run_once(context, now)
        scores.append(score)
        if day + 1 == CLEAN_DAYS:
            _freeze(context, outcome.start, now)
            run_once(context, now + timedelta(minutes=1))
        if (day + 1) % 7 == 0:
            week = _week(context, outcome.start, (day + 1) // 7, scores[-7:])
            outcome.weeks.append(week)
            print(_line(week), file=out, flush=True)
    outcome.daily_precision = [score.precision for score in scores]
    with database.begin() as conn:
        outcome.open = alerts.read(conn, MODEL)
        outcome.events = [event for alert in outcome.open for event in alerts.events(conn, alert.key)]
        outcome.incidents = incidents.read(conn, MODEL)
        outcome.held_likely = {one.name: _held_likely(conn, one) for one in outcome.incidents}
    outcome.events.sort(key=lambda event: (event.window.end, event.alert_key))
    return outcome


def _held_likely(conn: Connection, one: Kept) -> tuple[list[str], list[str]]:
    opened = [event for event in alerts.events(conn, one.key) if event.episode == one.episode]
    first, course = opened[-1].evidence["causes"], rankings.of(conn, one)
    then, now = first, course[-1].causes if course else first
    return [cause["text"] for cause in then], [cause["text"] for cause in now]


def _work_days(settings: Settings, start: datetime, seed: int, drifted: bool) -> Iterator[tuple[int, Score]]:
    """Yield (day, score) once a day's three files lie in the spool; the plant is drawn a few days ahead."""
    incoming = settings.spool_dir / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    plant = settings.state_dir / "plant"
    with ProcessPoolExecutor(max_workers=2) as pool:
        days = [
            [
                pool.submit(work, Shift(day, camera, start, FRAMES, drifted, seed, plant / str(day) / camera))
                for camera in CAMERAS
            ]
            for day in range(DAYS)
        ]
        for day, shifts in enumerate(days):
            done = [shift.result() for shift in shifts]
            for file in sorted((plant / str(day)).rglob("*.jsonl")):
                os.replace(file, incoming / f"{day:03d}-{file.parent.name}-{file.name}")
            yield day, Score(*(sum(counts) for counts in zip(*done, strict=True)))


def _freeze(context: Context, start: datetime, now: datetime) -> None:
    period = Window(start, start + timedelta(days=CLEAN_DAYS))
    loaded = context.shelf.contracts[MODEL]
    baseline.from_logs(context.database, loaded, VERSION, period, now, "the four clean weeks")


def _week(context: Context, start: datetime, number: int, scores: list[Score]) -> Week:
    first = start + timedelta(days=7 * (number - 1))
    rules = context.shelf.contracts[MODEL].contract.alerts  # those of the contract itself: about distances
    with context.database.begin() as conn:
        read = measurements.read(conn, MODEL, start=first, end=first + timedelta(days=7))
        stands = alerts.read(conn, MODEL)
        told = [(alert, event) for alert in stands for event in alerts.events(conn, alert.key)]
    total = Score(*(sum(counts) for counts in zip(*scores, strict=True)))
    watched = [m for m in read if any(m.measure == rule.measure and matches(rule, m.key) for rule in rules)]
    worst = max((m for m in watched if m.value is not None), key=lambda m: m.value or 0.0, default=None)
    return Week(
        week=number,
        frames=sum(m.n for m in _whole(read, "brightness")),
        confidence=_weighted(_whole(read, "confidence")),
        brightness=_weighted(_whole(read, "brightness")),
        precision=total.precision,
        recall=total.recall,
        worst=worst.value if worst else None,
        worst_of=f"{worst.key.signal} {worst.key.scope.camera}" if worst else "",
        worst_limit=worst.noise if worst else None,
        firing=sum(alert.state in ACTIVE for alert in stands),
        fired=sorted(
            f"{alert.rule} {alert.series.class_name or alert.series.scope.camera or 'all cameras'}"
            for alert, event in told
            if event.to_state in ACTIVE and first <= event.window.start < first + timedelta(days=7)
        ),
    )


def _whole(read: list[Measurement], signal: str) -> list[Measurement]:
    """The days' means of one signal over all cameras."""
    of_signal = [m for m in read if m.key.signal == signal and m.measure == "mean" and not m.key.class_name]
    return [m for m in of_signal if not m.key.scope.camera and not m.key.scope.slice_name]


def _weighted(means: list[Measurement]) -> float | None:
    frames = sum(m.n for m in means)
    return sum((m.value or 0.0) * m.n for m in means) / frames if frames else None


HEADER = (
    "week  frames  mean         mean        worst drift of the week               state         precision\n"
    "              confidence   brightness  (PSI; by chance up to)                              (the truth)"
)
FOOTER = "A rule fires above 0.2 plus what chance reaches; about 4.5 is the most that 60 frames can show."


def _line(week: Week) -> str:
    worst, state = "no baseline yet", "learning"
    if week.worst is not None and week.worst_limit is not None:
        worst = f"{week.worst:5.2f} ({week.worst_limit:.2f})  {week.worst_of}"
        state = f"FIRING ({week.firing})" if week.firing else "ok"
    number = [f"{week.week:>4}  {week.frames:>6}", f"{week.confidence or 0:>10.3f}", f"{week.brightness or 0:>10.1f}"]
    line = "   ".join([*number, f"{worst:<37} {state:<11}   {week.precision:>8.3f}"])
    return line + "".join(f"\n      ! {each} fires" for each in week.fired)


def _incidents(outcome: Outcome, out: TextIO) -> None:
    """What the calibrated lanes found: each place and cause with its most likely first day."""
    print("\nIncidents of the calibrated lanes, the newest first (monitor incidents list --all):", file=out)
    for one in outcome.incidents:
        incident, first = one.incident, outcome.start.date()
        onset, opened = ((day - first).days - CLEAN_DAYS + 1 for day in (incident.onset, incident.opened_on))
        where = label(incident.scope) or "all cameras"
        days = f"opened on day {opened} of the ageing light, most likely since day {onset}"
        print(f"  {incident.cause} of {where}: {days} ({', '.join(incident.signals)})", file=out)
        then, now = outcome.held_likely[one.name]
        print(f"    likely {', or '.join(now)}; when it opened: {', or '.join(then)}", file=out)
    if not outcome.incidents:
        print("  none", file=out)


def _ending(outcome: Outcome, out: TextIO) -> str:
    """What the daemon said, when, and what it would have meant to wait; returns the first alert's key."""
    day = outcome.light_alert_day
    if day is None:
        print("\nNo alert in fourteen weeks." if not outcome.events else "\nNo alert about the light.", file=out)
        return ""
    clean = sum(outcome.daily_precision[:CLEAN_DAYS]) / CLEAN_DAYS
    at_alert = sum(outcome.daily_precision[max(0, day - 6) : day + 1]) / min(7, day + 1)
    last = outcome.weeks[-1].precision
    first = next(event for event in outcome.light_events if event.to_state in ACTIVE)
    print(f"\nThe first alert about the light: {first.alert_key}", file=out)
    print(f"  {first.evidence['sentence']}", file=out)
    print(
        f"  It came on day {day - CLEAN_DAYS + 1} of the ageing light, when precision was {at_alert:.3f}; it had been"
        f" {clean:.3f} in the clean weeks, and fell to {last:.3f} by the end.",
        file=out,
    )
    firing = [alert.key for alert in outcome.open if alert.state in ACTIVE]
    print(f"\nFiring at the end: {len(firing)} alerts\n" + "\n".join(f"  {key}" for key in firing), file=out)
    return first.alert_key


def _where_next(settings: Settings, first: str, out: TextIO) -> None:
    monitor = _short(Path(sys.executable).parent / "monitor")
    rows = [
        (
            f"export MONITOR_STATE_DIR={_short(settings.state_dir)}"
            f" MONITOR_CONTRACTS_DIR={_short(settings.contracts_dir)}",
            "",
        ),
        (f"{monitor} daemon", f"its page, at {settings.page_url}, until Ctrl-C"),
        (f"{monitor} incidents list", "what the calibrated lanes found"),
        (f"{monitor} alerts list", "what is open"),
        (f"{monitor} alerts show {first}", "one alert with its evidence"),
        (f"{monitor} drift show --model {MODEL} --signal brightness", "the measurements behind it"),
        (f"{monitor} baseline report", "what the baseline can carry"),
        (_short(settings.state_dir / "daemon.log"), "what the daemon's jobs said"),
    ]
    if settings.state_dir == STATE.absolute():
        rows.append(("make clean", f"removes {STATE} and everything else that was made"))
    wide = max(len(typed) for typed, said in rows if said)
    print("\nWhere to look next", file=out)
    for typed, said in rows:
        print(f"  {typed:<{wide}}  {said}".rstrip(), file=out)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def play(state: Path, seed: int, drifted: bool, out: TextIO, database_url: str | None = None) -> Outcome:
    """The whole story in a state folder of its own, which is emptied first; its database too, unless one is given."""
    settings = Settings(state_dir=state.absolute(), contracts_dir=HERE, database_url=database_url)
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    logging.basicConfig(
        filename=state / "daemon.log", level=logging.INFO, format="%(asctime)s %(message)s", force=True
    )
    with open_database(settings) as database:
        migrate.upgrade(database.engine)
        return tell(database, settings, seed, drifted, out)


def expected(outcome: Outcome) -> dict[str, object]:
    """What a repeat must show again, whatever the date: the weeks and the alerts with their day of the story."""
    fired = [
        {"alert": e.alert_key, "to": e.to_state, "day": (e.window.start - outcome.start).days} for e in outcome.events
    ]
    return {"weeks": [asdict(week) for week in outcome.weeks], "events": fired}


def _is_told(url: str) -> bool:
    """Whether the server's database has frames of this plant."""
    with open_database(Settings(database_url=url)) as database, database.begin() as conn:
        return any(one.model == MODEL for one in reporting.produced(conn))


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--undrifted", action="store_true", help="light and packaging stay as they were")
    asked.add_argument("--state", type=Path, default=STATE, help=f"emptied first (default: {STATE})")
    asked.add_argument("--serve", action="store_true", help="leave the status page and /metrics up")
    asked.add_argument("--server", action="store_true", help="into the server of MONITOR_DATABASE_URL, and only once")
    asked.add_argument("--write-expected", action="store_true", help="write expected/story.json anew")
    args = asked.parse_args()
    began = time.monotonic()
    server = load_settings().database_url if args.server else None
    if server is not None and _is_told(server):
        print("The story is in this database already.")
        return 0
    print("Fourteen weeks on a packaging line: 3 cameras, 60 frames a camera-day, a detector of 176 k parameters.")
    drifts = (
        "From week 5 on the lamps age, and new packaging arrives on the line of cam-2. That week a lens is swapped;\n"
        "in week 8 the service fails for a day. Inspectors review unsure frames, false alarms become work orders."
    )
    print("Nothing drifts.\n" if args.undrifted else f"{drifts}\n")
    outcome = play(args.state, args.seed, not args.undrifted, sys.stdout, server)
    print(FOOTER)
    _incidents(outcome, sys.stdout)
    if args.write_expected:
        text = json.dumps(expected(outcome), indent=1) + "\n"
        (HERE / "expected" / "story.json").write_text(text, encoding="utf-8")
    os.environ |= {"MONITOR_STATE_DIR": str(args.state.absolute()), "MONITOR_CONTRACTS_DIR": str(HERE)}
    first = _ending(outcome, sys.stdout)
    if first:
        print("\nThe first alert with its evidence (monitor alerts show):\n", flush=True)
        command.main(["alerts", "show", first])
    _where_next(Settings(state_dir=args.state.absolute(), contracts_dir=HERE), first or MODEL, sys.stdout)
    print(f"\n{time.monotonic() - began:.0f} s")
    return command.main(["daemon"]) if args.serve else 0


if __name__ == "__main__":
    sys.exit(main())
