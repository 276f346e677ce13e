"""The dashboard's files at ``/`` and ``/ui/``, as they were built from ``dashboard/``.

They hold nothing that is secret, so everybody gets them; what they show comes from the API, which asks who asks. A page may
run and load nothing but these files, and is shown in no frame.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from .caller import ANYONE, RoleRoute
from .errors import ApiError

#: Beside the page itself. The names are part of the page; a build makes no others.
FILES: Final = {
    "dashboard.js": "text/javascript; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "licences.txt": "text/plain; charset=utf-8",
}
PAGE: Final = "index.html"
#: Addresses that ask nobody who they are.
ADDRESSES: Final = frozenset({"/", "/ui", *(f"/ui/{name}" for name in FILES)})

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False, route_class=RoleRoute, dependencies=[ANYONE])
    built = files("eratos.scheduler").joinpath("dashboard")
    # Read once: a follower or a leader that is upgraded serves what belongs to its own code.
    held = {name: built.joinpath(name).read_bytes() for name in (PAGE, *FILES)}

    async def page() -> Response:
        return Response(held[PAGE], media_type="text/html; charset=utf-8", headers=HEADERS)

    routes.add_api_route("/", page)
    routes.add_api_route("/ui", page)

    @routes.get("/ui/{name}")
    async def file(name: str) -> Response:
        if name not in FILES:
            raise ApiError(404, f"the dashboard has no {name[:100]}: it is at /ui/")
        return Response(held[name], media_type=FILES[name], headers=HEADERS)

    return routes
