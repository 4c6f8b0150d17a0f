"""Which real components the suite can use here; run as ``python -m tests.components`` before the tests.

A missing one means skipped tests: said loudly, with how to get it. Where nothing may be skipped
(``TRIPLINE_TESTS_MAY_SKIP=no``, as in CI) a missing one is an error, but for the public corpora: nobody can fetch
those by a command. See ``tests.skips`` for tests that skip for another reason.
"""

from __future__ import annotations

import os
import shutil
import sys
from glob import glob
from pathlib import Path

from events import rows
from streams.compiled import Judge

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PROMTOOL = shutil.which("promtool")
AMTOOL = shutil.which("amtool")
COMPOSE = shutil.which("docker-compose")
_INITDB = shutil.which("initdb") or max(glob("/usr/lib/postgresql/*/bin/initdb"), default=None)  # Debian: not in PATH
POSTGRES = Path(_INITDB).resolve().parent if _INITDB else None
"""The folder of PostgreSQL's programs."""
JAVA, MAVEN = shutil.which("java"), shutil.which("mvn")
CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data"
MAY_SKIP = os.environ.get("TRIPLINE_TESTS_MAY_SKIP", "yes") != "no"


def missing() -> list[tuple[str, str, str]]:
    """What is not here: its name, which tests are skipped for it, how to get it."""
    found = []
    if CHROMIUM is None:
        found.append(("Chromium", "tests/browser", "apt-get install chromium"))
    if PROMTOOL is None:
        found.append(("Prometheus", "tests/monitoring", "apt-get install prometheus"))
    if AMTOOL is None:
        found.append(("Alertmanager", "tests/monitoring", "apt-get install prometheus-alertmanager"))
    if COMPOSE is None:
        found.append(("docker-compose", "the check of docker-compose.yml", "apt-get install docker-compose"))
    if JAVA is None or MAVEN is None:
        found.append(("Java or Maven", "tests/kafka", "apt-get install openjdk-17-jre-headless maven"))
    if POSTGRES is None:
        found.append(("PostgreSQL", "storage and consoles on it", "apt-get install postgresql"))
    if rows.scanner() is None or Judge is None:
        found.append(("the compiled modules", "that they agree with Python", "apt-get install gcc; make compile"))
    return found


def main() -> int:
    """Say what is missing; 1 where nothing may be missing."""
    absent = missing()
    if not CORPORA.is_dir():
        cure = "put them into ../shared/data, see docs/corpora.md"
        print(f"\n*** SKIPPED: the public corpora are not here, so no real data is imported. {cure}\n", file=sys.stderr)
    for name, tests, cure in absent:
        print(f"\n*** SKIPPED: {name} is not here, so {tests} will not run. To get it: {cure}\n", file=sys.stderr)
    if absent and not MAY_SKIP:
        print("*** Nothing may be skipped here (TRIPLINE_TESTS_MAY_SKIP=no).", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
