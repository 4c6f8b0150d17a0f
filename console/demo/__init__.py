"""The demo: a simulated sales organisation behind the real engine, gate and console. Only the data are invented."""
