"""`monitor alerts`: what is open, what one alert rests on, and a round of judging by hand."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from monitor.alerts import deliver, gather, life, stage
from monitor.alerts.channels import configured, told
from monitor.alerts.evaluate import ACTIVE, OPEN
from monitor.alerts.evidence import SHOWN_WINDOWS, movement
from monitor.alerts.life import Standing
from monitor.alerts.links import Links
from monitor.alerts.wording import figure, quantity, subject, unit
from monitor.cli import alert_deeds
from monitor.cli.contracts import in_force
from monitor.cli.incidents import is_there as incident_there
from monitor.cli.incidents import show as show_incident
from monitor.cli.moments import clock, moment, time_taken
from monitor.errors import UsageError
from monitor.panels.runbooks import followed
from monitor.records import ALL, Alert, AlertEvent, Baseline, Measurement
from monitor.settings import Settings
from monitor.spec.rules import COMPARISONS
from monitor.store import alerts, baselines, measurements, migrate
from monitor.store.database import Connection, open_database

EPILOG = """\
examples:
  monitor alerts list                                   what is pending or firing
  monitor alerts list --all --model packaging-line      every series that a rule of the model watches
  monitor alerts show packaging-line/brightness-drift   since when, baseline against now, limit, history
  monitor alerts ack packaging-line/brightness-drift --by "A. Roe" --note "lamp ordered"
  monitor alerts silence camera=cam-3 --for 8h --by "A. Roe" --reason "lens is being swapped"
  monitor alerts resolve packaging-line/brightness-drift --by "A. Roe" --note "lamp replaced"
  monitor alerts history                                what happened and who did what, the newest first
  monitor alerts test                                   a test message through each channel
  monitor alerts run --at 2026-03-01                    judge and send, as if it were midnight of that day, UTC
"""
_STATES = ("firing", "flapping", "pending", "undecided", "no-data", "resolved", "ok")
_SEVERITIES = ("critical", "warning", "info")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor alerts` and its verbs."""
    noun = subparsers.add_parser(
        "alerts",
        help="what is wrong, since when, and why it is said",
        description="Alerts: one for each rule of a contract and each series that it watches.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="a table of alerts")
    listing.add_argument("--all", action="store_true", help="also those that are ok, resolved or undecided")
    listing.add_argument("--model", default=ALL, help="one model (default: all)")
    listing.add_argument("--json", action="store_true", help="as a JSON array")
    listing.set_defaults(run=run_list)
    show = verbs.add_parser("show", help="everything about one alert")
    show.add_argument("key", metavar="KEY_OR_PREFIX", help="as `list` prints it, or the beginning; an incident's too")
    show.add_argument("--json", action="store_true", help="as a JSON object")
    show.set_defaults(run=run_show)
    alert_deeds.register(verbs)
    run = verbs.add_parser("run", help="judge what was measured, then send what is due")
    run.add_argument("--at", type=moment, metavar="TIME", help="the time to take as now (default: the clock)")
    run.set_defaults(run=run_run)


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """Print the open alerts, or all of them."""
    now = clock()
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            known = alerts.read(conn, args.model)
            handled = {one.key: one for one in life.standing(conn, now, args.model)}
    chosen = sorted((a for a in known if args.all or a.state in OPEN), key=_urgency)
    if args.json:
        found = [(a, handled.get(a.key)) for a in chosen]
        told = [{**_plain(a), **alert_deeds.plain_figures(one), **alert_deeds.plain(one)} for a, one in found]
        print(json.dumps(told, indent=2))
        return 0
    if chosen:
        print(table(chosen, handled))
        print()
    print(summary(known))
    if count := sum(one.kind == "incident" for one in handled.values()):
        print(f"{count} incident{' is' if count == 1 else 's are'} open; `monitor incidents list` prints them")
    return 0


def run_show(args: argparse.Namespace, settings: Settings) -> int:
    """Print one alert with its history; an incident as `monitor incidents show` does."""
    now = clock()
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = alerts.read(conn, prefix=args.key)
            if not found and incident_there(conn, args.key):
                return show_incident(conn, args.key, as_json=args.json)
            alert = _only(args.key, found)
            one, entries = life.find(conn, alert.key, now), life.history(conn, now, alert.key)
            events = alerts.events(conn, alert.key)
            recent = _recent(conn, alert)
            frozen = {b.id: b for b in baselines.listing(conn, alert.series.scope.model)}
    if args.json:
        told = [_plain(event) for event in events]
        done = [alert_deeds.plain_entry(entry) for entry in entries]
        known = {**_plain(alert), **alert_deeds.plain_figures(one), **alert_deeds.plain(one)}
        print(json.dumps({**known, "events": told, "history": done}, indent=2))
        return 0
    baseline = frozen.get(recent[-1].baseline_id or 0) if recent else None
    lines = portrait(alert, events, recent, baseline, alert_deeds.handling(one))
    print("\n".join([*lines, *alert_deeds.lines("history", entries)]))
    return 0


def run_run(args: argparse.Namespace, settings: Settings) -> int:
    """Judge by every contract of the folder, then deliver."""
    now = time_taken(args.at)
    channels, links = configured(settings), Links(settings.page_url, settings.grafana_url or "")
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            contracts = in_force(conn, settings)
        for model, loaded in contracts.items():
            did = stage.run(database, loaded, now, channels=told(channels), links=links)
            print(f"{model}: {did} alert{'' if did == 1 else 's'} judged")
            if days := gather.run(database, loaded, now, channels=told(channels), links=links):
                print(f"{model}: {days} day{'' if days == 1 else 's'} gathered into incidents")
        sent = deliver.run(database, channels, now)
        print(f"{sent} message{'' if sent == 1 else 's'} sent")
    return 0


def table(chosen: Sequence[Alert], known: Mapping[str, Standing]) -> str:
    """Alerts as aligned columns, a line each, under a line of titles: the value when it fired, and now with the limit
    and frames of now; `known`: what was told and what people did, by key."""
    rows: list[tuple[str, ...]] = [
        ("STATE", "SEVERITY", "SINCE (UTC)", "FIRED AT", "NOW", "LIMIT", "FRAMES", "WINDOW TO", "HANDLED", "ALERT")
    ]
    for a in chosen:
        one = known.get(a.key)
        fired = "-" if one is None or one.fired is None else _value(replace(a, value=one.fired.value))
        told = (a.state, a.severity, _when(a.since), fired, _value(a), _threshold(a), f"{a.n:,}", _when(a.window_end))
        rows.append((*told, (one and alert_deeds.handling(one)) or "-", a.key))
    if all(row[-2] == "-" for row in rows[1:]):
        rows = [(*row[:-2], row[-1]) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def summary(known: Sequence[Alert]) -> str:
    """How many alerts there are in which state, and up to when they were judged."""
    if not known:
        return "no rule has judged anything yet; `monitor alerts run` judges what `monitor drift run` has measured"
    counts = Counter[str](alert.state for alert in known)
    by_state = ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])
    judged = max(alert.window_end for alert in known)
    nothing = "" if any(counts[state] for state in OPEN) else "nothing is pending or firing; "
    return f"{nothing}{len(known)} series watched: {by_state}; judged up to {_when(judged)} UTC"


