"""The console: HTTP API, gate, web pages, login, and the ``tripline`` command line."""
