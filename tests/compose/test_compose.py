"""docker-compose.yml, the Dockerfile and each file that they mount, as far as no container engine is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from console.cli import main as tripline
from governance.settings import parse_settings
from tests.compose.image_steps import ROOT, build_stage, copied, instructions
from tests.monitoring.servers import Small, tool
from tests.monitoring.test_config import ALERTMANAGER, PROMETHEUS
from tests.monitoring.test_dashboards import BOARDS

RAW = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = ("topics", "token", "worker-1", "worker-2", "console")
LOCAL = ("127.0.0.1:", "${PUBLISH_ADDRESS:-127.0.0.1}:")
DOCKERFILE = instructions((ROOT / "Dockerfile").read_text())


def compose(folder: Path, *args: str, env: str = "POSTGRES_PASSWORD=one\nGRAFANA_PASSWORD=two\n") -> Any:
    (folder / "env").write_text(env)
    command = [tool("docker-compose"), "-f", str(ROOT / "docker-compose.yml"), "--env-file", str(folder / "env"), *args]
    plain = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=plain)


def test_the_compose_tool_takes_the_file(tmp_path: Path) -> None:
    done = compose(tmp_path, "config")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == RAW["services"].keys()


def test_it_does_not_start_without_passwords(tmp_path: Path) -> None:
    done = compose(tmp_path, "config", env="")
    assert done.returncode != 0
    assert "set it in .env" in done.stderr


def test_the_example_names_every_variable_and_no_password() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    given = dict(line.split("=", 1) for line in lines)
    assert given.keys() == used
    assert {value for name, value in given.items() if "PASSWORD" in name} == {""}


@pytest.mark.parametrize("name", RAW["services"])
def test_a_service_is_pinned_local_and_holds_no_secret(name: str) -> None:
    service = RAW["services"][name]
    assert re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"])
    assert all(port.startswith(LOCAL) for port in service.get("ports", ()))
    for variable, value in service.get("environment", {}).items():
        assert "PASSWORD" not in variable or value.startswith("${"), variable
    if name not in ("topics", "token"):
        assert service["restart"] == "unless-stopped"
        assert name in OURS or "test" in service["healthcheck"]  # ours have the image's


def test_the_broker_is_the_one_that_the_tests_use() -> None:
    pom = (ROOT / "tests" / "kafka" / "pom.xml").read_text()
    assert f"<version>{RAW['services']['kafka']['image'].partition(':')[2]}</version>" in pom


def test_what_is_mounted_is_there() -> None:
    mounts = [volume for service in RAW["services"].values() for volume in service.get("volumes", ())]
    for mount in mounts:
        source = mount.partition(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), mount
            assert mount.endswith(":ro"), mount
        else:
            assert source in RAW["volumes"], mount


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_settings_and_commands_that_exist(name: str) -> None:
    service = RAW["services"][name]
    environment = {**service["environment"], "TRIPLINE_STORE_PASSWORD": "secret"}
    mounted = next(one for one in service["volumes"] if one.endswith(f":{environment['TRIPLINE_CONFIG']}:ro"))
    settings = parse_settings((ROOT / mounted.partition(":")[0]).read_text(), environment)
    assert settings.kafka.bootstrap == "kafka:19092"
    assert settings.store.url.startswith("postgresql://tripline@postgres:")
    words = service["command"]
    if "entrypoint" in service:
        words = re.search(r"tripline ([^>]*)>", words[0])[1].split()  # type: ignore[index]
    understood(tripline, [str(word) for word in words])


def understood(command: click.Command, words: list[str]) -> None:
    """The command line is read to its end, nothing is run."""
    context = command.make_context("tripline", list(words), resilient_parsing=False)
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, found.make_context(name, list(words), parent=context)


# --- Prometheus, Alertmanager, Grafana -------------------------------------------------------------------------------


def mounted(service: str, folder: Path) -> Path:
    """What the service sees of our files, below a folder."""
    for mount in RAW["services"][service]["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith("."):
            to = folder / target.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, to)
    return folder


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    home = mounted("prometheus", tmp_path) / "etc" / "prometheus"
    (home / "secrets").mkdir()
    (home / "secrets" / "prometheus-token").write_text("token")
    done = subprocess.run(
        [tool("promtool"), "check", "config", home / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 rule files found" in done.stdout


def test_prometheus_looks_where_the_services_are_within_the_shipped_limits() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text())
    (shipped,) = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    limits = {name: value for name, value in shipped.items() if name.endswith("limit")}
    settings = parse_settings(None, {})
    ports = {"tripline-worker": settings.worker.port, "tripline-console": settings.server.port}
    named = set()
    for job in config["scrape_configs"]:
        assert limits.items() <= job.items()
        for target in job["static_configs"][0]["targets"]:
            host, _, port = target.partition(":")
            assert int(port) == ports[job["job_name"]]
            named.add(host)
    assert named == {"worker-1", "worker-2", "console"}
    (alerting,) = config["alerting"]["alertmanagers"]
    assert alerting["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert "console" in RAW["services"]["console"]["environment"]["TRIPLINE_SERVER_ALLOWED_HOSTS"]


def test_alertmanager_takes_its_configuration(tmp_path: Path) -> None:
    (found,) = (mounted("alertmanager", tmp_path) / "etc" / "alertmanager").iterdir()
    assert found.read_text() == ALERTMANAGER.read_text()  # which has tests of its own


def test_grafana_finds_its_source_and_the_dashboards(tmp_path: Path) -> None:
    home = mounted("grafana", tmp_path)
    provisioning = home / "etc" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tripline.yml").read_text())["providers"]
    found = home / provider["options"]["path"].lstrip("/")
    assert {path.name for path in found.glob("*.json")} == {path.name for path in BOARDS}
    first = RAW["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (home / first.lstrip("/")).is_file()


# --- the image -------------------------------------------------------------------------------------------------------


def test_the_image_is_pinned_and_runs_as_nobody_in_particular() -> None:
    bases = [rest for name, rest in DOCKERFILE if name in ("ARG", "FROM")]
    assert re.fullmatch(r"PYTHON=python:3\.11\.\d+-slim-\w+", bases[0])
    assert all(base.startswith("${PYTHON}") for base in bases[1:])
    users = [rest for name, rest in DOCKERFILE if name == "USER"]
    assert users == ["10001"]
    installs = [rest for name, rest in DOCKERFILE if name == "RUN" and " install " in rest and "apt-get" not in rest]
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installs)


def test_the_build_sees_the_packages_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    seen = {path.parts[0] for path in copied()}
    beside = {"LICENSE", "README.md", "hatch_build.py", "pyproject.toml", "requirements", "tripline_client"}
    assert seen == packages | beside
    assert not [path for path in copied() if path.suffix in (".so", ".pyc", ".db") or path.name == ".env"]
    assert [rest for name, rest in build_stage() if name == "COPY"] == ["requirements requirements", ". ."]


def test_the_wheel_is_built_with_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = (ROOT / "requirements" / "build.in").read_text().splitlines()
    assert {line for line in lines if line and line[0] != "#"} == set(project["build-system"]["requires"])
    pinned = (ROOT / "requirements" / "build.txt").read_text()
    for wanted in project["build-system"]["requires"]:
        assert re.search(rf"^{re.split('[>=]', wanted)[0]}==\S+ \\$", pinned, re.MULTILINE), wanted


@pytest.mark.parametrize(("path", "code"), [("/healthz", 0), ("/not-there", 1)])
def test_the_health_check_tells_well_from_ill(path: str, code: int) -> None:
    (check,) = [rest for name, rest in DOCKERFILE if name == "HEALTHCHECK"]
    script = yaml.safe_load(check.partition("CMD ")[2])[2]
    small = Small({"/healthz": lambda: "ok"})
    environment = {"HEALTH_URL": f"http://{small.address}{path}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False, timeout=20)
    small.stop()
    assert done.returncode == code
