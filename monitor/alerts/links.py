"""Where a finding can be looked at: the exact panel of its pillar's dashboard, or the built-in page."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from monitor.measures import MEASURES
from monitor.panels.grafana import panel_id
from monitor.records import Scope, Window

BOARDS = {
    "input": "monitor-drift",
    "inference": "monitor-health",
    "prediction": "monitor-predictions",
    "override": "monitor-overrides",
    "business": "monitor-business",
    "golden": "monitor-golden",
}
"""The dashboard of each pillar."""
_PANELS = {
    ("status", "error_rate"): "error-rate",
    ("status", "throughput"): "throughput",
    ("status", "silence"): "silent-cameras",
    ("status", "passed_on"): "stages",
    ("latency_ms", ""): "latency",
    ("queue_depth", ""): "queue-depth",
    ("class_share", ""): "class-shares",
    ("confidence", "low_share"): "low-confidence",
    ("confidence", ""): "confidence",
    ("detections", ""): "detections",
    ("box_area", ""): "box-area",
    ("box_aspect", ""): "box-area",
    ("override", "raw"): "override-rate",
    ("override", ""): "honest",
    ("business", "minutes_per_false_alarm"): "false-alarm-minutes",
    ("business", "throughput_gain"): "throughput-gain-now",
    ("business", "catches"): "caught-now",
    ("business", ""): "work-orders",
    ("golden", "map50"): "golden-map",
    ("golden", "map50_95"): "golden-map",
    ("golden", ""): "golden-classes",
    ("challenge", ""): "golden-classes",
}
"""The observable whose panel shows a measure of a signal; `""` for every other measure of it."""
_DIVERGENCES = frozenset(name for name, measure in MEASURES.items() if measure.needs_baseline)
_IMAGE, _PREDICTIONS = "drift-image", "drift-predictions"
"""The panels that show divergences, wherever their signal belongs."""
_INCIDENTS = "incidents"


@dataclass(frozen=True, slots=True)
class Links:
    """Where people look: the address of the built-in page, and of Grafana (empty: there is none)."""

    page: str = "http://127.0.0.1:8080"
    grafana: str = ""

    def panel(self, scope: Scope, window: Window, pillar: str, signal: str, measure: str) -> str:
        """The panel that shows one measure, at its window and scope."""
        if measure in _DIVERGENCES:
            return self._link(scope, window, BOARDS["input"], _IMAGE if pillar == "input" else _PREDICTIONS)
        name = _PANELS.get((signal, measure)) or _PANELS.get((signal, "")) or _IMAGE
        return self._link(scope, window, BOARDS[pillar], name)

    def incident(self, scope: Scope, window: Window) -> str:
        """The panel of incidents."""
        return self._link(scope, window, BOARDS["input"], _INCIDENTS)

    def _link(self, scope: Scope, window: Window, board: str, name: str) -> str:
        if not self.grafana:
            chosen = {"model": scope.model, "version": scope.version, "stage": scope.stage, "camera": scope.camera}
            chosen = {key: value for key, value in chosen.items() if value}
            return f"{self.page.rstrip('/')}/?{urlencode(chosen | {'at': f'{window.end:%Y-%m-%dT%H:%M}'})}"
        # A week before and one window after, so that what changed can be seen to change.
        first = window.start - 7 * (window.end - window.start)
        last = window.end + (window.end - window.start)
        asked = {"from": _ms(first), "to": _ms(last), "var-model": scope.model, "var-version": scope.version}
        asked |= {"var-stage": scope.stage} if scope.stage else {}
        asked |= {"var-camera": scope.camera} if scope.camera else {}
        return f"{self.grafana.rstrip('/')}/d/{board}/?{urlencode(asked | {'viewPanel': str(panel_id(name))})}"


HERE = Links()
"""The page of a daemon on this very machine."""


def _ms(at: object) -> str:
    return str(int(at.timestamp() * 1000))  # type: ignore[attr-defined]
