"""Runs tasks as processes of the host: performs the machine's actions as the package ``docker`` does, for tasks without an image.

A task is a session of its own, in a folder of its own below the executor's sandbox, with its output in another that it cannot
write to; its "container" is a keeper with all that is below it (:mod:`keeper`). Nothing limits what they take: Mesos may
limit the executor with all of them together, where the agent isolates by cgroups. They outlive an executor that was killed, but
nobody adopts them: the next executor finds them by the mark that the keeper carries and ends them (:mod:`table`).
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from eratos.common import names
from eratos.common.errors import PermanentError, TemporaryError
from eratos.common.log import fields

from .. import ports, secret_store
from ..core import actions as do
from ..core import events as on
from ..core.host import Host
from ..core.ownership import Mark
from ..core.usage import Reading
from ..fetch_rules import FetchRules
from ..fetcher import Account, Fetches
from ..played_host import PlayedHost
from ..runtimes import NO_VARIABLES, ContainerAction
from ..sandbox_files import place
from ..secret_store import NoSecrets, Secrets
from ..work_queue import Urgency, WorkQueue
from . import table
from .keeper import Keeper
from .logs import STREAMS, LogPump, last_lines, output_file
from .spawner import Spawner

log = logging.getLogger(__name__)

THREADS = 4
LISTING_S = 10.0
LOG_TAIL_LINES = 20
#: After the last process of a task has ended, its output is waited for no longer than this.
_OUTPUT_S = 1.0


@dataclass(slots=True)
class _Task:
    """A task that was started here, or what a dead executor left of one."""

    mark: Mark
    folder: Path | None = None
    logs: Path | None = None  #: the folder of its output
    account: Account | None = None  #: whom it runs as; None: as whom the executor does
    options: dict[str, Any] = field(default_factory=dict)  #: of its keeper, for commands beside the task's own
    keeper: Keeper | None = None  #: None: not started, left over, or could not be started
    exit_code: int | None = None

    @property
    def running(self) -> bool:
        return self.keeper is not None and self.exit_code is None


class ProcessRuntime:
    """Processes of one executor."""

    def __init__(
        self,
        sandbox: Path,
        variables: Mapping[str, str],
        host: Host,
        emit: Callable[[on.Event], None],
        alive: Callable[[str], bool],
        *,
        port_wait_s: float = ports.WAIT_S,
        played: PlayedHost | None = None,
        rules: FetchRules = FetchRules(),  # noqa: B008
        store: Secrets = NoSecrets(),  # noqa: B008
    ) -> None:
        """``variables`` are those of the executor's environment that every process gets; no secret may be among them.
        ``alive`` returns whether another executor of this agent is; ``played`` is the host where a container plays it.
        """
        self._played = played
        self._store = store
        self._sandbox = sandbox
        self._variables = dict(variables)
        self._host = host
        self._emit = emit
        self._alive = alive
        self._port_wait_s = port_wait_s
        self._tasks: dict[str, _Task] = {}
        self._commands: dict[str, Keeper] = {}
        self._spawner = Spawner()
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._pump = LogPump()
        self._fetches = Fetches(emit, rules)
        self._work = WorkQueue("process", THREADS, {Urgency.START: THREADS - 1, Urgency.TIDY: THREADS - 1})

    def start(self) -> None:
        """Look for what dead executors left, now and again and again; the machine has it removed."""
        self._pump.start()
        self._spawner.begin()
        threading.Thread(target=self._keep_listing, name="process-listing", daemon=True).start()

    def stop(self, timeout_s: float) -> None:
        """Let what was asked for finish, no longer than ``timeout_s``; accept nothing more."""
        self._stopped.set()
        self._work.stop(timeout_s)
        self._pump.stop()
        self._spawner.close()

    def _keep_listing(self) -> None:
        while not self._stopped.is_set():
            try:
                self._emit(self._listing())
            except Exception:  # thread edge: the next listing comes
                log.exception("listing processes broke, please report this as a bug")
            self._stopped.wait(LISTING_S)

    def _listing(self) -> on.ContainersListed:
        began_at = time.monotonic()
        for _, mark in table.marked():
            if mark.swept_by(self._host, self._alive):
                self._tasks.setdefault(mark.task_id, _Task(mark))
        tasks = list(self._tasks.items())
        # What was left over has no process of ours to ask.
        running = frozenset(task_id for task_id, task in tasks if task.running or task.folder is None)
        return on.ContainersListed(began_at, running, frozenset(self._tasks) - running, runtime="process")

    def has(self, task_id: str) -> bool:
        """Return whether a task is a process: started here, or left over."""
        return task_id in self._tasks

    def logs(self, task_id: str) -> Path | None:
        """Return where a task's output is; None: nowhere here."""
        task = self._tasks.get(task_id)
        return task.logs if task else None

    def running(self, task_id: str) -> bool:
        task = self._tasks.get(task_id)
        return task is not None and task.running

    def beside(self, task_id: str) -> Mapping[str, Any] | None:
        """Return the options of a keeper for a command that runs as a task does; None: it does not run here."""
        task = self._tasks.get(task_id)
        return dict(task.options) if task is not None and task.running else None

    def perform(self, action: ContainerAction) -> None:
        """Carry out an action on another thread. Never raises, never waits."""
        match action:
            case do.StartProcess():
                self._tasks[action.task_id] = _Task(Mark.from_text(action.mark) or Mark("", "", "", "", action.task_id))
                self._work.submit(Urgency.START, ("prepare", action.task_id), partial(self._prepare, action))
            case do.CancelStart(task_id):
                self._fetches.cancel(task_id)  # the rest of a start takes milliseconds, and the stop comes after it
            case do.StopContainer(task_id):
                self._submit(Urgency.STOP, self._stop, task_id)
            case do.KillContainer(task_id):
                self._submit(Urgency.STOP, self._end, task_id)
            case do.ExamineContainer(task_id):
                self._submit(Urgency.TIDY, self._examine, task_id)
            case do.RemoveContainer(task_id):
                self._submit(Urgency.TIDY, self._remove, task_id)

    def _submit(self, urgency: Urgency, work: Callable[[str], None], task_id: str) -> None:
        self._work.submit(urgency, (work.__name__, task_id), partial(self._guarded, work, task_id))

    # Starting --------------------------------------------------------------------------------------------------------

    def _prepare(self, action: do.StartProcess) -> None:
        """Make the task's folders and have its files fetched, if any."""
        task = self._tasks[action.task_id]
        name = Path(action.task_id).name
        folder, logs = self._sandbox / "tasks" / name, self._sandbox / "logs" / name
        try:
            if action.user:
                task.account = Account.named(action.user)
            folder.parent.mkdir(parents=True, exist_ok=True)
            # The executor's alone until the process starts: while files are fetched nobody may lay anything there.
            folder.mkdir(mode=0o700)
            logs.mkdir(parents=True)
        except KeyError:
            missing = f"user {action.user!r} does not exist on this host: create it, or name another one"
            self._emit(on.StartFailed(action.task_id, missing))
            return
        except OSError as error:
            self._emit(on.StartFailed(action.task_id, f"the task's folder cannot be made: {error}"))
            return
        task.folder, task.logs = folder, logs
        if action.fetch:
            self._fetches.wait_for(action, folder, lambda: self._begin(action), task.account)
        else:
            self._start(action)

    def _begin(self, action: do.StartProcess) -> None:
        self._work.submit(Urgency.START, ("start", action.task_id), partial(self._start, action))

    def _start(self, action: do.StartProcess) -> None:
        try:
            if self._played is not None:
                self._played.claim((*action.host_ports, *action.udp_ports))
            waiting = partial(self._preparing, action.task_id)
            taken = ports.taken_ports(action.host_ports, self._port_wait_s, waiting)
            problem = taken or self._spawn(self._tasks[action.task_id], action)
        except (PermanentError, TemporaryError) as error:
            problem = str(error)
        except OSError as error:
            problem = f"{action.args[0]} cannot be started: {error.strerror}"
            if error.filename not in (None, action.args[0]):
                problem += f" ({error.filename})"
        except Exception:  # thread edge: the machine waits for an answer (rule 60)
            log.exception("start of a process broke, please report this as a bug %s", fields(task_id=action.task_id))
            problem = "internal error of the executor, see its log"
        self._emit(on.StartFailed(action.task_id, problem) if problem else on.ContainerStarted(action.task_id))

    def _preparing(self, task_id: str, what: str) -> None:
        self._emit(on.Preparing(task_id, what))

    def _spawn(self, task: _Task, action: do.StartProcess) -> str:
        """Start a process and return what is in its way, if anything. Raises OSError, PermanentError."""
        folder, logs, account = task.folder, task.logs, task.account
        assert folder is not None
        assert logs is not None
        held = secret_store.variables(self._store, action.secret_env)
        env = self._variables | {"MESOS_SANDBOX": str(folder)} | action.env | held | {names.PROCESS_MARK: action.mark}
        task.options = {"spawner": self._spawner, "cwd": folder, "env": env}
        if account is not None:
            env |= {"HOME": account.home, "USER": account.name, "LOGNAME": account.name} | action.env
            task.options["account"] = account.of_keeper()
        # What was fetched for nobody in particular belongs to whom the process is.
        uid, gid = (account.uid, account.gid) if account is not None else (os.geteuid(), os.getegid())
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)
        folder.chmod(0o755)
        for name, text in action.files.items():
            place(folder, name, text)
        files = [output_file(logs / stream) for stream in STREAMS]
        pipes = [os.pipe() for _ in STREAMS]
        try:
            keeper = Keeper(action.args, task.mark, stdout=pipes[0][1], stderr=pipes[1][1], **task.options)
        finally:
            # Without the process their readers come to the end at once.
            for _, written in pipes:
                os.close(written)
            closed = [self._pump.add(read, file) for (read, _), file in zip(pipes, files, strict=True)]
        task.keeper = keeper
        threading.Thread(target=self._wait, args=(action.task_id, task, keeper, closed), name="process", daemon=True).start()
        return ""

    def _wait(self, task_id: str, task: _Task, keeper: Keeper, closed: list[threading.Event]) -> None:
        """Report the end of a process, once all that it had started is ended and its output is written."""
        code = keeper.wait()
        for event in closed:
            event.wait(_OUTPUT_S)
        task.exit_code = code
        self._emit(on.ContainerDied(task_id, code))

    # Stopping --------------------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[str], None], task_id: str) -> None:
        try:
            work(task_id)
        except Exception:  # thread edge: the machine asks again at its deadline
            log.exception("a process was not handled as asked, please report this as a bug %s", fields(task_id=task_id))

    def _stop(self, task_id: str) -> None:
        task = self._tasks.get(task_id)
        if task is None or task.keeper is None:
            self._emit(on.ContainerDied(task_id))
        else:
            task.keeper.signal(signal.SIGTERM)

    def _end(self, task_id: str) -> None:
        task = self._tasks.get(task_id)
        if task is None or task.keeper is None:
            self._emit(on.ContainerDied(task_id))
        else:
            self._kill(task)

    def _kill(self, task: _Task) -> None:
        """End every process of a task."""
        if not (task.keeper.kill() if task.keeper is not None else table.kill(task.mark)):
            log.warning("a process hangs in the kernel and cannot be ended %s", fields(task_id=task.mark.task_id))

    def _examine(self, task_id: str) -> None:
        task = self._tasks.get(task_id)
        found = on.ContainerExamined(task_id)
        try:
            if task is not None and task.logs is not None:
                tail = last_lines(task.logs, LOG_TAIL_LINES) if task.exit_code else ""
                found = on.ContainerExamined(task_id, task.exit_code, log_tail=tail)
        except OSError as error:
            log.warning("cannot examine %s", fields(task_id=task_id, error=error))
        self._emit(found)

    def _remove(self, task_id: str) -> None:
        task = self._tasks.get(task_id)
        if task is None:
            return
        self._kill(task)
        for folder in (task.folder, task.logs):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._tasks.pop(task_id, None)

    # News for a process, and commands beside it ---------------------------------------------------------------

    def put_file(self, task_id: str, path: str, text: str) -> None:
        """Put a file into a running task's sandbox at once, in place of one that is there. Raises TemporaryError."""
        task = self._tasks.get(task_id)
        if task is None or task.folder is None or not task.running:
            raise TemporaryError("the process does not run")
        place(task.folder, path, text)

    def signal(self, task_id: str, name: str) -> None:
        """Send a signal to a task's process group. Raises TemporaryError."""
        task = self._tasks.get(task_id)
        if task is None or task.keeper is None or not task.running:
            raise TemporaryError("the process does not run")
        task.keeper.signal(signal.Signals[name])

    def readings(self, task_ids: Collection[str]) -> Mapping[str, Reading]:
        """Return what tasks that run here take, out of one look at the table of processes."""
        kept = {task_id: task.keeper.pid for task_id in task_ids if (task := self._tasks.get(task_id)) and task.keeper}
        if not kept:
            return {}
        at, found = time.monotonic(), table.processes()
        return {
            task_id: Reading(at, *table.taken(found, keeper))
            for task_id, keeper in kept.items()
            if (task := self._tasks.get(task_id)) and task.running
        }

    def command_start(self, task_id: str, command: str, container: str = "", env: Mapping[str, str] = NO_VARIABLES) -> str:
        """Start a shell command like a task's own process and return its id. Raises TemporaryError."""
        task = self._tasks.get(task_id)
        if task is None or not task.running:
            raise TemporaryError("the process does not run")
        options = task.options | {"env": {**task.options["env"], **env}}
        try:
            keeper = Keeper(("/bin/sh", "-c", command), None, **options)
        except OSError as error:
            raise TemporaryError(f"the command cannot be started: {error.strerror}") from error
        command_id = str(next(self._numbers))
        self._commands[command_id] = keeper
        return command_id

    def command_told(self, command_id: str) -> int | None:
        """Return a descriptor that can be read from once a command has ended."""
        return self._commands[command_id].told

    def command_result(self, command_id: str) -> int | None:
        """Return the exit code of a command, None while it runs. What it left running is ended with it."""
        code = self._commands[command_id].wait(0)
        if code is not None:
            del self._commands[command_id]
        return code

    def command_stop(self, command_id: str) -> bool:
        """End a command that takes too long, with all that it has started; return whether that is done."""
        keeper = self._commands.get(command_id)
        if keeper is None or keeper.kill():
            self._commands.pop(command_id, None)
            return True
        return False
