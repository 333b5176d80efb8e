"""What a day of the watch is gathered with: the day's transaction, whose it is, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from monitor.alerts.account import Whose
from monitor.alerts.links import Links
from monitor.records import Baseline, Measurement
from monitor.spec.load import LoadedContract
from monitor.store import measurements
from monitor.store.database import Connection
from monitor.store.incidents import Watch

DAY = timedelta(days=1)


def midnight(day: date) -> datetime:
    """The first moment of a day of UTC."""
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a day is gathered with."""

    conn: Connection
    loaded: LoadedContract
    channels: Sequence[str]
    now: datetime
    watch: Watch
    baseline: Baseline
    links: Links

    def whose(self, *, group: bool) -> Whose:
        contract = self.loaded.contract
        month = contract.drift.false_alarms_per_group_month if group else contract.drift.false_alarms_per_camera_month
        return Whose(self.watch.model, self.watch.version, self.watch.stage, contract.model.owner, month)

    def measured(self, first: date, last: date, **filters: Any) -> list[Measurement]:
        """What was measured from `first` to `last`, of this stage and against this baseline."""
        starts = [midnight(first + i * DAY) for i in range((last - first).days + 1)]
        found = measurements.read(self.conn, self.watch.model, version=self.watch.version, starts=starts, **filters)
        return [m for m in found if m.key.scope.stage == self.watch.stage and m.baseline_id == self.baseline.id]
