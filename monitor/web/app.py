"""The web: the status page, `/metrics`, `/healthz`, `/readyz`. All of it only reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from monitor.errors import MonitorError
from monitor.store import migrate
from monitor.web.metrics import CONTENT_TYPE, Metrics
from monitor.web.pages import Pages
from monitor.web.view import Site

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(site: Site, metrics: Metrics) -> FastAPI:
    """The application for one site. Its pages ask nothing from elsewhere: no script, no font, no image."""
    app = FastAPI(title="monitor", docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(site)
    style = files("monitor.web").joinpath("static/page.css").read_bytes()

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    def status_page(request: Request) -> HTMLResponse:
        code, text = pages.status(request.query_params)
        return HTMLResponse(text, status_code=code)

    @app.get("/why")
    def why_page(request: Request) -> HTMLResponse:
        code, text = pages.why(request.query_params)
        return HTMLResponse(text, status_code=code)

    # What asks no database runs in the loop itself and never waits behind pages that do.
    @app.get("/static/page.css")
    async def page_style() -> Response:
        return Response(style, media_type="text/css")

    @app.get("/metrics")
    async def scrape() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    @app.get("/healthz")
    async def alive() -> JSONResponse:
        return JSONResponse({"alive": True})

    @app.get("/readyz")
    def ready() -> JSONResponse:
        reasons = why_not_ready(site)
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    return app


def why_not_ready(site: Site) -> list[str]:
    """Sentences that say what keeps the daemon from doing its work; empty: nothing does."""
    reasons = []
    try:
        with site.begin() as conn:
            schema = migrate.check(conn)
        if schema.state is not migrate.State.CURRENT:
            reasons.append(str(schema))
    except MonitorError as error:
        reasons.append(str(error))
    if not site.contracts():
        reasons.append("no contract is in force; put one TOML file a model into the contracts folder")
    return reasons
