"""`monitor doctor`: what is well and what is not, a line each. It changes nothing and starts no new database."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from monitor.alerts.channels import WAYS, configured, paging_path
from monitor.cli.doctor_daemon import Finding, Mark, of_daemon
from monitor.cli.moments import clock
from monitor.errors import DependencyAway, MonitorError, NoRoom, UsageError
from monitor.ingest.names import NEW_A_DAY
from monitor.ingest.parse import plain
from monitor.ingest.spool import SUFFIXES, find_files, find_strangers
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store import (
    acceptances,
    baselines,
    contracts,
    migrate,
    names,
    receivers,
    reporting,
    tokens,
    watched,
)
from monitor.store.database import Connection, Database, open_database

SIGNS = {"well": "✓", "note": "–", "wrong": "✗", "away": "✗"}
PLAIN_SIGNS = {"well": "ok  ", "note": "-   ", "wrong": "FAIL", "away": "FAIL"}
LEAST_FREE = 2 * 1024**3
"""Bytes of disk below which a full disk is near."""
CLOCK_TOLERANCE_S = 5.0
_SOURCES = 10
_SOON = timedelta(days=14)
NAMES_SAID = timedelta(days=7)
"""So long it is said that too many new names came."""
STRANGERS_SAID = 5
"""How many of the files that are never taken in are named."""
RUNTIME_PATIENCE_S = 60.0
"""How long ONNX Runtime may take to say what it can run on."""
# In a process of its own: it loads the drivers of the accelerators, and may fall over them.
_ASK_PROVIDERS = "import json, onnxruntime; print(json.dumps(onnxruntime.get_available_providers()))"

EPILOG = """\
example:
  monitor doctor

exit codes: 0 nothing is wrong, 1 something is, 3 the database is away
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what is well and what is not",
        description="Looks at the installation, the database, contracts, spool, model runtime, clock and jobs.",
        epilog=EPILOG,
    )
    parser.set_defaults(run=run_doctor)


def run_doctor(args: argparse.Namespace, settings: Settings) -> int:
    """Print the findings; the exit code is the gravest of them."""
    signs = SIGNS if "utf" in (sys.stdout.encoding or "").lower() else PLAIN_SIGNS
    marks = set()
    for found in findings(settings, clock()):
        first, *rest = found.sentence.splitlines()
        print(f"{signs[found.mark]} {found.about:<10} {first}")
        for line in rest:
            print(f"{'':<13}{line}")
        marks.add(found.mark)
    return 3 if "away" in marks else 1 if "wrong" in marks else 0


