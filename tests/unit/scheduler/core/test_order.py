"""Which apps of a deployment have to wait for others, by table, and in which turns they come."""

from __future__ import annotations

import random

import pytest

from eratos.scheduler.core.order import Order

Needs = dict[str, tuple[str, ...]]


@pytest.mark.parametrize(
    ("wanted", "dropped", "at_rest", "waiting"),
    [
        ({"/a": (), "/b": ()}, {}, "", ""),
        # what is depended on comes first
        ({"/db": (), "/web": ("/db",)}, {}, "", "/web"),
        ({"/db": (), "/web": ("/db",)}, {}, "/db", ""),
        # who is in no part of the deployment is waited for by nobody
        ({"/web": ("/db",)}, {}, "", ""),
        # a group stands for every app in it, at any depth, and never for the app that names it
        ({"/db/one": (), "/db/x/two": (), "/web": ("/db",)}, {}, "/db/one", "/web"),
        ({"/db/one": (), "/db/x/two": (), "/web": ("/db",)}, {}, "/db/one /db/x/two", ""),
        ({"/g/a": (), "/g/b": ("/g",)}, {}, "", "/g/b"),
        ({"/g/a": (), "/g/b": ("/g",)}, {}, "/g/a", ""),
        ({"/dbx": (), "/web": ("/db",)}, {}, "", ""),
        # a chain
        ({"/a": (), "/b": ("/a",), "/c": ("/b",)}, {}, "", "/b /c"),
        ({"/a": (), "/b": ("/a",), "/c": ("/b",)}, {}, "/a", "/c"),
        # named twice, or by its group as well, it counts once
        ({"/g/db": (), "/web": ("/g", "/g/db", "/g")}, {}, "/g/db", ""),
        # stops go the other way round
        ({}, {"/db": (), "/web": ("/db",)}, "", "/db"),
        ({}, {"/db": (), "/web": ("/db",)}, "/web", ""),
        ({}, {"/db/one": (), "/web": ("/db", "/db")}, "/web", ""),
        ({}, {"/g/db": (), "/g/web": ("/g",)}, "", "/g/db"),
        # starts and stops do not wait for each other
        ({"/web": ("/db",)}, {"/db": ()}, "", ""),
        ({"/db": ()}, {"/web": ("/db",)}, "", ""),
    ],
)
def test_who_waits(wanted: Needs, dropped: Needs, at_rest: str, waiting: str) -> None:
    order = Order(wanted, dropped)
    for app_id in at_rest.split():
        order.note(app_id, at_rest=True)
        order.note(app_id, at_rest=True)  # said twice it counts once
    assert [app_id for app_id in (*wanted, *dropped) if order.waits(app_id)] == waiting.split()
    assert [bool(order.waits_for(app_id)) for app_id in (*wanted, *dropped)] == [
        order.waits(app_id) for app_id in (*wanted, *dropped)
    ]
    for app_id in at_rest.split():
        order.note(app_id, at_rest=False)
    fresh = Order(wanted, dropped)
    assert all(order.waits(app_id) == fresh.waits(app_id) for app_id in (*wanted, *dropped))
    for app_id in at_rest.split():
        order.note(app_id, at_rest=True)  # and once more
    assert [app_id for app_id in (*wanted, *dropped) if order.waits(app_id)] == waiting.split()


@pytest.mark.parametrize(
    ("wanted", "dropped", "at_rest", "freed"),
    [
        ({"/db": (), "/web": ("/db",)}, {}, "/db", "/web"),
        ({"/db/1": (), "/db/2": (), "/web": ("/db",)}, {}, "/db/1 /db/2", "/web"),
        # of three that it waits for one is at rest
        ({"/db/1": (), "/db/2": (), "/db/3": (), "/web": ("/db",)}, {}, "/db/1", ""),
        # the one that is left is the waiting app itself
        ({"/g/a": (), "/g/b": ("/g",)}, {}, "/g/a", "/g/b"),
        ({}, {"/db": (), "/web": ("/db",)}, "/web", "/db"),
        ({"/a": (), "/b": ()}, {}, "/a", ""),
    ],
)
def test_who_may_wait_no_longer_is_named(wanted: Needs, dropped: Needs, at_rest: str, freed: str) -> None:
    order = Order(wanted, dropped)
    found: set[str] = set()
    for app_id in at_rest.split():
        found = order.note(app_id, at_rest=True)
    assert {app_id for app_id in found if not order.waits(app_id)} == set(freed.split())
    assert found == set(freed.split())


def test_who_is_waited_for_is_named() -> None:
    order = Order({"/db/one": (), "/db/two": (), "/web": ("/db",)}, {})
    order.note("/db/one", at_rest=True)
    assert order.waits_for("/web") == ["/db/two"]


def test_turns_follow_the_longest_path_and_stops_go_backwards() -> None:
    apps: Needs = {"/web": ("/db", "/queue"), "/db": (), "/queue": ("/db",), "/other": ()}
    assert Order(apps, {}).turns() == ([], [["/db", "/other"], ["/queue"], ["/web"]])
    assert Order({}, apps).turns() == ([["/other", "/web"], ["/queue"], ["/db"]], [])


def test_turns_do_not_change_what_is_at_rest_and_a_circle_ends() -> None:
    order = Order({"/a": ("/b",), "/b": ("/a",), "/c": ()}, {})
    order.note("/c", at_rest=True)
    assert order.turns() == ([], [["/c"], ["/a", "/b"]])
    assert order.waits("/a") and order.waits("/b")


def test_a_chain_is_put_into_turns_without_looking_at_all_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five thousand apps, each of which waits for the next, took ten seconds with the state locked."""
    looks = []
    waits = Order.waits
    monkeypatch.setattr(Order, "waits", lambda self, app_id: looks.append(app_id) or waits(self, app_id))
    chain: Needs = {f"/a{number}": (f"/a{number - 1}",) if number else () for number in range(300)}
    for wanted, dropped in ((chain, {}), ({}, chain)):
        looks.clear()
        out, into = Order(wanted, dropped).turns()
        assert [len(turn) for turn in out or into] == [1] * 300
        assert len(looks) <= 3 * 300


def test_turns_are_those_of_who_looks_at_everything() -> None:
    chance = random.Random(5)
    names = [f"/{group}{name}" for group in ("", "g/", "g/h/", "k/") for name in "abc"]
    for _ in range(200):
        apps: Needs = {
            name: tuple(chance.sample([*names, "/g", "/g/h", "/k"], chance.choice((0, 0, 1, 1, 2))))
            for name in chance.sample(names, chance.randint(1, len(names)))
        }
        for wanted, dropped in ((apps, {}), ({}, apps)):
            order, left, expected = Order(wanted, dropped), sorted(apps), []
            while left:
                turn = [app_id for app_id in left if not order.waits(app_id)] or left
                for app_id in turn:
                    order.note(app_id, at_rest=True)
                expected.append(turn)
                left = [app_id for app_id in left if app_id not in turn]
            out, into = Order(wanted, dropped).turns()
            assert (out or into) == expected, apps
