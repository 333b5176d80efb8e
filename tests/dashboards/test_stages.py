"""What panels say of a pipeline of two stages, against sums made by hand from the very records that were logged."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
import two_stages
from two_stages import CAMERAS, NOW, STAGES, Staged

from monitor.daemon.jobs import turns
from monitor.drift import past, why
from monitor.panels.expand import ALL, View, expand
from monitor.panels.grafana import EVERYTHING, VARIABLES
from monitor.panels.registry import BOARDS, BY_UID, OBSERVABLES
from monitor.signals import SIGNALS
from monitor.watch import LANES
from monitor.web.boards import draw
from monitor.web.metrics import Metrics
from monitor.web.pages import Pages
from monitor.web.stream import stream
from monitor.web.view import Asked, Place, Site, place
from monitor.web.wording import amount

SPANS = {"24h": timedelta(days=1), "14d": timedelta(days=14)}
CHOICES = {"all stages": [ALL], "both by name": list(STAGES), "survey": ["survey"], "check": ["check"]}
Row = dict[str, Any]
Ask = Callable[[str], list[Row]]
MOST_SERIES = 12


class Truth:
    """The records of each chosen stage: frames of hours that begin within the span, and what was said of them."""

    def __init__(self, staged: Staged, span: timedelta, stages: list[str]) -> None:
        first = (NOW - span).replace(minute=0, second=0) + timedelta(hours=1)
        self.stages = [name for name in STAGES if name in stages or stages == [ALL]]
        self.frames = _by_stage(staged.pipeline.frames, first, NOW)
        self.before = _by_stage(staged.pipeline.frames, two_stages.START, two_stages.FROZEN)
        stage_of = {one["event_id"]: stage for stage, own in self.frames.items() for one in own}
        self.reviews: dict[str, list[Row]] = {stage: [] for stage in STAGES}
        for one in staged.pipeline.reviews:
            if one["event_id"] in stage_of:
                self.reviews[stage_of[one["event_id"]]].append(one)

    def detections(self, stage: str) -> list[Row]:
        return _detections(self.frames[stage])

    def verdicts(self, stage: str) -> Counter[str]:
        return Counter(v["verdict"] for one in self.reviews[stage] for v in one["detections"])


def _by_stage(frames: list[Row], start: datetime, end: datetime) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {stage: [] for stage in STAGES}
    for one in frames:
        if start <= datetime.fromisoformat(one["captured_at"]) < end:
            found[one["stage"]].append(one)
    return found


def _detections(frames: list[Row]) -> list[Row]:
    return [d for one in frames for d in one.get("detections", [])]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _corrected(verdicts: Counter[str]) -> int:
    return verdicts.total() - verdicts["confirmed"]


def _quantile_edge(values: list[float], q: int) -> float:
    """The upper edge of the bucket that holds the quantile."""
    exact = sorted(values)[-(-q * len(values) // 100) - 1]
    edges = SIGNALS["latency_ms"].edges.values()
    return float(edges[edges > exact][0])


@pytest.fixture(scope="module")
def reader(staged: Staged) -> Iterator[psycopg.Connection]:
    with staged.reader() as connection:
        yield connection


def asking(reader: psycopg.Connection, span: timedelta, stages: list[str], text: str) -> list[Row]:
    chosen = {"version": [ALL], "stage": stages, "camera": [ALL], "class": [ALL], "slice": "all"}
    seen = View(NOW - span, NOW, {"model": "seals", **chosen}, points=30)
    cursor = reader.execute(expand(text, seen, EVERYTHING).encode())
    assert cursor.description is not None
    return [dict(zip([column.name for column in cursor.description], row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(params=[(span, choice) for span in SPANS for choice in CHOICES], ids=" ".join)
def both(request: pytest.FixtureRequest, staged: Staged, reader: psycopg.Connection) -> tuple[Ask, Truth]:
    """How to ask an observable, and what it should say."""
    span, choice = SPANS[request.param[0]], CHOICES[request.param[1]]
    ask = lambda name: asking(reader, span, choice, OBSERVABLES[name].queries[0].text)  # noqa: E731
    return ask, Truth(staged, span, choice)


def told(rows: list[Row], truth: Truth) -> dict[str, Row]:
    """The rows by stage, in the order of the pipeline."""
    assert [row["stage"] for row in rows] == truth.stages
    return {row["stage"]: row for row in rows}


def summed(rows: list[Row], column: str) -> dict[str, int]:
    """What the points of each stage's line add up to."""
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        found[row["stage"]] += int(row[column] or 0)
    return dict(found)


