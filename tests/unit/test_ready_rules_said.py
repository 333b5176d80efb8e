"""What is said of the ready rules is what they are, and `[ready.NAME]` changes just what it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitor.alerts.advice import FIRST, first_of
from monitor.errors import ContractInvalid
from monitor.panels.runbooks import followed
from monitor.spec.load import parse_contract
from monitor.spec.rules import READY, AlertRule
from monitor.spec.show import as_toml

README = Path(__file__).parents[2] / "README.md"
PLAIN = '[model]\nname = "m"\n[[classes]]\nname = "a"\n[cameras]\npolicy = "open"\n'


def faults(text: str) -> list[str]:
    with pytest.raises(ContractInvalid) as caught:
        parse_contract(PLAIN + text)
    return list(caught.value.faults)


def test_the_table_of_the_readme_says_their_numbers() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \| (\d+) .*? \| (\d+) \|$", README.read_text(), re.MULTILINE
    )
    assert [row[0] for row in rows] == list(READY)
    for name, fires, on, least, windows in rows:
        rule = READY[name]
        assert (rule.min_n, rule.for_windows) == (int(least), int(windows)), name
        assert on == f"{rule.scope}{', class' if rule.by_class else ''}", name
        for bound in (rule.above, rule.below):
            if bound is not None and name not in ("camera-silent",):
                said = f"{bound:g} x" if rule.relative_to else f"{100 * bound:g} %"
                assert said in fires, name


def test_each_says_what_to_do_first_and_has_a_runbook() -> None:
    assert FIRST.keys() == READY.keys()
    assert {rule.runbook for rule in READY.values()} == {f"dashboards/runbooks/{name}.md" for name in READY}


def test_what_comes_first_is_a_sentence_and_the_contract_has_the_last_word() -> None:
    assert all(first_of(rule)[-1] in ".?" and ".md" not in first_of(rule) for rule in READY.values())
    assert first_of(READY["error-rate"].model_copy(update={"runbook": "Ring the line."})) == "Ring the line."
    own = AlertRule(name="mine", signal="brightness", measure="psi", above=0.2, runbook="runbooks/mine.md")
    assert first_of(own) == ""


def test_a_runbook_of_ours_is_printed_and_any_other_stands_as_it_was_given() -> None:
    for rule in READY.values():
        words = followed(rule.runbook).split()
        assert words == ["monitor", "dashboards", "runbook", rule.name]
    assert followed("https://wiki.plant.example/light") == "https://wiki.plant.example/light"


def test_no_rule_about_drift_alone_is_critical() -> None:
    assert {rule.severity for rule in READY.values() if rule.pillar in ("input", "prediction")} == {"warning"}


def test_all_are_on_and_one_can_be_switched_off() -> None:
    assert [rule.name for rule in parse_contract(PLAIN).rules] == list(READY)
    off = parse_contract(PLAIN + "[ready.queue-growing]\non = false\n")
    assert [rule.name for rule in off.rules] == [name for name in READY if name != "queue-growing"]


def test_a_changed_number_leaves_the_others_alone() -> None:
    changed = parse_contract(PLAIN + "[ready.error-rate]\nabove = 0.05\nmin_n = 400\n").ready["error-rate"]
    plain = READY["error-rate"]
    assert (changed.above, changed.clear_below, changed.min_n) == (0.05, 0.025, 400)
    assert changed.model_copy(update={"above": 0.01, "clear_below": 0.005, "min_n": 100}) == plain


def test_what_is_shown_reads_back_with_its_changes() -> None:
    contract = parse_contract(PLAIN + '[ready.override-rate]\nabove = 0.3\nseverity = "warning"\n')
    assert parse_contract(as_toml(contract)) == contract
    assert "[ready.override-rate]" in as_toml(contract)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ready.error-rat]\nabove = 0.1", 'did you mean "error-rate"?'),
        ("[ready.error-rate]\nabov = 0.1", 'unknown key; did you mean "above"?'),
        ('[ready.error-rate]\nmeasure = "throughput"', "write [[alerts]] for a rule of your own"),
        ("[ready.error-rate]\nabove = 0.001\nclear_below = 0.01", "so the alert would flap"),
        ('[ready.confidence-drop]\nseverity = "critical"', "drift alone is never critical"),
        ("[ready]\nerror-rate = 3", "ready.error-rate: found 3; allowed: a table"),
        (
            '[[alerts]]\nname = "error-rate"\nsignal = "status"\nmeasure = "error_rate"\nabove = 0.1',
            "change that one's",
        ),
        ('[[alerts]]\nname = "x"\nsignal = "status"\nmeasure = "error_rate"', "has no bound"),
        ('[[alerts]]\nname = "x"\nsignal = "status"\nmeasure = "honest"\nabove = 0.1', "is not measured of status"),
        ('[[alerts]]\nname = "x"\nsignal = "brightness"\nmeasure = "psi"\nbelow = 0.1', "is a distance"),
        (
            '[[alerts]]\nname = "x"\nsignal = "override"\nmeasure = "raw"\nabove = 2.0\nrelative_to = "baseline"',
            "give the share itself",
        ),
    ],
)
def test_faults_say_what_is_wrong(text: str, said: str) -> None:
    (fault,) = faults(text)
    assert said in fault


@pytest.mark.parametrize(
    "rule",
    [
        'signal = "override"\nmeasure = "honest"\nabove = 0.2\nseverity = "critical"',
        'signal = "override"\nmeasure = "raw_missed"\nabove = 0.1\nby_class = true',
        'signal = "business"\nmeasure = "throughput_gain"\nbelow = 0.02\nscope = "model"',
        'signal = "status"\nmeasure = "throughput"\nbelow = 0.5\nrelative_to = "baseline"',
        'signal = "latency_ms"\nmeasure = "p95"\nabove = 50.0\nmin_n = 300\nseverity = "critical"',
        'signal = "brightness"\nmeasure = "mean"\nabove = 1.2\nbelow = 0.8\nrelative_to = "baseline"',
    ],
)
def test_rules_of_ones_own_may_be_about_any_measure(rule: str) -> None:
    contract = parse_contract(f'{PLAIN}[[alerts]]\nname = "mine"\n{rule}\n')
    assert parse_contract(as_toml(contract)) == contract
