"""Which threshold to act at: chosen by what a miss and a false alarm cost, and tried where it was not chosen."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

import numpy as np
import scipy

from monitor.errors import UsageError
from monitor.golden.sets import GoldenSet
from monitor.stats import operating
from monitor.stats.boxes import Bools, Floats
from monitor.stats.matching import Table

USUAL = 0.5
"""The threshold of a class whose contract names none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A class's threshold: the one in use, the one that costs least where it was chosen, and what a second split
    says.

    `saved` is the cost at the one in use less that at the chosen one on the second split, `low` and `high` its
    one-sided bounds; `proposed` is the chosen one if it cost less there, else the one in use.
    """

    class_name: str
    in_use: float
    chosen: float
    cost_in_use: float
    cost_chosen: float
    saved: float
    low: float
    high: float
    proposed: float
    reason: str


def halves(images: int, share: float, seed: int) -> tuple[Bools, Bools]:
    """Images to choose on and images to verify on [images], a random `share` of them the former; same for a seed."""
    first = np.zeros(images, dtype=bool)
    first[np.random.default_rng(seed).permutation(images)[: round(images * share)]] = True
    return first, ~first


def choose(table: Table, miss: Floats, false_alarm: Floats, among: Bools | None = None) -> Floats:
    """The threshold of the grid that costs least for each class [classes]; costs are one for each class."""
    steps = operating.threshold_table(table, among=among)
    return np.asarray(operating.GRID[operating.cheapest(operating.cost(steps, miss, false_alarm))])


@dataclass(frozen=True, slots=True)
class Step:
    """What a class would come to at a threshold; a share of nothing is None."""

    class_name: str
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    wrong: int
    missed: int
    cost: float


def steps(golden: GoldenSet, table: Table, costs: tuple[Floats, Floats], among: Bools | None = None) -> list[Step]:
    """Every threshold of the grid for each class, on the images `among` [images] (None: all)."""
    counts = operating.threshold_table(table, among=among)
    cost = operating.cost(counts, *costs)

    def share(of: Floats, i: int, k: int) -> float | None:
        return None if math.isnan(of[i, k]) else float(of[i, k])

    return [
        Step(
            name,
            threshold,
            share(counts.precision, i, k),
            share(counts.recall, i, k),
            share(counts.f1, i, k),
            int(counts.wrong[i, k]),
            int(counts.missed[i, k]),
            float(cost[i, k]),
        )
        for k, name in enumerate(golden.class_names)
        for i, threshold in enumerate(operating.GRID.tolist())
    ]


def _by_image(table: Table, thresholds: Floats, miss: Floats, false_alarm: Floats, among: Bools | None) -> Floats:
    """What each class costs on each image [classes, images]."""
    each = operating.by_image(table, thresholds, among=among)
    costs = np.zeros((table.classes, table.images))
    wrong, missed = ~each.right, ~each.truth_found
    np.add.at(costs, (each.label[wrong], each.image[wrong]), false_alarm[each.label[wrong]])
    np.add.at(costs, (each.truth_label[missed], each.truth_image[missed]), miss[each.truth_label[missed]])
    return costs


def verify(
    golden: GoldenSet,
    table: Table,
    in_use: Floats,
    chosen: Floats,
    costs: tuple[Floats, Floats],
    among: Bools | None = None,
    confidence: float = 0.95,
) -> list[Choice]:
    """Try the chosen thresholds on a split that they were not chosen on.

    `costs` are those of a miss and of a false alarm, each [classes]; `among` [images] is the split (None: all of the
    table). Images are the unit of chance: bounds are the mean's over images, taken as normal.

    Raises:
        UsageError: the split has fewer than two images.
    """
    before, after = (_by_image(table, limits, *costs, among) for limits in (in_use, chosen))
    there = np.ones(table.images, dtype=bool) if among is None else among
    n = int(there.sum())
    if n < 2:
        raise UsageError(f"{n} images are too few to verify thresholds on; leave the split 2 at the least")
    found = []
    for k, name in enumerate(golden.class_names):
        gain = (before[k] - after[k])[there]
        saved = float(gain.sum())
        half = float(scipy.special.ndtri(confidence)) * math.sqrt(n) * float(gain.std(ddof=1))
        kept = float(chosen[k] if saved > 0 else in_use[k])
        found.append(
            Choice(
                name,
                float(in_use[k]),
                float(chosen[k]),
                float(before[k].sum()),
                float(after[k].sum()),
                saved,
                saved - half,
                saved + half,
                kept,
                _reason(float(in_use[k]), float(chosen[k]), saved, saved - half, n),
            )
        )
    return found


def _reason(in_use: float, chosen: float, saved: float, low: float, images: int) -> str:
    if chosen == in_use:
        return f"{in_use:.2f} is what costs least already"
    where = f"on {images} images that it was not chosen on"
    if saved <= 0:
        more = f"{-saved:g} more" if saved else "as much"
        return f"{in_use:.2f} stays: {chosen:.2f} looked cheaper but cost {more} {where}"
    sure = "" if low > 0 else ", which chance alone could do"
    return f"{chosen:.2f} in place of {in_use:.2f}: it cost {saved:g} less {where}{sure}"


def proposal(golden: GoldenSet, choices: list[Choice], costs: tuple[Floats, Floats]) -> str:
    """The classes of a contract, as TOML, with the proposed thresholds, the costs that they follow from, and why."""
    lines = [f"# Thresholds proposed from {golden.name}; each line of reason is what a second split of images said."]
    for choice, miss, false_alarm in zip(choices, *(cost.tolist() for cost in costs), strict=True):
        lines += [
            "",
            "[[classes]]",
            f"name = {json.dumps(choice.class_name, ensure_ascii=False)}",
            f"threshold = {choice.proposed:g}  # {choice.reason}",
            f"miss_cost = {float(miss)}",
            f"false_alarm_cost = {float(false_alarm)}",
        ]
    return "\n".join(lines) + "\n"


def rewritten(contract: str, choices: list[Choice]) -> str:
    """The text of a contract with the proposed thresholds, each with its reason as a comment; all else as it was.

    Classes are found as tables [[classes]] with one key a line. What is written otherwise stays as it is.
    """
    wanted = {choice.class_name: choice for choice in choices}
    lines: list[str] = []
    for table in re.split(r"^(?=\s*\[)", contract, flags=re.MULTILINE):
        name = re.search(r"""^\s*name\s*=\s*(?:"([^"\\]+)"|'([^']+)')""", table, flags=re.MULTILINE)
        choice = wanted.get(name[1] or name[2]) if name and re.match(r"\s*\[\[classes\]\]", table) else None
        lines.append(_with_threshold(table, choice) if choice else table)
    return "".join(lines)


def _with_threshold(table: str, choice: Choice) -> str:
    line = f"threshold = {choice.proposed:g}  # {choice.reason}"
    with_it, found = re.subn(r"^\s*threshold\s*=.*$", lambda _: line, table, count=1, flags=re.MULTILINE)
    if found or choice.proposed == USUAL:
        return with_it
    return re.sub(r"^(\s*name\s*=.*)$", lambda name: f"{name[1]}\n{line}", table, count=1, flags=re.MULTILINE)