def portrait(
    alert: Alert,
    events: Sequence[AlertEvent],
    recent: Sequence[Measurement],
    baseline: Baseline | None,
    handled: str = "",
) -> list[str]:
    """The lines of `monitor alerts show`. `events` are newest first, `recent` windows oldest first."""
    lines = [f"{alert.key}: {alert.state}, {alert.severity}", ""]
    if events:
        turned = "When it fired" if events[0].to_state in ACTIVE else "When it ended"
        window = f"{turned}, window to {_when(events[0].window.end)} UTC"
        lines += [f"{window}: {events[0].evidence.get('sentence', '')}", ""]
    lines += [f"Now, window to {_when(alert.window_end)} UTC: {alert.reason}; n {alert.n:,}", ""]
    last = recent[-1] if recent else None
    facts = {
        "handled": handled,
        "since": f"{_when(alert.since)} UTC" if alert.since else "",
        "value": f"{_value(alert)} over {alert.n:,} frames",
        "limit": _limit(alert, last),
        "now": f"{_mean(alert, last.now_mean)}, n {last.n:,}" if last else "",
        "baseline": _baseline(alert, last, baseline),
        "change": f"{subject(alert.series)} {movement(last)}" if last and last.now_mean is not None else "",
        "with it": _together(events),
        **_beside(events[0].evidence if events else {}),
    }
    lines += [f"  {name:<9} {said}" for name, said in facts.items() if said]
    if recent:
        lines += ["", "last windows", *_windows(recent)]
    return lines


