"""Slots: a bound over all, a smaller one for each key, and nobody waits who has given up."""

from __future__ import annotations

import threading

from support.waiting import until

from eratos.executor.slots import FairSlots


class Holder:
    """Somebody who holds a slot until let go."""

    def __init__(self, slots: FairSlots, *keys: str) -> None:
        self.inside = threading.Event()
        self.given_up = False
        self.had: bool | None = None
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._hold, args=(slots, keys))
        self._thread.start()

    def _hold(self, slots: FairSlots, keys: tuple[str, ...]) -> None:
        with slots.one(keys, lambda: self.given_up) as had:
            self.had = had
            self.inside.set()
            self._leave.wait(20)

    def leave(self) -> None:
        self._leave.set()
        self._thread.join()


def test_one_key_leaves_room_for_others():
    slots = FairSlots(3, 2)
    slow = [Holder(slots, "slow") for _ in range(3)]
    until(lambda: sum(holder.inside.is_set() for holder in slow) == 2, 10, "two of them are in")
    other = Holder(slots, "other")
    assert other.inside.wait(60)
    assert sum(holder.inside.is_set() for holder in slow) == 2
    next(holder for holder in slow if holder.inside.is_set()).leave()
    until(lambda: all(holder.inside.is_set() for holder in slow), 10, "the third follows")
    for holder in (*slow, other):
        holder.leave()


def test_all_together_are_bounded():
    slots = FairSlots(2, 2)
    holders = [Holder(slots, str(number)) for number in range(3)]
    until(lambda: sum(holder.inside.is_set() for holder in holders) == 2, 10, "two are in")
    waiting = next(holder for holder in holders if not holder.inside.is_set())
    waiting.given_up = True
    assert waiting.inside.wait(60)
    assert waiting.had is False
    for holder in holders:
        holder.leave()
    with slots.one({"a", "b"}) as had:
        assert had
