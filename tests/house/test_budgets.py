"""The house's budgets and habits, held by reading the code itself."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(
    path
    for folder in ("monitor", "tests", "bench", "examples", "migrations", "alembic")
    for path in (ROOT / folder).rglob("*.py")
)
PRODUCT = [path for path in CODE if path.is_relative_to(ROOT / "monitor")]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(node: ast.AST) -> set[str]:
    """Top-level names of the modules imported anywhere below `node`."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            found |= {alias.name.split(".")[0] for alias in inner.names}
        elif isinstance(inner, ast.ImportFrom):
            found.add("monitor" if inner.level else (inner.module or "").split(".")[0])
    return found


def test_there_is_code_to_judge() -> None:
    assert len(PRODUCT) > 30


@pytest.mark.parametrize("path", CODE, ids=named)
def test_no_file_over_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", CODE, ids=named)
def test_no_function_over_50_lines_and_no_own_import_inside_one(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        size = (node.end_lineno or node.lineno) - node.lineno + 1
        assert size <= 50, f"{node.name} has {size} lines"
        if path in PRODUCT:
            assert "monitor" not in imports(node), f"{node.name} imports one of our own modules"


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_names_say_what_a_thing_is(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "core", "base", "misc"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            assert not re.search(r"(Manager|Service|Handler|Factory|Engine|Helper)$", node.name), node.name


# One owner each: what only one file may touch.
OWNERS = {
    "apscheduler": {"monitor/daemon/serve.py"},
    "prometheus_client": {"monitor/web/metrics.py"},
    "onnxruntime": {"monitor/golden/session.py"},
    "pickle": set(),
    "joblib": set(),
}


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_what_has_one_owner_is_imported_by_it_alone(path: Path) -> None:
    for module in imports(tree(path)):
        if module in OWNERS:
            assert named(path) in OWNERS[module], f"{module} is not for {named(path)}"
    if not path.is_relative_to(ROOT / "monitor" / "store"):
        assert not imports(tree(path)) & {"sqlalchemy", "psycopg", "alembic"}


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_only_settings_reads_the_environment(path: Path) -> None:
    if named(path) == "monitor/settings.py":
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in {"environ", "getenv", "environb"}, f"line {node.lineno}"


CLOCKS = re.compile(r"datetime\.now\(|utcnow\(|time\.time\(|date\.today\(|datetime\.today\(")


@pytest.mark.parametrize(
    "path",
    [p for p in PRODUCT if p.parts[-2] in {"drift", "alerts", "ingest", "spec", "stats", "imaging"}],
    ids=named,
)
def test_rooms_are_given_the_time(path: Path) -> None:
    found = CLOCKS.search(path.read_text(encoding="utf-8"))
    assert found is None, f"{found.group(0) if found else ''} in {named(path)}: `now` is read once, in daemon or cli"


def test_the_schema_folders_are_no_packages() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert not (ROOT / "migrations" / "__init__.py").exists()


def test_a_migration_knows_nothing_of_the_program() -> None:
    for path in (ROOT / "migrations").glob("*.py"):
        assert "monitor" not in imports(tree(path))


def test_the_package_itself_imports_nothing() -> None:
    assert not imports(tree(ROOT / "monitor" / "__init__.py"))


def test_import_contracts_hold() -> None:
    from sys import executable

    done = subprocess.run(
        [str(Path(executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