def _beside(why: Mapping[str, Any]) -> dict[str, str]:
    """What the last event says beside its numbers."""
    shifted = [f"{one['part']} {one['now']:.1%} instead of {one['then']:.1%}" for one in why.get("moved_most") or ()]
    deployed = why.get("deployment") or {}
    modes = [f"{mode['name']}: {mode['mitigation']}" for mode in why.get("failure_modes") or ()]
    said = {
        "moved": "; ".join(shifted),
        "deployed": f"{deployed['version']} at {deployed['at'][:16]}: {deployed['text']}" if deployed else "",
        "likely": "; ".join(f"{100 * one['share']:.0f} % {one['text']}" for one in why.get("causes") or ()),
        "known as": "; ".join(modes),
        "first": why.get("first", ""),
        "frames": ", ".join(one["event_id"] for one in why.get("frames") or ()),
        "panel": why.get("panel", ""),
        "runbook": followed(str(why.get("runbook", ""))),
        "owner": why.get("owner", ""),
    }
    if said["runbook"] == said["first"]:
        del said["runbook"]
    return {name: str(value) for name, value in said.items()}


def _only(wanted: str, found: Sequence[Alert]) -> Alert:
    exact = [alert for alert in found if alert.key == wanted]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise UsageError(f"no alert's key begins with {wanted!r}; `monitor alerts list --all` prints them all")
    first = "".join(f"\n  {alert.key} ({alert.state})" for alert in sorted(found, key=_urgency)[:10])
    raise UsageError(f"{len(found)} alerts begin with {wanted!r}; give more of the key:{first}")


def _recent(conn: Connection, alert: Alert) -> list[Measurement]:
    scope = alert.series.scope
    return measurements.read(
        conn,
        scope.model,
        version=scope.version,
        camera=scope.camera,
        slice_name=scope.slice_name,
        slice_value=scope.slice_value,
        signal=alert.series.signal,
        class_name=alert.series.class_name,
        measure=alert.measure,
        end=alert.window_end,
        last=SHOWN_WINDOWS,
    )


def _urgency(alert: Alert) -> tuple[int, int, str, str]:
    return (
        _STATES.index(alert.state),
        _SEVERITIES.index(alert.severity),
        alert.since.isoformat() if alert.since else "~",
        alert.key,
    )


def _limit(alert: Alert, last: Measurement | None) -> str:
    if last is None or last.noise is None or alert.measure not in COMPARISONS:
        return f"{_threshold(alert)} (rule {alert.rule})"
    above = alert.threshold - last.noise
    origin = f"rule {alert.rule}, contract {last.contract_hash}"
    return f"{alert.threshold:.3g} = {above:.3g} ({origin}) + {last.noise:.3g} (chance at {last.n:,} frames)"


def _baseline(alert: Alert, last: Measurement | None, baseline: Baseline | None) -> str:
    if last is None or baseline is None:
        return ""
    start, end = baseline.period_start, baseline.period_end
    period = f", {start:%Y-%m-%d} to {end:%Y-%m-%d}" if start and end else ""
    origin = f"baseline {baseline.id} from {baseline.source}{period}"
    return f"{_mean(alert, last.baseline_mean)}, n {last.baseline_n:,} ({origin})"


def _mean(alert: Alert, mean: float | None) -> str:
    return "no mean" if mean is None else f"mean {figure(mean)} ({unit(alert.series.signal)})"


def _together(events: Sequence[AlertEvent]) -> str:
    beside = events[0].evidence.get("moved_together", []) if events else []
    return "; ".join(f"{other['signal']} {other['movement']}" for other in beside)


def _windows(recent: Iterable[Measurement]) -> list[str]:
    lines = [f"  {'ended (UTC)':<17} {'value':>8} {'chance':>8} {'frames':>8} {'mean':>10}  state"]
    for m in recent:
        value, noise = ("-" if x is None else f"{x:.3f}" for x in (m.value, m.noise))
        mean = "-" if m.now_mean is None else figure(m.now_mean)
        lines.append(f"  {_when(m.window.end):<17} {value:>8} {noise:>8} {m.n:>8,} {mean:>10}  {m.standing}")
    return lines


def _value(alert: Alert) -> str:
    if alert.value is None:
        return "-"
    if alert.measure in COMPARISONS:
        return f"{alert.measure.upper()} {alert.value:.3g}"
    return quantity(alert.series.signal, alert.measure, alert.value)


def _threshold(alert: Alert) -> str:
    """The limit, in the unit of the value."""
    if alert.measure in COMPARISONS:
        return f"{alert.threshold:.3g}"
    return quantity(alert.series.signal, alert.measure, alert.threshold)


def _when(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _plain(record: Alert | AlertEvent) -> dict[str, Any]:
    """As JSON takes it; times are ISO 8601 in UTC."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(record), default=_iso))
    return plain


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in JSON")
