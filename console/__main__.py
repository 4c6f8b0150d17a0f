"""``python -m console``: the ``tripline`` command from a source tree."""

from console.cli import main

main(prog_name="tripline")
