"""``python -m dashboards.grafana``: writes the dashboards' JSON beside the code."""

from __future__ import annotations

import sys

from dashboards.grafana.files import FILES, text_of

for path, board in FILES.items():
    path.write_text(text_of(board), encoding="utf-8")
    sys.stdout.write(f"{path.name}\n")
