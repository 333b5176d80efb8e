"""The contract: what stands in a file is what is read, with every default filled in."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import ContractInvalid
from monitor.signals import SIGNALS
from monitor.spec.contract import Contract
from monitor.spec.load import load_contract, parse_contract
from monitor.spec.rules import READY
from monitor.spec.sections import Section, read_duration, write_duration
from monitor.spec.show import as_toml, json_schema

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "examples" / "contract-template.toml"
PACKAGING_LINE = ROOT / "examples" / "packaging-line" / "contract.toml"
SMALLEST = """
[model]
name = "m"
[[classes]]
name = "a"
[cameras]
policy = "open"
"""


def keys(section: type[Section]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


def paths(section: type[Section], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every key that a contract may have, entries of lists without their number."""
    found = set()
    for key, field in keys(section).items():
        found.add((*above, key))
        inner = (get_args(field.annotation) or (field.annotation,))[0]
        if isinstance(inner, type) and issubclass(inner, Section):
            found |= paths(inner, (*above, key))
    return found


def said(data: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(data, list):
        return set().union(*(said(entry, above) for entry in data)) if data else set()
    if not isinstance(data, dict) or above[-1:] == ("slice",):
        return set()
    return {(*above, key) for key in data}.union(*(said(value, (*above, key)) for key, value in data.items()))


def test_a_small_contract_has_the_documented_defaults() -> None:
    contract = parse_contract(SMALLEST)
    assert contract.class_policy == "declared"
    assert contract.classes[0].threshold == 0.5
    drift = contract.drift
    assert (drift.window, drift.settle, drift.min_n, drift.groups) == (timedelta(days=1), timedelta(hours=1), 30, 10)
    assert drift.false_alarms_per_camera_month == 0.08
    assert {"brightness", "class_share", "latency_ms"} < set(drift.signals)
    assert "status" not in drift.signals
    assert (contract.output.box_tolerance_px, contract.output.clip_boxes) == (1.0, False)


def test_the_text_of_a_file_with_a_byte_order_mark_is_its_contract(tmp_path: Path) -> None:
    (tmp_path / "marked.toml").write_text("\ufeff" + SMALLEST, encoding="utf-8")
    loaded = load_contract(tmp_path / "marked.toml")
    # What scores at night is handed this very text.
    assert parse_contract(loaded.text) == loaded.contract == parse_contract(SMALLEST)


def test_a_rule_takes_clear_below_and_pillar_from_what_is_given() -> None:
    rules = parse_contract(
        SMALLEST
        + "".join(
            f'[[alerts]]\nname = "{signal}"\nsignal = "{signal}"\nmeasure = "psi"\nabove = 1\n'
            for signal in ("brightness", "latency_ms", "detections", "class_share", "gain_db")
        )
        + '[[alerts]]\nname = "own"\nsignal = "brightness"\nmeasure = "psi"\nabove = 0.4\nclear_below = 0.3\n'
        + 'pillar = "business"'
    ).alerts
    assert [rule.pillar for rule in rules] == ["input", "inference", "prediction", "prediction", "input", "business"]
    assert [rule.clear_below for rule in rules] == [0.5] * 5 + [0.3]


def test_the_template_says_every_key_there_is() -> None:
    template = load_contract(TEMPLATE)
    one_of_two = {("acceptance", "at_most"), ("alerts", "below"), ("alerts", "clear_above")}
    assert paths(Contract) - said(tomllib.loads(template.text)) == one_of_two


def test_the_template_says_the_defaults_where_it_says_nothing_else() -> None:
    """Values are the defaults unless the line, or its section, is called an example."""
    given_by_template = load_contract(TEMPLATE).contract
    plain = parse_contract(SMALLEST)
    assert given_by_template.drift == plain.drift
    for name in ("output", "retention", "review", "golden", "release"):
        assert getattr(given_by_template, name) == getattr(plain, name), name
    sized = given_by_template.input.model_copy(update={"width": None, "height": None})
    assert sized == plain.input
    bounded = {"recall_at_least": None, "false_positives_per_100_frames_at_most": None}
    assert given_by_template.shadow.model_copy(update=bounded) == plain.shadow


@pytest.mark.parametrize("path", [TEMPLATE, PACKAGING_LINE], ids=lambda p: p.parent.name)
def test_what_is_shown_reads_back_as_the_same_contract(path: Path) -> None:
    contract = load_contract(path).contract
    assert parse_contract(as_toml(contract)) == contract


def test_the_template_names_the_signals_that_are_kept_by_class() -> None:
    (said,) = re.findall(r"^by_class = .*each class by itself \((.*) only\)", TEMPLATE.read_text(), re.MULTILINE)
    assert said.split(", ") == [name for name, signal in SIGNALS.items() if signal.by_class]


line = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(text=line, threshold=st.floats(0, 1), cost=st.floats(1e-300, 1e300), minutes=st.integers(0, 99_999))
def test_any_text_and_number_survives_being_shown(text: str, threshold: float, cost: float, minutes: int) -> None:
    contract = parse_contract(SMALLEST)
    changed = Contract.model_validate(
        contract.model_dump(by_alias=True)
        | {"classes": [{"name": 'o\'brien "x"', "include": text, "threshold": threshold, "miss_cost": cost}]}
        | {"drift": {"settle": f"{minutes}m"}}
        | {"acceptance": [{"name": "n", "measure": "f1", "slice": {'ä "b"': "v"}, "at_least": threshold}]}
        | {"conditions": [{"name": 'ä "b"'}]}
    )
    assert parse_contract(as_toml(changed)) == changed


@settings(derandomize=True, max_examples=100, deadline=None)
@given(minutes=st.integers(0, 99_999))
def test_durations_are_written_as_they_are_read(minutes: int) -> None:
    assert read_duration(write_duration(timedelta(minutes=minutes))) == timedelta(minutes=minutes)


@pytest.mark.parametrize(("text", "minutes"), [("90m", 90), ("6h", 360), ("1d", 1440), ("0m", 0), ("7d", 10_080)])
def test_durations(text: str, minutes: int) -> None:
    assert read_duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("window", ["1h", "2h", "3h", "4h", "6h", "8h", "12h", "24h", "1d", "48h", "7d"])
def test_windows_that_tumble(window: str) -> None:
    parse_contract(f'{SMALLEST}[drift]\nwindow = "{window}"')


@pytest.mark.parametrize("window", ["5h", "7h", "25h", "36h", "90m", "0d", "-1d", "1w", "1d\\n", "", "1.5d"])
def test_windows_that_do_not(window: str) -> None:
    with pytest.raises(ContractInvalid, match=r"drift\.window"):
        parse_contract(f'{SMALLEST}[drift]\nwindow = "{window}"')


def test_a_contract_does_not_change_after_loading() -> None:
    contract = parse_contract(SMALLEST)
    with pytest.raises(ValueError, match="frozen"):
        contract.drift.min_n = 1  # type: ignore[misc]


def test_the_json_schema_wants_what_the_loader_wants() -> None:
    schema = json_schema()
    assert schema["required"] == ["model", "classes"]
    assert schema["additionalProperties"] is False
    rule = schema["$defs"]["AlertRule"]
    assert rule["required"] == ["name", "signal", "measure"]
    assert rule["properties"]["measure"]["enum"][:4] == ["psi", "kl", "js", "mean"]
    assert {"status", "override", "business"} < set(rule["properties"]["signal"]["enum"])
    assert "required" not in schema["$defs"]["ReadyRule"]
    assert schema["properties"]["ready"]["propertyNames"]["enum"] == list(READY)
    assert schema["$defs"]["DriftSpec"]["properties"]["window"]["default"] == "1d"


@pytest.mark.parametrize(
    ("golden", "places"),
    [
        ('manifest = "m.json"', {"golden.model"}),
        (
            'model = "m.onnx"',
            {"golden.model_sha256", "golden.version", "golden.convention", "golden.outputs", "golden.inputs"},
        ),
        (
            f'model = "m.onnx"\nmodel_sha256 = "{"0" * 64}"\nversion = "v1"\nconvention = "yolov8"\n'
            'outputs = { output = "o" }\ninputs = { image = "i", mask = "m" }',
            {"golden.inputs.mask"},
        ),
        ('model_sha256 = "12"', {"golden.model_sha256"}),
    ],
)
def test_what_a_night_needs_is_asked_for_by_day(golden: str, places: set[str]) -> None:
    text = f'[model]\nname = "m"\n[[classes]]\nname = "a"\n[cameras]\npolicy = "open"\n[golden]\n{golden}\n'
    with pytest.raises(ContractInvalid) as found:
        parse_contract(text)
    assert {fault.split(":")[0] for fault in found.value.faults} == places
