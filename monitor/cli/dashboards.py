"""`monitor dashboards`: write what Grafana, Prometheus and Alertmanager load, check it, or send it to a Grafana."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from monitor.errors import DependencyAway, UsageError
from monitor.panels import check, files, grafana, metrics, runbooks
from monitor.panels.registry import BOARDS
from monitor.settings import Settings
from monitor.store import reader
from monitor.web.exposed import METRICS

EPILOG = """\
examples:
  monitor dashboards build                            write dashboards/ anew: Grafana, Prometheus, runbooks
  monitor dashboards build --out /tmp/dashboards --grafana-url https://grafana.plant.example
  monitor dashboards check                            exit 1 if a file breaks a rule or is not what build writes
  monitor dashboards runbook error-rate               what to do about an alert of that rule, from anywhere
  monitor dashboards push --url https://grafana.plant.example --token-file grafana.token

push needs a service account's token that may write dashboards. A Grafana that loads files from disk needs no push.
"""
_TIMEOUT_S = 20.0
_FOLDER = "monitor"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor dashboards` and its verbs."""
    noun = subparsers.add_parser(
        "dashboards",
        help="dashboards, alert rules and runbooks as files",
        description="All of it is made from one description of what is worth looking at.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    build = verbs.add_parser("build", help="write the files")
    build.add_argument("--out", type=Path, default=Path("dashboards"), metavar="DIR", help="default: dashboards")
    build.add_argument("--grafana-url", default="", metavar="URL", help="what links to panels begin with")
    build.set_defaults(run=run_build)
    verify = verbs.add_parser("check", help="check the files; exit 1 if one breaks a rule")
    verify.add_argument("folder", type=Path, nargs="?", default=Path("dashboards"), help="default: dashboards")
    verify.set_defaults(run=run_check)
    one = verbs.add_parser("runbook", help="print the runbook of a rule, lane or incident")
    one.add_argument("name", help="as an alert names it: error-rate, incident-optics, lane-brightness-mean, ...")
    one.set_defaults(run=run_runbook)
    push = verbs.add_parser("push", help="send the dashboards to a Grafana")
    push.add_argument("--url", required=True, help="of the Grafana")
    push.add_argument("--token-file", type=Path, required=True, metavar="PATH", help="file that holds the token")
    push.set_defaults(run=run_push)


def run_build(args: argparse.Namespace, settings: Settings) -> int:
    """Write every file."""
    written = _made(args.grafana_url.rstrip("/"))
    for name, said in written.items():
        path = args.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(said, encoding="utf-8")
    print(f"{len(written)} files written to {args.out}")
    return 0


def run_check(args: argparse.Namespace, settings: Settings) -> int:
    """Hold the files against the rules, and against what `build` would write."""
    found = list(_stale(args.folder))
    boards = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((args.folder / "grafana").glob("*.json"))
    ]
    found += [str(finding) for finding in check.findings(boards)]
    print("\n".join(found), end="\n" * bool(found))
    panels = sum(len(board["panels"]) for board in boards)
    asked = sum(1 for board in boards for _ in check.queries(board))
    print(
        f"{len(check.RULES)} rules, {len(boards)} dashboards, {panels} panels, {asked} queries: {len(found)} failures"
    )
    return 1 if found else 0


def run_runbook(args: argparse.Namespace, settings: Settings) -> int:
    """Print one page.

    Raises:
        UsageError: there is none of that name.
    """
    known = runbooks.pages()
    if f"{args.name}.md" not in known:
        names = ", ".join(sorted(name.removesuffix(".md") for name in known if name != "README.md"))
        raise UsageError(f"there is no runbook {args.name!r}; there are {names}")
    print(known[f"{args.name}.md"], end="")
    return 0


def _made(grafana_url: str = "") -> dict[str, str]:
    beside = {"postgres/reader.sql": reader.SCRIPT, "metrics.md": metrics.page(METRICS.values())}
    return files.built(grafana_url) | beside


def _stale(folder: Path) -> Iterator[str]:
    written = _made()
    for name, said in written.items():
        path = folder / name
        if not path.is_file():
            yield f"{path} is missing; run `monitor dashboards build`"
        elif path.read_text(encoding="utf-8") != said:
            yield f"{path} is not what `monitor dashboards build` writes; change the registry, then build"
    for path in sorted((folder / "grafana").glob("*.json")):
        if str(path.relative_to(folder)) not in written:
            yield f"{path} is made by nothing; delete it"


def run_push(args: argparse.Namespace, settings: Settings) -> int:
    """Make the folder, then send every dashboard into it, over what stood there.

    Raises:
        DependencyAway: Grafana does not answer, or with an error.
        UsageError: there is no token, or Grafana refuses it.
    """
    try:
        token = args.token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the token cannot be read from {args.token_file}: {error}; name the file that holds it"
        ) from error
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=args.url.rstrip("/"), headers=headers, timeout=_TIMEOUT_S) as client:
        _ask(client, "/api/folders", {"uid": _FOLDER, "title": "Monitor"}, known=(409, 412))
        for board in BOARDS:
            sent = {"dashboard": grafana.dashboard(board), "folderUid": _FOLDER, "overwrite": True}
            _ask(client, "/api/dashboards/db", sent)
            print(f"{board.uid} sent")
    return 0


def _ask(client: httpx.Client, path: str, body: dict[str, Any], known: tuple[int, ...] = ()) -> None:
    try:
        answer = client.post(path, json=body)
    except httpx.HTTPError as error:
        raise DependencyAway(
            f"Grafana does not answer ({type(error).__name__}); see that it runs and try again"
        ) from error
    if answer.status_code in (401, 403):
        raise UsageError(f"Grafana refuses the token ({answer.status_code}); give one that may write dashboards")
    if answer.status_code >= 300 and answer.status_code not in known:
        raise DependencyAway(f"Grafana answers {path} with {answer.status_code}; its log says why")
