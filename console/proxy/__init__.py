"""Proxies between an agent and what it acts on: each request is an operation that the gate is asked for first."""
