from pathlib import Path

from scoring.tables import POINT, TABLES

DOC = (Path(__file__).parents[3] / "docs" / "deal-risk.md").read_text()


def test_the_document_shows_every_table_as_it_is() -> None:
    for table in TABLES:
        [line] = [line for line in DOC.splitlines() if line.startswith(f"| `{table.name}` |")]
        lost, late = line.split("|")[3:5]
        shown = [cell.rpartition(": ")[2] for cell in lost.replace("−", "-").split(";")]
        assert [float(number) for number in shown] == [points[0] * POINT for points in table.points], table.name
        assert [float(number) for number in late.replace("−", "-").split(",")] == [p[1] * POINT for p in table.points]
