"""Who sends a request, and which role each address asks for: what a handler's parameter of type ``Viewer``, ``Deployer`` or
``Operator`` says stands in the OpenAPI document as ``x-eratos-role``, so the two cannot differ.

A route is open to whoever has its role for anything at all; the handler asks for the apps and groups that the request is
about, all of them. Lists hold what their caller may view.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from eratos.common.browser_guard import READING
from eratos.marathon.strict_json import shortened
from eratos.scheduler.access.roles import ANYBODY, Identity, Role

from .errors import ApiError, invalid

#: Where the gate leaves the caller in a request's scope.
SCOPE: Final = "eratos.caller"
#: The field of an operation in the OpenAPI document.
ROLE_FIELD: Final = "x-eratos-role"
#: What it holds where nobody is asked who they are.
NOBODY_ASKED: Final = "none"
#: What it holds where the role must be for everything there is.
EVERYWHERE: Final = ":/"


@dataclass(slots=True)
class Caller:
    """Who sends one request, from where, and what of theirs it changes."""

    identity: Identity = ANYBODY
    address: str = ""
    uri: str = ""  #: the request's address, as it came
    touched: list[str] = field(default_factory=list)  #: apps and groups that it changes or would have changed

    def sees(self, app_id: str) -> bool:
        """Return whether an app may be looked at."""
        return self.identity.may(Role.VIEW, app_id)

    def hold(self, role: Role) -> None:
        """Raise ApiError unless the caller has a role for anything at all."""
        if not any(grant.role >= role for grant in self.identity.grants):
            raise ApiError(403, f"{self.identity.name} has not the role {role.name.lower()} for anything")

    def require(self, role: Role, paths: Iterable[str], *, stated: bool = True) -> None:
        """Raise ApiError unless the caller has a role for each of some apps or groups. ``stated``: the request may name them."""
        paths = tuple(paths)
        if role > Role.VIEW:
            self.touched += [path for path in paths if path not in self.touched]
        for path in paths:
            if not self.identity.may(role, path):
                # An id that came from the store, not from the request, is nothing to show.
                known = self.identity.sees_within(path) or (stated and len(paths) == 1)
                what = path if known else "an app that it may not view"
                raise ApiError(403, f"{self.identity.name} has not the role {role.name.lower()} for {what}")


def of(request: Request) -> Caller:
    """Return a request's caller, as the gate found it."""
    found: Caller = request.scope[SCOPE]
    return found


def _asks_for(role: Role, *, everywhere: bool = False) -> Callable[[Request], Awaitable[Caller]]:
    async def hold(request: Request) -> Caller:
        caller = of(request)
        if everywhere:
            caller.require(role, ("/",))
        else:
            caller.hold(role)
        if request.method not in READING:
            _refuse_misspelt(request)
        return caller

    hold.role = role.name.lower() + (EVERYWHERE if everywhere else "")  # type: ignore[attr-defined]
    return hold


def _refuse_misspelt(request: Request) -> None:
    """Refuse parameters of a change that none has and one may be meant by: ``dryrun=true`` must not change anything.

    Others are left alone, as by Marathon: clients have reasons of their own for them. Raises InvalidApp.
    """
    route = request.scope.get("route")
    known = {field.alias for field in route.dependant.query_params} if isinstance(route, APIRoute) else set()
    for name in itertools.islice((name for name in request.query_params if name not in known), _PARAMETERS_READ):
        plain = {_plainly(each): each for each in known}
        near = plain.get(_plainly(name)) or next(iter(difflib.get_close_matches(name[:_NAME_READ], known, 1, _NEAR)), "")
        if near:
            raise invalid(f"/{shortened(name)}", f"is no parameter of this address: did you mean {near}?")


def _plainly(name: str) -> str:
    return name[:_NAME_READ].lower().replace("_", "").replace("-", "")


#: Parameters of a request that are looked at, and characters of a name.
_PARAMETERS_READ: Final = 20
_NAME_READ: Final = 64
#: Share of characters that a misspelling has in common with what was meant.
_NEAR: Final = 0.75

#: Parameters of handlers. ``Operator`` has its role for everything: the cluster's own affairs belong to no app.
Viewer = Annotated[Caller, Depends(_asks_for(Role.VIEW))]
Deployer = Annotated[Caller, Depends(_asks_for(Role.DEPLOY))]
Operator = Annotated[Caller, Depends(_asks_for(Role.OPERATE, everywhere=True))]

#: Of what belongs to a group or an app: the handler asks for which.
GroupOperator = Annotated[Caller, Depends(_asks_for(Role.OPERATE))]

#: The same for handlers that need no more than that, in the list ``dependencies``.
VIEWERS = Depends(_asks_for(Role.VIEW))
VIEWERS_OF_ALL = Depends(_asks_for(Role.VIEW, everywhere=True))


def nobody_asked() -> None:
    """Mark a route that answers without asking who asks."""


nobody_asked.role = NOBODY_ASKED  # type: ignore[attr-defined]
ANYONE = Depends(nobody_asked)


class RoleRoute(APIRoute):
    """A route whose role, taken from its dependencies, stands in the OpenAPI document."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        roles = [role for part in self.dependant.dependencies if (role := getattr(part.call, "role", ""))]
        if roles:
            self.openapi_extra = {**(self.openapi_extra or {}), ROLE_FIELD: roles[0]}
