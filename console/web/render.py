"""Jinja templates and static files: autoescaped; the addresses of static files carry their content's hash."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment
from litestar import Response

from console.templating import environment_of

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"
HTML = "text/html"  # Litestar adds the charset


@cache
def static_url(name: str) -> str:
    """The address of a static file; it changes with the file, so that browsers may keep it."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def make_environment() -> Environment:
    """The templates with our filters. An undefined name is an error, never an empty text."""
    environment = environment_of(TEMPLATES)
    environment.globals["static"] = static_url
    environment.globals.update(flash=None, frame=None, clock=None, view=None, query="")
    return environment


@cache
def environment() -> Environment:
    """The one environment; templates are compiled once."""
    return make_environment()


def page(template: str, status: int = 200, **values: Any) -> Response[str]:
    """A rendered template as an answer."""
    text = environment().get_template(template).render(**values)
    return Response(text, status_code=status, media_type=HTML)
