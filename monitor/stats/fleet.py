"""One stream for many cameras: what half of them do together.

The median over cameras of a day's scores stays quiet while any minority moves, and moves with the first majority that
does. It is far steadier than one camera's score, so it is put on its own baseline's scale again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitor.stats.null import Floats, nanmedian, scores, usual

SMALLEST = 3
"""Cameras under which a group has no stream of its own."""


def stream(z: npt.ArrayLike, baseline: int) -> Floats:
    """The group's scores, [..., days]: the median over the cameras of z [..., cameras, days], re-standardised.

    A day on which fewer than three cameras, or fewer than half of them, have a score is unknown. Mean, sd and m are
    those of the medians of the first `baseline` days.
    """
    x = np.asarray(z, dtype=np.float64)
    known = np.isfinite(x).sum(axis=-2)
    enough = (known >= SMALLEST) & (2 * known >= x.shape[-2])
    median = np.where(enough, nanmedian(np.moveaxis(x, -2, -1)), np.nan)
    return scores(median, usual(median, baseline))
