"""The built wheel works outside the checkout, with its migrations inside and the library `alembic` still found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import Engine

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    words = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_schema_lies_inside_the_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"monitor"}
    assert "monitor/_schema/alembic/env.py" in names
    assert "monitor/_schema/migrations/0001_first_schema.py" in names
    assert "monitor/web/templates/overview.html" in names
    assert "monitor/web/static/page.css" in names


def test_it_is_the_wheel_that_runs_and_alembic_is_the_library(installed: Path, tmp_path: Path) -> None:
    asked = (
        "import json, alembic, monitor; print(json.dumps([monitor.__file__, alembic.__file__, alembic.__version__]))"
    )
    done = run(installed, tmp_path, "-c", asked)
    monitor_file, alembic_file, _ = json.loads(done.stdout)
    assert monitor_file.startswith(str(installed))
    assert not alembic_file.startswith((str(installed), str(ROOT / "alembic")))


def test_commands_work_outside_the_checkout(installed: Path, tmp_path: Path, empty_engine: Engine) -> None:
    printed = run(installed, tmp_path, "-m", "monitor", "spec", "template")
    contract = tmp_path / "model.toml"
    contract.write_text(printed.stdout, encoding="utf-8")
    url = empty_engine.url.render_as_string(hide_password=False)
    checked = run(installed, tmp_path, "-m", "monitor", "spec", "check", str(contract))
    assert checked.returncode == 0, checked.stderr
    upgraded = run(installed, tmp_path, "-m", "monitor", "db", "upgrade", MONITOR_DATABASE_URL=url)
    assert upgraded.returncode == 0, upgraded.stderr
    current = run(installed, tmp_path, "-m", "monitor", "db", "check", MONITOR_DATABASE_URL=url)
    assert current.returncode == 0, current.stdout + current.stderr
    looked = run(installed, tmp_path, "-m", "monitor", "doctor", MONITOR_DATABASE_URL=url)
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert list(tmp_path.iterdir()) == [contract], "nothing is left behind in the folder they ran in"
