"""``GET /v2/events``: what happens, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Every reader reads from the ring at its own pace, some of it at a time: one that is slow holds nothing up and takes no memory
beyond what is being sent. What it did not read in time is lost to it. It is told so by an ``events_lost_event`` if it is one
that would know: it came back with ``Last-Event-ID``, or asked for that type. Any other is cut off, as Marathon does with slow
readers: it comes back, and looks at everything anew.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from eratos.scheduler.events.event import Event
from eratos.scheduler.events.ring import Entry, Piece, Ring
from eratos.scheduler.events.standing import CLUSTER, OF_NOBODY, OWN

from .accept import JSON, preferred
from .caller import Caller, RoleRoute, Viewer
from .context import Context
from .errors import ApiError, invalid

EVENT_STREAM: Final = "text/event-stream"
LOST: Final = "events_lost_event"
ATTACHED, DETACHED = "event_stream_attached", "event_stream_detached"
#: Of these only who may view everything hears: they name other readers' addresses.
_OF_READERS: Final = frozenset({ATTACHED, DETACHED})

#: An empty line comes as often while nothing happens, as Marathon's does, so that both sides notice a dead connection.
HEARTBEAT_S: Final = 10.0
#: About how much is sent at a time.
PIECE_BYTES: Final = 64 * 1024
#: Pieces that are kept for other readers until the next time that these are woken.
SHARED_MOST: Final = 16
#: Types that one reader may ask for.
TYPES_MOST: Final = 100
#: Readers are told together, the more of them the less often: a reader's turn costs about so much time, and telling all of
#: them may take so large a part of it, up to the longest wait.
TURN_S: Final = 0.0002
SHARE: Final = 0.5
WAIT_MOST_S: Final = 0.25


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["events"], route_class=RoleRoute)
    bells = Bells(ctx.controller.events)

    @routes.get("/v2/events")
    async def follow_events(
        caller: Viewer,
        request: Request,
        event_type: Annotated[list[str], Query()] = [],  # noqa: B006
        plan_format: Annotated[str, Query(alias="plan-format")] = "light",
    ) -> Response:
        if preferred(request.headers.get("accept"), (JSON, EVENT_STREAM)) != EVENT_STREAM:
            raise ApiError(405, f"GET /v2/events is a stream: ask for it with the header Accept: {EVENT_STREAM}")
        if plan_format != "light":
            raise invalid("/plan-format", "must be light, or be left out: plans hold no groups, as since Marathon 1.7")
        if len(event_type) > TYPES_MOST:
            raise invalid("/event_type", f"is given {len(event_type)} times: {TYPES_MOST} are the most")
        events = ctx.controller.events
        last_id = request.headers.get("last-event-id")
        start = events.after(last_id) if last_id else events.now()
        reader = Reader(caller, events, frozenset(event_type), told=last_id is not None or LOST in event_type)
        return StreamingResponse(_frames(ctx, reader, bells, start.position, lost=start.lost), media_type=EVENT_STREAM)

    return routes


class Reader:
    """Whom a stream is for, and what of everything it holds."""

    def __init__(self, caller: Caller, events: Ring, kinds: frozenset[str], *, told: bool) -> None:
        """``kinds``: the types asked for, empty: all. ``told``: it is to be told of what it lost."""
        self._caller = caller
        self._events = events
        self._kinds = kinds
        self._all = caller.sees("/")
        #: What it asks for, if everybody who asks for that gets the same.
        self.place = kinds if self._all else None
        self.told = told
        self.address = caller.address
        #: It is to hear of agents that come and go.
        self.watches = CLUSTER in kinds and self._all

    def read(self, position: int) -> tuple[Piece, bytes]:
        """Return some of what follows a position, and what of it is for the reader, as it is sent."""
        piece = self._events.read(position, PIECE_BYTES)
        frames = [
            f"id: {self._events.id_of(entry.number)}\nevent: {entry.kind}\ndata: ".encode() + document + b"\n\n"
            for entry in piece.entries
            if self._asks_for(entry.kind) and (document := self._shown(entry))
        ]
        return piece, b"".join(frames)

    def _asks_for(self, kind: str) -> bool:
        """Return whether the reader asks for a type: for ours, which clients of Marathon might not know, only by its name."""
        return kind in self._kinds if self._kinds else kind not in OWN

    def _shown(self, entry: Entry) -> bytes:
        """Return an event's document, less what its reader may not view; nothing where that is all of it."""
        if self._all:
            return entry.document
        if entry.kind in _OF_READERS:
            return b""
        if entry.kind in OF_NOBODY:
            return entry.document
        sees = self._caller.sees
        if all(map(sees, entry.apps)):
            return entry.document
        return _narrowed(entry.document, sees) if any(map(sees, entry.apps)) else b""


