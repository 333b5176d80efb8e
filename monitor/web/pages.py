"""The pages: a query → a status code and HTML. Everything shown is escaped by the templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitor.alerts.advice import first_of
from monitor.drift.why import Asked as StreamAsked
from monitor.errors import DependencyAway, TryAgain, UsageError
from monitor.panels.observable import Board
from monitor.panels.registry import BY_UID
from monitor.records import EPOCH
from monitor.scoring import FIRST, OWN_RULES
from monitor.store import baselines, business, reporting
from monitor.store.database import Connection
from monitor.watch import ALL_LANES
from monitor.web import boards, pictures, told, wording
from monitor.web.drifted import TRENDS, drifted
from monitor.web.standing import FIRING, Known, answers
from monitor.web.stream import Stream, stream
from monitor.web.view import SPANS, Asked, NotThere, Place, Site, place

_END = datetime(9999, 1, 1, tzinfo=UTC)
MOST_SOURCES = 20
MOST_ROWS = 8
"""Rows of a table that are shown at once; the others fold out."""
MOST_ALERTS = {"/": 50, "/alerts": 500}
"""Alerts that a page lists; it counts all."""
OVERVIEW = boards.over_a_month(BY_UID["monitor-overview"])
BOARDS: Mapping[str, Board] = {
    "/health": BY_UID["monitor-health"],
    "/predictions": BY_UID["monitor-predictions"],
    "/overrides": BY_UID["monitor-overrides"],
    "/business": BY_UID["monitor-business"],
    "/drift": BY_UID["monitor-drift"],
    "/golden": BY_UID["monitor-golden"],
}
"""The pages that are a board, by their address."""
MENU = {
    "/": OVERVIEW.title,
    "/alerts": "Alerts",
    **{path: board.title for path, board in BOARDS.items()},
    "/self": "The monitor itself",
}

Query = Mapping[str, str]
_Read = Callable[[Connection, Place], dict[str, Any]]


class Pages:
    """The pages of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._templates = templates()

    def overview(self, query: Query) -> tuple[int, str]:
        """The four answers, the last 24 hours, alerts, and the trends of 30 days."""
        return self._page(query, "overview.html", self._overview)

    def alerts(self, query: Query) -> tuple[int, str]:
        """What is on: open incidents, and alerts that fire or are about to."""
        return self._page(query, "alerts.html", _alerts)

    def board(self, path: str, query: Query) -> tuple[int, str]:
        """The page of one of BOARDS."""
        if path == "/drift":
            return self._page(query, "drift.html", _drift)
        return self._page(query, "board.html", lambda conn, here: _board(conn, here, path))

    def itself(self, query: Query) -> tuple[int, str]:
        """What came in, and how the daemon's jobs fare."""
        return self._page(query, "itself.html", _itself)

    def incident(self, query: Query) -> tuple[int, str]:
        """One incident, and the explanation of one of its streams, for `query` (key; camera and lane of a stream)."""
        return self._answer(query, lambda: self._incident(query))

    def why(self, query: Query) -> tuple[int, str]:
        """Why a lane alarmed, or did not, for `query` (model, version, stage, camera, lane, class, day)."""
        return self._answer(query, lambda: self._why(query))

    def _page(self, query: Query, template: str, read: _Read) -> tuple[int, str]:
        """A page of the place that `query` names; where no frame has come in yet, the first steps."""

        def render() -> str:
            asked = read_query(query)
            with self._site.begin() as conn:
                here = place(conn, self._site, asked)
                if not isinstance(here, Place):
                    return self._render("first_steps.html", around=here)
                shown = read(conn, here)
            return self._render(template, place=here, around=here.around, **shown)

        return self._answer(query, render)

    def _answer(self, query: Query, render: Callable[[], str]) -> tuple[int, str]:
        try:
            if any("\0" in said for said in query.values()):
                raise NotThere("nothing is called by a name that holds a NUL; start from the overview, /")
            return 200, render()
        except (NotThere, UsageError) as error:
            return 404, self._message("Not here", str(error))
        except DependencyAway as error:
            return 503, self._message("The database is away", str(error))
        except TryAgain as error:
            return 503, self._message("Not just now", str(error))

    def _overview(self, conn: Connection, here: Place) -> dict[str, Any]:
        of, loaded = here.of, here.loaded
        rules = loaded.contract.rules if loaded else ()
        baseline = baselines.active(conn, of.model, of.version)
        known = Known(
            at=here.at,
            is_live=here.mode != "end",
            incidents=told.incidents_of(conn, of.model, loaded),
            alerts=_open_alerts(conn, here),
            cameras=here.cameras,
            deployments=business.deployments(conn, of.model, EPOCH, here.at),
            first_steps={**FIRST, **{rule.name: step for rule in rules if (step := first_of(rule))}},
            watch=told.watch_of(conn, of, baseline),
            has_baseline=baseline is not None,
            late=here.late,
        )
        resolved = reporting.alerts(conn, ("resolved",), _in_force(here), limit=5)
        return {
            "known": known,
            "answers": answers(known),
            "resolved": resolved,
            "drawn": boards.draw(conn, OVERVIEW, here),
            "path": "/",
        }

    def _incident(self, query: Query) -> str:
        name = query.get("key", "")
        loaded = self._site.contracts().get(name.split("/")[0])
        with self._site.begin() as conn:
            found = told.incident_named(conn, name, loaded)
            if found is None:
                raise NotThere(f"there is no incident {name!r}; the overview lists those that are open")
            kept, one = found
            chosen = _stream_of(query, one)
            said, trouble = None, ""
            if chosen is not None and loaded is not None:
                asked = StreamAsked(kept.watch.stage, *chosen)
                try:
                    said = stream(conn, loaded, kept.watch.version, asked)
                except UsageError as error:
                    trouble = str(error)
        of = reporting.Produced(kept.watch.model, kept.watch.version, kept.watch.stage, EPOCH, EPOCH)
        return self._render("incident.html", one=one, of=of, chosen=chosen, said=_drawn(said), trouble=trouble)

    def _why(self, query: Query) -> str:
        of, asked = read_why(query)
        loaded = self._site.contracts().get(of[0])
        if loaded is None:
            raise NotThere(f"no contract of {of[0]!r} is in force")
        with self._site.begin() as conn:
            said = stream(conn, loaded, of[1], asked)
        return self._render("why.html", of=" ".join(of), said=_drawn(said))

    def _message(self, title: str, sentence: str) -> str:
        return self._render("message.html", title=title, sentence=sentence)

    def _render(self, template: str, **shown: Any) -> str:
        return self._templates.get_template(template).render(**shown)


