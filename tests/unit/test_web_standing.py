"""The four answers that the overview begins with: from nothing known to several things wrong at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from monitor.feedback import Deployment
from monitor.records import Scope
from monitor.store.reporting import AlertRow, CameraFrames
from monitor.web.standing import Known, answers
from monitor.web.stream import blocks
from monitor.web.told import Told

NOW = datetime(2026, 5, 10, tzinfo=UTC)
WELL = Known(
    at=NOW,
    is_live=True,
    incidents=(),
    alerts=(),
    cameras=[CameraFrames(f"cam-{i}", "", "", 60, 60, NOW) for i in (1, 2)],
    deployments=(),
    first_steps={},
    watch="watched up to 2026-05-09",
    has_baseline=True,
    late=(),
)


def alert(
    camera: str, severity: str = "warning", value: float = 0.5, state: str = "firing", day: int = 8
) -> AlertRow:
    return AlertRow(
        key=f"m/rule/v1/{camera}",
        scope=Scope("m", "v1", "", camera),
        rule="rule",
        signal="sharpness",
        class_name="",
        measure="psi",
        severity=severity,
        state=state,
        since=datetime(2026, 5, day, tzinfo=UTC),
        window_end=NOW,
        value=value,
        threshold=0.25,
        n=60,
        reason="",
        sentence="",
    )


def incident(cause: str, onset: int, camera: str = "", first: str = "Change the lamps.") -> Told:
    return Told(
        key=f"m/incident/v1/hall/{cause}",
        episode=1,
        cause=cause,
        where="hall",
        camera=camera,
        members="by itself",
        finding="",
        causes=({"text": "a lamp ages", "share": 0.8, "first": first, "signals": ["brightness"]},),
        onset=date(2026, 5, onset),
        opened_on=date(2026, 5, onset + 2),
        last_alarm_on=date(2026, 5, 9),
        closed_on=None,
        closed_because="",
        streams=(),
        events=(),
    )


def said(known: Known) -> list[str]:
    return [one.said for one in answers(known)]


def test_a_plant_that_is_well():
    assert said(WELL) == ["Yes", "None", "–", "Nothing"]


@pytest.mark.parametrize(
    ("known", "first", "last"),
    [
        (replace(WELL, has_baseline=False), "Nobody can say yet", "Freeze a baseline"),
        (replace(WELL, late=["drift"]), "Unknown", "See that frames come in"),
        (replace(WELL, alerts=[alert("cam-1", state="pending")]), "Yes, so far", "Nothing"),
        (replace(WELL, alerts=[alert("cam-1")]), "Not quite", "Look at that camera's newest frames beside those of"),
        (
            replace(WELL, alerts=[alert("cam-1", "critical")]),
            "No",
            "Look at that camera's newest frames beside those",
        ),
        (replace(WELL, alerts=[alert("cam-1")], first_steps={"rule": "Wipe it."}), "Not quite", "Wipe it."),
        (replace(WELL, incidents=[incident("optics", 4)]), "No", "Change the lamps."),
    ],
)
def test_health_and_what_to_do(known, first, last):
    found = said(known)
    assert found[0] == first
    assert found[3].startswith(last)


def test_causes_that_are_nearly_as_likely_are_named_beside_the_first():
    one = incident("optics", 4)
    lens = {"text": "a lens was swapped", "share": 0.3, "first": "Ask who was there.", "signals": ["sharpness"]}
    light = {"text": "the light changed", "share": 0.29, "first": "Ask the site.", "signals": ["brightness"]}
    other = {"text": "dirt", "share": 0.1, "first": "Clean it.", "signals": ["brightness"]}
    first = answers(replace(WELL, incidents=[replace(one, causes=(lens, light, other))]))[3]
    assert first.said == "Ask who was there."
    assert first.because.endswith(": a lens was swapped (30 %), or the light changed (29 %).")
    sure = answers(replace(WELL, incidents=[one]))[3]
    assert sure.because.endswith(": a lamp ages (80 %).")


def test_the_worst_camera_has_the_gravest_alerts_then_the_farthest():
    several = [alert("cam-1"), alert("cam-2"), alert("cam-2"), alert("")]
    assert said(replace(WELL, alerts=several))[1] == "cam-2"
    assert said(replace(WELL, alerts=[*several, alert("cam-1", "critical")]))[1] == "cam-1"
    assert said(replace(WELL, alerts=[alert("cam-1"), alert("cam-2", value=0.9)]))[1] == "cam-2"


def test_without_an_alert_the_camera_of_an_incident_then_a_silent_one():
    assert said(replace(WELL, incidents=[incident("optics", 4, "cam-2")]))[1] == "cam-2"
    quiet = [replace(WELL.cameras[0], last_at=NOW - timedelta(days=3)), WELL.cameras[1]]
    found = answers(replace(WELL, cameras=quiet))[1]
    assert (found.said, found.because) == ("cam-1", "Silent: its last frame came 3 days ago.")


def test_since_the_first_onset_with_the_deployment_before_it():
    both = [incident("model", 6, first="Ask."), incident("optics", 4)]
    deployed = [Deployment("m", f"v{i}", datetime(2026, 5, i, 12, tzinfo=UTC), "") for i in (1, 3, 8)]
    _, _, since, first = answers(replace(WELL, incidents=both, deployments=deployed))
    assert since.said == "2026-05-04 (6 days ago)"
    assert "The last deployment before it: v3, 2026-05-03 12:00; look at it first." in since.because
    assert first.said == "Change the lamps.", "what began first is likely the cause of the rest"
    assert since.incident == "m/incident/v1/hall/optics"


def test_old_data_are_called_old():
    assert said(replace(WELL, is_live=False)) == ["It was", "None", "–", "See that frames come in"]
    assert "Nothing has come in since 2026-05-10 00:00 UTC" in answers(replace(WELL, is_live=False))[0].because


def test_an_explanation_falls_into_sentences_and_columns():
    found = blocks("lane on cam: alarm\n  (what it is)\n\nOne day\nis wrapped.\n\n  day  effect\n  1    2")
    assert [(one.said, one.is_columns) for one in found] == [
        ("lane on cam: alarm", False),
        ("(what it is)", False),
        ("One day is wrapped.", False),
        ("day  effect\n1    2", True),
    ]