def findings(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Everything that the doctor looks at, in order."""
    yield Finding("well", "version", f"monitor {version('monitor-vision')} on Python {platform.python_version()}")
    yield from _state_folder(settings.state_dir)
    taken_up: list[contracts.Kept] = []
    yield from _database(settings, now, taken_up)
    yield from _contracts(settings.contracts_dir, taken_up)
    yield from _spool(settings.spool_dir)
    yield _paging(settings)
    yield _model_runtime()


def _state_folder(folder: Path) -> Iterator[Finding]:
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Finding(
            "wrong", "state", f"{there} cannot be written to; see to its permissions or set MONITOR_STATE_DIR"
        )
        return
    made = str(folder) if folder.exists() else f"{folder} will be made at the first start"
    yield Finding("well" if folder.exists() else "note", "state", made)
    free = shutil.disk_usage(there).free
    said = f"{free / 1024**3:,.1f} GiB free at {there}"
    if free < LEAST_FREE:
        yield Finding("wrong", "disk", f"{said}: make room, a full disk stops Postgres")
    else:
        yield Finding("well", "disk", said)


def _database(settings: Settings, now: datetime, taken_up: list[contracts.Kept]) -> Iterator[Finding]:
    """Of the database; `taken_up` is given the contracts that the daemon last took up."""
    found = list(_reach_database(settings, now, taken_up))
    yield from found
    if all(one.about != "clock" for one in found):
        yield Finding(
            "note", "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC here; compared with nothing, for no database was reached"
        )


def _reach_database(settings: Settings, now: datetime, taken_up: list[contracts.Kept]) -> Iterator[Finding]:
    if settings.database_url is None and not (settings.state_dir / "postgres").exists():
        yield Finding(
            "note", "database", "no embedded Postgres yet; `monitor db upgrade` or `monitor daemon` makes it"
        )
        return
    try:
        with open_database(settings) as database:
            yield from _open_database(database, settings, now, taken_up)
    except DependencyAway as error:
        yield Finding("away", "database", str(error))
    except MonitorError as error:
        yield Finding("wrong", "database", str(error))


def _open_database(
    database: Database, settings: Settings, now: datetime, taken_up: list[contracts.Kept]
) -> Iterator[Finding]:
    with database.begin() as conn:
        number, its_clock = reporting.server(conn)
    yield from _room(database)
    kind = "MONITOR_DATABASE_URL" if database.postgres is None else "embedded"
    yield Finding("well", "database", f"PostgreSQL {number} ({kind})")
    here = clock()
    apart = abs((its_clock - here).total_seconds())
    if apart > CLOCK_TOLERANCE_S:
        yield Finding(
            "wrong", "clock", f"Postgres' clock is {apart:,.0f} s off this machine's; let both follow a time server"
        )
    else:
        yield Finding(
            "well", "clock", f"{here:%Y-%m-%d %H:%M:%S} UTC; Postgres' clock agrees with it to {apart:.1f} s"
        )
    schema = migrate.check(database.engine)
    if schema.state is not migrate.State.CURRENT:
        yield Finding("wrong", "schema", str(schema))
        return
    yield Finding("well", "schema", str(schema))
    with database.begin() as conn:
        taken_up += contracts.in_force(conn)
        sources = reporting.intake_by_source(conn, _SOURCES)
        issued = tokens.listing(conn)
        beyond = names.beyond(conn)
        yield from _watch(conn)
        yield from of_daemon(conn, now)
        fare = receivers.read(conn)
    yield from _receivers(settings, fare, now)
    for one in sources:
        counts = (
            f"{one.stored:,} stored + {one.duplicate:,} duplicate + {one.rejected:,} rejected + {one.blank:,} blank"
        )
        said = f"{one.source}: {one.lines:,} lines = {counts}, the last {one.last_at:%Y-%m-%d %H:%M} UTC"
        yield Finding("well", "intake", said)
    yield from _tokens([one for one in issued if one.in_force(now)], now)
    yield from _names(beyond, now)


def _tokens(in_force: list[tokens.Token], now: datetime) -> Iterator[Finding]:
    ending = [one for one in in_force if one.expires_at - now < _SOON]
    for one in ending:
        said = f"{one.name} ends {one.expires_at:%Y-%m-%d}; make another and hand it over before"
        yield Finding("note", "tokens", said)
    if len(in_force) > len(ending):
        yield Finding("well", "tokens", f"{len(in_force)} in force")


def _paging(settings: Settings) -> Finding:
    """Which path pages people; exactly one may."""
    try:
        configured(settings)
        path = paging_path(settings)
    except UsageError as error:
        return Finding("wrong", "paging", str(error))
    if path == "log":
        return Finding("note", "paging", f"nobody is paged, alerts stand in the log alone; set {WAYS}")
    if path == "prometheus":
        return Finding("well", "paging", "the rules of Prometheus page people; the daemon sends nothing itself")
    stands_in = f"; {settings.fallback} stands in while it is away" if settings.fallback else ""
    return Finding("well", "paging", f"{path} pages people, and nothing else does{stands_in}")


def _receivers(settings: Settings, known: Mapping[str, receivers.Receiver], now: datetime) -> Iterator[Finding]:
    with suppress(UsageError):  # which is said of the paging
        for one in (known[channel.name] for channel in configured(settings) if channel.name in known):
            if not one.failures:
                continue
            since = f", it last took something {one.last_sent_at:%Y-%m-%d %H:%M} UTC" if one.last_sent_at else ""
            rest = one.closed_until if one.is_closed(now) else None
            again = f"; it is tried again {rest:%H:%M} UTC" if rest else ""
            said = f"{one.channel} failed {one.failures} times in a row{since}: {one.last_error}{again}"
            yield Finding("wrong", "receivers", f"{said}. `monitor alerts test` tries it now")


def _room(database: Database) -> Iterator[Finding]:
    if database.postgres is None:
        return
    room = database.postgres.room
    try:
        room.require(0)
    except NoRoom as error:
        yield Finding("wrong", "disk", str(error))
    if room.ballast and not room.held:
        yield Finding("wrong", "disk", f"the ballast {room.file} was given up; once there is room it is laid again")


def _names(beyond: list[names.Beyond], now: datetime) -> Iterator[Finding]:
    for one in beyond:
        if one.last_at > now - NAMES_SAID:
            what = f"values of {one.condition}" if one.condition else "cameras"
            yield Finding(
                "wrong",
                "names",
                f"{one.frames:,} frames of {one.model} from {one.source} count under __other__, the last of "
                f"{one.last_at:%Y-%m-%d %H:%M} UTC: more than {NEW_A_DAY} new {what} came in a day. Declare them in "
                "the contract, or mend the producer",
            )


def _watch(conn: Connection) -> Iterator[Finding]:
    """Of each version with a baseline from logs: how far the calibrated lanes are."""
    for one in contracts.in_force(conn):
        for model_version in baselines.versions(conn, one.model):
            said = watched.progress(conn, one.model, model_version)
            waiting = acceptances.pending(conn, one.model, model_version)
            mark: Mark = "well" if said is not None and said.judged and waiting is None else "note"
            sentence = str(waiting or said or "no day has been watched yet; `monitor drift lanes` says why")
            yield Finding(mark, "lanes", f"{one.model} {model_version}: {sentence}")


def _contracts(folder: Path, taken_up: Iterable[contracts.Kept]) -> Iterator[Finding]:
    if not folder.exists():
        yield Finding(
            "note", "contracts", f"{folder} is not there; make it, one TOML file a model (`monitor spec template`)"
        )
        return
    shelf = Shelf(folder)
    shelf.refresh(taken_up)
    for loaded in shelf.contracts.values():
        if loaded.path in shelf.complaints:
            continue
        yield Finding("well", "contracts", f"{loaded.path}: {loaded.model}, contract {loaded.hash}")
    for complaint in shelf.complaints.values():
        yield Finding("wrong", "contracts", complaint)
    if not shelf.contracts and not shelf.complaints:
        yield Finding(
            "note", "contracts", f"{folder} is empty; put one TOML file a model there (`monitor spec template`)"
        )


def _spool(folder: Path) -> Iterator[Finding]:
    incoming = folder / "incoming"
    set_aside = _count(folder / "quarantine", lambda path: path.suffix != ".reason")
    if not incoming.is_dir() and set_aside is None:
        yield Finding("note", "spool", f"{folder} is not there; the daemon makes it")
        return
    yield Finding("well", "spool", f"{len(find_files(incoming)):,} files wait in {incoming}")
    if strangers := find_strangers(incoming):
        said = ", ".join(plain(str(path.relative_to(incoming))) for path in strangers[:STRANGERS_SAID])
        more = f" and {len(strangers) - STRANGERS_SAID:,} more" if len(strangers) > STRANGERS_SAID else ""
        links = sum(path.is_symlink() for path in strangers)
        of_them = f" ({links:,} of them links)" if links else ""
        yield Finding(
            "wrong",
            "spool",
            f"{len(strangers):,} in {incoming} will never be taken in{of_them}: {said}{more}. Links are not followed,"
            f" and files of records end in {', '.join(SUFFIXES)}; put the files themselves there, or take these away",
        )
    if set_aside:
        yield Finding(
            "wrong",
            "spool",
            f"{set_aside:,} files in {folder / 'quarantine'}; the .reason file beside each says why. Mend them and"
            " move them back to incoming, or delete them",
        )


def _count(folder: Path, wanted: Callable[[Path], bool]) -> int | None:
    """Files below `folder` that are wanted; None where there is no such folder."""
    if not folder.is_dir():
        return None
    return sum(wanted(Path(name)) for _, _, names in os.walk(folder) for name in names)


def _model_runtime() -> Finding:
    found = {name: _version_of(name) for name in ("onnxruntime", "onnxruntime-gpu")}
    there = [f"{name} {number}" for name, number in found.items() if number]
    if len(there) == 2:
        return Finding(
            "wrong",
            "runtime",
            f"{' and '.join(there)} are both installed and overwrite each other's files; uninstall both,"
            " then install one",
        )
    if not there:
        return Finding("note", "runtime", "no ONNX Runtime; needed to score models only (extra `cpu` or `gpu`)")
    try:
        providers = _providers()
    except DependencyAway as error:
        return Finding("wrong", "runtime", f"{there[0]} is installed and cannot be used: {error}; install it again")
    return Finding("well", "runtime", f"{there[0]} with {', '.join(providers)}")


def _providers() -> list[str]:
    """What ONNX Runtime can run on, in the order in which it prefers them.

    Raises:
        DependencyAway: it does not load.
    """
    try:
        # -P: a file of that name in the folder we are called from is not meant.
        said = subprocess.run(
            [sys.executable, "-P", "-c", _ASK_PROVIDERS],
            capture_output=True,
            text=True,
            timeout=RUNTIME_PATIENCE_S,
            check=True,
        )
        return [str(name) for name in json.loads(said.stdout.splitlines()[-1])]
    except subprocess.TimeoutExpired as error:
        raise DependencyAway(f"it has not loaded within {error.timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        last_words = error.stderr.strip().splitlines()[-1:]
        raise DependencyAway(last_words[0] if last_words else f"it ended with code {error.returncode}") from error
    except (IndexError, ValueError) as error:
        raise DependencyAway("it did not say what it can run on") from error


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
