"""The dashboards and where their JSON lies."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.grafana import overview, runtime
from dashboards.grafana.parts import Board, build

FOLDER = Path(__file__).parent
FILES = {FOLDER / f"{board.uid}.json": board for board in (overview.BOARD, runtime.BOARD)}


def text_of(board: Board) -> str:
    """The JSON that Grafana imports; equal boards give equal texts."""
    return json.dumps(build(board), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
