"""Builds the Grafana dashboards from `panels.py` with the builders of Grafana's own SDK."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.operations.panel_parts import Board, Panel
from deploy.operations.panels import EPOCH_CHANGES

RUNBOOK = "http://127.0.0.1:8000/docs/operations/runbook.md"
"""The default address of the runbook; who serves it elsewhere changes the variable at the top of a dashboard."""
_SOURCE = models.DataSourceRef("prometheus", "${source}")
_WIDTH = 24  # of Grafana's grid
_HEAD = ("head", 'label_values(groknet_baseline_share{job="$job"}, head)', True)
_VARIABLES = (
    ("job", "label_values(groknet_build_info, job)", False),
    ("instance", 'label_values(groknet_build_info{job="$job"}, name)', True),
    ("epoch", 'label_values(groknet_model_info{job="$job"}, epoch)', True),
)


def dashboard_text(board: Board) -> str:
    """The JSON of a dashboard, as Grafana imports it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.what)
        .tags(["groknet"])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .link(
            dashboard.DashboardLink("GrokNet")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["groknet"])
            .keep_time(True)
            .include_vars(True)
            .as_dropdown(True)
        )
        .with_variable(dashboard.DatasourceVariable("source").label("Data source").type("prometheus"))
    )
    for name, query, several in (*_VARIABLES, *([_HEAD] if board.by_head else [])):
        made = made.with_variable(_variable(name, query, several))
    made = made.with_variable(dashboard.TextBoxVariable("runbook").label("Runbook address").default_value(RUNBOOK))
    made = made.annotation(
        dashboard.AnnotationQuery()
        .name("Epoch changes")
        .datasource(_SOURCE)
        .enable(True)
        .icon_color("purple")
        .expr(EPOCH_CHANGES)
    )
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title))
        for panel in panels:
            made = made.with_panel(_panel(panel, _WIDTH // min(3, len(panels))))
    text = JSONEncoder(sort_keys=True, indent=1).encode(made.build())
    return json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str, query: str, several: bool) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(name.title()).datasource(_SOURCE).query(query)
    made = made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return made.multi(True).include_all(True).all_value(".*") if several else made


def _panel(panel: Panel, width: int) -> Any:
    made: Any = (stat.Panel() if panel.number else timeseries.Panel()).title(panel.title).description(panel.what)
    made = made.unit(panel.unit).datasource(_SOURCE).min(0).span(width).height(8).thresholds(_thresholds(panel))
    if panel.alert:
        link = dashboard.DashboardLink(f"Runbook: {panel.alert}").type(models.DashboardLinkType.LINK)
        made = made.links([link.url(f"${{runbook}}#{panel.alert.lower()}").target_blank(True)])
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + number))
        made = made.with_target(target)
    return made


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(None, "green")]
    if panel.warn is not None and panel.warn != panel.bad:
        steps.append(models.Threshold(panel.warn, "orange"))
    if panel.bad is not None:
        steps.append(models.Threshold(panel.bad, "red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
