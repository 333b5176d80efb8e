"""The status page: a query → a status code and HTML. Everything shown is escaped by the templates."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitor.drift import past
from monitor.drift.explain import in_words
from monitor.drift.portrait import portrait
from monitor.drift.why import Asked as StreamAsked
from monitor.drift.why import explained
from monitor.errors import DependencyAway, TryAgain, UsageError
from monitor.records import EPOCH
from monitor.store import reporting
from monitor.watch import LANES
from monitor.web import pictures
from monitor.web.view import TRENDS, Asked, NotThere, Site, Status, status

_END = datetime(9999, 1, 1, tzinfo=UTC)
_TONES = {"critical": "bad", "warning": "watch", "info": "quiet"}


class Pages:
    """The pages of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._templates = _templates()

    def status(self, query: Mapping[str, str]) -> tuple[int, str]:
        """The status page for `query` (model, version, stage, camera, at), or the page that says why not."""
        try:
            asked = read_query(query)
            with self._site.begin() as conn:
                shown = status(conn, self._site, asked)
        except NotThere as error:
            return 404, self._message("Not here", str(error))
        except DependencyAway as error:
            return 503, self._message("The database is away", str(error))
        except TryAgain as error:
            return 503, self._message("Not just now", str(error))
        if not isinstance(shown, Status):
            return 200, self._templates.get_template("first_steps.html").render(around=shown)
        return 200, self._templates.get_template("status.html").render(page=shown, around=shown.around, trends=TRENDS)

    def why(self, query: Mapping[str, str]) -> tuple[int, str]:
        """Why a lane alarmed, or did not, for `query` (model, version, stage, camera, lane, class, day)."""
        try:
            of, asked = read_why(query)
            loaded = self._site.contracts().get(of[0])
            if loaded is None:
                raise NotThere(f"no contract of {of[0]!r} is in force")
            with self._site.begin() as conn:
                said = explained(conn, loaded, past.baseline_of(conn, *of), asked)
        except (NotThere, UsageError) as error:
            return 404, self._message("Not here", str(error))
        except DependencyAway as error:
            return 503, self._message("The database is away", str(error))
        except TryAgain as error:
            return 503, self._message("Not just now", str(error))
        drawn = {"of": " ".join(of), "said": said, "words": in_words(said), "picture": Markup(portrait(said))}  # noqa: S704 - the portrait escapes what it is given
        return 200, self._templates.get_template("why.html").render(drawn)

    def _message(self, title: str, sentence: str) -> str:
        return self._templates.get_template("message.html").render(title=title, sentence=sentence)


def read_query(query: Mapping[str, str]) -> Asked:
    """What the query string asks for.

    Raises:
        NotThere: `at` is no point in time.
    """
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
    return Asked(query.get("model", ""), query.get("version", ""), query.get("stage"), query.get("camera", ""), at)


def read_why(query: Mapping[str, str]) -> tuple[tuple[str, str], StreamAsked]:
    """The model with its version, and the stream, that the query string asks for.

    Raises:
        NotThere: there is no such lane, or `day` is no date.
    """
    lane, day = query.get("lane", ""), query.get("day")
    if lane not in LANES:
        raise NotThere(f"there is no lane {lane!r}; there are {', '.join(LANES)}")
    try:
        at = date.fromisoformat(day) if day else None
    except ValueError:
        raise NotThere(f"day={day!r} is no date; write it as 2026-05-01") from None
    of_stream = StreamAsked(query.get("stage"), query.get("camera", ""), lane, query.get("class", ""), at)
    return (query.get("model", ""), query.get("version", "")), of_stream


def _why(page: Status, camera: str, lane: str) -> str:
    """The page that explains a stream of the version shown."""
    parts = {
        "model": page.of.model,
        "version": page.of.version,
        "stage": page.of.stage,
        "camera": camera,
        "lane": lane,
    }
    return "/why?" + urlencode(parts)


def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("monitor.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "when": _when,
        "ago": _ago,
        "duration": _length,
        "number": _number,
        "thousands": lambda n: f"{n:,}",
        "title_of": _title_of,
        "quoted": shlex.quote,
        "tone": lambda severity: _TONES.get(severity, "quiet"),
    }
    found.globals |= {
        "link": _link,
        "why": _why,
        "box": (pictures.WIDTH, pictures.HEIGHT),
        "line_box": (pictures.LINE_WIDTH, pictures.LINE_HEIGHT),
    }
    return found


def _link(page: Status, camera: str | None = None, of: reporting.Produced | None = None) -> str:
    """The page for another camera, or another model, version and stage, at the same moment."""
    one = of or page.of
    parts = {"model": one.model, "version": one.version, "stage": one.stage}
    if of is None:
        parts["camera"] = page.camera if camera is None else camera
    if page.mode == "asked" and one == page.of:
        parts["at"] = page.at.isoformat().replace("+00:00", "Z")
    return "/?" + urlencode({name: value for name, value in parts.items() if value or name == "stage"})


def _when(at: datetime | None) -> str:
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"in {_length(at - now)}" if at > now else f"{_length(now - at)} ago"


def _length(duration: timedelta) -> str:
    """`5 s`, `3 min`, `7 h`, `12 days`: one unit, rounded down."""
    seconds = int(duration.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= (2 * size if unit == "days" else size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _number(value: float | None, digits: int = 3) -> str:
    """Three significant digits (four places where it is tiny), thousands set apart; a dash for what is not known."""
    if value is None:
        return "–"
    if abs(value) < 0.001:
        return f"{round(value, 4) + 0.0:.4f}" if value else "0"
    # What rounds up to one place more would be written with an exponent.
    return f"{value:,.0f}" if abs(value) >= 10**digits - 0.5 else f"{value:#.{digits}g}".rstrip(".")


def _title_of(signal: str) -> str:
    words = {"latency_ms": "Latency", "exposure_ms": "Exposure", "gain_db": "Gain"}
    return words.get(signal) or signal.replace("_", " ").capitalize()
