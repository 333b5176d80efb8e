"""What the compose file promises, line by line, and that all it names is there; nothing here needs Docker.

Two parsers of others have read the file besides (see the README); a real engine is for `make verify-grafana`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.store import tokens

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ONCE = {"setup", "demo"}
"""Services that end by themselves."""
EXACT = re.compile(r"^[\w./-]+:v?\d+\.\d+(\.\d+)?([-.][\w.]+)*(@sha256:[0-9a-f]{64})?$")
SECRET = re.compile(r"password|secret|token|credential", re.IGNORECASE)


def every(name: str) -> Any:
    return pytest.mark.parametrize(name, SERVICES)


def test_the_five_are_there_and_two_more_by_profile():
    assert {"postgres", "monitor", "prometheus", "alertmanager", "grafana"} <= set(SERVICES)
    profiles = {profile: name for name, one in SERVICES.items() for profile in one.get("profiles", ())}
    assert profiles == {"demo": "demo", "gpu": "score"}


@every("name")
def test_an_image_is_pinned_by_exact_version(name):
    assert EXACT.match(SERVICES[name]["image"]), SERVICES[name]["image"]


def test_the_images_that_are_built_begin_with_exact_versions():
    stages = set(re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, flags=re.M))
    for image in re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.M):
        assert image in stages or EXACT.match(image), image
    for one in SERVICES.values():
        if "build" in one:
            assert one["build"]["target"] in stages


@every("name")
def test_it_runs_without_rights(name):
    one = SERVICES[name]
    user, _, group = str(one["user"]).partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in one["security_opt"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(one)
    assert not any("docker.sock" in str(volume) for volume in one.get("volumes", ()))


def test_the_images_of_our_own_do_not_run_as_root():
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]:
        if re.match(r"\S+ AS (runtime|demo|gpu)\b", stage):
            assert re.search(r"^USER 10001:10001$", stage, flags=re.M)
    assert SERVICES["monitor"]["user"] == "10001:10001"


@every("name")
def test_its_ports_are_those_of_this_machine_alone(name):
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@every("name")
def test_what_it_waits_for_is_healthy_or_done(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if other in ONCE else "service_healthy")
        assert other in ONCE or "healthcheck" in SERVICES[other]


@every("name")
def test_a_service_that_stays_says_how_it_is(name):
    one = SERVICES[name]
    if name in ONCE | {"score"}:
        assert "healthcheck" not in one
        return
    assert one["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(one["healthcheck"])


@every("name")
def test_its_secrets_are_files(name):
    one = SERVICES[name]
    for variable, value in one.get("environment", {}).items():
        if SECRET.search(variable) or ("_URL" in variable and "DATABASE" in variable):
            assert variable.endswith("_FILE"), f"{variable} holds a secret itself"
            assert str(value).removeprefix("/run/secrets/") in one["secrets"]
    for secret in one.get("secrets", ()):
        assert COMPOSE["secrets"][secret] == {"file": f"./secrets/{secret}"}


def test_no_secret_stands_in_a_file_of_the_repository():
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    for path in [ROOT / "docker-compose.yml", ROOT / "Dockerfile", *(ROOT / "dashboards").rglob("*.y*ml")]:
        for line in path.read_text().splitlines():
            found = re.search(r"(?i)\b(password|secret|token|credentials)\w*\s*[:=]\s*(\S+)", line.split(" #")[0])
            if found and not line.lstrip().startswith("#"):
                assert re.match(r"\$__file\{|/run/|\[|\{|\./secrets", found[2]), f"{path.name}: {line}"


@every("name")
def test_what_it_mounts_is_there(name):
    for volume in SERVICES[name].get("volumes", ()):
        source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert volume.endswith(":ro"), "what lies in the repository is for reading"
        else:
            assert source in COMPOSE["volumes"]


def test_the_entrypoints_of_our_own_are_in_the_image():
    for one in SERVICES.values():
        for word in one.get("entrypoint", ()):
            if word.startswith("/usr/local/bin/"):
                assert f"dashboards/compose/{Path(word).name}.sh {word}" in DOCKERFILE
            elif word.startswith("/opt/examples/"):
                assert (ROOT / word.removeprefix("/opt/")).is_file()


def test_what_the_wheel_is_built_from_reaches_the_engine():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(?:--chmod=\d+ )?(.+)$", DOCKERFILE, flags=re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in kept


def provisioned(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "dashboards/provisioning" / kind / "monitor.yaml").read_text())
    return found


def test_grafana_is_given_sources_and_dashboards_and_nothing_that_replaces_a_tree():
    assert {path.name for path in (ROOT / "dashboards/provisioning").iterdir()} == {"datasources", "dashboards"}
    sources = {one["uid"]: one for one in provisioned("datasources")["datasources"]}
    assert set(sources) == {"monitor-postgres", "monitor-prometheus"}
    assert sources["monitor-postgres"]["user"] == "monitor_reader"
    assert sources["monitor-postgres"]["url"].split(":")[0] in SERVICES
    assert re.search(r"//(\w+):", sources["monitor-prometheus"]["url"])[1] in SERVICES
    for file in (ROOT / "dashboards/grafana").glob("*.json"):
        named = set(re.findall(r'"uid": "((?!\$\{ds_|-- |monitor-)[^"]*)"', file.read_text()))
        assert not named, f"{file.name} names a source that is not provisioned"
    (provider,) = provisioned("dashboards")["providers"]
    mounts = [volume.split(":") for volume in SERVICES["grafana"]["volumes"]]
    assert ["./dashboards/grafana", provider["options"]["path"], "ro"] in mounts


def test_prometheus_reads_its_configuration():
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("no promtool on PATH; install Debian's prometheus")
    file = ROOT / "dashboards/prometheus/prometheus.yml"
    done = subprocess.run(
        [tool, "check", "config", "--syntax-only", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(file.read_text())
    (scrape,) = config["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["monitor:8080"]}]
    assert scrape["authorization"]["credentials_file"].startswith("/run/scrape/")


@pytest.mark.parametrize("script", sorted((ROOT / "dashboards/compose").glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_shell(script):
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert script.stat().st_mode & 0o111


def test_secrets_are_made_once_for_their_owner_alone(tmp_path):
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run(
            ["sh", str(ROOT / "dashboards/compose/secrets.sh"), str(folder)], check=True, capture_output=True
        )
        found = {path.name: path.read_text() for path in folder.iterdir()}
    again = {path.name: path.read_text() for path in folder.iterdir()}
    assert again == found
    assert set(found) == set(COMPOSE["secrets"])
    assert folder.stat().st_mode & 0o077 == 0
    assert len({found["postgres_password"], found["reader_password"], found["grafana_admin_password"]}) == 3
    assert len(found["reader_password"]) == 48
    assert found["postgres_password"] in found["database_url"]


def test_pinning_writes_digests_that_the_engine_tells(tmp_path):
    """With an engine that names a digest for every image, and so without one."""
    for name in ("docker-compose.yml", "Dockerfile", "dashboards"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    engine = tmp_path / "docker"
    digest = "sha256:" + "0123456789abcdef" * 4
    engine.write_text(f'#!/bin/sh\n[ "$1" = pull ] || echo "somewhere@{digest}"\n')
    engine.chmod(0o755)
    for _ in range(2):
        subprocess.run(
            ["sh", "dashboards/compose/pin-images.sh"], cwd=tmp_path, check=True, capture_output=True,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        )  # fmt: skip
    pinned = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]
    for name, one in pinned.items():
        whole = SERVICES[name]["image"]
        assert one["image"] == (whole if "build" in one else f"{whole}@{digest}")
    assert set(re.findall(r"^FROM (python:\S+)", (tmp_path / "Dockerfile").read_text(), flags=re.M)) == {
        f"{image}@{digest}" for image in re.findall(r"^FROM (python:\S+)", DOCKERFILE, flags=re.M)
    }


def test_the_setup_leaves_one_token_that_reads(database, tmp_path):
    """The script that the container runs, on a real server, twice; and once more when its volume was lost."""
    program = tmp_path / "bin" / "monitor"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m monitor "$@"\n')
    program.chmod(0o755)
    url = tmp_path / "database_url"
    url.write_text(database.engine.url.render_as_string(hide_password=False).replace("+psycopg", ""))
    script = (ROOT / "dashboards/compose/setup.sh").read_text().replace("/run/scrape", str(tmp_path))
    known = {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "MONITOR_DATABASE_URL_FILE": str(url),
    }
    told = []
    for lost in (False, False, True):
        if lost:
            (tmp_path / "token").unlink()
        done = subprocess.run(
            ["sh", "-c", script], env=known, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told.append((tmp_path / "token").read_text().strip())
    first, again, new = told
    assert first == again != new
    now = datetime.now(UTC)
    with database.begin() as conn:
        found = [tokens.find(conn, tokens.digest(one), now) for one in (first, new)]
    assert [one is not None and one.in_force(now) for one in found] == [False, True]
    assert found[1].scopes == frozenset({"read"})
