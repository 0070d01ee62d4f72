"""How a panel looks. `@` in an expression stands for what the reader has chosen: namespaces, jobs, instances."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as grid
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as choice
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef("prometheus", "${datasource}")
CHOSEN = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'
LEVELS = ("green", "orange", "red")


@dataclass
class Row:
    """A heading, and what stands below it."""

    title: str
    panels: list


def queries(panel, pairs):
    """Each pair is an expression and its legend."""
    for letter, (expression, legend) in zip("ABCDEF", pairs.items(), strict=False):
        query = prometheus.Dataquery().expr(expression.replace("@", CHOSEN)).legend_format(legend).ref_id(letter)
        panel.with_target(query.datasource(SOURCE).range())
    return panel


def named(panel, title, unit, description, span, height):
    """What every panel has."""
    return panel.title(title).unit(unit).description(description).datasource(SOURCE).span(span).height(height)


def levels(at):
    """Thresholds, from green to orange to red; where good is high, the colours come the other way round."""
    ascending = list(at) == sorted(at)
    colours = LEVELS[: len(at) + 1] if ascending else LEVELS[len(at) :: -1]
    steps = [Threshold(value, colour) for value, colour in zip([None, *sorted(at)], colours, strict=True)]
    return grid.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def graph(title, unit, description, pairs, at=(), stack=False, span=8):
    """Lines over time; with `at`, dashed ones where it becomes serious (the alerts' own numbers)."""
    panel = named(timeseries.Panel(), title, unit, description, span, 8)
    panel.min(0).line_width(1).fill_opacity(25 if stack else 8).show_points(choice.VisibilityMode.NEVER)
    panel.legend(
        build.VizLegendOptions()
        .show_legend(True)
        .display_mode(choice.LegendDisplayMode.LIST)
        .placement(choice.LegendPlacement.BOTTOM)
        .calcs([])
    )
    panel.tooltip(build.VizTooltipOptions().mode(choice.TooltipDisplayMode.MULTI).sort(choice.SortOrder.DESCENDING))
    panel.color_scheme(grid.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    panel.thresholds(levels(at))
    if at:
        panel.thresholds_style(build.GraphThresholdsStyleConfig().mode(choice.GraphThresholdsStyleMode.DASHED))
    if stack:
        panel.stacking(build.StackingConfig().mode(choice.StackingMode.NORMAL).group("A"))
    return queries(panel, pairs)


def number(title, unit, description, pairs, at=(), span=4):
    """One figure, its colour, and its course behind it."""
    panel = named(stat.Panel(), title, unit, description, span, 4)
    panel.reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.graph_mode(choice.BigValueGraphMode.AREA).color_mode(choice.BigValueColorMode.VALUE)
    panel.color_scheme(grid.FieldColor().mode(FieldColorModeId.THRESHOLDS)).thresholds(levels(at))
    return queries(panel, pairs)


def states(title, description, pairs, words, span=24):
    """A bar for each series, in the colours of its values: word and colour of 0, 1, …"""
    panel = named(statetimeline.Panel(), title, "none", description, span, 6)
    results = {str(n): ValueMappingResult(text=word, color=colour, index=n) for n, (word, colour) in enumerate(words)}
    panel.mappings([ValueMap(options=results)]).show_value(choice.VisibilityMode.NEVER).row_height(0.8)
    panel.line_width(0).fill_opacity(70)
    panel.color_scheme(grid.FieldColor().mode(FieldColorModeId.THRESHOLDS)).thresholds(levels(()))
    return queries(panel, pairs)


def heat(title, description, expression, span=8):
    """How a histogram's buckets fill over time."""
    panel = named(heatmap.Panel(), title, "s", description, span, 8)
    panel.calculate(False).y_axis(heatmap.YAxisConfig().unit("s"))
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64).exponent(0.5).fill("dark-orange"))
    panel.hide_from(build.HideSeriesConfig().tooltip(False).legend(False).viz(False))
    panel.cell_values(heatmap.CellValues().unit("short"))
    query = prometheus.Dataquery().expr(expression.replace("@", CHOSEN)).legend_format("{{le}}").ref_id("A")
    return panel.with_target(query.datasource(SOURCE).range().format(PromQueryFormat.HEATMAP))
