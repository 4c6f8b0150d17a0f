"""Runs the Dockerfile's steps in an empty folder, without a container engine: ``make image-steps``.

Each COPY and RUN of the build stage is carried out as it stands there, in order, with the image's folders (``/src``,
``/opt``) moved below the empty folder. Left out: steps that are about the system (``apt-get``, ``useradd``), the last
stage's ``COPY --from`` (the folder is the same one), and everything that only an engine does (layers, user, health).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ("apt-get", "useradd")
MOVED = ("/src", "/opt")


def instructions(text: str) -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def copied(folder: Path = ROOT) -> list[Path]:
    """The files that .dockerignore lets into the build, relative to ``folder``."""
    rules = [line for line in (folder / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    tops = {rule[1:] for rule in rules if rule.startswith("!")}
    unwanted = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
    found = []
    for top in sorted(tops):
        path = folder / top
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            parts = file.relative_to(folder).parts
            if file.is_file() and not any(fnmatch(part, rule) for part in parts for rule in unwanted):
                found.append(file.relative_to(folder))
    return found


def run(folder: Path, python: str = sys.executable) -> Path:
    """Carry out the steps of the build stage below ``folder``; returns the ``tripline`` command that they made.

    Raises ``subprocess.CalledProcessError`` when a step fails.
    """
    source = folder / "src"
    source.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(python)
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRIPLINE", "VIRTUAL"))
    }
    environment = {**plain, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    for name, rest in build_stage():
        if name == "COPY":
            _copy(rest, source)
        elif name == "RUN" and not any(word in rest for word in SYSTEM):
            command = re.sub(rf"(?<![\w.])({'|'.join(MOVED)})(?=/|\s|$)", lambda found: f"{folder}{found[1]}", rest)
            sys.stdout.write(f"+ {command}\n")
            sys.stdout.flush()
            subprocess.run(["/bin/sh", "-ec", command], cwd=source, env=environment, check=True)
    return folder / "opt" / "tripline" / "bin" / "tripline"


def build_stage() -> list[tuple[str, str]]:
    """The instructions of the first stage."""
    found = instructions((ROOT / "Dockerfile").read_text())
    stages = [index for index, (name, _) in enumerate(found) if name == "FROM"]
    return found[stages[0] : stages[1]]


def _copy(rest: str, source: Path) -> None:
    what, _, to = rest.partition(" ")
    wanted = [file for file in copied() if what == "." or file.parts[0] == what]
    assert wanted, f"COPY {rest} copies nothing: .dockerignore keeps it out"
    assert to in (".", what), f"COPY {rest} is more than this knows"
    for file in wanted:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)


def main() -> int:
    """Run the steps in a temporary folder, then the command from an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        tripline = run(Path(folder))
        empty = Path(folder) / "empty"
        empty.mkdir()
        for args in (["--version"], ["--help"], ["schema", "export", "--help"]):
            subprocess.run([tripline, *args], cwd=empty, check=True, stdout=subprocess.DEVNULL)
    sys.stdout.write("the image's steps work\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
