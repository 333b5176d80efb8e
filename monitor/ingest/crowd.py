"""Frames with more detections than are stored: the most confident ones are, and how many were not stands beside them.

Roll-ups count all of them, as they came. What rests on each detection cannot then be counted again from the frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monitor.records import FrameColumns

MOST_STORED = 2000
"""Detections that are stored of one frame."""


def thinned(columns: FrameColumns) -> FrameColumns:
    """The same frames, each with its MOST_STORED most confident detections, of equals the first, in their order."""
    counts = np.bincount(columns.det_frame, minlength=len(columns))
    if counts.max(initial=0) <= MOST_STORED:
        return columns
    frame = columns.det_frame
    ranked = np.lexsort((-columns.det_confidence, frame))  # keeps the order of equals
    rank = np.arange(len(frame)) - (np.cumsum(counts) - counts)[frame[ranked]]
    kept = np.sort(ranked[rank < MOST_STORED])
    return replace(
        columns,
        det_frame=frame[kept],
        det_class=[columns.det_class[i] for i in kept.tolist()],
        det_confidence=columns.det_confidence[kept],
        det_box=columns.det_box[kept],
        left_out=columns.left_out + np.maximum(counts - MOST_STORED, 0),
    )