def test_the_variable_offers_the_stages_in_the_order_of_the_pipeline(reader: psycopg.Connection) -> None:
    offered = asking(reader, SPANS["24h"], [ALL], VARIABLES["stage"][2])
    assert [row["stage"] for row in offered] == list(STAGES)


def test_frames_and_errors(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    frames, rates = told(ask("throughput-now"), truth), told(ask("error-rate-now"), truth)
    failed = {stage: sum(one["status"] != "ok" for one in truth.frames[stage]) for stage in STAGES}
    for stage in truth.stages:
        own = truth.frames[stage]
        assert int(frames[stage]["frames"]) == int(rates[stage]["n"]) == len(own)
        assert float(rates[stage]["error rate"]) == pytest.approx(failed[stage] / len(own), abs=1e-12)
    assert summed(ask("throughput"), "frames") == {stage: len(truth.frames[stage]) for stage in truth.stages}
    assert summed(ask("throughput"), "failed") == summed(ask("error-rate"), "n") | {
        s: failed[s] for s in truth.stages
    }
    kinds = {f"timeout / {stage}": failed[stage] for stage in truth.stages if failed[stage]}
    assert {row["kind of error"]: int(row["frames"]) for row in ask("error-kinds")} == kinds
    by_camera = Counter(f"{one['camera']} / {stage}" for stage in truth.stages for one in truth.frames[stage])
    assert {row["camera"]: int(row["n"]) for row in ask("cameras")} == by_camera
    assert {row["camera"]: int(row["frames"]) for row in ask("silent-cameras")} == by_camera


def test_confidence_beside_the_baseline_of_the_same_stage(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    means, low = told(ask("confidence-now"), truth), told(ask("low-confidence-now"), truth)
    for stage in truth.stages:
        now, then = ([d["confidence"] for d in _detections(f[stage])] for f in (truth.frames, truth.before))
        assert int(means[stage]["n"]) == int(low[stage]["n"]) == len(now)
        assert means[stage]["mean confidence"] == pytest.approx(_mean(now), abs=1e-9)
        assert means[stage]["baseline"] == pytest.approx(_mean(then), abs=1e-9)
        assert float(low[stage]["low confidence"]) == pytest.approx(_mean([v < 0.5 for v in now]), abs=1e-12)
        assert float(low[stage]["baseline"]) == pytest.approx(_mean([v < 0.5 for v in then]), abs=1e-12)
        for name, column, value in (
            ("confidence", "mean confidence", sum),
            ("low-confidence", "low confidence", _low),
        ):
            points = [row for row in ask(name) if row["stage"] == stage]
            whole = sum(float(row[column]) * int(row["n"]) for row in points)
            assert whole == pytest.approx(value(now), rel=1e-9)
            assert [float(row["baseline"]) for row in points] == pytest.approx(
                [value(then) / len(then)] * len(points)
            )
    assert summed(ask("confidence"), "n") == {stage: int(means[stage]["n"]) for stage in truth.stages}
    cameras = {row["camera"]: row for row in ask("cameras-confidence")}
    assert set(cameras) == {f"{camera} / {stage}" for camera in CAMERAS for stage in truth.stages}
    for stage in truth.stages:
        own = [d["confidence"] for d in _detections([f for f in truth.frames[stage] if f["camera"] == "cam-2"])]
        assert cameras[f"cam-2 / {stage}"]["mean confidence"] == pytest.approx(_mean(own), abs=1e-9)


def _low(values: list[float]) -> int:
    return sum(value < 0.5 for value in values)


def test_classes_and_detections(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    found, each = told(ask("detections-count"), truth), told(ask("detections-now"), truth)
    shares, histogram = ask("class-shares"), ask("confidence-histogram")
    classes = {row["class"]: row for row in ask("classes")}
    for stage in truth.stages:
        own, then = truth.detections(stage), _detections(truth.before[stage])
        good = sum(one["status"] == "ok" for one in truth.frames[stage])
        assert int(found[stage]["detections"]) == len(own)
        assert each[stage]["detections a frame"] == pytest.approx(len(own) / good, abs=1e-9)
        counts, before = Counter(d["class"] for d in own), Counter(d["class"] for d in then)
        bars = {row["class"]: row for row in shares if row["class"].endswith(f" / {stage}")}
        assert set(bars) == {f"{name} / {stage}" for name in counts}
        for name, count in counts.items():
            bar, row = bars[f"{name} / {stage}"], classes[f"{name} / {stage}"]
            assert float(bar["share"]) == pytest.approx(count / len(own), abs=1e-12) == float(row["share"])
            assert float(bar["baseline"]) == pytest.approx(before[name] / len(then), abs=1e-12)
            sure = [d["confidence"] for d in own if d["class"] == name]
            assert row["mean confidence"] == pytest.approx(_mean(sure), abs=1e-9)
        bins = [row for row in histogram if row["confidence"].endswith(f" / {stage}")]
        assert sum(int(row["n"]) for row in bins) == len(own)
        assert sum(float(row["share"] or 0) for row in bins) == pytest.approx(1)
        assert sum(float(row["baseline"] or 0) for row in bins) == pytest.approx(1)


def test_latency(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    now = told(ask("latency-p95-now"), truth)
    drawn = [row for row in ask("cameras-latency") if row["p95"] is not None]
    for stage in truth.stages:
        values = [one["latency_ms"] for one in truth.frames[stage]]
        assert int(now[stage]["n"]) == len(values)
        if len(values) >= 300:
            assert now[stage]["p95"] == pytest.approx(_quantile_edge(values, 95), rel=1e-9)
        else:
            assert now[stage]["p95"] is None
        then = [one["latency_ms"] for one in truth.before[stage]]
        assert now[stage]["baseline"] == pytest.approx(_quantile_edge(then, 95), rel=1e-9)
        for camera in CAMERAS:
            own = [one["latency_ms"] for one in truth.frames[stage] if one["camera"] == camera]
            said = [row["p95"] for row in drawn if row["camera"] == f"{camera} / {stage}"]
            assert said == ([pytest.approx(_quantile_edge(own, 95), rel=1e-9)] if len(own) >= 300 else [])
    assert summed(ask("latency"), "n") == {stage: len(truth.frames[stage]) for stage in truth.stages}


def test_overrides(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    rates, frames = told(ask("override-rate-now"), truth), told(ask("reviewed-now"), truth)
    missed, drawn = told(ask("missed-now"), truth), ask("directions")
    cameras = {row["camera"]: int(row["n"]) for row in ask("override-cameras")}
    bands = Counter[str]()
    for row in ask("override-bands"):
        bands[row["confidence"].split(" / ")[1]] += int(row["n"])
    for stage in truth.stages:
        said = truth.verdicts(stage)
        assert int(rates[stage]["n"]) == bands[stage] == said.total()
        assert float(rates[stage]["override rate"]) == pytest.approx(_corrected(said) / said.total(), abs=1e-12)
        assert int(frames[stage]["frames"]) == len(truth.reviews[stage])
        unseen = sum(len(one["missed"]) for one in truth.reviews[stage])
        there = unseen + said.total() - said["false_positive"]
        assert float(missed[stage]["missed"]) == pytest.approx(unseen / there, abs=1e-12)
        assert summed(drawn, "false positive")[stage] == said["false_positive"]
        assert summed(drawn, "bad box")[stage] == said["bad_box"]
        assert sum(n for camera, n in cameras.items() if camera.endswith(f" / {stage}")) == said.total()
    assert summed(ask("override-rate"), "n") == {stage: truth.verdicts(stage).total() for stage in truth.stages}


def test_the_table_of_stages_tells_each_and_the_whole_whichever_is_chosen(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    *parts, whole = ask("stages")
    assert [row["stage"] for row in (*parts, whole)] == [*STAGES, "the whole pipeline"]
    images, checked = (len(truth.frames[stage]) for stage in STAGES)
    assert [row["frames"] for row in (*parts, whole)] == [images, checked, images]
    shares = [None if row["passed on"] is None else float(row["passed on"]) for row in (*parts, whole)]
    assert shares == [pytest.approx(checked / images), None, pytest.approx(checked / images)]
    took, failed, judged = 0.0, 0, Counter[str]()
    for stage, row in zip(STAGES, parts, strict=True):
        values = [one["latency_ms"] for one in truth.frames[stage]]
        broken, said = sum(one["status"] != "ok" for one in truth.frames[stage]), truth.verdicts(stage)
        assert row["mean latency"] == pytest.approx(_mean(values), rel=1e-6)
        assert row["p95"] == (pytest.approx(_quantile_edge(values, 95)) if len(values) >= 300 else None)
        assert float(row["error rate"]) == pytest.approx(broken / len(values))
        assert float(row["override rate"]) == pytest.approx(_corrected(said) / said.total())
        assert float(row["false alarms"]) == pytest.approx(said["false_positive"] / said.total())
        took, failed, judged = took + sum(values), failed + broken, judged + said
    assert whole["mean latency"] == pytest.approx(took / images, rel=1e-6)
    assert whole["p95"] is None
    assert float(whole["error rate"]) == pytest.approx(failed / images)
    assert float(whole["override rate"]) == pytest.approx(_corrected(judged) / judged.total())
    assert float(whole["false alarms"]) == pytest.approx(judged["false_positive"] / judged.total())


def test_what_findings_are_worth_is_held_against_images(staged: Staged, reader: psycopg.Connection) -> None:
    span = SPANS["14d"]
    truth = Truth(staged, span, [ALL])
    orders = sum(datetime.fromisoformat(one["at"]) >= NOW - span for one in staged.pipeline.events)
    (row,) = asking(reader, span, [ALL], OBSERVABLES["work-orders-now"].queries[0].text)
    assert float(row["per 1,000 frames"]) == pytest.approx(1000 * orders / len(truth.frames["survey"]))


def test_trends_are_told_by_stage(staged: Staged, reader: psycopg.Connection) -> None:
    rows = {
        row["what"]: row for row in asking(reader, timedelta(days=30), [ALL], OBSERVABLES["trends"].queries[0].text)
    }
    every = _by_stage(staged.pipeline.frames, two_stages.START, NOW)
    for stage in STAGES:
        assert int(rows[f"frames a day / {stage}"]["n"]) == len(every[stage])
        assert int(rows[f"mean confidence / {stage}"]["n"]) == len(_detections(every[stage]))


def test_no_panel_draws_more_lines_than_people_can_read(reader: psycopg.Connection) -> None:
    for one in (one for board in BOARDS for one in board.observables):
        if one.source != "postgres" or one.kind != "timeseries":
            continue
        rows = asking(reader, SPANS["14d"], [ALL], one.queries[0].text)
        named = {(row.get("stage"), row.get("metric")) for row in rows}
        columns = {name for row in rows for name, value in row.items() if value is not None}
        assert len(named) * len(columns - {"time", "stage", "metric"}) <= MOST_SERIES, one.name
        assert "" not in {row.get("stage") for row in rows}, one.name


def test_a_baseline_from_images_stands_for_every_stage(staged: Staged, reader: psycopg.Connection) -> None:
    """Within a transaction that is rolled back: images know no stages, so their rows have none."""
    with staged.database.engine.connect() as conn:
        conn.exec_driver_sql("UPDATE baseline SET source = 'images' WHERE model = 'seals'")
        conn.exec_driver_sql("DELETE FROM baseline_histogram WHERE stage = 'check'")
        conn.exec_driver_sql("UPDATE baseline_histogram SET stage = ''")
        for view, column in (("baseline_sum", "n"), ("baseline_bucket", "count")):
            asked = f"SELECT stage, sum({column}) FROM reporting.{view} WHERE model = 'seals' GROUP BY 1 ORDER BY 1"
            found = dict(conn.exec_driver_sql(asked).all())
            assert set(found) == {"", *STAGES}
            assert len(set(found.values())) == 1
        conn.rollback()


@pytest.fixture(scope="module")
def pages(staged: Staged) -> Pages:
    return Pages(site(staged))


def site(staged: Staged) -> Site:
    context = staged.context
    return Site(staged.database, lambda: context.shelf.contracts, turns(), lambda: NOW, "spool")


@pytest.mark.parametrize("stage", ["", *STAGES])
def test_the_page_is_of_one_stage_and_of_the_first_unless_asked(staged: Staged, stage: str) -> None:
    own = stage or "survey"
    truth, seen = Truth(staged, SPANS["24h"], [own]), {}
    with staged.database.begin() as conn:
        here = place(conn, site(staged), Asked(stage=stage or None))
        assert isinstance(here, Place)
        assert (here.of.stage, [one.stage for one in here.stages]) == (own, list(STAGES))
        for uid in ("monitor-health", "monitor-predictions", "monitor-overrides"):
            seen |= {panel.of.name: panel for panel in draw(conn, BY_UID[uid], replace(here, days=1)).panels}
    said = truth.verdicts(own)
    expected = {
        "throughput-now": f"{len(truth.frames[own])}",
        "confidence-now": amount(_mean([d["confidence"] for d in truth.detections(own)]), "percentunit"),
        "override-rate-now": amount(_corrected(said) / said.total(), "percentunit"),
    }
    assert {name: seen[name].stat.said for name in expected} == expected
    assert seen["confidence"].n == len(truth.detections(own))
    assert [curve.name for curve in seen["throughput"].chart.curves] == ["frames", "failed"]
    names = {row[0].said for row in seen["classes"].rows} | {name for name, _ in seen["class-shares"].bars}
    assert names == {d["class"] for d in truth.detections(own)}
    assert {row[0].camera for row in seen["silent-cameras"].rows} == set(CAMERAS)
    assert [row[0].said for row in seen["stages"].rows] == [*STAGES, "the whole pipeline"]


def test_links_of_the_page_keep_the_stage(pages: Pages) -> None:
    status, html = pages.board("/health", {"stage": "check"})
    assert status == 200
    leading = re.findall(r'<nav class="menu".*?</nav>|<nav aria-label="(?:Camera|Period)">.*?</nav>', html, re.S)
    for address in re.findall(r'href="(/[^"]*)"', "".join(leading)):
        assert "stage=check" in address, address
    nav = re.search(r'<nav aria-label="Stage">.*?</nav>', html, re.S)
    assert nav is not None
    assert re.findall(r'stage=(\w+)"( aria-current)?', nav[0]) == [("survey", ""), ("check", " aria-current")]
    assert 'aria-label="Model and version"' not in html, "there is but one version"


def test_metrics_tell_the_stages_apart(staged: Staged) -> None:
    metrics, contracts = Metrics(), staged.context.shelf.contracts
    metrics.refresh(staged.database, contracts, {}, NOW)
    (scores,) = [one for one in metrics.collect() if one.name == "monitor_drift_score"]
    of_errors = [one.labels for one in scores.samples if one.labels["rule"] == "error-rate"]
    assert {(one["camera"], one["stage"]) for one in of_errors} >= {(c, s) for c in CAMERAS for s in STAGES}
    (active,) = [one for one in metrics.collect() if one.name == "monitor_alert_active"]
    firing = {(one.labels["rule"], one.labels["stage"]) for one in active.samples}
    assert {("override-rate", "survey"), ("override-rate", "")} <= firing, "the survey, and the pipeline as a whole"


def test_what_is_explained_without_a_stage_is_of_the_first(staged: Staged) -> None:
    loaded = staged.context.shelf.contracts["seals"]
    with staged.database.begin() as conn:
        known = past.baseline_of(conn, "seals", "v1")
        read = past.read(conn, loaded, known, None, [LANES["confidence_mean"]])
        assert read.stage == "survey"
        said = [
            stream(conn, loaded, "v1", why.Asked(stage, "cam-1", "override", "", None)) for stage in (None, *STAGES)
        ]
    assert said[0] == said[1] != said[2]
