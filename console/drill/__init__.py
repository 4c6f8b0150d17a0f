"""Drills: a rogue agent on a server of its own, stopped again and again, and what that measured."""
