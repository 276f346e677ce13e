"""What every handler needs, and how handlers read requests and send commands."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from eratos.common import keys
from eratos.marathon import ids, strict_json
from eratos.marathon.app import App
from eratos.marathon.errors import Problem
from eratos.marathon.pod import Pod
from eratos.scheduler.access.policy import Policy
from eratos.scheduler.access.roles import Role
from eratos.scheduler.access.tunnel_limits import TunnelLimits
from eratos.scheduler.core import changes, groups, quotas, versions
from eratos.scheduler.core.actions import Reply
from eratos.scheduler.core.events import Command, PutApps
from eratos.scheduler.core.records import DeploymentRecord, GroupRecord
from eratos.scheduler.core.refusals import CommandRefused, Refused
from eratos.scheduler.core.state import State
from eratos.scheduler.events.event import of_app

from . import app_roles, definitions, planning, quota_use, render, service_ports
from .addresses import SLASH
from .answers import Definitions
from .app_roles import Roles
from .caller import Caller
from .controller import Controller
from .discretion import Discretion
from .errors import ApiError, invalid
from .turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

#: A request's body may be this long. Marathon's own limit, ZooKeeper's node size, is near.
BODY_BYTES_MAX = 4 * 1024 * 1024

#: Instances of all apps together, unless a setting says otherwise: what one core was seen to carry with ease.
INSTANCES_MOST = 100_000

#: Where nothing is said of groups' roles.
NO_ROLES_ENFORCED: Mapping[str, bool] = {}

#: A body has to be here within this time.
BODY_S = 60.0

DEPLOYMENT_ID = "Marathon-Deployment-Id"
#: Header with what a user should know of a change that was made: what the app gets from the balancers.
NOTICE = "Eratos-Notice"
NOTICE_CHARACTERS = 4000


@dataclass(frozen=True)
class Context:
    """The process behind the API."""

    controller: Controller
    clock: Callable[[], float]  #: seconds since the epoch
    executor_port: int  #: where executors serve logs, the same on each agent's host
    instances_most: int = INSTANCES_MOST  #: of all apps together
    role: str = "*"  #: of apps that state none
    policy: Policy = field(default_factory=Policy)  #: what apps may ask for
    agent_key: Callable[[str], str] = lambda agent_id: ""  #: what the executor on an agent wants to be shown; empty: nothing
    service_ports: range = service_ports.DEFAULT  #: from which ports that state none get theirs
    companion_key: str = field(default="", repr=False)  #: by which companions know schedulers; empty: they need none
    tunnels: TunnelLimits = field(default_factory=TunnelLimits)
    group_roles: Collection[str] = ()  #: of groups, that offers come for beside that
    enforces_new: bool = False  #: whether new top-level groups enforce their role unless they say otherwise
    _turns: Turns = field(default_factory=Turns)
    discretion: Discretion = field(init=False)
    _definitions: Definitions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "discretion", Discretion(self.controller))
        object.__setattr__(self, "_definitions", Definitions(self.role))

    def headers(self, agent_id: str, target: str) -> dict[str, str]:
        """Return the headers of a request for a path, query included, to the executor on an agent."""
        return keys.headers(self.agent_key(agent_id), "GET", target, b"", self.clock())

    def companion_headers(self, target: str) -> dict[str, str]:
        """Return the same for a balancer's companion."""
        return keys.headers(self.companion_key, "GET", target, b"", self.clock(), keys.SCHEDULER)

    def change(self, handler: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        """Have a handler run when its turn among the changes comes. Decorates the handler of every change."""

        @functools.wraps(handler)
        async def in_turn(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self._turns.take(functools.partial(handler, *args, **kwargs))

        return in_turn

    def apps(self) -> dict[str, App]:
        found = self.controller.read(lambda state: dict(state.apps))
        self._definitions.forget(found)
        return found

    def app(self, app_id: str) -> App:
        """Return an app; a pod is none. Raises ApiError."""
        found = self.controller.read(lambda state: state.apps.get(app_id))
        if found is None or isinstance(found, Pod):
            raise unknown_app(app_id)
        return found

    def seen(self, caller: Caller) -> dict[str, App]:
        """Return the apps that a caller may view."""
        apps = self.apps()
        return apps if caller.sees("/") else {app_id: app for app_id, app in apps.items() if caller.sees(app_id)}

    def view(self) -> render.View:
        """Return what an answer needs beside the state."""
        return render.View(self.role, self.clock(), self._definitions.json)

    def require_group(self, caller: Caller, group_id: str) -> list[GroupRecord]:
        """Return a group and those in it that a caller may view, each after the one that holds it.

        Raises ApiError where there is no such group, or the caller may view nothing in it.
        """
        if not caller.identity.sees_within(group_id):
            caller.require(Role.VIEW, (group_id,))
        known = self._groups(caller)
        if group_id not in known:
            raise ApiError(404, f"Group '{group_id}' does not exist")
        return [known[found] for found in sorted(known) if ids.within(found, group_id)]

    def _groups(self, caller: Caller) -> dict[str, GroupRecord]:
        """Return the groups that a caller may view, or that hold an app or a group that it may view; the root is always there.

        Of a group that it may not view itself it does not learn what that depends on.
        """
        known, app_ids = self.controller.read(lambda state: (dict(state.groups), list(state.apps)))
        known.setdefault("/", GroupRecord("/", "", ""))
        if caller.sees("/"):
            return known
        seen = {group_id: known[group_id] for group_id in known if caller.sees(group_id)}
        for path in (*seen, *(app_id for app_id in app_ids if caller.sees(app_id))):
            for group_id in groups.around(path):
                if group_id not in seen:
                    seen[group_id] = replace(known[group_id], dependencies=(), former=())
        return {"/": replace(known["/"], dependencies=(), former=())} | seen

    def owner(self, caller: Caller, address: str, last: str, *, change: bool = False) -> str:
        """Return the app whose ``last`` (tasks, versions, restart) an address asks for. Raises ApiError, also where the
        caller may not view it, or, for a ``change``, not deploy it.

        Apps made before such last names were refused may have one. Then the address with it means what it means in Marathon,
        or nothing where that would be a guess about a change; ``%2F`` in an id leaves no doubt.
        """
        name = path_id(address)
        whole = f"{name}/{last}"
        caller.require(Role.DEPLOY if change else Role.VIEW, (name,))
        known, rival = self.controller.read(lambda state: (is_app(state, name), is_app(state, whole)))
        if rival and not known:
            raise ApiError(404, f"App '{name}' does not exist; the app '{whole}' is at /v2/apps/{encoded(whole)}")
        if rival and change and SLASH not in address:
            raise ApiError(
                409,
                f"this may mean the {last} of '{name}' or the app '{whole}': write /v2/apps/{encoded(name)}/{last} "
                f"or /v2/apps/{encoded(whole)}",
            )
        if not known:
            raise unknown_app(name)
        return name

    def put(
        self,
        caller: Caller,
        apps: dict[str, App],
        wanted: tuple[App, ...],
        *,
        force: bool,
        create_only: bool = False,
        dropped: tuple[str, ...] = (),
        tree: Mapping[str, tuple[str, ...]] = changes.NO_GROUPS,
        dropped_groups: tuple[str, ...] = (),
        enforced: Mapping[str, bool] = NO_ROLES_ENFORCED,
    ) -> Reply:
        """Check :meth:`settled` apps against those there are, and have them stored and others deleted.

        ``tree``: the groups that are asked for with them, and what they depend on; ``enforced``: whether the roles of these are,
        as far as that is said.
        Raises ApiError where the caller may not deploy one.
        """
        caller.require(Role.DEPLOY, (*(app.id for app in wanted), *dropped), stored=bool(dropped))
        enforced = self._enforced(wanted, enforced, tree)
        if dropped:
            apps = {app_id: app for app_id, app in apps.items() if app_id not in dropped}
        self.check(caller, apps, wanted, tree, dropped_groups, enforced)
        return self._submit(caller, PutApps(wanted, create_only, force, dropped, tree, dropped_groups, enforced))

    def plan(
        self,
        caller: Caller,
        wanted: tuple[App, ...],
        dropped: tuple[str, ...] = (),
        tree: Mapping[str, tuple[str, ...]] = changes.NO_GROUPS,
        dropped_groups: tuple[str, ...] = (),
        enforced: Mapping[str, bool] = NO_ROLES_ENFORCED,
    ) -> JSONResponse:
        """Answer with what it would mean to put apps and to delete others. Raises as :meth:`put`."""
        caller.require(Role.DEPLOY, (*(app.id for app in wanted), *dropped), stored=bool(dropped))
        enforced = self._enforced(wanted, enforced, tree)
        apps = {app_id: app for app_id, app in self.apps().items() if app_id not in dropped}
        self.check(caller, apps, wanted, tree, dropped_groups, enforced)
        now = self.clock()

        def look(state: State) -> dict[str, Any] | quotas.Excess:
            record = DeploymentRecord("", versions.next_version(state, now), now)
            plan = changes.plan(state, record, wanted, dropped, tree, dropped_groups)
            return quotas.of_plan(state, plan) or planning.planned(state, plan)

        found = self.tried(look)
        if isinstance(found, quotas.Excess):
            raise self._over_quota(caller, found.quota.path, found.message)
        return JSONResponse(found)

    def check(
        self,
        caller: Caller,
        apps: dict[str, App],
        wanted: tuple[App, ...],
        tree: Mapping[str, tuple[str, ...]] = changes.NO_GROUPS,
        dropped_groups: tuple[str, ...] = (),
        enforced: Mapping[str, bool] = NO_ROLES_ENFORCED,
    ) -> None:
        """Hold apps that are wanted against the policy, and against all others there are. Raises InvalidApp."""
        known = self.controller.read(lambda state: {found.group_id: found.dependencies for found in state.groups.values()})
        left = {group_id: needs for group_id, needs in known.items() if group_id not in dropped_groups}
        definitions.check_instances(apps, wanted, self.instances_most)
        definitions.check(apps, wanted, self.roles(enforced), {**left, **tree}, known, caller.sees)
        definitions.check_policy(apps, wanted, self.policy)

    def settled(
        self,
        apps: Mapping[str, App],
        wanted: Iterable[App],
        enforced: Mapping[str, bool] = NO_ROLES_ENFORCED,
        *,
        former: bool = False,
    ) -> tuple[App, ...]:
        """Return apps that are wanted with what they keep of those there are, and with a service port for each port.

        ``former``: they are as they were once, with the role that they had then, also where they stated none.
        """
        if not former:
            wanted = tuple(wanted)
            wanted = app_roles.settled(apps, wanted, self.roles(self._enforced(wanted, enforced)))
        return service_ports.assigned(apps, definitions.keeping(apps, wanted), self.service_ports)

    def roles(self, enforced: Mapping[str, bool] = NO_ROLES_ENFORCED) -> Roles:
        """Return the roles that apps may have, with what a request says of groups that enforce theirs."""
        said = dict.fromkeys(self.controller.read(groups.enforcing), True) | dict(enforced)
        return Roles(self.role, self.group_roles, {ids.top(f"{group_id}/") for group_id, yes in said.items() if yes})

    def _enforced(self, wanted: Iterable[App], enforced: Mapping[str, bool], tree: Iterable[str] = ()) -> Mapping[str, bool]:
        """Return what a request says of groups that enforce their role, with the top-level groups that come with it.

        Raises InvalidApp where the role of one of those cannot be enforced.
        """
        if not self.enforces_new:
            return enforced
        tops = {top for path in (*(app.id for app in wanted), *(f"{group_id}/" for group_id in tree)) if (top := ids.top(path))}
        known = self.controller.read(lambda state: state.groups.keys() & {f"/{top}" for top in tops})
        new = [f"/{top}" for top in sorted(tops) if f"/{top}" not in known and f"/{top}" not in enforced]
        roles = Roles(self.role, self.group_roles)
        for group_id in new:
            if app_roles.unenforceable(group_id, roles):
                message = (
                    f"of {group_id}, which is new, is true unless stated (--new-group-enforce-role top), and this scheduler asks "
                    "for no offers for its role: see --group-roles, or make the group first, with enforceRole false"
                )
                raise invalid("/enforceRole", message)
        return {**dict.fromkeys(new, True), **enforced}

    def posted(self, caller: Caller, apps: Iterable[App]) -> None:
        """Tell who follows events that a user put apps, as they are now."""
        wanted = [app.id for app in apps]
        found = self.controller.read(lambda state: [state.apps[app_id] for app_id in wanted if app_id in state.apps])
        now, shared = self.clock(), {"clientIp": caller.address, "uri": caller.uri}
        definition = self._definitions.json
        self.controller.events.publish(
            of_app("api_post_event", now, app.id, **shared, appDefinition=definition(app)) for app in found
        )

    def submit(
        self, caller: Caller, paths: Iterable[str], command: Command, role: Role = Role.DEPLOY, *, stored: bool = False
    ) -> Reply:
        """Have a command carried out that affects the apps ``paths``, for each of which the caller must have the role.

        ``stored``: as with :meth:`Caller.require`.
        """
        caller.require(role, paths, stored=stored)
        return self._submit(caller, command)

    def tried(self, look: Callable[[State], T]) -> T:
        """Return what is read of the state, for a command that is not sent. Raises CommandRefused where that would be refused."""
        try:
            return self.controller.read(look)
        except Refused as refused:
            raise CommandRefused(refused.refusal, str(refused)) from None

    def _submit(self, caller: Caller, command: Command) -> Reply:
        try:
            return self.controller.submit(command)
        except CommandRefused as refused:
            if refused.quota:
                raise self._over_quota(caller, refused.quota, str(refused)) from None
            raise

    def _over_quota(self, caller: Caller, path: str, message: str) -> ApiError:
        """Return the refusal of what a quota does not allow, with who uses it: the apps that the caller may view."""
        found = self.controller.read(lambda state: quota_use.users(state, path, caller.sees))
        return ApiError(422, message + (f"; used by {found}" if found else ""))


def is_app(state: State, name: str) -> bool:
    """Return whether there is an app of this name; a pod is none."""
    found = state.apps.get(name)
    return found is not None and not isinstance(found, Pod)


def deployed(
    reply: Reply, status: int = 200, body: dict[str, Any] | None = None, location: str = "", notices: Iterable[str] = ()
) -> JSONResponse:
    """Answer a command that was carried out. ``notices`` are for the user, and no reason to refuse anything.

    They go into a header: clients of Marathon do not take further fields in a body.
    """
    headers = {DEPLOYMENT_ID: reply.deployment_id} if reply.deployment_id else {}
    if said := _within(notices, NOTICE_CHARACTERS):
        headers[NOTICE] = said
    if location:
        headers["Location"] = location
    content = {"version": reply.version, "deploymentId": reply.deployment_id} if body is None else body
    return JSONResponse(content, status, headers)


def _within(notices: Iterable[str], most: int) -> str:
    """Join notices as far as there is room in a header, which takes printable ASCII: they name what users wrote.

    What stands between two is in none, so that who reads them can tell them apart.
    """
    said = ""
    for text in notices:
        notice = text.replace("; ", ", ").encode("unicode_escape").decode("ascii")
        if len(said) + len(notice) + 2 > most:
            return f"{said}; ..." if said else ""
        said = f"{said}; {notice}" if said else notice
    return said


def unknown_app(app_id: str) -> ApiError:
    return ApiError(404, f"App '{app_id}' does not exist")


def encoded(app_id: str) -> str:
    """Return an id as one part of an address."""
    return app_id.replace("/", SLASH)


def group_of(address: str) -> str | None:
    """Return the group whose apps an address asks for, as in ``shop/*``; None where it is no such address."""
    stem = address.rstrip("/")
    return path_id(stem.rstrip("*"), "Group") if stem == "*" or stem.endswith("/*") else None


def path_id(value: str, what: str = "App") -> str:
    """Read an app's or a group's id from an address, with or without the leading slash."""
    try:
        return ids.absolute("/" + value.replace(SLASH, "/").strip("/"))
    except ValueError:
        raise ApiError(404, f"{what} '{value}' does not exist") from None


async def raw_body(request: Request) -> bytes:
    """Read a whole body of bounded length, in bounded time. Raises ApiError."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise ApiError(413, f"the request is longer than {BODY_BYTES_MAX} bytes: send fewer apps at a time")
    except TimeoutError:
        raise ApiError(408, f"the request's body was not here within {BODY_S:.0f} s: send it faster, or in parts") from None
    except ClientDisconnect:
        # Whoever hears this is the log of changes.
        raise ApiError(400, "the connection ended before the request's body was here") from None
    return bytes(body)


def read_json(body: bytes) -> Any:
    """Read a request's body. Raises ApiError and InvalidApp."""
    try:
        return strict_json.read(body)
    except strict_json.NoJson as error:
        problem = Problem("/", f"the body is no valid JSON: {error}")
        raise ApiError(400, "Invalid JSON", [problem]) from None


#: Read when the change's turn comes: a change that waits costs no more than its size.
Body = Annotated[bytes, Depends(raw_body)]