def _board(conn: Connection, here: Place, path: str) -> dict[str, Any]:
    return {"drawn": boards.draw(conn, BOARDS[path], here), "path": path}


def _in_force(here: Place) -> list[tuple[str, str]]:
    """Model and name of the rules by which the place is judged."""
    rules = here.loaded.contract.rules if here.loaded else ()
    return [(here.of.model, name) for name in (*(rule.name for rule in rules), *OWN_RULES)]


def _open_alerts(conn: Connection, here: Place) -> list[reporting.AlertRow]:
    return reporting.alerts(conn, (*FIRING, "pending"), _in_force(here))


def _alerts(conn: Connection, here: Place) -> dict[str, Any]:
    incidents = told.incidents_of(conn, here.of.model, here.loaded)
    found = _open_alerts(conn, here)
    of_camera = [one for one in found if here.camera in ("", one.scope.camera)]
    return {"incidents": incidents, "alerts": of_camera, "path": "/alerts"}


def _drift(conn: Connection, here: Place) -> dict[str, Any]:
    open_ones = told.incidents_of(conn, here.of.model, here.loaded, here.of)
    return {**_board(conn, here, "/drift"), "page": drifted(conn, here), "incidents": open_ones}


def _itself(conn: Connection, here: Place) -> dict[str, Any]:
    sources = reporting.intake_by_source(conn, MOST_SOURCES)
    return {"intake": reporting.intake(conn), "sources": sources, "path": "/self"}


def _stream_of(query: Query, one: told.Told) -> tuple[str, str] | None:
    """Camera and lane that the reader chose, or else the incident's first."""
    chosen = (query.get("camera", ""), query.get("lane", ""))
    return chosen if chosen in one.streams else next(iter(one.streams), None)


def _drawn(said: Stream | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {"of": said, "wide": Markup(said.wide), "narrow": Markup(said.narrow)}  # noqa: S704 - portraits escape what they are given


def read_query(query: Query) -> Asked:
    """What the query string asks for.

    Raises:
        NotThere: `at` is no point in time, or `days` is none of SPANS.
    """
    days = None
    if said := query.get("days"):
        if said not in {str(span) for span in SPANS}:
            spans = ", ".join(map(str, SPANS))
            raise NotThere(f"days={said!r} is nothing that a page looks back; choose one of {spans}")
        days = int(said)
    at = None
    if said := query.get("at"):
        try:
            # A plus sign arrives as a space where nobody wrote it as %2B.
            at = datetime.fromisoformat(said.replace(" ", "+") if said.count(" ") and "T" in said else said)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            raise NotThere(f"at={said!r} is no point in time; write it as 2026-05-01T12:00Z") from None
        if not EPOCH <= at < _END:
            raise NotThere(f"at={said!r} is no time that frames can be of; choose one from 1970 to 9998")
    named = (query.get("model", ""), query.get("version", ""), query.get("stage"), query.get("camera", ""))
    return Asked(*named, at, days)


def read_why(query: Mapping[str, str]) -> tuple[tuple[str, str], StreamAsked]:
    """The model with its version, and the stream, that the query string asks for.

    Raises:
        NotThere: there is no such lane, or `day` is no date.
    """
    lane, day = query.get("lane", ""), query.get("day")
    if lane not in ALL_LANES:
        raise NotThere(f"there is no lane {lane!r}; there are {', '.join(ALL_LANES)}")
    try:
        at = date.fromisoformat(day) if day else None
    except ValueError:
        raise NotThere(f"day={day!r} is no date; write it as 2026-05-01") from None
    if at is not None and not EPOCH.date() <= at < _END.date():
        raise NotThere(f"day={day!r} is no day that frames can be of; choose one from 1970 to 9998")
    of_stream = StreamAsked(query.get("stage"), query.get("camera", ""), lane, query.get("class", ""), at)
    return (query.get("model", ""), query.get("version", "")), of_stream


@cache
def templates() -> Environment:
    """The pages' templates, compiled once a process."""
    found = Environment(
        loader=PackageLoader("monitor.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= wording.FILTERS
    found.globals |= {
        "link": wording.link,
        "menu": MENU,
        "spans": SPANS,
        "firing_states": FIRING,
        "trends": TRENDS,
        "most_rows": MOST_ROWS,
        "most_alerts": MOST_ALERTS,
        "box": (pictures.WIDTH, pictures.HEIGHT),
        "line_box": (pictures.LINE_WIDTH, pictures.LINE_HEIGHT),
        "chart_box": (pictures.CHART_WIDTH, pictures.CHART_HEIGHT),
    }
    for name in found.list_templates():
        found.get_template(name)  # read once, before the first reader comes
    return found
