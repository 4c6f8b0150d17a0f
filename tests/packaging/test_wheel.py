"""The wheel, as a stranger gets it: built, installed into an empty environment, run from an empty folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.demo.test_demo import START_SECS, Running

ROOT = Path(__file__).resolve().parents[2]
OURS = ("events", "detectors", "scoring", "governance", "storage", "streams", "console", "simulator", "dashboards")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=ROOT, check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def tripline(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that holds the wheel, and what it runs on, but not the sources.

    The dependencies are those of this environment, lent by a .pth file: pinning is checked by `make setup`, and
    downloading them again would test the index, not the wheel.
    """
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=True, symlinks=True)
    python = home / "bin" / "python"
    lent = tmp_path_factory.mktemp("lent")
    for path in map(Path, sys.path):
        if path.name == "site-packages":
            for entry in path.iterdir():
                if "tripline" not in entry.name and not entry.name.endswith(".pth"):
                    (lent / entry.name).symlink_to(entry)
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "lent.pth").write_text(f"{lent}\n")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    return home / "bin" / "tripline"


def run(command: Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TRIPLINE_", "VIRTUAL_ENV"))
    }
    return subprocess.run(
        [str(command), *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=110, check=False
    )


def test_the_wheel_holds_our_packages_their_data_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == set(OURS)
    for top in OURS:
        assert f"{top}/py.typed" in names
    for needed in ("console/static/tripline.css", "storage/migrations/env.py"):
        assert needed in names
    assert any(name.startswith("console/templates/") and name.endswith(".html") for name in names)
    assert any(name.startswith("storage/migrations/versions/") for name in names)


def test_none_of_our_top_level_names_belongs_to_another_installed_distribution():
    owners = importlib.metadata.packages_distributions()
    for name in OURS:
        assert set(owners.get(name, [])) <= {"tripline"}, f"{name} belongs to {owners[name]} as well"


def test_the_command_runs_from_an_empty_folder(tripline: Path, tmp_path: Path):
    helped = run(tripline, "--help", cwd=tmp_path)
    assert helped.returncode == 0, helped.stderr
    for name in ("demo", "standalone", "replay", "import", "agents", "actions", "deals", "dead-letters", "doctor"):
        assert name in helped.stdout


def test_schemas_are_exported_from_the_wheel(tripline: Path, tmp_path: Path):
    exported = run(tripline, "schema", "export", "--out", "schemas", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    schema = json.loads((tmp_path / "schemas" / "tripline.agent.action.v1.schema.json").read_text())
    assert "agent_id" in json.dumps(schema)


def test_a_simulated_log_is_replayed_by_the_wheel(tripline: Path, tmp_path: Path):
    made = run(tripline, "simulate", "--seed", "3", "--days", "1", "--agents", "3", "--out", "log.jsonl", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    replayed = run(tripline, "replay", "log.jsonl", "--out", "out", "--json", cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    summary = json.loads(replayed.stdout)
    assert summary["events"] > 100
    assert summary["dead_letters"] == {}


@pytest.mark.timeout(600)
def test_the_demo_of_the_wheel_shows_its_page_and_ends_by_ctrl_c(tripline: Path, tmp_path: Path):
    demo = Running(tmp_path, "--port", "0", "--rogue-after", "0", command=[str(tripline)])
    try:
        url = demo.wait_for(r"Look\s+(http://127\.0\.0\.1:\d+)", START_SECS)[1]
        demo.wait_for(r"Ctrl-C ends the demo", START_SECS)
        page = httpx.get(url, timeout=60)
        assert page.status_code == 200
        assert "enrich-bot" in page.text
        (style,) = set(re.findall(r'href="([^"]*tripline[^"]*\.css[^"]*)"', page.text))
        assert httpx.get(f"{url}{style}", timeout=60).status_code == 200
        assert demo.end() == 0, demo.said
    finally:
        demo.process.kill()
