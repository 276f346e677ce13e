"""The latest events: numbers, positions, room."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eratos.scheduler.events.event import Event, of_app
from eratos.scheduler.events.ring import Ring


def event(number: int, size: int = 0) -> Event:
    return of_app("status_update_event", 1.5, "/a", n=number, fill="x" * size)


def numbers(ring: Ring, position: int, bytes_most: int = 10**9) -> list[int]:
    return [json.loads(entry.document)["n"] for entry in ring.read(position, bytes_most).entries]


def test_an_event_has_its_type_and_time_in_it() -> None:
    ring = Ring()
    ring.publish([event(1)])
    (entry,) = ring.read(1, 1000).entries
    assert json.loads(entry.document) == {
        "n": 1,
        "fill": "",
        "eventType": "status_update_event",
        "timestamp": "1970-01-01T00:00:01.500Z",
    }
    assert (entry.kind, entry.apps) == ("status_update_event", {"/a"})


def test_the_latest_event_about_something_is_found() -> None:
    ring = Ring()
    ring.publish([event(1), event(2), of_app("other_event", 1.5, "/a", n=2, more=True)])
    assert json.loads(ring.last("status_update_event", b'"n":2') or b"")["fill"] == ""
    assert json.loads(ring.last("status_update_event", b"fill") or b"")["n"] == 2
    assert ring.last("status_update_event", b'"n":3') is None


def test_a_reader_goes_on_where_it_was() -> None:
    ring = Ring(mark="m")
    ring.publish(map(event, range(1, 6)))
    assert numbers(ring, ring.after("m-3").position) == [4, 5]
    assert numbers(ring, ring.now().position) == []
    ring.publish([event(6)])
    assert numbers(ring, ring.after("m-5").position) == [6]
    piece = ring.read(7, 1000)
    assert (piece.entries, piece.position, piece.lost) == ([], 7, 0)


@pytest.mark.parametrize("last_id", ["other-3", "m-99", "m-", "m", "", "m-x", "m--1", "m-3.0", "m-" + "9" * 30, "m-٣"])
def test_an_id_of_elsewhere_leads_to_the_oldest_and_says_that_something_is_lost(last_id: str) -> None:
    ring = Ring(events_most=3, mark="m")
    ring.publish(map(event, range(1, 6)))
    start = ring.after(last_id)
    assert start.lost
    assert numbers(ring, start.position) == [3, 4, 5]


def test_what_found_no_room_is_counted_as_lost() -> None:
    ring = Ring(events_most=3, mark="m")
    ring.publish(map(event, range(1, 11)))
    start = ring.after("m-4")
    assert not start.lost
    piece = ring.read(start.position, 10**6)
    assert (piece.lost, [entry.number for entry in piece.entries], piece.position) == (3, [8, 9, 10], 11)
    assert ring.read(piece.position, 10**6).lost == 0


def test_room_is_bounded_in_bytes_too_and_the_latest_is_kept_whatever_its_size() -> None:
    ring = Ring(bytes_most=2500)
    ring.publish(event(number, 900) for number in range(1, 10))
    assert numbers(ring, 1) == [8, 9]
    ring.publish([event(10, 10_000)])
    assert numbers(ring, 1) == [10]
    ring.publish([event(11)])
    assert numbers(ring, 1) == [11]


def test_a_piece_is_about_as_large_as_asked_for_and_never_empty() -> None:
    ring = Ring()
    ring.publish(event(number, 900) for number in range(1, 6))
    assert numbers(ring, 1, 1) == [1]
    assert numbers(ring, 2, 1500) == [2, 3]


@given(st.integers(1, 8), st.lists(st.integers(1, 5), max_size=12), st.integers(1, 400))
def test_whoever_reads_on_gets_each_event_that_is_kept_once_and_in_order(most: int, batches: list[int], size: int) -> None:
    ring, position, seen, lost, published = Ring(events_most=most), 1, [], 0, 0
    for batch in batches:
        ring.publish(event(published + number + 1) for number in range(batch))
        published += batch
        piece = ring.read(position, size)
        seen += [entry.number for entry in piece.entries]
        lost, position = lost + piece.lost, piece.position
    while piece_left := ring.read(position, size).entries:
        seen += [entry.number for entry in piece_left]
        position = ring.read(position, size).position
    assert seen == sorted(set(seen))
    assert len(seen) + lost == published


def test_listeners_hear_of_each_change_and_of_the_end() -> None:
    ring, heard = Ring(), []
    ring.listen(lambda: heard.append(ring.closed))
    ring.publish([event(1)])
    ring.publish([])
    ring.close()
    assert heard == [False, True]


def test_many_threads_publish_and_no_number_is_given_twice() -> None:
    ring = Ring(events_most=10_000)
    threads = [threading.Thread(target=lambda: [ring.publish([event(1)]) for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.number for entry in ring.read(1, 10**9).entries] == list(range(1, 1601))
