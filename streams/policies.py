"""A policy's files on disk: read from one folder, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import governance.policy
from governance.policy import Known, Loaded, Unreadable, load
from governance.policy.files import MOST_CHARS
from governance.settings_types import Settings

EXAMPLE = Path(governance.policy.__file__).parent / "example" / "policy.toml"
"""A worked example of a sales organisation, which comes with Tripline."""


def load_file(path: Path, known: Known | None = None) -> Loaded:
    """The policy of a file and those that it includes. Raises PolicyError with every mistake.

    A link that leads out of the main file's folder is not followed.
    """
    folder = path.parent

    def read(name: str) -> str:
        return _read(folder, path if name == path.name else folder / name, is_main=name == path.name)

    return load(path.name, read, known)


def known_to(settings: Settings) -> Known:
    """The names that a policy may use of the settings: people, and notification targets."""
    return Known(people=set(settings.people), targets={target.name for target in settings.notifications.targets})


def _read(folder: Path, path: Path, *, is_main: bool) -> str:
    try:
        if not is_main and not path.resolve().is_relative_to(folder.resolve()):
            raise Unreadable("it lies outside of the policy's folder")
        if not path.is_file():
            raise Unreadable("there is no such file" if not path.exists() else "it is no file")
        with path.open("rb") as file:
            return file.read(4 * MOST_CHARS + 1).decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    except OSError as problem:
        raise Unreadable(problem.strerror or str(problem)) from None
