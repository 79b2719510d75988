"""Dashboards of Weights & Biases, made from code: `python -m rlipv2 dashboard --help`."""

from rlipv2.dashboard.panels import KINDS, Dashboard, Panel, Section, dashboard

__all__ = ["KINDS", "Dashboard", "Panel", "Section", "dashboard"]
