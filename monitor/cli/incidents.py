"""`monitor incidents`: what the calibrated lanes found, one incident a place and cause."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from monitor.alerts import life
from monitor.alerts.advice import turns
from monitor.cli import alert_deeds
from monitor.cli.moments import clock
from monitor.errors import UsageError
from monitor.records import AlertEvent
from monitor.settings import Settings
from monitor.store import alerts, incidents, migrate, rankings
from monitor.store.database import Connection, open_database
from monitor.store.incidents import Kept
from monitor.store.rankings import Said
from monitor.watch import label

EPILOG = """\
examples:
  monitor incidents list                                what is open, since when
  monitor incidents list --all                          closed ones too
  monitor incidents show packaging-line/incident/v1/cam-2/optics
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor incidents` and its verbs."""
    noun = subparsers.add_parser(
        "incidents",
        help="what the calibrated lanes found: one incident a place and cause",
        description="An incident opens when a lane's sum passes the limit that the budget of false alarms buys, and"
        " the change is big enough to matter. It closes after seven quiet days (35 where it had come back within 35),"
        " or when a new baseline is accepted.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="open incidents, the newest first")
    listing.add_argument("--model", help="of one model")
    listing.add_argument("--all", action="store_true", help="closed ones too")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=run_list)
    show = verbs.add_parser("show", help="one incident with its streams, their scores and its history")
    show.add_argument("key", help="its key, or the beginning of one")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(run=run_show)


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """Print the open incidents, or all of them."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = incidents.read(conn, args.model, open_only=not args.all)
    if args.json:
        print(json.dumps([_plain(one) for one in found], indent=2))
        return 0
    print(table(found) if found else "no incident is open" if not args.all else "there has been no incident")
    return 0


def run_show(args: argparse.Namespace, settings: Settings) -> int:
    """Print one incident with what was told of it."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            return show(conn, args.key, as_json=args.json)


def is_there(conn: Connection, key: str) -> bool:
    """Whether an incident's key begins so."""
    return bool(incidents.read(conn, key=key) or incidents.read(conn, key=key.rpartition("#")[0] or key))


def show(conn: Connection, key: str, *, as_json: bool) -> int:
    """Print one incident, what was told of it and what people did about it."""
    now = clock()
    one = _only(key, incidents.read(conn, key=key) or incidents.read(conn, key=key.rpartition("#")[0] or key))
    told = [e for e in alerts.events(conn, one.key) if e.episode == one.episode]
    course = rankings.of(conn, one)
    handled = life.find(conn, one.name, now)
    entries = life.history(conn, now, one.name)
    if as_json:
        events = [{"to": e.to_state, "decided_at": e.decided_at.isoformat(), "evidence": e.evidence} for e in told]
        done = [alert_deeds.plain_entry(entry) for entry in entries]
        known = {
            **_plain(one),
            **alert_deeds.plain_figures(handled),
            "course": [_plain_said(each) for each in course],
        }
        print(json.dumps({**known, **alert_deeds.plain(handled), "events": events, "history": done}, indent=2))
        return 0
    lines = portrait(one, told, course, alert_deeds.handling(handled))
    print("\n".join([*lines, *alert_deeds.lines("history", entries)]))
    return 0


def table(found: Sequence[Kept]) -> str:
    """Incidents as aligned columns, a line each, under a line of titles."""
    rows = [("STATE", "ONSET", "OPENED", "SIGNALS", "MEMBERS", "INCIDENT")]
    for one in found:
        incident = one.incident
        state = "open" if incident.closed_on is None else f"closed {incident.closed_on}"
        told = (state, str(incident.onset), str(incident.opened_on), ", ".join(incident.signals))
        rows.append((*told, str(len(incident.members)), one.name))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def portrait(one: Kept, told: Sequence[AlertEvent], course: Sequence[Said], handled: str = "") -> list[str]:
    """The lines of `monitor incidents show`; `told` are its events, newest first, `course` what was said since."""
    incident = one.incident
    state = "open" if incident.closed_on is None else f"closed on {incident.closed_on}: {incident.closed_because}"
    lines = [f"{one.name}: {state}", ""]
    first = told[-1].evidence if told else {}
    if first:
        said = first.get("finding") or first.get("sentence", "")
        lines += [f"When it opened, on {incident.opened_on}: {said}", ""]
    if course:
        lines += [f"Now, as of {course[-1].day}: {course[-1].finding}", ""]
    causes = course[-1].causes if course else first.get("causes", [])
    for cause in causes:
        speaks = f" ({', '.join(cause['signals'])})" if cause["signals"] else ""
        lines += [
            f"  likely    {100 * cause['share']:.0f} % {cause['text']}{speaks}",
            f"            {cause['first']}",
        ]
    changed = turns(first.get("causes") or [], ((said.since, said.day, said.causes) for said in course))
    lines += [""] if causes else []
    lines += ["held likely", *(f"  {when:<24}  {held}" for when, held in changed), ""] if changed else []
    lines += [f"  handled   {handled}"] if handled else []
    lines += [
        f"  onset     {incident.onset}, opened {incident.opened_on}, last alarm {incident.last_alarm_on}",
        f"  members   {', '.join(label(member) or 'all cameras' for member in sorted(incident.members))}",
        f"  baseline  {one.baseline_id}",
    ]
    streams = first.get("streams", [])
    lines += ["", "streams when it opened"] if streams else []
    for stream in streams:
        lines += ["", *_stream(stream)]
    return lines


def _stream(stream: dict[str, Any]) -> list[str]:
    """One stream's numbers, and the scores of its last days: each is a day in sd of ordinary days."""
    class_name = f" of class {stream['class']}" if stream["class"] else ""
    effect, now, before = stream["effect"], stream["current"], stream["baseline"]
    lines = [
        f"{stream['lane']}{class_name}, {stream['scope'] or 'all cameras'}: {stream['help']}",
        f"  {stream['measure']} {stream['value']:.2f} above {stream['limit']:.2f}; {stream['shape']} from"
        f" {stream['onset']}",
    ]
    if effect is not None and effect["value"] is not None:
        levels = (
            f"; {before['level']:.4g} -> {now['level']:.4g}" if None not in (before["level"], now["level"]) else ""
        )
        lines.append(
            f"  effect {effect['value']:+.3g} {effect['unit']} (told from {effect['floor']:g} on){levels},"
            f" n {now['n']:,} against {before['n']:,}"
        )
    last = stream["scores"][-14:]
    if last:
        lines.append(f"  scores since {last[0][0]}: {' '.join(f'{z:+.1f}' for _, z in last)}")
    return lines


def _only(wanted: str, found: Sequence[Kept]) -> Kept:
    exact = [one for one in found if wanted in (one.key, one.name)]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise UsageError(f"no incident's key begins with {wanted!r}; `monitor incidents list --all` prints them all")
    if exact:
        return exact[0]
    first = "".join(f"\n  {one.name}" for one in found[:10])
    raise UsageError(f"{len(found)} incidents begin with {wanted!r}; give more of the key:{first}")


def _plain_said(said: Said) -> dict[str, Any]:
    days = {"since": said.since.isoformat(), "day": said.day.isoformat()}
    return {**days, "finding": said.finding, "causes": list(said.causes)}


def _plain(one: Kept) -> dict[str, Any]:
    incident = one.incident
    return {
        "key": one.key,
        "episode": one.episode,
        "model": one.watch.model,
        "version": one.watch.version,
        "stage": one.watch.stage,
        "scope": list(incident.scope),
        "cause": incident.cause,
        "onset": incident.onset.isoformat(),
        "opened_on": incident.opened_on.isoformat(),
        "last_alarm_on": incident.last_alarm_on.isoformat(),
        "closed_on": None if incident.closed_on is None else incident.closed_on.isoformat(),
        "closed_because": incident.closed_because,
        "signals": list(incident.signals),
        "members": [label(member) for member in sorted(incident.members)],
        "baseline_id": one.baseline_id,
    }
