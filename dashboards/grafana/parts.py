"""What a dashboard is made of: charts and numbers as data, and how they become Grafana's panels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    GridPos,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from msgspec import Struct

COLUMNS = 24
JOBS = "tripline.*"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
CALM, WARNING, BAD = "text", "orange", "red"


class Query(Struct, frozen=True):
    """A PromQL expression; ``legend`` names a series, with labels in double braces."""

    expr: str
    legend: str


class Number(Struct, frozen=True, kw_only=True):
    """One figure, large. ``limits``: from where it is coloured, and how; ``words``: values that are said in words."""

    title: str
    text: str
    query: Query
    unit: str
    limits: Mapping[float, str] = {}
    words: Mapping[str, str] = {}
    width: int = 4
    height: int = 4


class Chart(Struct, frozen=True, kw_only=True):
    """Lines, an area that adds up, or bars, over time. ``limit`` draws a line; ``colours`` by the series' name."""

    title: str
    text: str
    queries: Sequence[Query]
    unit: str
    draw: Literal["lines", "stack", "bars", "steps"] = "lines"
    limit: float | None = None
    nothing: str = ""
    colours: Mapping[str, str] = {}
    width: int = 8
    height: int = 8


class Ranking(Struct, frozen=True, kw_only=True):
    """A bar for each series, over the whole time that is shown."""

    title: str
    text: str
    query: Query
    unit: str
    nothing: str = ""
    limits: Mapping[float, str] = {}
    width: int = 8
    height: int = 8


Part = Number | Chart | Ranking
Panel = stat.Panel | timeseries.Panel | bargauge.Panel


class Row(Struct, frozen=True):
    """Parts under a heading."""

    title: str
    parts: Sequence[Part]


class Board(Struct, frozen=True, kw_only=True):
    """A dashboard. ``by_instance``: it can be narrowed to single processes."""

    uid: str
    title: str
    text: str
    rows: Sequence[Row]
    by_instance: bool = False


def build(board: Board) -> Dashboard:
    """The dashboard as Grafana has it (classic schema, version 42)."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags(["tripline"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Tripline")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["tripline"])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_variable("job", "Job", f'label_values(up{{job=~"{JOBS}"}}, job)', JOBS))
    )
    if board.by_instance:
        made.with_variable(_variable("instance", "Process", 'label_values(up{job=~"$job"}, instance)', ".+"))
    ids = count(1)
    below = 0
    for row in board.rows:
        made.with_row(dashboard.Row(row.title).id(next(ids)).grid_pos(GridPos(1, COLUMNS, 0, below)))
        below += 1
        places, height = _places(row.parts, below)
        for part, place in zip(row.parts, places, strict=True):
            made.with_panel(panel_of(part).id(next(ids)).grid_pos(place))
        below += height
    return made.build()


def panel_of(part: Part) -> Panel:
    """A part as a panel, without id and place."""
    if isinstance(part, Number):
        return _number(part)
    return _chart(part) if isinstance(part, Chart) else _ranking(part)


def _places(parts: Sequence[Part], top: int) -> tuple[list[GridPos], int]:
    """Where the parts of a row lie, from left to right and then below, and how high the row is."""
    places: list[GridPos] = []
    x, y, line = 0, top, 0
    for part in parts:
        if x + part.width > COLUMNS:
            x, y, line = 0, y + line, 0
        places.append(GridPos(part.height, part.width, x, y))
        x, line = x + part.width, max(line, part.height)
    return places, y + line - top


def _variable(name: str, label: str, query: str, everything: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .definition(query)
        .multi(True)
        .include_all(True)
        .all_value(everything)
        .current(VariableOption(text="All", value="$__all"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _targets(queries: Sequence[Query], *, instant: bool = False) -> Iterator[prometheus.Dataquery]:
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(query.expr).legend_format(query.legend)
        yield target.instant() if instant else target.range()


def _thresholds(limits: Mapping[float, str]) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color=CALM), *(Threshold(value, colour) for value, colour in sorted(limits.items()))]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _number(part: Number) -> stat.Panel:
    panel = (
        stat.Panel()
        .title(part.title)
        .description(part.text)
        .datasource(SOURCE)
        .unit(part.unit)
        .thresholds(_thresholds(part.limits))
        .color_mode(kinds.BigValueColorMode.VALUE)
        .graph_mode(kinds.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text_mode(kinds.BigValueTextMode.VALUE)
    )
    if part.words:
        words = {value: ValueMappingResult(text=text) for value, text in part.words.items()}
        panel.mappings([ValueMap(words)]).graph_mode(kinds.BigValueGraphMode.NONE)
    for target in _targets([part.query]):
        panel.with_target(target)
    return panel


def _chart(part: Chart) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(part.title)
        .description(part.text)
        .datasource(SOURCE)
        .unit(part.unit)
        .min(0)
        .line_width(1)
        .fill_opacity({"lines": 5, "steps": 20, "stack": 35, "bars": 70}[part.draw])
        .show_points(kinds.VisibilityMode.NEVER)
        .draw_style(kinds.GraphDrawStyle.BARS if part.draw == "bars" else kinds.GraphDrawStyle.LINE)
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
        )
    )
    if part.draw == "bars":
        panel.decimals(0)  # increase() extrapolates: one event may read 1.07
    if part.draw != "lines":
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if part.draw == "steps":
        panel.line_interpolation(kinds.LineInterpolation.STEP_AFTER)
    if part.limit is not None:
        panel.thresholds(_thresholds({part.limit: BAD}))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
    if part.nothing:
        panel.no_value(part.nothing)
    for name, colour in part.colours.items():
        panel.override_by_name(name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})])
    for target in _targets(part.queries):
        panel.with_target(target)
    return panel


def _ranking(part: Ranking) -> bargauge.Panel:
    panel = (
        bargauge.Panel()
        .title(part.title)
        .description(part.text)
        .datasource(SOURCE)
        .unit(part.unit)
        .min(0)
        .thresholds(_thresholds(part.limits))
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
        )
    )
    if part.nothing:
        panel.no_value(part.nothing)
    for target in _targets([part.query], instant=True):
        panel.with_target(target)
    return panel
