"""Everything that is generated, as texts by path below `dashboards/`."""

from __future__ import annotations

import json

from monitor.panels import grafana, rules, runbooks
from monitor.panels.registry import BOARDS


def built(grafana_url: str = "") -> dict[str, str]:
    """Path → text of every generated file. `grafana_url` is what links to panels begin with (`""`: on that host)."""
    found = {f"grafana/{board.uid}.json": _json(grafana.dashboard(board)) for board in BOARDS}
    found |= {f"runbooks/{name}": said for name, said in runbooks.pages().items()}
    return found | {
        "prometheus/rules/monitor.yaml": rules.rule_file(grafana_url),
        "prometheus/tests/monitor.yaml": rules.unit_tests(),
        "alertmanager/alertmanager.yml": rules.ALERTMANAGER,
    }


def _json(thing: object) -> str:
    return json.dumps(thing, indent=2, ensure_ascii=False) + "\n"
