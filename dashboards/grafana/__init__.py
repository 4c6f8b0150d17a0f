"""Grafana dashboards as code. ``python -m dashboards.grafana`` writes their JSON, which Grafana imports.

Needs grafana-foundation-sdk, which is there for work on Tripline, not where it runs.
"""
