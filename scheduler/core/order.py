"""In which order the apps of one deployment take their turns: what is depended on first, and stopped last. Pure.

An app that is started or changed waits for those that it depends on; one that is deleted waits until those that depended on
it are gone. Apps of other deployments are waited for by nobody here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from eratos.marathon import ids


class Order:
    """Which apps of a deployment have to wait. What is asked costs by the app's dependencies, not by the number of apps."""

    def __init__(self, wanted: Mapping[str, Iterable[str]], dropped: Mapping[str, Iterable[str]]) -> None:
        """``wanted`` and ``dropped``: app -> its dependencies, apps or groups; none of them is at rest yet."""
        self._wanted = {app_id: frozenset(needs) for app_id, needs in wanted.items()}
        self._dropped = {app_id: frozenset(needs) for app_id, needs in dropped.items()}
        self._left = {*wanted, *dropped}
        #: app or group -> apps that wait for those in it, and apps in it that are stopped after others
        self._needers: dict[str, list[str]] = {}
        for app_id, places in [*self._wanted.items(), *((app_id, _places(app_id)) for app_id in dropped)]:
            for place in places:
                self._needers.setdefault(place, []).append(app_id)
        #: app or group -> wanted apps in it that are not at rest
        self._below = Counter(place for app_id in wanted for place in _places(app_id))
        #: app or group -> apps on their way out that depend on it
        self._users = Counter(place for needs in self._dropped.values() for place in needs)

    def note(self, app_id: str, *, at_rest: bool) -> set[str]:
        """Note that an app is at rest, or that it is not; return the apps that may wait no longer for that."""
        if (app_id not in self._left) == at_rest:
            return set()
        by = -1 if at_rest else 1
        if app_id in self._dropped:
            places, counts = list(self._dropped[app_id]), self._users
        else:
            places, counts = list(_places(app_id)), self._below
        counts.update(dict.fromkeys(places, by))
        if not at_rest:
            self._left.add(app_id)
            return set()
        self._left.discard(app_id)
        # One that is left may be the waiting app itself.
        return {other for place in places if counts[place] <= 1 for other in self._needers.get(place, ())}

    def waits(self, app_id: str) -> bool:
        """Return whether an app has to wait."""
        own = app_id in self._left
        if app_id in self._dropped:
            needs = self._dropped[app_id]
            return any(self._users[place] > (own and place in needs) for place in _places(app_id))
        return any(self._below[place] > (own and ids.within(app_id, place)) for place in self._wanted.get(app_id, ()))

    def waits_for(self, app_id: str) -> list[str]:
        """Return the apps that an app waits for."""
        if app_id in self._dropped:
            found = (a for a, needs in self._dropped.items() if any(ids.within(app_id, place) for place in needs))
        else:
            needs = self._wanted.get(app_id, ())
            found = (a for a in self._wanted if any(ids.within(a, place) for place in needs))
        return [other for other in found if other in self._left and other != app_id]

    def turns(self) -> tuple[list[list[str]], list[list[str]]]:
        """Return the turns in which apps are dropped and those in which the others come, whatever is at rest by now."""
        return _turns(Order({}, self._dropped), self._dropped), _turns(Order(self._wanted, {}), self._wanted)


def _turns(order: Order, apps: Iterable[str]) -> list[list[str]]:
    left, turns = set(apps), []
    looked_at = set(left)
    while left:
        turn = sorted(app_id for app_id in looked_at if not order.waits(app_id)) or sorted(left)  # a circle, which none may make
        # A chain has a turn for each: to look at all that are left each time would take the square of its length.
        freed = [order.note(app_id, at_rest=True) for app_id in turn]
        turns.append(turn)
        left.difference_update(turn)
        looked_at = set[str]().union(*freed) & left
    return turns


def _places(app_id: str) -> Iterator[str]:
    """Yield an app and each group that it lies in."""
    place = app_id
    while place != "/":
        yield place
        place = ids.parent(place)
    yield "/"
