"""What people said of detections, as the watch over cameras reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from monitor.records import Ints
from monitor.store.database import Connection


@dataclass(frozen=True, slots=True)
class Reviews:
    """Detections by camera, day and band of confidence (`stats.strata`), each [cameras, days, bands]."""

    reviewed: Ints
    overridden: Ints


def by_band(
    conn: Connection, model: str, version: str, stage: str, cameras: Sequence[str], days: Sequence[date]
) -> Reviews | None:
    """The reviews of these cameras on these days; None where a model has none, as all have while this schema does not
    keep reviews."""
    return None
