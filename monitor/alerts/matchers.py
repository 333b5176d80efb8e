"""Which alerts a silence is about: `camera=cam-3`, `rule!=latency*`; all of a silence's matchers must fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from monitor.errors import UsageError

NAMES = (
    *("alert", "alertname", "rule", "severity", "pillar", "model", "version", "stage", "camera", "slice"),
    *("class_name", "signal", "measure"),
)
"""What an alert can be picked by; `alert` is its key."""
MOST = 20
LONGEST = 500
_MATCHER = re.compile(r"([a-z_]+)(!?=)(.*)", re.DOTALL)


def parse(matchers: Sequence[str]) -> tuple[str, ...]:
    """The matchers of a silence, checked; in `value`, `*` and `?` stand for what they do in file names.

    Raises:
        UsageError: there is none, one is none, or none of them says what goes quiet.
    """
    if not 0 < len(matchers) <= MOST:
        raise UsageError(f"a silence has 1 to {MOST} matchers, such as camera=cam-3")
    for matcher in matchers:
        found = _MATCHER.fullmatch(matcher)
        # `=~` is what Alertmanager writes before a regular expression, which is not read here.
        known = found is not None and found[1] in NAMES and found[3].isprintable() and not found[3].startswith("~")
        if not known or len(matcher) > LONGEST:
            raise UsageError(
                f"{matcher[:80]!r} is no matcher; write name=value or name!=value, * and ? standing for what they do"
                f" in file names, with one of {', '.join(NAMES)}"
            )
    if not any(_names(matcher) for matcher in matchers):
        raise UsageError(
            f"{', '.join(matchers)[:80]} names nothing that is to go quiet, so nearly every alert would; add what is,"
            " such as camera=cam-3, or model=NAME for all of a model"
        )
    return tuple(matchers)


def fits(matchers: Iterable[str], facts: Mapping[str, str]) -> bool:
    """Whether all of `matchers` fit an alert; what it has not counts as empty."""
    for matcher in matchers:
        found = _MATCHER.fullmatch(matcher)
        if found is None:
            return False
        name, sign, wanted = found.groups()
        # Brackets are no pattern here: names hold them.
        if fnmatchcase(facts.get(name, ""), wanted.replace("[", "[[]")) != (sign == "="):
            return False
    return True


def of_alert(key: str) -> str:
    """The matcher that fits one alert alone, whatever its name holds."""
    return "alert=" + re.sub(r"[*?]", "?", key)


def _names(matcher: str) -> bool:
    """Whether it picks alerts by what they are: not by what they are not, nor by a pattern that any name fits."""
    found = _MATCHER.fullmatch(matcher)
    return found is not None and found[2] == "=" and found[3].strip("*?/") != ""
