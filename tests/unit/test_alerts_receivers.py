"""Which addresses may be spoken to, which path pages, what a silence fits, and when a receiver is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts.channels import configured, paging_path, told
from monitor.alerts.matchers import fits, of_alert, parse
from monitor.alerts.retry import LONGEST_REST, after_failure, after_success
from monitor.alerts.wire import Guard, is_public, wait_of
from monitor.alerts.words import one_line
from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.store.receivers import Receiver

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
HOOK, PUSH = "https://receiver.example/hook", "http://alertmanager:9093"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("ff0e::1", False),
        ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:93.184.215.14", True),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d70e", True),
        ("64:ff9b:1::5db8:d70e", False),
        ("2002:7f00:1::1", False),
        ("2002:a00:1::", False),
        ("2002:5db8:d70e::1", True),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("not an address", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_spoken_to(address: str, public: bool) -> None:
    assert Guard().permits("host.example", address) is public


@settings(derandomize=True, max_examples=200)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_whatever_it_is_wrapped(inner: Any) -> None:
    number = int(inner)
    wrapped = (f"::ffff:{inner}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}",
               f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1")  # fmt: skip
    assert {Guard().permits("h", address) for address in wrapped} == {is_public(inner)}


def test_private_receivers_are_those_that_were_named() -> None:
    guard = Guard.of("10.0.0.0/8, 127.0.0.1 Alertmanager")
    assert guard.permits("a.example", "10.9.8.7")
    assert guard.permits("a.example", "127.0.0.1")
    assert guard.permits("alertmanager", "192.168.7.7"), "a name is trusted wherever it points"
    assert not guard.permits("a.example", "127.0.0.2")
    assert not guard.permits("alertmanager.example", "192.168.7.7")
    with pytest.raises(UsageError, match="MONITOR_PRIVATE_RECEIVERS"):
        Guard.of("10.0.0.1/8")


@pytest.mark.parametrize(
    ("given", "pages", "written_for"),
    [
        ({}, "log", ["log"]),
        ({"webhook_url": HOOK}, "webhook", ["log", "webhook"]),
        ({"alertmanager_url": PUSH}, "alertmanager", ["log", "alertmanager"]),
        (
            {"alertmanager_url": PUSH, "webhook_url": HOOK, "fallback": "webhook"},
            "alertmanager",
            ["log", "alertmanager"],
        ),
        ({"paging": "prometheus"}, "prometheus", ["log"]),
        ({"paging": "webhook", "webhook_url": HOOK}, "webhook", ["log", "webhook"]),
    ],
)  # fmt: skip
def test_exactly_one_path_pages(given: dict[str, str], pages: str, written_for: list[str]) -> None:
    assert paging_path(Settings(**given)) == pages
    assert told(configured(Settings(**given))) == written_for


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alertmanager_url": PUSH, "webhook_url": HOOK}, "alertmanager and webhook are configured"),
        ({"alertmanager_url": PUSH, "paging": "prometheus"}, "MONITOR_PAGING is prometheus"),
        ({"webhook_url": HOOK, "paging": "alertmanager"}, "MONITOR_PAGING is alertmanager"),
        ({"paging": "pigeon"}, "MONITOR_PAGING is pigeon"),
        ({"webhook_url": HOOK, "fallback": "notify"}, "MONITOR_FALLBACK is notify"),
        ({"webhook_url": HOOK, "fallback": "webhook"}, "no other path"),
    ],
)
def test_settings_by_which_two_paths_would_page_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        configured(Settings(**given))


FACTS = {"model": "presses", "camera": "cam-3", "rule": "latency", "slice": "lighting=low", "alert": "a/b/[1]"}


@pytest.mark.parametrize(
    ("matchers", "fit"),
    [
        (["camera=cam-3"], True),
        (["camera=cam-*"], True),
        (["camera=cam-?"], True),
        (["camera=cam"], False),
        (["camera!=cam-3"], False),
        (["camera!=cam-4"], True),
        (["camera=cam-3", "rule=latency"], True),
        (["camera=cam-3", "rule=other"], False),
        (["slice=lighting=low"], True),
        (["class_name="], True),
        (["class_name=dent"], False),
        (["alert=a/b/[1]"], True),
        (["alert=a/b/1"], False),
    ],
)
def test_all_matchers_of_a_silence_must_fit(matchers: list[str], fit: bool) -> None:
    assert parse(["model=presses", *matchers]) == ("model=presses", *matchers)
    assert fits(["model=presses", *matchers], FACTS) is fit


@pytest.mark.parametrize(
    "matchers",
    [
        ["rule!=latency"],
        ["camera!=cam-1", "camera!=cam-2"],
        ["model=*", "rule!=latency"],
        ["camera=?*"],
        ["alert=*/*"],
        ["class_name="],
    ],
)
def test_a_silence_that_names_nothing_is_refused(matchers: list[str]) -> None:
    with pytest.raises(UsageError, match=r"names nothing that is to go quiet"):
        parse(matchers)


@pytest.mark.parametrize("matcher", ["", "camera", "colour=red", "camera=~x", "camera=a\nb", "=x"])
def test_what_is_no_matcher_is_refused(matcher: str) -> None:
    with pytest.raises(UsageError, match=r"matcher"):
        parse([matcher])


@settings(derandomize=True, max_examples=200)
@given(st.text(min_size=1, max_size=40))
def test_the_matcher_of_one_alert_fits_it(key: str) -> None:
    assert fits([of_alert(key)], {"alert": key})


def test_words_of_people_stay_on_one_line() -> None:
    assert one_line(" lens\n swapped\t today ") == "lens swapped today"
    for bad in ("", " \n ", "a\x1b[31mb", "a\x00b", "x" * 501, "a\u202eb"):
        with pytest.raises(UsageError):
            one_line(bad)


def test_a_receiver_is_left_alone_after_three_failures_and_longer_each_time() -> None:
    one = Receiver("webhook")
    rests = []
    for _ in range(12):
        one = after_failure(one, "answered 500", None, NOW)
        rests.append((one.closed_until - NOW).total_seconds() if one.closed_until else 0.0)
    assert rests[:2] == [0, 0]
    whole = [30, 60, 120, 240, 480, *[LONGEST_REST.total_seconds()] * 5]
    assert all(0.8 * longest <= rest <= longest for rest, longest in zip(rests[2:], whole, strict=True))
    assert one.is_closed(NOW + timedelta(minutes=7))
    well = after_success(one, NOW)
    assert (well.failures, well.closed_until, well.last_error) == (0, None, "")


def test_a_receiver_that_names_a_time_is_left_alone_until_then() -> None:
    one = after_failure(Receiver("webhook"), "answered 429", timedelta(minutes=10), NOW)
    assert one.closed_until == NOW + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("0", 0), ("99999", 3600), ("", None), ("soon", None), ("-5", None), ("9" * 12, None)],
)
def test_how_long_a_receiver_asks_to_wait(said: str, seconds: int | None) -> None:
    assert wait_of(said, NOW) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_date_to_wait_for_is_read_too() -> None:
    assert wait_of(format_datetime(NOW + timedelta(minutes=3), usegmt=True), NOW) == timedelta(minutes=3)
    assert wait_of(format_datetime(NOW - timedelta(minutes=3), usegmt=True), NOW) == timedelta(0)
