"""`monitor reviews`: what people said of frames, and how often they correct the model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from monitor.cli.moments import clock, moment
from monitor.cli.words import so_many
from monitor.errors import UsageError
from monitor.feedback import BANDS, MISSES, OVERRIDES
from monitor.review import stage
from monitor.review.overrides import counting, hour_of
from monitor.review.rates import COUNTED, Share, shares, tally
from monitor.review.weights import Key, weigh
from monitor.settings import Settings
from monitor.stats.strata import EDGES
from monitor.store import histograms, migrate, overrides, reviews
from monitor.store.database import Connection, open_database

EPILOG = """\
examples:
  monitor reviews list                                    the newest reviews
  monitor reviews list --waiting                          those whose frame has not come
  monitor reviews summary packaging-line                  how often people corrected it in the last 30 days
  monitor reviews summary packaging-line --from 2026-03-01 --to 2026-03-08

The raw share is among the reviewed detections, and is too high where doubtful frames are reviewed more often. The
honest one is an estimate for all detections; it needs reviews that say with which probability they were chosen.
"""
_DAYS = timedelta(days=30)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor reviews` and its verbs."""
    noun = subparsers.add_parser(
        "reviews",
        help="what people said of frames, and how often they correct the model",
        description="Reviews come in files *.reviews.jsonl, or by POST /v1/reviews.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="the newest reviews")
    listing.add_argument("--waiting", action="store_true", help="those whose frame has not come")
    listing.add_argument("--model", help="of one model (default: all)")
    listing.add_argument("--most", type=so_many, default=50, metavar="N", help="how many (default: 50)")
    listing.set_defaults(run=run_list)
    summary = verbs.add_parser("summary", help="how often people correct a model, raw and as estimated")
    summary.add_argument("model", metavar="MODEL")
    summary.add_argument("--from", dest="start", type=moment, metavar="TIME", help="UTC (default: 30 days ago)")
    summary.add_argument("--to", dest="end", type=moment, metavar="TIME", help="UTC (default: now)")
    summary.set_defaults(run=run_summary)


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """Print reviews, a line each."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = reviews.listing(conn, args.most, waiting=args.waiting, model=args.model)
            waiting = reviews.count_waiting(conn)
    for one in found:
        said = ", ".join(f"{one.verdicts.count(v)} {v}" for v in dict.fromkeys(one.verdicts)) or "no verdict"
        said += f", {one.missed} missed" * bool(one.missed) + f", {one.unmatched} not found" * bool(one.unmatched)
        awaited = f"waits for its frame from {one.frame_source}"
        frame = f"{one.captured_at:%Y-%m-%d %H:%M} {one.camera}" if one.captured_at else awaited
        settles = " (settles)" * one.settles
        print(f"{one.finished_at:%Y-%m-%d %H:%M}  {one.reviewer}{settles}  {one.event_id}: {frame}  {said}")
    print(f"{waiting} review{' waits for its frame' if waiting == 1 else 's wait for their frames'}")
    return 0


def run_summary(args: argparse.Namespace, settings: Settings) -> int:
    """Print how often people correct each version of a model."""
    now = clock()
    start, end = hour_of(args.start or now - _DAYS), args.end or now
    if start >= end:
        raise UsageError(f"--from {start:%Y-%m-%d %H:%M} is not before --to {end:%Y-%m-%d %H:%M}")
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            by_version = _by_version(conn, args.model, start, end)
    if not by_version:
        print(f"no review of {args.model} from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}")
    for version, found in sorted(by_version.items()):
        print("\n".join([f"{args.model} {version}", *report(found)]))
    return 0


def _by_version(
    conn: Connection, model: str, start: datetime, end: datetime
) -> dict[str, dict[Key, dict[str, Share]]]:
    counts = overrides.counted(conn, start, end, model=model)
    settled = reviews.of_settled_frames(conn, model, end - stage.SETTLED_WITHIN, end)
    error = stage.known_error(settled, end)
    said = counting(reviews.between(conn, start, end, model))
    found = {}
    for version in {place.version for place in counts}:
        own = {place: cell for place, cell in counts.items() if place.version == version}
        all_of_them = histograms.read(conn, model, start, end, version=version, signals=[COUNTED], shadow=False)
        weighed = weigh([one for one in said if one.version == version])
        found[version] = shares(tally(own, all_of_them), weighed, error)
    return found


def report(found: Mapping[Key, Mapping[str, Share]]) -> Iterator[str]:
    """The shares of all cameras together: of everything, by direction, by band, by class; then by camera."""
    whole = {key: said for key, said in found.items() if not key[0].slice_name}
    for (scope, class_name), said in sorted(whole.items(), key=lambda item: (item[0][0].stage, item[0][0].camera)):
        if class_name or scope.camera:
            continue
        stage_said = f" ({scope.stage})" if scope.stage else ""
        yield f"  corrected{stage_said}: {_pair(said, '')}"
        for way in OVERRIDES:
            yield f"    {way.replace('_', ' ')}: {_pair(said, '_' + way)}"
        yield f"    missed: {_one(said[MISSES])} of the objects that are there"
        for low, high, band in zip(EDGES, EDGES[1:], BANDS, strict=False):
            yield f"    confidence {low:g} to {high:g}: raw {_one(said[band])}"
    for (scope, class_name), said in sorted(whole.items(), key=lambda item: (item[0][0].camera, item[0][1])):
        if bool(class_name) != bool(scope.camera):
            yield f"  {class_name or scope.camera}: {_pair(said, '')}"


def _pair(said: Mapping[str, Share], way: str) -> str:
    return f"raw {_one(said['raw' + way])}; honest {_one(said['honest' + way])}"


def _one(share: Share) -> str:
    if share.value is None:
        return "unknown"
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%}, n = {share.n:,})"
