"""Metric names, dashboards and rules. Knows nothing of the rest of Tripline."""
