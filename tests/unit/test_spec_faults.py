"""Bad contracts: every fault at once, each a sentence that says where, what was found and what is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import ContractInvalid, UsageError
from monitor.spec.load import LARGEST, load_contract, parse_contract

HEAD = '[model]\nname = "m"\n[[classes]]\nname = "a"\n'
OPEN = '[cameras]\npolicy = "open"\n'
SMALLEST = HEAD + OPEN
RULE = '[[alerts]]\nname = "dark"\nsignal = "brightness"\nmeasure = "psi"\nabove = 0.2\n'
CRITERION = '[[acceptance]]\nname = "p"\nmeasure = "recall"\nat_least = 0.9\n'


def faults_of(text: str) -> list[str]:
    with pytest.raises(ContractInvalid) as caught:
        parse_contract(text, "m.toml")
    assert caught.value.exit_code == 2
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f'classpolicy = "open"\n{SMALLEST}', 'classpolicy: unknown key; did you mean "class_policy"?'),
        (f"{SMALLEST}[drift]\nwindows = 1", 'drift.windows: unknown key; did you mean "window"?'),
        (f'{SMALLEST}{RULE}window = "6h"', "unknown key: a rule has no window of its own"),
        (f'{SMALLEST}[ready.error-rate]\nsettle = "2h"', "unknown key: a rule has no settle of its"),
        (f"{SMALLEST}[model2]\n", 'model2: unknown key; did you mean "model"?'),
        (f'{SMALLEST}[output]\nclass_policy = "open"', "output.class_policy: unknown key; it belongs at the top"),
        (f'{SMALLEST}"odd key" = 1', 'cameras."odd key": unknown key'),
        (f'{SMALLEST}[drift]\nmin_n = "30"', 'drift.min_n: found "30"; allowed: a whole number'),
        (f"{SMALLEST}[drift]\nmin_n = 30.0", "drift.min_n: found 30.0; allowed: a whole number"),
        (f"{SMALLEST}[drift]\nmin_n = true", "drift.min_n: found true; allowed: a whole number"),
        (f"{SMALLEST}[drift]\nmin_n = 0", "drift.min_n: found 0; allowed: at least 1"),
        (f"{SMALLEST}[drift]\nsettle = 60", "drift.settle: found 60; allowed: a duration in quotes"),
        (f"{SMALLEST}[drift]\nsettle = 2026-01-01", "drift.settle: found a date or time; allowed: a duration"),
        (f"{SMALLEST}[drift]\nsignals = 3", "drift.signals: found 3; allowed: a list"),
        (f'{SMALLEST}[drift]\nsignals = ["brightnes"]', 'drift.signals[0]: found "brightnes"; allowed: "brightness"'),
        (f"{SMALLEST}[output]\nclip_boxes = 1", "output.clip_boxes: found 1; allowed: true or false"),
        (f"{SMALLEST}[output]\niou = nan", "output.iou: found nan; allowed: a finite number"),
        (f"{SMALLEST}[output]\niou = true", "output.iou: found true; allowed: a number"),
        (f"{SMALLEST}[output]\niou = 1.5", "output.iou: found 1.5; allowed: at most 1"),
        (f"drift = 3\n{SMALLEST}", "drift: found 3; allowed: a table"),
        (f'{SMALLEST}[output]\nbox_format = "xywh"', 'output.box_format: found "xywh"; allowed: "xyxy"'),
        (f'{SMALLEST}[golden]\nat = "25:00"', 'golden.at: found "25:00"; allowed: a time of day'),
        (SMALLEST.replace('"a"', '" a"'), 'classes[0].name (in " a"): found " a"; allowed: text without control'),
        (SMALLEST.replace('"a"', '"a\\u0000"'), 'classes[0].name (in "a\\u0000"): found "a\\u0000"; allowed: text'),
        (SMALLEST.replace('"a"', '""'), 'classes[0].name: found ""; allowed: text of at least 1 character'),
        (SMALLEST.replace('"a"', f'"{"x" * 200}"'), "allowed: text of at most 128 characters"),
        ('classes = []\n[model]\nname = "m"\n' + OPEN, "classes: found a list; allowed: at least one entry"),
        ('[[classes]]\nname = "a"\n[cameras]\npolicy = "open"', "model: missing; write [model] with name"),
        ('[model]\nname = "m"\n[cameras]\npolicy = "open"', "classes: missing; write [[classes]] with name"),
        (SMALLEST + RULE.replace('name = "dark"\n', ""), "alerts[0].name: missing; every [[alerts]] needs it"),
        (SMALLEST + RULE.replace("psi", "psy"), 'did you mean "psi"?'),
        (SMALLEST + RULE.replace("psi", "p95"), 'alerts[0].measure (in "dark"): "p95" is not measured of brightness'),
        (SMALLEST + RULE.replace("brightness", "status"), 'alerts[0].measure (in "dark"): "psi" is not measured of'),
        (f'{SMALLEST}{RULE}severity = "warn"', 'did you mean "warning"?'),
        (SMALLEST + RULE.replace("0.2", "9" * 400), "alerts[0].above"),
    ],
)
def test_one_fault_says_where_what_and_what_is_allowed(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert fault in found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (HEAD, "cameras.list: no camera is declared"),
        (f'{SMALLEST}[[classes]]\nname = "a"', 'classes[1].name (in "a"): "a" is already the name of classes[0]'),
        (f'{SMALLEST}[[cameras.list]]\nname = "c"\n[[cameras.list]]\nname = "c"', "cameras.list[1].name"),
        (f'{SMALLEST}[[cameras.list]]\nname = "__other__"', "names that begin with __ are the product's own"),
        (f"{SMALLEST}{RULE}{RULE}", 'alerts[1].name (in "dark"): "dark" is already the name of alerts[0]'),
        (f'{SMALLEST}[[conditions]]\nname = "l"\nvalues = ["a", "b", "a"]', "conditions[0].values[2]"),
        (f'{SMALLEST}[[conditions]]\nname = "camera"', "conditions[0].name"),
        (f'{SMALLEST}[[conditions]]\nname = "s"\nbox_area_bounds = [0.1]\nvalues = ["s", "l"]', 'need of = "object"'),
        (
            f'{SMALLEST}[[conditions]]\nname = "s"\nof = "object"\nvalues = ["a", "b", "c"]\n'
            "box_area_bounds = [0.2, 0.1]",
            "the bounds do not ascend",
        ),
        (
            f'{SMALLEST}[[conditions]]\nname = "s"\nof = "object"\nbox_area_bounds = [0.2]\nvalues = ["a"]',
            "1 bounds part 2 bands, but 1 values are named",
        ),
        (f"{SMALLEST}{RULE}clear_below = 0.2", 'alerts[0].clear_below (in "dark"): 0.2 is not below above = 0.2'),
        (f'{SMALLEST}{RULE}scope = "slice"', "alerts[0].scope"),
        (f"{SMALLEST}{RULE}by_class = true", '"brightness" is not kept by class; "confidence" is'),
        (f'{SMALLEST}{RULE}severity = "critical"', "drift alone is never critical"),
        (f'{SMALLEST}{RULE}[drift]\nsignals = ["contrast"]', '"brightness" is never measured; add it to drift'),
        (f"{SMALLEST}[retention]\nraw_days = 10\nrollup_days = 9", "retention.raw_days: 10 days of records outlive"),
        (f"{SMALLEST}[review.mix]\nrandom = 0.5", "review.mix: the shares sum to 1.35"),
        (f"{SMALLEST}[input]\nmean = [0.5]", "input.mean: 1 values for the 3 channels"),
        (f"{SMALLEST}[input]\nwidth = 64", "input.height: width and height go together"),
        (f'{SMALLEST}[[acceptance]]\nname = "p"\nmeasure = "recall"', "needs exactly one bound"),
        (f'{SMALLEST}[[acceptance]]\nname = "p"\nmeasure = "recall"\nat_least = 95', "lies between 0 and 1"),
        (f'{SMALLEST}{CRITERION}class = "b"', '"b" is no known class'),
        (f'{SMALLEST}{CRITERION}class = "a"'.replace("recall", "map50"), "is over all classes"),
        (
            f'{SMALLEST}{CRITERION}slice = {{ light = "low" }}',
            'acceptance[0].slice.light (in "p"): "light" is no known condition',
        ),
        (
            f'{SMALLEST}[[conditions]]\nname = "light"\nvalues = ["low", "high"]\n'
            f'{CRITERION}slice = {{ light = "lo" }}',
            '"lo" is no known value of light; did you mean "low"?',
        ),
    ],
)
def test_values_that_do_not_go_together(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert fault in found


@pytest.mark.parametrize(
    ("signal", "measure", "above", "groups", "enough"),
    [
        # (B - 1) / n below the threshold, times 1, 1/2, 1/8; worked by hand
        ("brightness", "psi", 0.2, 10, 46),  # 9 / 45 = 0.2 still reaches it
        ("brightness", "psi", 0.1, 10, 91),
        ("brightness", "psi", 0.2, 5, 21),
        ("brightness", "kl", 0.1, 10, 46),
        ("brightness", "js", 0.025, 10, 46),
        ("class_share", "psi", 0.2, 10, 6),  # one class and whatever else: 2 groups, 1 / n
    ],
)
def test_a_threshold_that_drowns_in_noise_is_refused_and_the_least_n_named(
    signal: str, measure: str, above: float, groups: int, enough: int
) -> None:
    def contract(min_n: int) -> str:
        rule = (
            f'[[alerts]]\nname = "r"\nsignal = "{signal}"\nmeasure = "{measure}"\nabove = {above}\nmin_n = {min_n}\n'
        )
        return f"{SMALLEST}{rule}[drift]\ngroups = {groups}\n"

    (fault,) = faults_of(contract(enough - 1))
    assert fault.startswith('alerts[0].min_n (in "r")')
    assert f"from min_n = {enough} on" in fault
    assert parse_contract(contract(enough)).alerts[0].min_n == enough


def test_a_rule_that_was_refused_would_indeed_mostly_see_noise() -> None:
    """At the n that is refused, about every other window of the baseline itself lies above the threshold."""
    rng = np.random.default_rng(7)
    shares = np.full(10, 0.1)
    windows = rng.multinomial(45, shares, size=4000) / 45
    smoothed = (windows * 45 + 0.5) / (45 + 5)
    psi = ((smoothed - shares) * np.log(smoothed / shares)).sum(axis=1)
    assert 0.3 < (psi > 0.2).mean() < 0.7


def test_faults_of_every_kind_are_said_together() -> None:
    text = (
        'name = "x"\n[model]\nname = "m"\nownr = "o"\n[[classes]]\nname = "a"\nthreshold = 2\n'
        '[[classes]]\nname = "b"\n[cameras]\npolicy = "closed"\n[drift]\nmin_n = "x"\n'
        + RULE.replace('"brightness"', "3")
        + RULE.replace("dark", "flaps")
        + "clear_below = 0.5\nfoo = 1\n"
        + '[[acceptance]]\nname = "p"\nmeasure = "recall"\nclass = "c"\n[retention]\nraw_days = 2000\n'
    )
    found = "\n".join(faults_of(text))
    for place in (
        "name: unknown key",
        "model.ownr: unknown key",
        'classes[0].threshold (in "a")',
        "cameras.policy",
        "drift.min_n",
        'alerts[0].signal (in "dark")',
        'alerts[1].foo (in "flaps")',
        'alerts[1].clear_below (in "flaps")',
        'acceptance[0] (in "p")',
        "retention.raw_days",
    ):
        assert place in found
    # Class "c" may be the one that could not be read, and the groups are not known: nothing is said of either.
    assert found.count("\n") == 9


def test_places_count_entries_as_the_file_does_where_faulty_ones_stand_before() -> None:
    bad = RULE.replace("0.2", "-1")
    found = faults_of(f"{SMALLEST}{bad}{bad.replace('dark', 'b')}{RULE.replace('dark', 'c')}clear_below = 0.3\n{bad}")
    assert [fault.split(":")[0] for fault in found] == [
        'alerts[0].above (in "dark")',
        'alerts[1].above (in "b")',
        'alerts[2].clear_below (in "c")',
        'alerts[3].above (in "dark")',
    ]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "the file is empty"),
        (b"  \n\t\n", "the file is empty"),
        (b"# only words\n", "model: missing"),
        (b"[model]\nname = 'caf\xe9'\n", "line 2 is not UTF-8 (byte 0xe9)"),
        (b"[model\n", "not valid TOML: "),
        (b"[model]\nname = \n", "(at line 2, column 8)"),
        (b"[model]\nname = [1,\n\n", "(at the end, line 4)"),
        (b"a = " + b"[" * 50_000, "not valid TOML: nested too deeply"),
        (b"a = " + b"9" * 10_000, "not valid TOML: "),
        (b"[a" + b".a" * 3_000 + b"]", "a: unknown key"),
        (b"#" * (LARGEST + 1), "larger than 1048576 bytes"),
        (b"\x00", "not valid TOML: "),
    ],
)
def test_files_that_are_no_contract(tmp_path: Path, raw: bytes, fault: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(raw)
    with pytest.raises(ContractInvalid) as caught:
        load_contract(path)
    assert fault in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file; name a contract"):
        load_contract(tmp_path / "missing.toml")
    with pytest.raises(UsageError, match="is a folder; name a contract file in it"):
        load_contract(tmp_path)
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match="is not an ordinary file"):
        load_contract(tmp_path / "pipe.toml")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load_contract(path).model == "m"


value = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SECTIONS = ["model", "classes", "cameras", "conditions", "input", "drift", "alerts", "acceptance", "review", "shadow"]
KEYS = ["name", "list", "values", "window", "signals", "signal", "above", "min_n", "slice", "class", "mix", "x y"]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    data=st.dictionaries(
        st.sampled_from(SECTIONS),
        value
        | st.dictionaries(st.sampled_from(KEYS), value, max_size=4)
        | st.lists(st.dictionaries(st.sampled_from(KEYS), value, max_size=4), max_size=3),
        max_size=6,
    )
)
def test_whatever_stands_in_a_file_is_read_or_refused_in_sentences(data: dict[str, object]) -> None:
    try:
        parse_contract(_toml(data))
    except ContractInvalid as error:
        refused = error.faults
    else:
        refused = ["read: well"]
    assert refused
    assert all(": " in fault or fault.startswith("the file is empty; ") for fault in refused)


def _toml(data: object) -> str:
    """Any nested value as TOML with inline tables."""
    if isinstance(data, dict):
        return "\n".join(f"{_word(key)} = {_inline(inner)}" for key, inner in data.items())
    raise TypeError("a file is a table")


def _inline(data: object) -> str:
    if isinstance(data, dict):
        return "{" + ", ".join(f"{_word(key)} = {_inline(inner)}" for key, inner in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(map(_inline, data)) + "]"
    if isinstance(data, str):
        return _word(data)
    if isinstance(data, bool | int | float):
        return str(data).lower()
    return "1979-05-27T07:32:00Z"


def _word(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08X}" for c in text if not 0xD800 <= ord(c) <= 0xDFFF) + '"'


NIGHTLY = '[[alerts]]\nname = "found"\nsignal = "golden"\nmeasure = "recall"\nbelow = 0.9\nscope = "model"\n'


@pytest.mark.parametrize(
    ("window", "more", "fault"),
    [
        ("7d", "", 'alerts[0].signal (in "found"): a score belongs to its day, and windows of 7d are none'),
        ("1h", "", 'alerts[0].for_windows (in "found"): a set is scored once a day, so that no 2 windows of 1h'),
        ("1h", "for_windows = 1\n", ""),
        ("1d", "", ""),
    ],
)
def test_a_rule_about_scores_is_refused_where_it_could_never_fire(window: str, more: str, fault: str) -> None:
    said = f'{SMALLEST}[drift]\nwindow = "{window}"\n{NIGHTLY}{more}'
    if not fault:
        assert len(parse_contract(said).alerts) == 1
        return
    (found,) = faults_of(said)
    assert found.startswith(fault)
