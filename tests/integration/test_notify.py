"""Apprise as it really speaks, to a real HTTP receiver: taken, refused, guarded; and no address gets out."""

from __future__ import annotations

import logging
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from importlib.util import find_spec

import pytest
from receiving import SECRET, Receiver, receiving

from monitor.alerts.channels import configured, paging_path, told
from monitor.alerts.notify import NotifyChannel, words
from monitor.alerts.wire import DeliveryFailed
from monitor.errors import UsageError
from monitor.records import AlertEvent, Window
from monitor.settings import Settings
from monitor.store.outbox import Delivery, Parcel

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
pytestmark = pytest.mark.skipif(find_spec("apprise") is None, reason="Apprise is not installed (extra notify)")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as known:
        yield known


def parcel(count: int = 1, state: str = "firing") -> Parcel:
    found = []
    for number in range(count):
        why = {"sentence": f"Light of cam-{number} fell.", "runbook": "runbooks/light.md"}
        event = AlertEvent(f"m/light/{number}", 1, "", state, Window(NOW, NOW), NOW, 0.6, 0.5, 60, why)
        found.append(Delivery(f"{number:032x}", "notify", 1, event, event, NOW))
    return Parcel(found[0].key, "notify", tuple(found))


def address(receiver: Receiver, host: str = "127.0.0.1") -> str:
    return f"json://{host}:{receiver.port}/{SECRET}"


def test_a_message_arrives_in_words(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    channel = NotifyChannel(address(receiver), "127.0.0.1")
    with caplog.at_level(logging.DEBUG):
        assert channel.send(parcel(), NOW) == "taken"
    [(_, said)] = receiver.taken
    assert said["title"] == "[FIRING] Light of cam-0 fell."
    assert "Runbook: runbooks/light.md" in said["message"]
    assert said["type"] == "warning"
    assert SECRET not in channel.name + caplog.text
    assert channel.name.startswith("notify-json-")


class Postbox(socketserver.ThreadingTCPServer):
    """A mail server that takes everything, and keeps it as it came."""

    daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Taking)


class Taking(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Postbox)
        self.wfile.write(b"220 ready\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    with Postbox() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_name_is_text_in_a_mail_and_its_lines_are_lines(postbox: Postbox) -> None:
    told_of = parcel()
    told_of.deliveries[0].event.evidence["sentence"] = "Light of <img src=https://x.example/> fell."
    address = f"mailto://127.0.0.1:{postbox.server_address[1]}/?from=a@example.com&to=b@example.com&mode=insecure"
    assert NotifyChannel(address, "127.0.0.1").send(told_of, NOW) == "taken"
    [mail] = postbox.mails
    parts = [one for one in message_from_bytes(mail, policy=default).walk() if not one.is_multipart()]
    assert [one.get_content_type() for one in parts if "<img" in one.get_content()] == ["text/plain"]
    [plain] = [one for one in parts if one.get_content_type() == "text/plain"]
    assert plain.get_content().splitlines()[:2] == words(told_of)[1].splitlines()[:2]


def test_an_address_that_nobody_named_is_refused_at_the_socket(receiver: Receiver) -> None:
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(DeliveryFailed, match="name it in MONITOR_PRIVATE_RECEIVERS") as failure:
            NotifyChannel(address(receiver, host)).send(parcel(), NOW)
        assert SECRET not in str(failure.value)
    assert receiver.got == []
    NotifyChannel(address(receiver, "localhost"), "localhost").send(parcel(), NOW)
    assert len(receiver.taken) == 1


def test_a_receiver_that_refuses_or_redirects_has_not_taken_it(receiver: Receiver) -> None:
    channel = NotifyChannel(address(receiver), "127.0.0.1")
    receiver.answers = [(500, {}), (307, {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"})]
    for _ in range(2):
        with pytest.raises(DeliveryFailed, match="the json receiver did not take it"):
            channel.send(parcel(), NOW)
    assert len(receiver.got) == 2


def test_an_address_that_apprise_does_not_know_says_so() -> None:
    with pytest.raises(DeliveryFailed, match="is not known to Apprise") as failure:
        NotifyChannel(f"pigeon://{SECRET}").send(parcel(), NOW)
    assert SECRET not in str(failure.value)


def test_each_address_is_a_receiver_of_its_own_and_together_they_are_one_path() -> None:
    settings = Settings(notify_urls="slack://a/b/c\nmailto://u:p@example.com")
    names = told(configured(settings))
    assert paging_path(settings) == "notify"
    assert [name.rsplit("-", 1)[0] for name in names] == ["log", "notify-slack", "notify-mailto"]
    with pytest.raises(UsageError, match="webhook and notify are configured"):
        configured(Settings(notify_urls="slack://a/b/c", webhook_url="https://receiver.example/"))


def test_the_title_is_what_happened_and_the_text_says_where_to_look() -> None:
    told = parcel()
    why = told.deliveries[0].event.evidence
    why["sentence"] = "Override of all cameras (m v1): share 20.7 % is above 15.0 %; n 221; since noon. First: look."
    why["panel"] = "https://monitor.plant.example/?model=m"
    why["runbook"] = "dashboards/runbooks/override-rate.md"
    title, body = words(told)
    assert title == "[FIRING] Override of all cameras (m v1): share 20.7 % is above 15.0 %"
    assert body.splitlines() == [
        why["sentence"],
        "Panel: https://monitor.plant.example/?model=m",
        "Runbook: monitor dashboards runbook override-rate",
        'More: monitor alerts show "m/light/0"',
    ]
    why["runbook"] = "look."  # a sentence of the contract, which the text has as what to do first
    assert "Runbook" not in words(told)[1]
    why["sentence"] = (
        f"Optics of cam-1 (m v1) moved, most likely since 2026-03-20: brightness fell, {'much ' * 40}; n 9."
    )
    assert words(told)[0] == "[FIRING] Optics of cam-1 (m v1) moved, most likely since 2026-03-20"


def test_of_many_alerts_the_first_are_told_and_the_others_counted() -> None:
    title, body = words(parcel(500))
    assert title == "[FIRING] 500 alerts: Light of cam-0 fell."
    assert "and 480 more" in body
    assert len(body.splitlines()) == 23
    assert len(body) < 2000
    assert words(parcel(1, "resolved"))[0].startswith("[RESOLVED]")


def test_a_camera_that_is_called_by_two_lines_forges_none() -> None:
    told_of = parcel()
    told_of.deliveries[0].event.evidence["sentence"] = "Light of cam\r\nBcc: all@example.com\x1b[31m\u202e fell."
    title, body = words(told_of)
    assert title == "[FIRING] Light of cam Bcc: all@example.com [31m fell."
    assert body.splitlines()[0] == title.removeprefix("[FIRING] ")
