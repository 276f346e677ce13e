"""``/v2/groups``: many apps at once, as a tree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from eratos.marathon import ids, strict_json
from eratos.marathon.app import App
from eratos.marathon.group import Group
from eratos.marathon.pydantic_errors import kind
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import groups, versions
from eratos.scheduler.core.changes import NO_GROUPS
from eratos.scheduler.core.events import DeleteApps, PutApps
from eratos.scheduler.core.records import GroupRecord, VersionRecord
from eratos.scheduler.core.state import State

from . import app_roles, definitions, notices, render
from .answers import Json
from .apps import Embed, shown_apps
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import NO_ROLES_ENFORCED, Body, Context, deployed, path_id, read_json
from .errors import ApiError, invalid


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/groups", tags=["groups"], route_class=RoleRoute)

    @routes.get("/apps")
    @routes.get("/{group_id:path}/apps")
    def list_group_apps(caller: Viewer, group_id: str = "", embed: Embed = []) -> JSONResponse:  # noqa: B006
        name = path_id(group_id, "Group")
        if not caller.identity.sees_within(name):
            caller.require(Role.VIEW, (name,))
        wanted = render.embeds([item for item in embed if item.startswith("group.apps.")], frozenset())
        return Json(shown_apps(ctx, caller, lambda app: ids.within(app.id, name) and app.id != name, wanted))

    @routes.get("/versions")
    @routes.get("/{group_id:path}/versions")
    def list_group_versions(caller: Viewer, group_id: str = "") -> JSONResponse:
        name = path_id(group_id, "Group")
        below = ctx.require_group(caller, name)
        seen = [app_id for app_id in ctx.seen(caller) if _inside(app_id, name)]
        return JSONResponse(ctx.controller.read(lambda state: versions.of_group(state, seen, below)))

    @routes.get("/versions/{version:version}")
    @routes.get("/{group_id:path}/versions/{version:version}")
    def show_group_version(caller: Viewer, version: str, group_id: str = "", embed: Embed = []) -> JSONResponse:  # noqa: B006
        name = path_id(group_id, "Group")
        below = ctx.require_group(caller, name)
        seen = [app_id for app_id in ctx.seen(caller) if _inside(app_id, name)]
        found = [render.Look(versions.read(kept), {}, "", [], None, kept) for kept in _former(ctx, seen, below, name, version)]
        there = [replace(group, dependencies=needs) for group, needs in _needs_then(below, version)]
        shown = render.group(sorted(found, key=lambda look: look.app.id), there, name, frozenset(), _parts(embed), ctx.view())
        return Json({**shown, "version": version})

    @routes.get("")
    @routes.get("/{group_id:path}")
    def show_group(caller: Viewer, group_id: str = "", embed: Embed = []) -> JSONResponse:  # noqa: B006
        of_apps = render.embeds([item for item in embed if item.startswith("group.apps.")], render.LIST_EMBEDS)
        return Json(_shown(ctx, caller, path_id(group_id, "Group"), of_apps, _parts(embed)))

    @routes.post("")
    @routes.post("/{group_id:path}")
    @ctx.change
    def create_group(caller: Deployer, body: Body, group_id: str = "", force: bool = False) -> JSONResponse:
        group = Group.parse(read_json(body), path_id(group_id, "Group"))
        apps, known = ctx.apps(), _known(ctx)
        tree = _tree(group, known)
        enforced = _enforced(ctx, group)
        caller.require(Role.DEPLOY, _affected(group.apps(), tree, known, enforced) or [group.id])
        if group.id in apps:
            raise ApiError(409, f"An app with the path {group.id} already exists.")
        if group.id in known or (group.id == "/" and (apps or known)):
            raise ApiError(409, f"Group {group.id} is already created. Use PUT to change this group.")
        wanted = ctx.settled(apps, group.apps(), enforced)
        _check_enforced(apps, known, wanted, (), enforced)
        reply = ctx.put(caller, apps, wanted, force=force, create_only=True, tree=tree, enforced=enforced)
        said = [*notices.of_group(group), *notices.of_changed(apps, wanted, ctx.seen(caller))]
        return deployed(reply, 201, location=group.id, notices=said)

    @routes.put("")
    @routes.put("/{group_id:path}")
    @ctx.change
    def put_group(
        caller: Deployer,
        body: Body,
        group_id: str = "",
        force: bool = False,
        dryRun: bool = False,  # noqa: N803
    ) -> JSONResponse:
        return _put(ctx, caller, read_json(body), path_id(group_id, "Group"), force=force, dry_run=dryRun)

    @routes.patch("/{group_id:path}")
    @ctx.change
    def patch_group(caller: Deployer, body: Body, group_id: str) -> Response:
        name = path_id(group_id, "Group")
        caller.require(Role.DEPLOY, (name,))
        enforced = _patched(ctx, name, read_json(body))
        ctx.require_group(caller, name)
        if enforced is not None:
            ctx.submit(caller, (name,), PutApps((), enforced={name: enforced}))
        return Response()

    @routes.delete("")
    @routes.delete("/{group_id:path}")
    @ctx.change
    def delete_group(caller: Deployer, group_id: str = "", force: bool = False) -> JSONResponse:
        name = path_id(group_id, "Group")
        caller.require(Role.DEPLOY, (name,))
        if name == "/" and not force:
            raise ApiError(422, "this would delete every app there is: add ?force=true if that is meant")
        apps, known = ctx.apps(), _known(ctx)
        if name not in known and name != "/":
            raise ApiError(404, f"Group '{name}' does not exist")
        doomed = tuple(sorted(app_id for app_id in apps if _inside(app_id, name)))
        below = tuple(group_id for group_id in known if ids.within(group_id, name))
        return deployed(ctx.submit(caller, doomed, DeleteApps(doomed, force, below)))

    return routes


def _put(ctx: Context, caller: Caller, document: Any, base: str, *, force: bool, dry_run: bool) -> JSONResponse:
    apps, known = ctx.apps(), _known(ctx)
    version = _version(document)
    asked = _back(ctx, apps, known, document, base, version) if version else _wanted(ctx, apps, known, document, base)
    affected = [*_affected(asked.apps, asked.tree, known, asked.enforced), *asked.dropped, *asked.dropped_groups]
    caller.require(
        Role.DEPLOY, affected or [base], stored=bool(asked.dropped or asked.dropped_groups or (asked.kept and affected))
    )
    wanted = ctx.settled(apps, asked.apps, asked.enforced, former=bool(version))
    _check_enforced(apps, known, wanted, asked.dropped, asked.enforced)
    if dry_run:
        return ctx.plan(caller, wanted, asked.dropped, asked.tree, asked.dropped_groups, asked.enforced)
    reply = ctx.put(
        caller,
        apps,
        wanted,
        force=force,
        dropped=asked.dropped,
        tree=asked.tree,
        dropped_groups=asked.dropped_groups,
        enforced=asked.enforced,
    )
    return deployed(reply, notices=[*asked.said, *notices.of_changed(apps, wanted, ctx.seen(caller))])


def _parts(embed: list[str]) -> frozenset[str]:
    return frozenset(embed) & render.GROUP_PARTS if embed else render.GROUP_PARTS


def _shown(ctx: Context, caller: Caller, name: str, embed: frozenset[str], parts: frozenset[str]) -> dict[str, Any]:
    """Return a group as its caller may view it. Raises ApiError."""
    below = ctx.require_group(caller, name)

    def look(state: State) -> list[render.Look]:
        inside = (a for a in state.apps.values() if _inside(a.id, name) and caller.sees(a.id))
        return render.look(state, inside, embed)

    found = sorted(ctx.controller.read(look), key=lambda seen: seen.app.id)
    return render.group(found, below, name, embed, parts, ctx.view())


def _patched(ctx: Context, name: str, body: Any) -> bool | None:
    """Return what a change of a group's settings says of ``enforceRole``, the only one; None: nothing. Raises InvalidApp."""
    if name.count("/") != 1 or name == "/":
        raise invalid("/id", f"is {name}: settings are those of top-level groups, such as /shop")
    if not isinstance(body, dict):
        raise invalid("/", f'must be an object such as {{"enforceRole": false}}, not {kind(body)}')
    for field, value in body.items():
        if field != "enforceRole":
            raise invalid(f"/{strict_json.shortened(field)}", "cannot be changed in this way: enforceRole can, the rest by a PUT")
        if value is not None and not isinstance(value, bool):
            raise invalid("/enforceRole", f"must be true or false, not {kind(value)}")
    enforced: bool | None = body.get("enforceRole")
    if enforced and (why := app_roles.unenforceable(name, ctx.roles())):
        raise invalid("/enforceRole", why)
    return enforced