def _narrowed(document: bytes, sees: Callable[[str], bool]) -> bytes:
    """Return an event of several apps with those actions of its plan that are about apps that may be viewed."""
    found: dict[str, Any] = json.loads(document)
    plan = found.get("plan", {})
    for step in (*plan.get("steps", ()), *([found["currentStep"]] if "currentStep" in found else ())):
        step["actions"] = [action for action in step["actions"] if sees(action.get("app") or action["pod"])]
    found.pop("reason", None)  # it may name others
    return json.dumps(found).encode()


async def _frames(ctx: Context, reader: Reader, bells: Bells, position: int, *, lost: bool) -> AsyncGenerator[bytes, None]:
    """Yield what happens until the reader leaves, or is cut off."""
    events = ctx.controller.events
    bell = bells.join()
    try:
        events.publish([Event(ATTACHED, ctx.clock(), {"remoteAddress": reader.address})])
        if lost and reader.told:
            yield _lost(ctx, None)
        else:
            yield b"\r\n"  # so that the head goes out at once
        while not events.closed:
            news = bell.news()
            piece, frames = bell.shared(reader, position)
            if piece.lost:
                if not reader.told:
                    return
                yield _lost(ctx, piece.lost)
            if frames:
                yield frames
            position = piece.position
            if not piece.entries and not await _came(news):
                if reader.watches:
                    ctx.controller.look_around()
                yield b"\r\n"
    finally:
        bells.leave(bell)
        events.publish([Event(DETACHED, ctx.clock(), {"remoteAddress": reader.address})])


def _lost(ctx: Context, number: int | None) -> bytes:
    """Return the frame that says that events are missing: how many, None where that is not known. It has no id."""
    document = json.dumps(Event(LOST, ctx.clock(), {"lost": number}).document())
    return f"event: {LOST}\ndata: {document}\n\n".encode()


async def _came(news: asyncio.Future[None]) -> bool:
    """Return whether something happened before it is time for a sign of life."""
    await asyncio.wait({news}, timeout=HEARTBEAT_S)
    return news.done()


class Bell:
    """Wakes the readers of one event loop together, not more often than they can take."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._news: asyncio.Future[None] = loop.create_future()
        self._due = False
        self._shared: dict[tuple[int, frozenset[str]], tuple[Piece, bytes]] = {}
        self.readers = 0

    def shared(self, reader: Reader, position: int) -> tuple[Piece, bytes]:
        """Return what follows a position, and what of it is for a reader: the same for all that wake together and ask alike."""
        if reader.place is None:
            return reader.read(position)
        key = position, reader.place
        found = self._shared.get(key)
        if found is None:
            found = reader.read(position)
            if len(self._shared) < SHARED_MOST:
                self._shared[key] = found
        return found

    def news(self) -> asyncio.Future[None]:
        """Return what is done once something has happened from now on."""
        return self._news

    def ring(self) -> None:
        """Have the readers woken soon; from any thread."""
        if not self._due:
            self._due = True
            try:
                self._loop.call_soon_threadsafe(self._wait)
            except RuntimeError:
                pass  # that event loop has ended, and its readers with it

    def _wait(self) -> None:
        self._loop.call_later(min(WAIT_MOST_S, self.readers * TURN_S / SHARE), self._wake)

    def _wake(self) -> None:
        self._due = False
        self._shared.clear()
        woken, self._news = self._news, self._loop.create_future()
        woken.set_result(None)


class Bells:
    """A bell for each event loop that has readers: a server has one, tests have many."""

    def __init__(self, events: Ring) -> None:
        self._lock = threading.Lock()
        self._bells: dict[asyncio.AbstractEventLoop, Bell] = {}
        events.listen(self._ring)

    def join(self) -> Bell:
        """Return the bell of the running event loop, with one reader more."""
        loop = asyncio.get_running_loop()
        with self._lock:
            bell = self._bells.setdefault(loop, Bell(loop))
            bell.readers += 1
            return bell

    def leave(self, bell: Bell) -> None:
        with self._lock:
            bell.readers -= 1
            if not bell.readers:
                self._bells = {loop: kept for loop, kept in self._bells.items() if kept is not bell}

    def _ring(self) -> None:
        with self._lock:
            bells = tuple(self._bells.values())
        for bell in bells:
            bell.ring()
