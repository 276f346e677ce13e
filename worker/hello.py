"""The hello app: two static pages, a second kind of service beside the prime worker.

Every page is served at the root and below BASE_PATH, so that a balancer may route a path prefix here unchanged.
"""

from __future__ import annotations

import os

import serving
from http1 import Request, Response
from metrics import Metrics
from settings import Settings

PAGES = {"example1.html": "Example 1", "example2.html": "Example 2"}


def base_path(settings: Settings) -> str:
    """Return BASE_PATH without a slash at its end; a bad one is added to the settings' problems."""
    value = settings.text("BASE_PATH").rstrip("/")
    plain = value.isascii() and value.isprintable() and not set(value) & set(' ?#"<>')
    if value and not (value.startswith("/") and plain):
        settings.problems.append(f"BASE_PATH must be a path like /hello, not {value!r}")
    return value


def escaped(text: str) -> str:
    """Return text for use between HTML's tags; the module html is not in Debian's python3-minimal."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def page(title: str, body: str, instance: str) -> serving.Route:
    """Return the route of one static page."""
    document = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<h1>{title}</h1>\n{body}\n'
        f"<p>Served by {escaped(instance)}</p>\n</html>\n"
    )
    response = Response(200, document.encode(), "text/html; charset=utf-8")

    def answer(_request: Request) -> Response:
        return response

    return serving.Route({"GET": answer})


def main() -> None:
    """Read the settings and serve."""
    settings = Settings(os.environ)
    base = base_path(settings)
    settings.check("hello")
    links = "\n".join(f'<p><a href="{base}/{name}">{title}</a></p>' for name, title in PAGES.items())
    routes = {}
    for prefix in {"", base}:
        routes[f"{prefix}/"] = page("Hello", links, settings.instance)
        for name, title in PAGES.items():
            routes[f"{prefix}/{name}"] = page(title, f"<p>This is {name}.</p>", settings.instance)
    if base:
        routes[base] = routes["/"]
    serving.run("hello", settings, routes, Metrics())


if __name__ == "__main__":
    main()
