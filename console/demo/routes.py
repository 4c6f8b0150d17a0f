"""The demo's own route: the button."""

from __future__ import annotations

from typing import Any

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect

from console.demo.script import Demo


def demo_routes(demo: Demo) -> list[HTTPRouteHandler]:
    """Routes that exist in the demo only."""

    @post("/demo/rogue", include_in_schema=False, status_code=303)
    async def go_rogue() -> Redirect:
        """Let the agent go wild, once; then back to the overview."""
        demo.go_rogue()
        return Redirect("/", status_code=303)

    found: list[Any] = [go_rogue]
    return found