def _enforced(ctx: Context, group: Group) -> dict[str, bool]:
    """Return the groups of a document of which it says whether they enforce their role. Raises InvalidApp."""
    found = {one.id: one.enforce_role for one in group.all() if one.enforce_role is not None}
    roles = ctx.roles()
    for group_id, yes in found.items():
        if yes and (why := app_roles.unenforceable(group_id, roles)):
            raise invalid("/enforceRole", f"of {group_id} {why}")
    return found


def _check_enforced(
    apps: Mapping[str, App],
    known: Mapping[str, GroupRecord],
    wanted: Iterable[App],
    dropped: Collection[str],
    enforced: Mapping[str, bool],
) -> None:
    """Refuse to change whether a group that is there enforces its role together with its apps, as Marathon does (Group.scala)."""
    turned = [group_id for group_id, yes in enforced.items() if group_id in known and known[group_id].enforces != yes]
    if turned and (dropped or any(_changes(apps.get(app.id), app) for app in wanted)):
        message = (
            f"of {turned[0]} cannot be changed together with apps: do so in a request of its own, such as a PATCH of the group"
        )
        raise invalid("/enforceRole", message)


def _changes(existing: App | None, app: App) -> bool:
    return existing is None or not existing.same_definition(app) or existing.instances != app.instances


