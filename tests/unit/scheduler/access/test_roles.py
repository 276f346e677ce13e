"""Who may do what: roles hold the ones before them, and end at their path."""

from __future__ import annotations

import pytest

from eratos.scheduler.access.roles import ANYBODY, Grant, Identity, Role


def identity(*grants: str) -> Identity:
    return Identity("somebody", tuple(map(Grant.parse, grants)))


@pytest.mark.parametrize(
    ("grants", "role", "path", "may"),
    [
        (["view:/"], Role.VIEW, "/shop/cart", True),
        (["view:/"], Role.DEPLOY, "/shop/cart", False),
        (["view"], Role.VIEW, "/", True),
        (["deploy:/shop"], Role.DEPLOY, "/shop/cart", True),
        (["deploy:/shop"], Role.DEPLOY, "/shop", True),
        (["deploy:/shop"], Role.VIEW, "/shop/cart", True),
        (["deploy:/shop"], Role.DEPLOY, "/shopping", False),
        (["deploy:/shop"], Role.DEPLOY, "/", False),
        (["deploy:/shop"], Role.VIEW, "/other", False),
        (["deploy:/shop"], Role.OPERATE, "/shop", False),
        (["view:/", "deploy:/shop"], Role.VIEW, "/other", True),
        (["view:/", "deploy:/shop"], Role.DEPLOY, "/other", False),
        (["operate:/"], Role.OPERATE, "/", True),
        (["operate:/shop"], Role.OPERATE, "/", False),
    ],
)
def test_what_somebody_may_do(grants: list[str], role: Role, path: str, may: bool):
    assert identity(*grants).may(role, path) is may


def test_where_nobody_is_asked_everybody_may_everything():
    assert all(ANYBODY.may(role) for role in Role)


@pytest.mark.parametrize(
    ("path", "sees"), [("/", True), ("/shop", True), ("/shop/cart", True), ("/shopping", False), ("/other", False)]
)
def test_a_group_is_shown_where_something_in_it_is(path: str, sees: bool):
    assert identity("view:/shop").sees_within(path) is sees


@pytest.mark.parametrize(
    ("text", "words"),
    [("admin:/", "use view, deploy, operate"), ("view:/UPPER", "no valid name"), ("view:/a/../..", "above"), ("", "no role")],
)
def test_a_grant_that_makes_no_sense_is_refused(text: str, words: str):
    with pytest.raises(ValueError, match=words):
        Grant.parse(text)
