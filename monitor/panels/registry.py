"""Everything worth looking at, board by board: the one list that all drawings of it are made from."""

from __future__ import annotations

from monitor.panels import business, drifting, goldens, health, itself, overrides, overview, predictions
from monitor.panels.observable import Board, Observable

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    health.BOARD,
    predictions.BOARD,
    overrides.BOARD,
    business.BOARD,
    drifting.BOARD,
    goldens.BOARD,
    itself.BOARD,
)
BY_UID: dict[str, Board] = {board.uid: board for board in BOARDS}
OBSERVABLES: dict[str, Observable] = {one.name: one for board in BOARDS for one in board.observables}
"""Every observable by its name, which no two share."""