class _Asked(NamedTuple):
    """What a PUT of a group asks for."""

    apps: tuple[App, ...]  #: to store
    dropped: tuple[str, ...] = ()  #: apps to delete
    said: tuple[str, ...] = ()  #: of the document
    tree: Mapping[str, tuple[str, ...]] = NO_GROUPS  #: groups to keep, and what they depend on
    dropped_groups: tuple[str, ...] = ()
    enforced: Mapping[str, bool] = NO_ROLES_ENFORCED  #: groups of which the document says whether they enforce their role
    kept: bool = False  #: whether the apps are those that are stored, which the request does not name


def _known(ctx: Context) -> dict[str, GroupRecord]:
    return ctx.controller.read(lambda state: dict(state.groups))


def _tree(group: Group, known: Mapping[str, GroupRecord]) -> dict[str, tuple[str, ...]]:
    """Return the groups of a document, and what each depends on: what it did where the document does not say."""

    def kept(group_id: str) -> tuple[str, ...]:
        return known[group_id].dependencies if group_id in known else ()

    found = {one.id: one.dependencies if one.dependencies is not None else kept(one.id) for one in group.all()}
    return {group_id: needs for group_id, needs in found.items() if needs or group_id != "/" or group_id in known}


def _affected(
    apps: Iterable[App], tree: Mapping[str, tuple[str, ...]], known: Mapping[str, GroupRecord], enforced: Mapping[str, bool]
) -> list[str]:
    """Return the apps of a document and the groups that change by it, but for those that only come with their apps."""
    app_ids = [app.id for app in apps]
    around = {group_id for app_id in app_ids for group_id in groups.around(app_id)}
    before = {group_id: found.dependencies for group_id, found in known.items()} | dict.fromkeys(around - known.keys(), ())
    turned = (group_id for group_id, yes in enforced.items() if yes != (group_id in known and known[group_id].enforces))
    return [*app_ids, *(group_id for group_id, needs in tree.items() if before.get(group_id) != needs), *turned]


