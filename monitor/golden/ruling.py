"""What a run comes to: every criterion of the contract, and the comparison with earlier runs on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from monitor.golden import compare, criteria, score
from monitor.golden.sets import GoldenSet
from monitor.spec.contract import AcceptanceCriterion
from monitor.stats.boxes import Floats
from monitor.stats.intervals import FAIL, INSUFFICIENT, PASS
from monitor.stats.matching import Found

ACTIVE, LAST = "active version", "last run"
"""What a run is compared with: the version in use decides, the same version's run before it only alarms."""
_SAID = {compare.HELD: PASS, compare.DROP: FAIL, INSUFFICIENT: INSUFFICIENT}


@dataclass(frozen=True, slots=True)
class Ruling:
    """Cells of the criteria, comparisons by name, the verdict on the whole, and every cell that failed, by name."""

    cells: tuple[criteria.Cell, ...]
    comparisons: dict[str, compare.Comparison]
    verdict: str
    failed: tuple[str, ...]


def rule(
    golden: GoldenSet,
    found: Found,
    demands: Sequence[AcceptanceCriterion],
    thresholds: Floats,
    before: Mapping[str, Found],
    margin: float,
    times: int = 1000,
    seed: int = 0,
) -> Ruling:
    """Judge by every criterion and against earlier detections; against the active version a drop over `margin` fails.

    Without criteria and without an active version there is nothing to pass: the verdict is "".
    """
    judge = criteria.Judge(golden, found, thresholds, times, seed)
    cells = tuple(judge.judge(criterion) for criterion in demands)
    table = score.table_of(golden, found)
    comparisons = {
        name: compare.compare(golden, score.table_of(golden, earlier), table, margin, times=times, seed=seed)
        for name, earlier in before.items()
    }
    active = comparisons.get(ACTIVE)
    said = [cell.verdict for cell in cells] + ([_SAID[active.verdict]] if active else [])
    failed = [cell.name for cell in cells if cell.verdict == FAIL] + (dropped(active) if active else [])
    return Ruling(cells, comparisons, worst(said), tuple(failed))


def worst(said: Sequence[str]) -> str:
    """Fail if any failed, else insufficient if any is, else pass; "" of none."""
    return next((word for word in (FAIL, INSUFFICIENT, PASS) if word in said), "")


def dropped(of: compare.Comparison) -> list[str]:
    """The measures that fell, as "ap50_95 of scratch fell by 0.041"."""
    return [
        f"{row.measure}{f' of {row.class_name}' if row.class_name else ''} fell by {-row.difference.value:.3f}"
        for row in of.rows
        if row.verdict == compare.DROP and row.difference is not None
    ]


def plain(of: Ruling) -> dict[str, Any]:
    """A ruling as plain values, as it is kept and printed."""
    return {
        "verdict": of.verdict,
        "failed": list(of.failed),
        "criteria": [plain_cell(cell) for cell in of.cells],
        "comparisons": {name: asdict(one) for name, one in of.comparisons.items()},
    }


def plain_cell(cell: criteria.Cell) -> dict[str, Any]:
    """A criterion's cell as plain values."""
    values = {key: value for key, value in asdict(cell).items() if key != "criterion"}
    bounds = {"at_least": cell.criterion.at_least, "at_most": cell.criterion.at_most}
    return {"name": cell.criterion.name, "cell": cell.name} | values | bounds
