"""The whole dashboard: variables, marks, rows."""

import json

from grafana_foundation_sdk.builders import dashboard as grid
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, VariableOption, VariableRefresh, VariableSort

from dashboard.look import CHOSEN, SOURCE
from dashboard.panels_house import ADMISSION, DRAIN, PROCESS, REDIS, SLOW, UNFINISHED
from dashboard.panels_work import CONNECTIONS, FANOUT, FLEET, LOSS, OURS

ROWS = [FLEET, CONNECTIONS, FANOUT, LOSS, REDIS, SLOW, UNFINISHED, DRAIN, ADMISSION, PROCESS]

# What the SDK's type of an annotation does not have and Grafana reads there.
MARKS = {
    "Starts": {
        "expr": f"process_start_time_seconds{{{CHOSEN}}} * 1000 {OURS}",
        "useValueForTime": True,
        "titleFormat": "start",
        "textFormat": "{{instance}}",
    },
    "Alerts": {
        "expr": 'ALERTS{alertname=~"Fanline.*", alertstate="firing", job=~"$job|"}',
        "useValueForTime": False,
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}} {{instance}}",
    },
}


def chooser(name, query):
    """A variable of which all hold at first; `.*` also fits where nothing has the label."""
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    variable = grid.QueryVariable(name).label(name.capitalize()).datasource(SOURCE).query(query).multi(True)
    variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    return variable.include_all(True).all_value(".*").current(everything)


def page():
    """As Grafana's own types have it."""
    board = grid.Dashboard("Fanline").uid("fanline").tags(["fanline"]).editable().timezone("browser")
    board.description("A fleet of Fanline gateways. What the alerts mean and what to do: helm/fanline/RUNBOOK.md.")
    board.time("now-1h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR)
    board.with_variable(grid.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    board.with_variable(chooser("namespace", "label_values(fanline_build_info, namespace)"))
    board.with_variable(chooser("job", 'label_values(fanline_build_info{namespace=~"$namespace"}, job)'))
    board.with_variable(chooser("instance", 'label_values(fanline_build_info{namespace=~"$namespace", job=~"$job"}, instance)'))
    for name, colour in (("Starts", "blue"), ("Alerts", "red")):
        board.annotation(grid.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour))
    number = 0
    for row in ROWS:
        board.with_row(grid.Row(row.title).id(number := number + 1))
        for panel in row.panels:
            board.with_panel(panel.id(number := number + 1))
    return board.build()


def text():
    """The file."""
    board = json.loads(JSONEncoder(sort_keys=True).encode(page()))
    for mark in board["annotations"]["list"]:
        mark |= MARKS[mark["name"]]
    return json.dumps(board, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
