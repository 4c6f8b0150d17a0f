"""Deal risk: features, the scorecard as tables, reasons, what-ifs, and whom to alert. Pure: no I/O, no clock."""
