"""What ``tripline deals backtest`` writes: predictions, reasons, the report as JSON and as one page of HTML."""
