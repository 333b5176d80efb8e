"""A contract → the bounds that it sets, for dashboards; they stand nowhere else, so no dashboard can disagree."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.demand import Demand
from monitor.spec.contract import Contract

AGREEMENT = "min_agreement"
LATENCY = "latency_p95"


def demands(contract: Contract) -> tuple[Demand, ...]:
    """Every bound of a contract: alert rules, constraints, the agreement of reviewers, acceptance criteria."""
    return tuple(_all(contract))


def _all(contract: Contract) -> Iterator[Demand]:
    owner = contract.model.owner
    for rule in contract.rules:
        yield Demand(
            rule=rule.name,
            pillar=rule.pillar,
            severity=rule.severity,
            signal=rule.signal,
            measure=rule.measure,
            above=rule.above,
            below=rule.below,
            relative=bool(rule.relative_to),
            min_n=rule.min_n,
            owner=rule.owner or owner,
        )
    if (latency := contract.constraints.latency_p95_ms) is not None:
        yield Demand(
            f"[constraints] {LATENCY}", "inference", "warning", "latency_ms", "p95", above=latency, owner=owner
        )
    agreement = contract.review.min_agreement
    yield Demand(f"[review] {AGREEMENT}", "override", "warning", "review", "agreement", below=agreement, owner=owner)
    for criterion in contract.acceptance:
        yield Demand(
            rule=f"[acceptance] {criterion.name}",
            pillar="golden",
            severity="critical",
            signal="golden",
            measure=criterion.measure,
            class_name=criterion.class_name,
            above=criterion.at_most,
            below=criterion.at_least,
            owner=owner,
        )
