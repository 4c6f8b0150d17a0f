"""Builds the compiled modules: ``python hatch_build.py`` beside their sources, and for each wheel.

Where there is no C compiler, or ``TRIPLINE_BUILD=pure`` is set, nothing is built and all works in Python, slower.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
MODULES = ("events._rows", "streams._judge", "scoring._card", "streams._deals", "detectors._season")
# No fused multiply-add: the floats must have the bits that Python gives them.
FLAGS = ("-O3", "-ffp-contract=off")


def source_of(name: str) -> Path:
    """The source of a compiled module."""
    return ROOT / Path(*name.split(".")).with_suffix(".pyx")


def product_of(name: str) -> Path:
    """Where its compiled module goes."""
    return source_of(name).with_suffix(sysconfig.get_config_var("EXT_SUFFIX") or ".so")


def why_not() -> str:
    """Why nothing can be compiled here; empty when it can."""
    if os.environ.get("TRIPLINE_BUILD") == "pure":
        return "TRIPLINE_BUILD=pure"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None and shutil.which("cc") is None:
        return "there is no C compiler (on Debian: apt-get install gcc libc6-dev)"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers are not here (on Debian: apt-get install python3-dev)"
    try:
        import Cython  # noqa: F401, PLC0415
    except ImportError:
        return "Cython is not installed"
    return "" if sys.byteorder == "little" else "the compiled modules know little-endian machines only"


def build() -> list[Path]:
    """Compile all modules beside their sources. Returns what was made."""
    from Cython.Build import cythonize  # noqa: PLC0415
    from setuptools import Distribution, Extension  # noqa: PLC0415

    sys.path.insert(0, str(ROOT))
    from events.compiled import source_digest  # noqa: PLC0415

    extensions = [
        Extension(
            name,
            [str(source_of(name).relative_to(ROOT))],
            define_macros=[("TRIPLINE_SOURCE", f'"{source_digest(source_of(name))}"')],
            extra_compile_args=list(FLAGS),
        )
        for name in MODULES
    ]
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        with tempfile.TemporaryDirectory(prefix="tripline-build-") as folder:
            modules = cythonize(extensions, build_dir=folder, force=True, quiet=True)
            command = Distribution({"name": "tripline", "ext_modules": modules}).get_command_obj("build_ext")
            command.inplace, command.force, command.build_temp = True, True, folder
            command.ensure_finalized()
            command.run()
    finally:
        os.chdir(before)
    return [product_of(name) for name in MODULES]


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the compiled modules into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if self.target_name != "wheel" or version == "editable":  # beside their sources `make compile` builds them
            return
        reason = why_not()
        if reason:
            self.app.display_warning(f"The wheel has no compiled modules: {reason}.")
            return
        build_data["artifacts"] += [f"/{path.relative_to(ROOT)}" for path in build()]
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


if __name__ == "__main__":
    problem = why_not()
    if problem:
        sys.stderr.write(f"*** Not compiled: {problem}. Everything works, replay and the engine are slower.\n")
    else:
        build()
