"""What alerts say, how a webhook is signed and what never stands in a log."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.alerts.channels import LogChannel, configured
from monitor.alerts.evaluate import decide
from monitor.alerts.evidence import Case, evidence, moved_together, movement, sentence
from monitor.alerts.labels import labels_of
from monitor.alerts.retry import backoff
from monitor.alerts.webhook import WebhookChannel, message, sign
from monitor.alerts.wire import DeliveryFailed, Guard, Wire
from monitor.alerts.wording import figure, subject
from monitor.errors import UsageError
from monitor.records import Alert, AlertEvent, Baseline, Measurement, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.spec.rules import AlertRule
from monitor.store.outbox import Delivery, Parcel, delivery_key

START = datetime(2026, 9, 14, tzinfo=UTC)
DAY = timedelta(days=1)
SCOPE = Scope("packaging-line", "v1", camera="cam-2")
CANARY = "canary-7f3a"


def rule(signal: str = "brightness", **given: Any) -> AlertRule:
    said = {
        "name": f"{signal}-drift",
        "signal": signal,
        "measure": "psi",
        "above": 0.2,
        "runbook": "runbooks/light.md",
    }
    return AlertRule.model_validate(said | given)


def measured(day: int, value: float, signal: str = "brightness", **given: Any) -> Measurement:
    facts: dict[str, Any] = {"n": 60, "baseline_n": 1680, "baseline_id": 3, "contract_hash": "c0ffee", "noise": 0.18}
    facts |= {"now_mean": 118.4, "baseline_mean": 131.2} | given
    window = Window(START + day * DAY, START + (day + 1) * DAY)
    return Measurement(SeriesKey(SCOPE, signal), "psi", window, value, "ok", **facts)


def fired() -> tuple[Alert, Measurement]:
    first = decide(rule(), None, measured(0, 0.5)).alert
    second = measured(1, 0.61)
    return decide(rule(), first, second).alert, second


def case(**given: Any) -> Case:
    alert, found = fired()
    baseline = Baseline(3, "packaging-line", "v1", "logs", START - 35 * DAY, START - 7 * DAY, 5040, "ab", "c0", START)
    known: dict[str, Any] = {
        "owner": "line 2",
        "rule": rule(),
        "contract_hash": "c0ffee",
        "alert": alert,
        "measurement": found,
        "recent": [measured(0, 0.5), found],
        "together": [(rule("sharpness"), measured(1, 0.7, "sharpness", now_mean=5.0, baseline_mean=6.0))],
        "baseline": baseline,
    }
    return Case(**(known | given))


def test_the_sentence_names_everything() -> None:
    assert sentence(case()) == (
        "Brightness of cam-2 (packaging-line v1) fell from 131.2 to 118.4 (-9.8 %): PSI 0.61 is above 0.38"
        " (0.2 + 0.18 for chance at 60 frames); n 60 against 1,680 in the baseline; since 2026-09-14 00:00 UTC."
    )


def test_a_resolved_alert_says_how_long_it_was_off() -> None:
    alert, _ = fired()
    for day in (2, 3):
        alert = decide(rule(), alert, measured(day, 0.05)).alert
    assert sentence(case(alert=alert, measurement=measured(3, 0.05))) == (
        "Brightness of cam-2 (packaging-line v1) is back in its band: PSI 0.05 is below 0.28"
        " (0.1 + 0.18 for chance at 60 frames); n 60 against 1,680 in the baseline;"
        " it had been off since 2026-09-14 00:00 UTC."
    )


@pytest.mark.parametrize(
    ("signal", "before", "now", "said"),
    [
        ("confidence", 0.78, 0.66, "fell from 0.78 to 0.66 (-15.4 %)"),
        ("sharpness", 6.0, 5.0, "fell from 6.00 to 5.00 (-1)"),
        ("red_balance", 0.0, 0.12, "rose from 0 to 0.12 (+0.12)"),
        ("detections", 0.0, 2.0, "rose from 0 to 2.00 (+2)"),
        ("latency_ms", 1200.0, 2400.0, "rose from 1,200 to 2,400 (+100.0 %)"),
        ("brightness", 131.2, 131.3, "changed its shape (the mean stayed at 131.3)"),
        ("class_share", None, None, "moved away from the baseline"),
    ],
)
def test_what_the_mean_did(signal: str, before: float | None, now: float | None, said: str) -> None:
    assert movement(measured(0, 1.0, signal, baseline_mean=before, now_mean=now)) == said


def test_a_subject_names_class_slice_and_stage() -> None:
    scope = Scope("m", "v2", "screening", "", "lighting", "evening")
    assert subject(SeriesKey(scope, "confidence", "carton")) == (
        "Confidence of class carton on all cameras under lighting = evening at screening (m v2)"
    )
    assert subject(SeriesKey(SCOPE, "latency_ms")) == "Latency of cam-2 (packaging-line v1)"


def test_figures_have_the_digits_that_people_compare() -> None:
    assert [figure(x) for x in (12345.6, -45.67, 3.14159, 0.00123, 0.0)] == ["12,346", "-45.7", "3.14", "0.0012", "0"]


def test_evidence_is_plain_and_whole() -> None:
    said = json.loads(json.dumps(evidence(case()), allow_nan=False))
    assert said["threshold"] == {
        "value": pytest.approx(0.38),
        "above": 0.2,
        "below": None,
        "clear_below": 0.1,
        "clear_above": None,
        "relative_to": "",
        "by_at_least": 0.0,
        "noise": 0.18,
        "min_n": 50,
        "for_windows": 2,
        "clear_windows": 2,
        "contract_hash": "c0ffee",
        "rule": "brightness-drift",
        "origin": "rule brightness-drift, contract c0ffee",
    }
    assert (said["baseline"]["id"], said["baseline"]["mean"], said["baseline"]["n"]) == (3, 131.2, 1680)
    assert (said["current"]["mean"], said["current"]["n"]) == (118.4, 60)
    assert [w["value"] for w in said["windows"]] == [0.5, 0.61]
    assert said["since"] == "2026-09-14T00:00:00+00:00"
    assert said["scope"]["camera"] == "cam-2"
    assert said["unit"] == "grey level 0-255"
    assert said["owner"] == "line 2"
    assert said["runbook"] == "runbooks/light.md"
    assert said["moved_together"][0]["movement"] == "fell from 6.00 to 5.00 (-1)"


def test_a_number_that_is_none_stays_out_of_the_evidence() -> None:
    strange = replace(measured(1, 0.61), now_mean=float("nan"), baseline_mean=float("inf"))
    said = evidence(case(measurement=strange))
    assert said["current"]["mean"] is None
    json.dumps(said, allow_nan=False)


def test_what_moved_together_breaches_a_rule_of_its_own_in_the_same_place() -> None:
    alert, found = fired()
    elsewhere = SeriesKey(replace(SCOPE, camera="cam-1"), "contrast")
    others = [
        found,
        measured(1, 0.9, "sharpness"),
        measured(1, 2.0, "contrast"),
        replace(measured(1, 2.0, "contrast"), key=elsewhere),
        measured(1, 0.3, "blue_balance"),
    ]
    rules = [rule(name) for name in ("brightness", "sharpness", "contrast", "blue_balance")]
    assert [r.signal for r, _ in moved_together(rules, alert, others)] == ["contrast", "sharpness"]


def delivery(attempts: int = 1) -> Delivery:
    alert, found = fired()
    event = AlertEvent(
        alert.key, 1, "pending", "firing", found.window, START + 2 * DAY, 0.61, 0.38, 60, evidence(case()), 7
    )
    return Delivery(delivery_key(alert.key, 1, "firing", "webhook"), "webhook", attempts, event, event, START)


def parcel(*deliveries: Delivery) -> Parcel:
    return Parcel(deliveries[0].key, "webhook", deliveries)


def test_the_signature_is_the_one_of_the_specification() -> None:
    """The worked example that the libraries of Standard Webhooks test themselves with."""
    channel = WebhookChannel("https://receiver.example/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert channel._secret is not None
    signature = sign(channel._secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_carries_its_key_and_the_evidence() -> None:
    said = json.loads(json.dumps(message(parcel(delivery()))))
    assert (said["version"], said["status"], said["receiver"]) == ("4", "firing", "webhook")
    assert said["deliveryKey"] == said["alerts"][0]["deliveryKey"] == delivery().key
    [alert] = said["alerts"]
    assert (alert["status"], alert["startsAt"]) == ("firing", "2026-09-16T00:00:00+00:00")
    assert alert["endsAt"].startswith("0001-01-01"), "no end yet, as Alertmanager writes it"
    assert alert["annotations"]["summary"].startswith("Brightness of cam-2")
    assert json.loads(alert["annotations"]["baseline"])["n"] == 1680
    assert alert["labels"] == said["commonLabels"]
    assert said["groupLabels"] == {"alertname": "BrightnessDrift", "model": "packaging-line"}


def test_labels_say_which_alert_it_is_and_never_what_was_measured() -> None:
    told = delivery().event
    found = labels_of(told)
    assert found == {
        "alertname": "BrightnessDrift",
        "rule": "brightness-drift",
        "severity": "warning",
        "pillar": "input",
        "model": "packaging-line",
        "camera": "cam-2",
        "version": "v1",
    }
    later = replace(told, value=9.9, n=7, threshold=0.1, decided_at=START + 9 * DAY)
    assert labels_of(later) == found


def test_of_many_alerts_the_message_names_what_they_share() -> None:
    one = delivery()
    elsewhere = {**one.event.evidence, "scope": {**one.event.evidence["scope"], "camera": "cam-3"}}
    event = replace(one.event, alert_key="other", evidence=elsewhere)
    said = message(parcel(one, replace(one, key="k2", event=event, opening=event)))
    assert [alert["labels"]["camera"] for alert in said["alerts"]] == ["cam-2", "cam-3"]
    assert said["commonLabels"] == {name: value for name, value in labels_of(one.event).items() if name != "camera"}
    assert len({alert["fingerprint"] for alert in said["alerts"]}) == 2


def test_keys_of_deliveries_differ_by_what_they_stand_for() -> None:
    keys = [
        ("a", 1, "firing", "log"),
        ("a", 1, "firing", "webhook"),
        ("a", 1, "resolved", "log"),
        ("a", 2, "firing", "log"),
    ]
    assert len({delivery_key(*key) for key in keys}) == len(keys)
    assert delivery_key(*keys[0]) == delivery_key(*keys[0])


def test_a_name_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    forged = delivery()
    forged.event.evidence["sentence"] = "all is well\nERROR everything is on fire"
    with caplog.at_level(logging.INFO, "monitor.alerts"):
        LogChannel().send(parcel(forged), START)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "\n" not in record.getMessage()
    assert json.loads(record.getMessage().removeprefix("alert firing "))["n"] == 60


def test_neither_address_nor_key_stands_in_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    # Port 1 of this machine: nothing listens there.
    channel = WebhookChannel(f"http://127.0.0.1:1/hook/{CANARY}", f"secret-{CANARY}", Wire(Guard.of("127.0.0.1")))
    with caplog.at_level(logging.DEBUG), pytest.raises(DeliveryFailed) as failure:
        channel.send(parcel(delivery()), START)
    assert failure.value.away
    assert CANARY not in str(failure.value)
    assert failure.value.__suppress_context__
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://host/{CANARY}",
        f"//{CANARY}",
        f"{CANARY}",
        "http:///path",
        f"https://{CANARY}\N{ACCOUNT OF}.com/x",
        f"http://[{CANARY}",
        f"http://host:{CANARY}/",
    ],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError, match="MONITOR_WEBHOOK_URL") as refused:
        WebhookChannel(url)
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None, "nothing of it is printed with the sentence"


def test_a_broken_key_is_refused_without_repeating_it() -> None:
    with pytest.raises(UsageError, match="MONITOR_WEBHOOK_SECRET") as refused:
        WebhookChannel("https://receiver.example/", f"whsec_{CANARY}!")
    assert CANARY not in str(refused.value)


def test_the_log_is_always_a_channel() -> None:
    assert [c.name for c in configured(Settings())] == ["log"]
    assert [c.name for c in configured(Settings(webhook_url="https://receiver.example/"))] == ["log", "webhook"]


def test_waits_grow_to_an_hour_and_differ_between_messages() -> None:
    whole = [backoff(attempt, "0000").total_seconds() for attempt in range(1, 12)]
    assert whole == [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert backoff(1, "ffff").total_seconds() == pytest.approx(12)
    assert backoff(10_000, "0000") == timedelta(hours=1)
