"""The web: the status page, `/metrics`, `/healthz`, `/readyz`, and frames over HTTP."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel

from monitor.errors import MonitorError
from monitor.store import findings, lease, migrate
from monitor.web.access import ROUTES, Door
from monitor.web.alerts import add_alerts
from monitor.web.api import add_intake
from monitor.web.metrics import CONTENT_TYPE, Metrics
from monitor.web.openapi import document
from monitor.web.pages import BOARDS, Pages
from monitor.web.problem import Refused
from monitor.web.view import Site

_PAGE: dict[str, Any] = {"description": "The page that says why not.", "content": {"text/html": {}}}


def _choices(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in names]


_PLACE = _choices("model", "version", "stage", "camera", "at", "days")
_INCIDENT = _choices("key", "camera", "lane")
_STREAM = _choices("model", "version", "stage", "camera", "lane", "class", "day")


class _Style(Response):
    media_type = "text/css"


class Alive(BaseModel):
    """The process answers."""

    alive: bool


class Ready(BaseModel):
    """Whether the daemon can do its work, and what keeps it from it.

    What the auditor found makes nobody not ready: records are taken in all the same.
    """

    ready: bool
    reasons: list[str]
    leads: bool
    leader: str
    findings: list[str]


def create_app(site: Site, metrics: Metrics, *, everywhere: bool = False) -> Door:
    """The application for one site, behind its door. `everywhere`: whether other machines reach it.

    Its pages ask nothing from elsewhere: no script, no font, no image.
    """
    app = routes(site, metrics)
    return Door(app, app.routes, site, everywhere, metrics.answered)


def routes(site: Site, metrics: Metrics) -> FastAPI:
    """The application without its door: what is served, to whomever."""
    app = FastAPI(title="monitor", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> Response:
        return refused.response()

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        return Refused(500, "something went wrong here; the daemon's log says what").response()

    _add_pages(app, site)
    _add_figures(app, site, metrics)
    add_alerts(app, site)
    add_intake(app, site)

    @app.get("/openapi.json")
    async def describe() -> Response:
        """This description."""
        return Response(description, media_type="application/json")

    description = document(app, ROUTES, version("monitor-vision"))
    return app


def _add_pages(app: FastAPI, site: Site) -> None:
    pages = Pages(site)
    style = files("monitor.web").joinpath("static/page.css").read_bytes()
    missing = _PAGE | {"description": "No such model, version, camera."}
    page: dict[int | str, dict[str, Any]] = {404: missing, 503: _PAGE}

    @app.get("/", response_class=HTMLResponse, responses=page, openapi_extra={"parameters": _PLACE})
    def overview(request: Request) -> HTMLResponse:
        """The overview: is the model healthy, which camera is worst, since when, what to do first."""
        return _html(pages.overview(request.query_params))

    @app.get("/alerts", response_class=HTMLResponse, responses=page, openapi_extra={"parameters": _PLACE})
    def alerts(request: Request) -> HTMLResponse:
        """Open incidents, and alerts that fire or are about to."""
        return _html(pages.alerts(request.query_params))

    def board(request: Request) -> HTMLResponse:
        return _html(pages.board(request.url.path, request.query_params))

    for path, one in BOARDS.items():
        app.get(
            path,
            response_class=HTMLResponse,
            responses=page,
            openapi_extra={"parameters": _PLACE},
            name=path.removeprefix("/"),
            description=f"{one.title}. {one.question}",
        )(board)

    @app.get("/self", response_class=HTMLResponse, responses=page, openapi_extra={"parameters": _PLACE})
    def itself(request: Request) -> HTMLResponse:
        """What came in, and how the daemon's jobs fare."""
        return _html(pages.itself(request.query_params))

    @app.get("/incident", response_class=HTMLResponse, responses=page, openapi_extra={"parameters": _INCIDENT})
    def incident(request: Request) -> HTMLResponse:
        """One incident, with the explanation of one of its streams."""
        return _html(pages.incident(request.query_params))

    @app.get("/why", response_class=HTMLResponse, responses=page, openapi_extra={"parameters": _STREAM})
    def why(request: Request) -> HTMLResponse:
        """Why a lane alarmed, or did not."""
        return _html(pages.why(request.query_params))

    # What asks no database runs in the loop itself and never waits behind pages that do.
    @app.get("/static/page.css", response_class=_Style)
    async def page_style() -> Response:
        """Its style."""
        return _Style(style)


def _html(answer: tuple[int, str]) -> HTMLResponse:
    code, text = answer
    return HTMLResponse(text, status_code=code)


def _add_figures(app: FastAPI, site: Site, metrics: Metrics) -> None:
    @app.get("/metrics", response_class=PlainTextResponse)
    async def scrape() -> Response:
        """The daemon's figures in Prometheus' text format."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    @app.get("/healthz")
    async def alive() -> Alive:
        """Whether the process answers."""
        return Alive(alive=True)

    @app.get("/readyz", responses={503: {"model": Ready, "description": "Not ready."}})
    def ready(response: Response) -> Ready:
        """Whether the daemon can do its work, who leads, and what the auditor found."""
        reasons = why_not_ready(site)
        response.status_code = 503 if reasons else 200
        leader, found = _standing(site)
        return Ready(ready=not reasons, reasons=reasons, leads=site.leads(), leader=leader, findings=found)


def _standing(site: Site) -> tuple[str, list[str]]:
    """Who leads (empty: nobody, or it cannot be said), and what the auditor found."""
    try:
        with site.begin() as conn:
            if migrate.check(conn).state is not migrate.State.CURRENT:
                return "", []
            leader, found = lease.standing(conn), findings.standing(conn)
    except MonitorError:
        return "", []
    return leader.holder if leader is not None and leader.in_force else "", [one.sentence for one in found]


def why_not_ready(site: Site) -> list[str]:
    """Sentences that say what keeps the daemon from doing its work; empty: nothing does."""
    reasons = []
    try:
        with site.begin() as conn:
            schema = migrate.check(conn)
        if schema.state is not migrate.State.CURRENT:
            reasons.append(str(schema))
        site.database.require_room(0)
    except MonitorError as error:
        reasons.append(str(error))
    if not site.contracts():
        reasons.append("no contract is in force; put one TOML file a model into the contracts folder")
    return reasons
