"""Reads what stands beside a finding: the last deployment, frames that show it, what moved most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor.alerts import shift
from monitor.alerts.shift import Shifted
from monitor.feedback import Deployment
from monitor.records import SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.store import business, exhibits
from monitor.store.database import Connection
from monitor.store.exhibits import Exhibit

LOOK_BACK = timedelta(days=180)
"""Older deployments are no news."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What was found beside a finding."""

    deployment: Deployment | None = None
    frames: tuple[Exhibit, ...] = ()
    moved_most: tuple[Shifted, ...] = ()

    def as_json(self, since: datetime | None) -> dict[str, Any]:
        """As evidence holds it; `since` is when the finding began."""
        deployed: dict[str, Any] | None = None
        if (last := self.deployment) is not None:
            deployed = {"version": last.version, "at": last.at.isoformat(), "text": last.text}
            deployed |= {} if since is None else {"hours_before": round((since - last.at) / timedelta(hours=1), 1)}
        return {
            "deployment": deployed,
            "frames": [
                {
                    "event_id": one.event_id,
                    "source": one.source,
                    "captured_at": one.captured_at.isoformat(),
                    "camera": one.camera,
                    "image_uri": one.image_uri,
                }
                for one in self.frames
            ],
            "moved_most": [{"part": one.part, "then": one.then, "now": one.now} for one in self.moved_most],
        }


def read(conn: Connection, series: SeriesKey, window: Window, baseline_id: int | None, *, up: bool) -> Beside:
    """Everything that stands beside a series that turned in a window."""
    return Beside(
        deployment(conn, series.scope.model, window.end),
        tuple(exhibits.frames(conn, series, window, up=up)),
        tuple(_moved_most(conn, series, window, baseline_id)),
    )


def deployment(conn: Connection, model: str, until: datetime) -> Deployment | None:
    """The last deployment of a model before a moment."""
    found = business.deployments(conn, model, until - LOOK_BACK, until)
    return found[-1] if found else None


def deployed_before(found: Deployment | None, since: datetime | None, near: timedelta) -> bool:
    """Whether a deployment stands right before (or, as clocks differ, just after) the moment that something began."""
    return found is not None and since is not None and -near / 2 <= since - found.at <= near


def _moved_most(conn: Connection, series: SeriesKey, window: Window, baseline_id: int | None) -> Sequence[Shifted]:
    if series.signal in ("class_share", "status"):
        counted = "confidence" if series.signal == "class_share" else "status"
        now, then = exhibits.class_counts(conn, series.scope, counted, window, baseline_id)
        return shift.of_classes(now, then)
    if series.signal not in SIGNALS or baseline_id is None:
        return []
    pair = exhibits.histograms(conn, series, window, baseline_id)
    return [] if pair is None else shift.of_groups(series.signal, pair.now, pair.then, pair.cuts)
