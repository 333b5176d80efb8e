"""Guides → one page a rule, lane, incident and alert: Meaning, Impact, Diagnosis, Mitigation."""

from __future__ import annotations

from monitor.panels.grafana import panel_id
from monitor.panels.guides import GOLDEN_GUIDES, INCIDENT_GUIDES, READY_GUIDES, Guide
from monitor.panels.registry import BOARDS, OBSERVABLES
from monitor.panels.selfguides import SELF_GUIDES
from monitor.watch import ALL_LANES, Lane

FOLDER = "dashboards/runbooks"
"""Where the pages stand, as an alert names them."""
LOOKALIKES = """\
## What may only look like it

- **Shadows on metal**: a shadow that wanders with the sun moves brightness and contrast by the hour; the season of
  the hours knows it after two weeks. A new one (a shelf, a parked truck) is a changed background.
- **Water and condensation**: haze takes sharpness and contrast and comes in the morning or after washing down; drops
  make bright spots that pass for objects. It goes by itself, and comes back: warm the glass or blow it dry.
- **Camera angle**: boxes change size and aspect on one camera and on one day, while light stays as it was.
- **Changed background**: more detections than usual, in places where none belong; confidence falls, sharpness stays.
- **An in-between state that the classes lack**: half open, half filled, wet but not damaged. Reviewers disagree with
  each other about it as much as with the model. Write down which class it is, or make it one of its own.
"""
_BOARD_OF = {one.name: board.uid for board in BOARDS for one in board.observables}
_MOVED = {
    "optics": ("brightness_mean", "sharpness_mean"),
    "model": ("confidence_mean", "confidence_low", "confidence_shape", "override"),
    "content": ("detections_mean", "class_share"),
    "service": ("latency_mean", "latency_tail", "queue_peak"),
}
"""The lanes whose alarms make an incident of each cause."""
GUIDES: dict[str, Guide] = {
    guide.name: guide for guide in (*READY_GUIDES, *INCIDENT_GUIDES, *GOLDEN_GUIDES, *SELF_GUIDES)
}


def pages() -> dict[str, str]:
    """File name → text of every page, an index among them."""
    found = {f"{guide.name}.md": page(guide) for guide in GUIDES.values()}
    found |= {f"lane-{name.replace('_', '-')}.md": page(_of_lane(lane)) for name, lane in ALL_LANES.items()}
    titles = {name: said.splitlines()[0].removeprefix("# ") for name, said in found.items()}
    index = "\n".join(f"- [{titles[name]}]({name})" for name in sorted(found, key=lambda name: titles[name]))
    note = "Made by `monitor dashboards build`; one page a rule, lane, incident and alert."
    return found | {"README.md": f"# Runbooks\n\n{note}\n\n{index}\n"}


def followed(runbook: str) -> str:
    """How to get at a runbook without a copy of the files: by the command that prints it, if it is one of ours."""
    name = runbook.removeprefix(f"{FOLDER}/").removesuffix(".md")
    return f"monitor dashboards runbook {name}" if f"{FOLDER}/{name}.md" == runbook else runbook


def link(name: str) -> str:
    """Where an observable's panel is: a path on the Grafana that loads the dashboards."""
    return f"/d/{_BOARD_OF[name]}?viewPanel={panel_id(name)}"


def page(guide: Guide) -> str:
    """One page as Markdown."""
    panels = "\n".join(
        f"- [{OBSERVABLES[name].title}]({link(name)}): {OBSERVABLES[name].question} Bad: {OBSERVABLES[name].bad}"
        for name in guide.panels
    )
    parts = [
        f"# {guide.title}\n",
        f"## Meaning\n\n{guide.meaning}\n",
        f"## Impact\n\n{guide.impact}\n",
        f"## Diagnosis\n\n{_list(guide.diagnosis)}\n\nPanels to look at:\n\n{panels}\n",
        f"## Mitigation\n\n{_list(guide.mitigation)}\n",
    ]
    return "\n".join([*parts, LOOKALIKES] if guide.looks else parts)


def _list(steps: tuple[str, ...]) -> str:
    return "\n".join(f"{i}. {step}" for i, step in enumerate(steps, 1))


def _of_lane(lane: Lane) -> Guide:
    """What the page of a lane says: the incident of its cause, spoken of this one number."""
    cause = next(cause for cause, lanes in _MOVED.items() if lane.name in lanes)
    wider = next(guide for guide in INCIDENT_GUIDES if guide.name == f"incident-{cause}")
    floor = f" Changes under {lane.floor:g} ({lane.unit}) are told to nobody, however sure." if lane.floor else ""
    return Guide(
        name=f"lane-{lane.name}",
        title=f"Lane {lane.name}: {lane.help}",
        meaning=f"Watched every day on every camera against the season of its hours: {lane.help}. Small differences"
        f" add up until they pass what the budget of false alarms allows.{floor}",
        impact=wider.impact,
        diagnosis=(
            f"`monitor drift explain` for this camera and lane {lane.name}: since when, how sure.",
            *wider.diagnosis,
        ),
        mitigation=wider.mitigation,
        panels=wider.panels,
        looks=wider.looks,
    )