def _below(known: Mapping[str, GroupRecord], group_id: str) -> list[GroupRecord]:
    """Return a group and those in it, each after the one that holds it."""
    return [known[found] for found in sorted(known) if ids.within(found, group_id)]


def _inside(app_id: str, group_id: str) -> bool:
    return ids.within(app_id, group_id) and app_id != group_id


def _former(ctx: Context, app_ids: list[str], below: list[GroupRecord], name: str, version: str) -> list[VersionRecord]:
    """Return the apps of a group as they were in one of its versions. Raises ApiError where that is not kept.

    Apps that were deleted since are not in it: nothing is kept of them.
    """

    def look(state: State) -> list[VersionRecord] | None:
        if version not in versions.of_group(state, app_ids, below):
            return None
        found = (versions.at(state.versions.get(app_id, {}), version) for app_id in app_ids)
        return [kept for kept in found if kept is not None]

    found = ctx.controller.read(look)
    if found is None:
        raise ApiError(404, f"Group '{name}' does not exist in version {version}")
    return found


def _needs_then(below: Iterable[GroupRecord], version: str) -> Iterator[tuple[GroupRecord, tuple[str, ...]]]:
    """Yield the groups that there were in a version of one of them, and what they depended on then."""
    return ((group, groups.needs_at(group, version)) for group in below if group.made <= version)


def _given(body: Any) -> set[str]:
    """Return the fields of a document that say something, but for its id."""
    return {key for key, value in body.items() if value is not None} - {"id"} if isinstance(body, dict) else set()


def _named(known: Mapping[str, GroupRecord], body: dict[str, Any], base: str) -> str:
    """Return the group that a document is about. Raises InvalidApp, and ApiError where it is not there."""
    try:
        name = ids.absolute(str(body.get("id") or ""), base)
    except ValueError as error:
        raise invalid("/id", str(error)) from None
    if name not in known and name != "/":
        raise ApiError(404, f"Group '{name}' does not exist")
    return name


def _version(body: Any) -> str:
    """Return the version that a group is to go back to, where a PUT asks for nothing else; else nothing. Raises InvalidApp."""
    given = _given(body)
    if given != {"version"}:
        return ""
    if not isinstance(body["version"], str):
        raise invalid("/version", f"must be a version such as 2026-01-31T12:00:00.123Z, not {kind(body['version'])}")
    return body["version"]


def _back(
    ctx: Context, apps: dict[str, App], known: dict[str, GroupRecord], body: dict[str, Any], base: str, version: str
) -> _Asked:
    """Return what it means to have a group as it was: apps that came later are deleted, groups stay, with what they needed."""
    name = _named(known, body, base)
    inside, below = sorted(app_id for app_id in apps if _inside(app_id, name)), _below(known, name)
    wanted = tuple(versions.read(kept) for kept in _former(ctx, inside, below, name, version))
    there = {app.id for app in wanted}
    needs = {group.group_id: then for group, then in _needs_then(below, version) if then != group.dependencies}
    return _Asked(wanted, tuple(app_id for app_id in inside if app_id not in there), tree=needs, kept=True)


def _wanted(ctx: Context, apps: dict[str, App], known: dict[str, GroupRecord], body: Any, base: str) -> _Asked:
    given = _given(body)
    if given == {"scaleBy"}:
        name = _named(known, body, base)
        scaled = definitions.scaled((app for app_id, app in apps.items() if _inside(app_id, name)), body["scaleBy"])
        return _Asked(scaled, kept=True)
    if "version" in given and body["version"] is not None:
        raise invalid("/version", "goes alone, as it asks for the group as it was then: leave it out, or all others but id")
    group = Group.parse(body, base)
    dropped = tuple(sorted(definitions.dropped(apps, group)))
    groups_gone = tuple(definitions.dropped_groups(known, group))
    said = tuple(notices.of_group(group))
    return _Asked(group.apps(), dropped, said, _tree(group, known), groups_gone, _enforced(ctx, group))
