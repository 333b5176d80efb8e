"""The shipped dashboards against the JSON Schema of Grafana's own types: unknown and missing keys are faults.

The schema is made from npm's `@grafana/schema` by `ts-json-schema-generator` and kept in `.grafana-schema/`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import jsonschema_rs
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "grafana-schema"
KEPT = ROOT / ".grafana-schema"
KINDS = ("dashboard", "timeseries", "stat", "table", "barchart")
BOARDS = sorted((ROOT / "dashboards" / "grafana").glob("*.json"))
Validators = dict[str, Any]


def _made(folder: Path) -> None:
    """Install the two packages into `folder` and write one schema a kind; only the generator of them is run."""
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    install = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent")
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=240)
    for kind in KINDS:
        asked = ("--path", f"{kind}.ts", "--tsconfig", "tsconfig.json", "--type", "Root", "--no-type-check")
        generate = ("node", "node_modules/ts-json-schema-generator/bin/ts-json-schema-generator.js", *asked)
        made = subprocess.run(generate, cwd=folder, check=True, capture_output=True, timeout=120)
        (folder / f"{kind}.json").write_bytes(made.stdout)


@pytest.fixture(scope="module")
def validators(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Validators:
    said = "".join(path.read_text() for path in sorted(SOURCE.iterdir()))
    mark = KEPT / "made-from"
    if not mark.is_file() or mark.read_text() != said:
        if shutil.which("npm") is None:
            missing("npm", "npm is not installed, and Grafana's schema has not been made yet")
        work = tmp_path_factory.mktemp("schema")
        try:
            _made(work)
        except (subprocess.SubprocessError, OSError) as error:
            missing("npm", f"Grafana's schema cannot be made here: {error}")
        shutil.rmtree(KEPT, ignore_errors=True)
        KEPT.mkdir()
        for kind in KINDS:
            shutil.copy(work / f"{kind}.json", KEPT)
        mark.write_text(said)
    return {kind: jsonschema_rs.validator_for(json.loads((KEPT / f"{kind}.json").read_text())) for kind in KINDS}


def faults(validators: Validators, board: dict[str, Any]) -> list[str]:
    """What the schemas say against a dashboard and its panels."""
    asked = [("dashboard", "", {"dashboard": board})]
    for panel in board["panels"]:
        shown = {"options": panel["options"], "custom": panel["fieldConfig"]["defaults"]["custom"]}
        asked.append((panel["type"], panel["title"], shown))
    return [
        f"{title} {'/'.join(map(str, error.instance_path))}: {error.message}"
        for kind, title, thing in asked
        for error in validators[kind].iter_errors(thing)
    ]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_shipped_dashboard_is_of_grafanas_own_types(validators: Validators, path: Path) -> None:
    assert faults(validators, json.loads(path.read_text())) == []


def test_the_schema_tells_what_is_wrong(validators: Validators) -> None:
    board = json.loads(BOARDS[0].read_text())
    for change in (  # one of each sort
        lambda one: one.update(refreshing="1m"),
        lambda one: one.update(graphTooltip="both"),
        lambda one: one["panels"][0].update(kind="stat"),
        lambda one: one["panels"][0]["options"].update(textMode="big"),
        lambda one: one["panels"][0]["fieldConfig"]["defaults"].update(unit=3),
        lambda one: one["templating"]["list"][0].update(refresh="always"),
    ):
        broken = deepcopy(board)
        change(broken)
        assert faults(validators, broken) != []
