"""Which Mesos role an app may have: the default one, or that of its top-level group (Marathon's docs/docs/multirole.md). Pure.

A group that enforces its role gives it to each app that comes to it, and to those that are there once they ask for it. What is
there and says nothing of its role keeps the one that it has, so that no change of a group moves a task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.errors import Problem


@dataclass(frozen=True, slots=True)
class Roles:
    """What offers come for, and which top-level groups enforce their role, by name."""

    default: str = "*"
    others: Collection[str] = ()
    enforcing: Collection[str] = ()

    def __contains__(self, role: object) -> bool:
        return role == self.default or role in self.others


def settled(apps: Mapping[str, App], wanted: Iterable[App], roles: Roles) -> tuple[App, ...]:
    """Return apps that are wanted, each with its role where it states none. To state the default one is no change of it."""
    return tuple(_settled(apps.get(app.id), app, roles) for app in wanted)


def _settled(existing: App | None, app: App, roles: Roles) -> App:
    if existing is None:
        group = ids.top(app.id)
        return app.with_role(group) if app.role is None and group in roles.enforcing else app
    if app.role is None:
        return app.with_role(existing.role) if existing.role in roles else app
    same = {app.role, existing.role} == {None, roles.default}
    return app.with_role(existing.role) if same else app


def problems(existing: App | None, app: App, roles: Roles) -> Iterator[Problem]:
    """Yield what is wrong with the roles of an app that is new or changed."""
    role, group = app.role or roles.default, ids.top(app.id)
    kept = existing is not None and role == (existing.role or roles.default)
    if role not in roles:
        yield Problem("/role", _not_offered(role, group, roles))
    elif group in roles.enforcing and role != group and not kept:
        yield Problem("/role", f"got {role}, expected one of: [{group}], as the group /{group} enforces its role (enforceRole)")
    elif role not in (roles.default, group) and not kept:
        others = f" or {group}, that of its own," if group in roles.others else ""
        message = f"is {role}, that of another group: must be {roles.default}, the scheduler's own,{others} or left out"
        yield Problem("/role", message)
    possible = {"*", role if role in roles else roles.default}
    unknown = sorted({*app.accepted_resource_roles} - possible)
    if unknown:
        both = " and ".join(sorted(possible))
        message = f"holds {', '.join(unknown)}: it is offered resources of {both}; name these, or leave it out"
        yield Problem("/acceptedResourceRoles", message)


def _not_offered(role: str, group: str, roles: Roles) -> str:
    if role == group:
        return f"is {role}, for which this scheduler asks for no offers: leave it out, or see the scheduler's --group-roles"
    return f"must be {roles.default}, the scheduler's own role, or be left out"


def unenforceable(group_id: str, roles: Roles) -> str:
    """Return why a top-level group's role cannot be enforced, or an empty text."""
    role = group_id.removeprefix("/")
    return "" if role in roles else f"is refused: this scheduler asks for no offers for the role {role}: see its --group-roles"
