"""From plain data to a workspace and a report of W&B. `wandb-workspaces` is imported when something is built."""

import importlib
import json
from typing import Any

from rlipv2.dashboard.names import CHARTS
from rlipv2.dashboard.panels import Dashboard, Panel

WIDTH = 24
"""Of a report, in units of its grid."""


def workspaces() -> tuple[Any, Any]:
    """The modules for workspaces and for reports.

    Raises:
        ModuleNotFoundError: the package is missing; names the extra that brings it.
    """
    try:
        return importlib.import_module("wandb_workspaces.workspaces"), importlib.import_module(
            "wandb_workspaces.reports.v2"
        )
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "wandb_workspaces":
            raise
        raise ModuleNotFoundError(
            "dashboards need the package wandb-workspaces: pip install -e '.[dashboard]'", name="wandb_workspaces"
        ) from error


def workspace(board: Dashboard, *, entity: str, project: str) -> Any:
    """A workspace: sections of panels over all runs of the project that the list at its left shows."""
    ws, reports = workspaces()
    columns = [f"summary:{key}" for key in board.columns]
    sections = [
        ws.Section(
            name=section.title, panels=[_panel(reports, panel) for panel in section.panels], is_open=section.is_open
        )
        for section in board.sections
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"RLIPv2: {board.title}",
        sections=sections,
        runset_settings=ws.RunsetSettings(filters=_filter(board), pinned_columns=columns),
    )


def report(board: Dashboard, *, entity: str, project: str) -> Any:
    """A report: the same panels with a sentence on each section."""
    _, reports = workspaces()
    blocks: list[Any] = []
    for section in board.sections:
        blocks.append(reports.H2(section.title))
        if section.text:
            blocks.append(reports.P(section.text))
        # without entity and project a set of runs is that of the project which the report belongs to
        runs = reports.Runset(name="Runs", filters=_filter(board))
        blocks.append(reports.PanelGrid(runsets=[runs], panels=_placed(reports, section.panels)))
    title = f"RLIPv2: {board.title}"
    return reports.Report(entity=entity, project=project, title=title, blocks=blocks, width="fluid")


def specification(board: Dashboard, *, entity: str, project: str) -> dict[str, Any]:
    """What would be sent to W&B, as plain values."""
    parts = {
        "workspace": workspace(board, entity=entity, project=project),
        "report": report(board, entity=entity, project=project),
    }
    return {
        name: json.loads(part._to_model().model_dump_json(by_alias=True, exclude_none=True))
        for name, part in parts.items()
    }


def _filter(board: Dashboard) -> str:
    """Runs of the data sets of this board: train.py gives each run the tag of its choice of `data`."""
    return f"Tags() in [{', '.join(repr(name) for name in board.data)}]"


def _placed(reports: Any, panels: tuple[Panel, ...]) -> list[Any]:
    """Panels in rows, tables and pictures over the whole width."""
    placed, x, y, height = [], 0, 0, 0
    for panel in panels:
        wide = panel.kind in ("table", "pictures")
        width, tall = (WIDTH, 14) if wide else (WIDTH // 3, 8)
        if x + width > WIDTH:
            x, y, height = 0, y + height, 0
        placed.append(_panel(reports, panel, reports.Layout(x=x, y=y, w=width, h=tall)))
        x, height = x + width, max(height, tall)
    return placed


def _panel(reports: Any, panel: Panel, layout: Any = None) -> Any:
    options = {} if layout is None else {"layout": layout}
    key = panel.keys[0]
    if panel.kind == "curve":
        return reports.LinePlot(title=panel.title, x=panel.over, y=list(panel.keys), **options)
    if panel.kind == "figure":
        return reports.BarPlot(
            title=panel.title, metrics=[reports.SummaryMetric(name) for name in panel.keys], **options
        )
    if panel.kind == "pictures":
        return reports.MediaBrowser(title=panel.title, media_keys=list(panel.keys), num_columns=2, **options)
    if panel.kind == "table":
        return reports.WeavePanelSummaryTable(table_name=key, **options)
    chart = next(chart for chart in CHARTS if chart.key == key)
    return reports.CustomChart(
        query={"summaryTable": {"tableKey": f"{key}_table"}},
        chart_name=chart.preset,
        chart_fields=chart.fields,
        chart_strings={"title": chart.title, **chart.strings},
        **options,
    )
