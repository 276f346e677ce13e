"""Shows what tasks write: one as it is, several with each line under its task's name."""

from __future__ import annotations

import codecs
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from eratos.common import names
from eratos.common.errors import EratosError
from eratos.marathon.client import MarathonClient, Refused, Unreachable

from . import tasks
from .followed import follow as follow_log
from .output import Output
from .tasks import short

#: More lines than this wait nowhere: who writes faster than is read here waits.
_LINES_MAX = 1000
#: A longer line, in bytes, is broken.
_LINE_MAX = 64 * 1024


def tasks_of(client: MarathonClient, name: str) -> list[str]:
    """Return the task that ``name`` is, or the tasks of the app; where none runs, the one that failed last. Raises Refused."""
    (task_id,) = tasks.whole(client, [name])
    if names.parse_task_id(task_id):
        return [task_id]
    try:
        app = client.app(name)
    except Refused as refused:
        if refused.status != 404:
            raise
        return _of_pod(client, name, refused)
    found = [str(task["id"]) for task in app.get("tasks") or ()]
    failed = (app.get("lastTaskFailure") or {}).get("taskId")
    return found or ([str(failed)] if failed else [])


def _of_pod(client: MarathonClient, name: str, unknown: Refused) -> list[str]:
    """Return the instances of a pod that run, or the task of the one that ended last. Raises ``unknown`` where there is none."""
    try:
        status = client.pod_status(name)
    except Refused:
        raise unknown from None
    found = [str(item["id"]) for item in status.get("instances") or () if item["status"] != "PENDING"]
    ended = [
        str(item["containers"][0]["containerId"]) for item in status.get("terminationHistory") or () if item.get("containers")
    ]
    return found or ended[:1]


def opened(
    client: MarathonClient,
    task_ids: Iterable[str],
    tell: Callable[[str], object],
    *,
    stderr: bool,
    tail: int,
    follow: bool,
    container: str = "",
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, Iterator[bytes]]:
    """Open the tasks' logs; ``tell`` gets a line for each without one. Raises Refused where none has one.

    One that is followed is taken up anew where its connection breaks, as by an election.
    """
    found: dict[str, Iterator[bytes]] = {}
    refusals: list[Refused] = []  # each names its task
    one_at_a_time = threading.Lock()  # several logs may be taken up anew together, and the client is for one thread

    def followed(task_id: str) -> Iterator[bytes]:
        def again(position: str, begun: bool) -> tuple[Iterator[bytes], bool]:
            with one_at_a_time:
                lines = 0 if begun else tail
                return client.log_from(task_id, position, stderr=stderr, tail=lines, container=container)

        return follow_log(again("", False), again, lambda text: tell(f"{short(task_id)}: {text}"), sleep)

    for task_id in task_ids:
        try:
            if follow:
                found[task_id] = followed(task_id)
            else:
                found[task_id] = client.logs(task_id, stderr=stderr, tail=tail, container=container)
        except Refused as refused:
            refusals.append(refused)
    if refusals and not found:
        raise refusals[-1]
    for refusal in refusals:
        tell(str(refusal))
    return found


def to_their_end(client: MarathonClient, logs: Mapping[str, Iterator[bytes]], out: Output, *, follow: bool) -> None:
    """Write logs until they end or the user leaves.

    Raises Unreachable where one was cut short, and Refused where that is because our credentials count no more.
    """
    try:
        failures = show(logs, out)
    except KeyboardInterrupt:
        return  # how people leave a log that they followed
    if failures or follow:
        _still_known(client)
    if failures:
        raise Unreachable("; ".join(failures))


def _still_known(client: MarathonClient) -> None:
    """Raise Refused where the API does not believe what it is shown any more: then it ended logs that may go on."""
    try:
        client.info()
    except Refused as refused:
        if refused.status == 401:
            raise Refused(401, f"what we show is not believed any more, as with an expired token: {refused}") from None
    except Unreachable:
        pass  # what is known of the logs says more


def show(logs: Mapping[str, Iterator[bytes]], out: Output) -> list[str]:
    """Write every log to its end, and return a line for each that was cut short."""
    if len(logs) == 1:
        ((task_id, pieces),) = logs.items()
        try:
            for text in _texts(pieces):
                out.raw(text)
        except EratosError as error:
            return [f"{short(task_id)}: {error}"]
        return []
    failures: list[str] = []
    lines: queue.Queue[str | None] = queue.Queue(_LINES_MAX)

    def read(number: int, task_id: str, pieces: Iterator[bytes]) -> None:
        name = out.told_apart(number, short(task_id))
        try:
            for line in _lines(pieces):
                lines.put(f"{name} | {line}\n")
        except EratosError as error:
            failures.append(f"{short(task_id)}: {error}")
        lines.put(None)

    for number, (task_id, pieces) in enumerate(logs.items()):
        threading.Thread(target=read, args=(number, task_id, pieces), daemon=True).start()
    left = len(logs)
    while left:
        line = lines.get()
        if line is None:
            left -= 1
        else:
            out.raw(line)
    return failures


def _texts(pieces: Iterator[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a character may lie in two pieces
    return (decoder.decode(piece) for piece in pieces)


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > _LINE_MAX:
            whole, rest = [*whole, rest], b""
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
