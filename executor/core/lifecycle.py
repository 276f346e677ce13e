"""The executor's state machine: the one place that decides what happens to a task.

``Machine.handle(event, now)`` changes the state and returns the actions to perform, in order. It is pure: the loop owns the
clock and the random source, performs the actions and brings their results back as events. Time is data: whoever waits holds
a deadline, and ``next_deadline`` says when the loop has to come back with a Tick.

Two things are asymmetric on purpose. A death that nobody asked for leaves Consul first and is explained afterwards: every
millisecond in rotation is a failed request. A stop that somebody asked for keeps the process running until the balancers let go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from eratos.common.errors import PermanentError
from eratos.common.payload import TaskPayload

from . import actions as do
from . import endings
from . import events as on
from .check_status import check_status
from .container import copies, volume_labels, volume_name
from .host import Host
from .left_over import LeftOvers
from .registration import registrations
from .requirements import Requirements, path_of
from .retention import Retention
from .start import start_action
from .task import LEAVING, Ending, Phase, Task
from .updates import StatusUpdate

#: A SIGKILL that brought no death is repeated: Docker may have been away.
KILL_AGAIN_S: Final = 5.0
#: Longest wait for Docker to say why a container died, before its end is reported without a cause.
EXAMINE_S: Final = 5.0
#: Kept for answering late and repeated kills and launches.
ENDED_MAX: Final = 1000
#: While an executor starts tasks, those just started are left alone for so long at most: probing and registering each at once
#: takes CPU from the starts, and makes every balancer change its servers once for each instead of once for all.
UNPROBED_MOST_S: Final = 1.0
#: Left of the shutdown grace for reporting and leaving.
SHUTDOWN_RESERVE_S: Final = 0.5

Actions = list[do.Action]

#: Of a pod one of whose containers has ended by itself. How it ended is asked once the others have.
_BROKEN_UP: Final = Ending("TASK_FAILED", "a container of the pod has ended, and the others with it")


class Machine:
    """All tasks of one executor."""

    def __init__(self, host: Host, shutdown_grace_s: float, draw: Callable[[], float]) -> None:
        """``draw`` gives random numbers in [0, 1) and is the only source of them."""
        self.host = host
        self._shutdown_grace_s = shutdown_grace_s
        self._draw = draw
        self.tasks: dict[str, Task] = {}
        self.ended: dict[str, StatusUpdate] = {}  #: terminal updates, oldest first
        self._kept = Retention()
        self._left = LeftOvers()
        self._sweeps: dict[str, None] = {}  #: tasks that end once nothing is left of dead executors
        self._copies: dict[str, bool] = {}  #: tasks that copy volumes, and whether each was asked to break off
        self._listed_once: set[str] = set()  #: runtimes
        self._kept_services: frozenset[str] | None = None  #: as last said
        self._leaving: str = ""  #: why the executor shuts down
        self._exit_at: float | None = None
        self._exited = False

    # The one mutator -------------------------------------------------------------------------------------------------

    def handle(self, event: on.Event, now: float) -> Actions:  # noqa: PLR0912  one case for each event
        """Take in one event and return what to do about it. Unknown events are ignored, as newer agents may send them."""
        match event:
            case on.Subscribed(agent_id, hostname):
                self.host = replace(self.host, agent_id=agent_id or self.host.agent_id, hostname=hostname or self.host.hostname)
                out = []
            case on.LaunchTask():
                out = self._launch(event, now)
            case on.KillTask():
                out = self._kill(event, now)
            case on.Shutdown(reason):
                out = self._shutdown(reason, now)
            case on.VolumeUnwanted(volume_id, app_id):
                labels = volume_labels(volume_id, app_id, self.host)
                out = [do.DestroyVolume(volume_id, volume_name(volume_id, self.host), labels)]
            case on.VolumeDestroyed() | on.CopyProgress() | on.CopyDone():
                out = self._of_volumes(event)
            case on.ContainersListed():
                out = self._listed(event, now)
            case on.ServicesKept(ports, datacenters):
                self._left.found_at(ports, datacenters)
                out = []
            case on.Tick():
                out = self._tick(now)
            case on.ContainerStarted(task_id) if task_id not in self.tasks:
                # Its task ended while Docker was still starting it.
                out = [do.RemoveContainer(task_id)]
            case on.BalancersTold(task_id) | on.Deregistered(task_id) | on.DrainDone(task_id) if task_id not in self.tasks:
                out = self._left.progress(event, now)
            case (
                on.Preparing(task_id)
                | on.ContainerStarted(task_id)
                | on.StartFailed(task_id)
                | on.ContainerDied(task_id)
                | on.ContainerExamined(task_id)
                | on.ProbeDone(task_id)
                | on.RequirementFound(task_id)
                | on.RequirementTold(task_id)
                | on.BalancersTold(task_id)
                | on.Deregistered(task_id)
                | on.DrainHeld(task_id)
                | on.DrainDone(task_id)
            ):
                task = self.tasks.get(task_id)
                out = self._progress(task, event, now) if task else []
            case _:
                out = []
        if not self._starting():
            for task in self.tasks.values():
                if task.unprobed_until is not None and task.phase is Phase.RUNNING:
                    task.unprobed_until = None
                    out += task.probes(now)
        out += [*self._make_way(), *self._swept()]
        if self._leaving and not self.tasks and not self._exited:
            self._exited = True
            out += [*self._left.drop_all(), *map(do.RemoveContainer, self._kept.drop_all()), do.Exit(self._leaving)]
        return out

    def _make_way(self) -> Actions:
        if not self._left.task_ids:
            return []
        starting = (task.payload.ports for task in self.tasks.values() if task.phase is Phase.STARTING)
        return self._left.make_way({port.host_port for ports in starting for port in ports})

    def _swept(self) -> Actions:
        """End sweeps: once it is known what all runtimes run, nothing is on its way out, and Consul's services go by that."""
        if not self._sweeps or self._left.task_ids or self._kept_services is None or self._kept_services:
            return []
        done, self._sweeps = self._sweeps, {}
        return [self._end(StatusUpdate(task_id, "TASK_FINISHED", "nothing is left of dead executors")) for task_id in done]

    def next_deadline(self) -> float | None:
        """Return when a Tick is due, or None where nothing waits for time."""
        times = [self._exit_at] if self._exit_at is not None and not self._exited else []
        times += [at for at in (self._kept.next_at(), self._left.next_at()) if at is not None]
        for task in self.tasks.values():
            if task.deadline is not None:
                times.append(task.deadline)
            if (report_at := task.report_due()) is not None:
                times.append(report_at)
            if task.phase is Phase.RESOLVING and (goes_on_at := task.requirements.goes_on_at()) is not None:
                times.append(goes_on_at)
            if task.phase is Phase.RUNNING and (news_at := task.requirements.next_at()) is not None:
                times.append(news_at)
            if task.phase is Phase.RUNNING and task.checks is not None and (probe_at := task.checks.next_at()) is not None:
                times.append(max(probe_at, task.unprobed_until or probe_at))
        return min(times, default=None)

    # What the agent wants --------------------------------------------------------------------------------------------

    def _launch(self, event: on.LaunchTask, now: float) -> Actions:
        task_id = event.task_id
        if task_id in self.tasks or task_id in self._sweeps or task_id in self._copies:
            return []  # a duplicate: the first one was answered
        if task_id in self.ended:
            # Killed before its launch came, or launched again: Mesos frees the resources at this answer.
            return [do.SendUpdate(self.ended[task_id])]
        if self._leaving:
            return [self._end(StatusUpdate(task_id, "TASK_KILLED", f"the executor shuts down: {self._leaving}"))]
        try:
            payload = TaskPayload.from_bytes(event.payload_bytes)
            if payload.task_id != task_id:
                raise PermanentError(f"the payload is for task {payload.task_id!r}")
            if payload.sweeps:
                self._sweeps[task_id] = None
                return [do.SendUpdate(StatusUpdate(task_id, "TASK_RUNNING"))]
            if payload.copies:
                made = copies(payload, self.host)
                self._copies[task_id] = False
                return [do.SendUpdate(StatusUpdate(task_id, "TASK_RUNNING")), do.CopyVolumes(task_id, made)]
            start = start_action(payload, self.host)  # what cannot be started need not wait
        except PermanentError as error:
            return [self._end(StatusUpdate(task_id, "TASK_ERROR", str(error), reason="REASON_TASK_INVALID"))]
        task = self.tasks[task_id] = Task(payload, payload.kill_grace_s, requirements=Requirements(payload.requires, now))
        starting = do.SendUpdate(StatusUpdate(task_id, "TASK_STARTING"))
        if not payload.requires:
            task.enter(Phase.STARTING, now)
            return [starting, start]
        task.enter(Phase.RESOLVING, now)
        return [starting, do.Follow(task_id, payload.requires), *self._resolve(task, now)]

    def _of_volumes(self, event: on.VolumeDestroyed | on.CopyProgress | on.CopyDone) -> Actions:
        """Report what became of a volume, how a copy goes, or how it has ended."""
        if isinstance(event, on.VolumeDestroyed):
            return [do.ReportVolume(event.volume_id, event.error)]
        task_id = event.task_id
        if task_id not in self._copies:
            return []
        if isinstance(event, on.CopyProgress):
            return [do.SendUpdate(StatusUpdate(task_id, "TASK_RUNNING", endings.cut(event.message)))]
        cancelled = self._copies.pop(task_id)
        if not event.error:
            return [self._end(StatusUpdate(task_id, "TASK_FINISHED", "the volumes were copied"))]
        return [self._end(StatusUpdate(task_id, "TASK_KILLED" if cancelled else "TASK_FAILED", endings.cut(event.error)))]

    def _resolve(self, task: Task, now: float) -> Actions:
        """Start a task once what it requires is there."""
        task.lacks = task.requirements.lacking(now)
        if task.lacks:
            return []
        task.requirements.start()
        known = task.requirements.environment()
        start = start_action(replace(task.payload, env={**known, **task.payload.env}), self.host)
        task.enter(Phase.STARTING, now)
        return [*self._using(task), replace(start, files=task.requirements.files())]

    def _using(self, task: Task) -> Actions:
        """Say which servers a task goes by, where that is news."""
        servers = task.requirements.servers()
        if servers == task.using:
            return []
        task.using = servers
        return [do.Using(task.task_id, servers)]

    def _kill(self, event: on.KillTask, now: float) -> Actions:
        task = self.tasks.get(event.task_id)
        if event.task_id in self._copies:
            self._copies[event.task_id] = True
            return [do.CancelCopy(event.task_id)]
        if task is None:
            self._sweeps.pop(event.task_id, None)
            known = self.ended.get(event.task_id)
            if known is not None:
                return [do.SendUpdate(known)]
            message = "this executor does not run the task: nothing to stop"
            return [self._end(StatusUpdate(event.task_id, "TASK_KILLED", message))]
        grace_s = task.payload.kill_grace_s if event.grace_s is None else event.grace_s
        if task.ending is not None:
            return self._hasten(task, grace_s, grace_s, now) if grace_s < task.grace_s else []
        task.grace_s = grace_s
        return self._leave(task, Ending("TASK_KILLED", "killed on request"), task.payload.drain_s, now)

    def _shutdown(self, reason: str, now: float) -> Actions:
        if self._leaving:
            return []
        self._leaving = reason
        spare_s = max(0.0, self._shutdown_grace_s - SHUTDOWN_RESERVE_S)
        self._exit_at = now + spare_s
        # Half of it for the balancers, half for the process; both come to less where the app wants less.
        share_s = spare_s / 2
        ended = StatusUpdate("", "TASK_KILLED", f"the executor shuts down: {reason}")
        out: Actions = [self._end(replace(ended, task_id=task_id)) for task_id in (*self._sweeps, *self._copies)]
        out += [do.CancelCopy(task_id) for task_id in self._copies]
        self._sweeps, self._copies = {}, {}
        for task in list(self.tasks.values()):
            if task.ending is not None:
                out += self._hasten(task, share_s, share_s, now)
                continue
            task.grace_s = min(task.grace_s, share_s)
            ending = Ending("TASK_KILLED", f"the executor shuts down: {reason}")
            out += self._leave(task, ending, min(task.payload.drain_s, share_s), now)
        return out

    # What containers, probes, Consul and balancers say ---------------------------------------------------------------

    def _progress(self, task: Task, event: on.Event, now: float) -> Actions:
        match event:
            case on.Preparing(_, what) if task.phase is Phase.STARTING and task.preparing != what and not task.ending:
                task.preparing = what
                return [do.SendUpdate(StatusUpdate(task.task_id, "TASK_STARTING", endings.cut(what)))]
            case on.ContainerStarted(_, address) if task.phase is Phase.STARTING:
                return self._started(task, address, now)
            case on.StartFailed(_, message) if task.phase is Phase.STARTING:
                if task.ending is not None:
                    return self._finish(task, self._ended_as(task, task.ending), now)
                return self._finish(task, StatusUpdate(task.task_id, "TASK_FAILED", message), now)
            case on.ContainerDied(_, exit_code, container):
                return self._died(task, exit_code, now, container)
            case on.ContainerExamined() if task.phase is Phase.EXAMINING:
                exit_code = task.exit_code if event.exit_code is None else event.exit_code
                return self._finish(task, self._death(task, exit_code, event.out_of_memory, event.log_tail), now)
            case on.ProbeDone() if task.phase is Phase.RUNNING:
                return self._probed(task, event, now)
            case on.RequirementFound(_, name, found):
                task.requirements.take(name, found, now)
                return self._resolve(task, now) if task.phase is Phase.RESOLVING else self._using(task)
            case on.RequirementTold(_, fault):
                news = task.requirements.told(fault) and task.phase is Phase.RUNNING
                update = [do.SendUpdate(self._running(task, task.requirements.outdated()))] if news else []
                return [*update, *self._using(task)]
            case on.BalancersTold() if task.phase is Phase.ANNOUNCING:
                return self._deregister(task, now)
            case on.Deregistered() if task.phase is Phase.DEREGISTERING:
                task.enter(Phase.DRAINING, now)
                left_s = max(0.0, (task.deadline or now) - now)
                return [do.AskBalancers(task.task_id, task.service_ids, left_s, task.datacenters)]
            case on.DrainHeld(_, detail) if task.phase is Phase.DRAINING:
                task.held = detail
                return []
            case on.DrainDone(_, released, detail) if task.phase is Phase.DRAINING:
                task.drain_note = "" if released else detail
                return self._stop(task, now)
        return []  # late: the task went on without it

    def _started(self, task: Task, address: str, now: float) -> Actions:
        task.started_at = now
        task.address = address
        if task.died and task.over:
            return self._examine(task, now)
        if task.ending is not None:
            return self._stop(task, now)
        if task.died:
            return self._break_up(task, now)
        task.enter(Phase.RUNNING, now)
        out: Actions = [do.SendUpdate(self._running(task))]
        checks = task.begin_checks(now)
        if checks.ready:
            return out + self._register(task)
        if self._starting():
            task.unprobed_until = now + UNPROBED_MOST_S
        return out + list(task.probes(now))

    def _starting(self) -> bool:
        """Return whether a task is being started right now; one whose image or files are on their way does not count."""
        return any(task.phase is Phase.STARTING and not task.preparing for task in self.tasks.values())

    def _died(self, task: Task, exit_code: int | None, now: float, container: str = "") -> Actions:
        """Take in the end of a task's container. Without ``container`` nothing of a pod runs any more."""
        if exit_code is not None and not task.first_ended:
            task.exit_code = exit_code
        if container:
            task.ended[container] = None
        else:
            task.ended |= dict.fromkeys(each.name for each in task.payload.containers)
        if task.phase is Phase.STARTING:
            task.died = True  # the answer to the start is still on its way
            return []
        if task.phase in (Phase.RESOLVING, Phase.EXAMINING):
            return []
        if not task.over:
            return self._break_up(task, now) if task.ending is None else []
        if task.ending is not None and task.ending is not _BROKEN_UP:
            return self._finish(task, self._ended_as(task, task.ending), now)
        return self._examine(task, now)

    def _break_up(self, task: Task, now: float) -> Actions:
        """Have the rest of a pod end, one of whose containers has ended: out of rotation at once, the cause afterwards."""
        out = self._withdraw(task) if task.registered else []
        task.ending = _BROKEN_UP
        return [*out, *self._stop(task, now)]

    def _death(self, task: Task, exit_code: int | None, out_of_memory: bool, log_tail: str) -> StatusUpdate:
        found = endings.death(task.task_id, task.payload.runtime, exit_code, out_of_memory, log_tail)
        return replace(found, message=endings.of_container(task.first_ended, found.message)) if task.first_ended else found

    def _examine(self, task: Task, now: float) -> Actions:
        """Out of rotation at once, the cause afterwards."""
        out: Actions = [do.Deregister(task.task_id)] if task.registered else []
        task.registered = False
        task.enter(Phase.EXAMINING, now)
        task.deadline = now + EXAMINE_S
        return [*out, do.ExamineContainer(task.task_id, task.first_ended)]

    def _probed(self, task: Task, event: on.ProbeDone, now: float) -> Actions:
        checks = task.checks
        if checks is None:
            return []
        checks.record(event.index, event.passed, event.detail, now, self._draw)
        if checks.only_told(event.index):
            return self._checked(task, event)
        out: Actions = []
        if checks.ready and not task.registered:
            out += self._register(task)
        elif not checks.ready and task.registered:
            out += self._withdraw(task)
        exhausted = checks.exhausted()
        flipped = checks.healthy != task.healthy
        if checks.healthy is not None and (flipped or (checks.news() != task.checks_reported and not exhausted)):
            task.healthy, task.checks_reported = checks.healthy, checks.news()
            update = self._running(task, "" if checks.healthy else checks.failing(), health=True)
            out.append(do.SendUpdate(replace(update, checks=checks.results(now))))
        if exhausted:
            ending = Ending("TASK_FAILED", f"stopped because {exhausted}", healthy=False)
            out += self._leave(task, ending, task.payload.drain_s, now)
        return out

    def _checked(self, task: Task, event: on.ProbeDone) -> Actions:
        """Tell what the app's check was answered, where that is new."""
        assert task.payload.check is not None
        found = check_status(task.payload.check, passed=event.passed is True, code=event.code)
        if found == task.check:
            return []
        task.check = found
        update = self._running(task)
        return [do.SendUpdate(replace(update, reason="REASON_TASK_CHECK_STATUS_UPDATED"))]

    def _listed(self, event: on.ContainersListed, now: float) -> Actions:
        out: Actions = []
        for task in list(self.tasks.values()):
            seen = task.payload.runtime == event.runtime and task.started_at is not None and task.started_at < event.began_at
            if not seen or task.phase is Phase.EXAMINING or task.task_id in event.running:
                continue
            if task.task_id not in event.partly:
                out += self._died(task, None, now)
            elif task.ending is None:
                out += self._break_up(task, now)
        for task_id in sorted((event.running | event.partly | event.ended) - self.tasks.keys()):
            kept_since = self._kept.ended_at(task_id)
            if kept_since is not None and (task_id in event.ended or event.began_at <= kept_since):
                continue
            # Left by a dead executor, or a removal that failed (rule 68).
            if task_id in event.ended or self._leaving:
                out += [do.Deregister(task_id), do.RemoveContainer(task_id)]
            else:
                out += self._left.found(task_id, event.services.get(task_id, 1), now)
        return [*self._keep_services(event.runtime), *out]

    def _keep_services(self, listed: str) -> Actions:
        """Say which services of dead executors stay for now, once it is known what all runtimes run, and where that is news."""
        self._listed_once.add(listed)
        if not self._listed_once.issuperset(self.host.runtimes) or self._left.task_ids == self._kept_services:
            return []
        self._kept_services = self._left.task_ids
        return [do.KeepServices(self._kept_services)]

    def _tick(self, now: float) -> Actions:
        if self._exit_at is not None and now >= self._exit_at and not self._exited:
            return [action for task in list(self.tasks.values()) for action in self._abandon(task, now)]
        out: Actions = [*map(do.RemoveContainer, self._kept.expire(now)), *self._left.expire(now)]
        for task in list(self.tasks.values()):
            if task.deadline is not None and now >= task.deadline:
                out += self._overdue(task, now)
            elif task.phase is Phase.RUNNING:
                out += [*task.probes(now), *self._tell_task(task, now)]
            elif task.phase is Phase.RESOLVING:
                out += self._resolve(task, now)
            if (report_at := task.report_due()) is not None and now >= report_at and task.task_id in self.tasks:
                out += self._report(task, now)
        return out

    # Steps -----------------------------------------------------------------------------------------------------------

    def _register(self, task: Task) -> Actions:
        if not task.payload.services:
            return []
        task.registered = True
        return [do.Register(task.task_id, registrations(task.payload, self.host, task.address))]

    def _leave(self, task: Task, ending: Ending, drain_s: float, now: float) -> Actions:
        """Begin a stop that somebody decided on."""
        task.ending = ending
        killing = StatusUpdate(task.task_id, "TASK_KILLING", ending.message, healthy=ending.healthy)
        out: Actions = [do.SendUpdate(killing)]
        if task.phase is Phase.STARTING:
            return [*out, do.CancelStart(task.task_id)]
        if task.phase is Phase.RESOLVING:
            return [*out, *self._finish(task, self._ended_as(task, ending), now)]
        if task.phase is Phase.EXAMINING:
            return []  # it is dead already: its own end is the answer
        if not task.registered:
            return out + self._stop(task, now)
        if drain_s <= 0:
            return [*out, *self._withdraw(task), *self._stop(task, now)]
        task.enter(Phase.ANNOUNCING, now)
        task.deadline = now + drain_s
        return [*out, do.TellBalancers(task.task_id, task.service_ids, datacenters=task.datacenters)]

    def _report(self, task: Task, now: float) -> Actions:
        """Say what a phase waits for that takes long."""
        message = task.report(now)
        if task.phase is Phase.RUNNING:
            return [do.SendUpdate(self._running(task, message))]
        state, healthy = ("TASK_KILLING", task.ending.healthy) if task.ending else ("TASK_STARTING", None)
        return [do.SendUpdate(StatusUpdate(task.task_id, state, endings.cut(message), healthy=healthy))]

    def _tell_task(self, task: Task, now: float) -> Actions:
        """Tell a running task what it requires and does not know yet."""
        news = task.requirements.news(now)
        if news is None:
            return []
        wanted = news.requirement
        known = {**task.requirements.environment(), **task.payload.env}
        return [do.TellTask(task.task_id, path_of(wanted.name), news.found.text, wanted.on_change, known)]

    def _deregister(self, task: Task, now: float) -> Actions:
        task.enter(Phase.DEREGISTERING, now)
        task.registered = False
        return [do.Deregister(task.task_id)]

    def _withdraw(self, task: Task) -> Actions:
        """Take a task out of rotation that may live on. Balancers hear of it: they keep what leaves without a word."""
        task.registered = False
        told = do.TellBalancers(task.task_id, task.service_ids, drains=False, datacenters=task.datacenters)
        return [told, do.Deregister(task.task_id)]

    def _stop(self, task: Task, now: float) -> Actions:
        task.enter(Phase.STOPPING, now)
        if task.grace_s <= 0:
            task.deadline = now + KILL_AGAIN_S
            return [do.KillContainer(task.task_id)]
        task.deadline = now + task.grace_s
        return [do.StopContainer(task.task_id)]

    def _hasten(self, task: Task, drain_s: float, grace_s: float, now: float) -> Actions:
        """Shorten what is left of a stop under way; never prolong it (rule 63)."""
        if task.phase is Phase.STOPPING and grace_s < task.grace_s and task.deadline is not None:
            task.deadline = min(task.deadline, now + grace_s)
        elif task.phase in LEAVING and task.deadline is not None:
            task.deadline = min(task.deadline, now + drain_s)
        task.grace_s = min(task.grace_s, grace_s)
        return self._overdue(task, now) if task.deadline is not None and now >= task.deadline else []

    def _overdue(self, task: Task, now: float) -> Actions:
        """Go on without what the task waits for."""
        if task.phase in LEAVING:
            task.drain_note = f"the drain's deadline passed while {task.phase}"
            out: Actions = [do.AbandonDrain(task.task_id)]
            if task.registered:
                out += self._deregister(task, now)
            return out + self._stop(task, now)
        if task.phase is Phase.EXAMINING:
            return self._finish(task, self._death(task, task.exit_code, False, ""), now)
        task.deadline = now + KILL_AGAIN_S
        return [do.KillContainer(task.task_id)]

    def _abandon(self, task: Task, now: float) -> Actions:
        """Report a task as killed without waiting; removing its container kills what is left of it."""
        return self._finish(task, self._ended_as(task, task.ending or Ending("TASK_KILLED", self._leaving)), now)

    def _finish(self, task: Task, update: StatusUpdate, now: float) -> Actions:
        out: Actions = [do.AbandonDrain(task.task_id)] if task.phase in LEAVING else []
        if task.registered:
            out.append(do.Deregister(task.task_id))
        if task.payload.requires:
            out.append(do.Unfollow(task.task_id))
        del self.tasks[task.task_id]
        return [*out, self._end(update), *map(do.RemoveContainer, self._no_longer_kept(task, update, now))]

    def _no_longer_kept(self, task: Task, update: StatusUpdate, now: float) -> list[str]:
        """Return whose containers go now that a task has ended: its own, unless somebody will want to read why it ended."""
        app_id = task.payload.app_id
        if update.state != "TASK_KILLED" and task.started_at is not None and not self._leaving:
            return self._kept.add(task.task_id, app_id, now)
        stopped = update.state == "TASK_KILLED" and all(other.payload.app_id != app_id for other in self.tasks.values())
        # Nobody looks for the cause of an end that was asked for.
        return [task.task_id, *(self._kept.drop_app(app_id) if stopped else [])]

    def _end(self, update: StatusUpdate) -> do.SendUpdate:
        self.ended[update.task_id] = update
        if len(self.ended) > ENDED_MAX:
            del self.ended[next(iter(self.ended))]
        return do.SendUpdate(update)

    def _running(self, task: Task, message: str = "", *, health: bool = False) -> StatusUpdate:
        address = task.address or self.host.address
        return StatusUpdate(
            task.task_id,
            "TASK_RUNNING",
            endings.cut(message),
            reason="REASON_TASK_HEALTH_CHECK_STATUS_UPDATED" if health else None,
            healthy=task.healthy,
            check=task.check,
            outdated=task.requirements.outdated() if task.payload.requires else None,
            addresses=(address,) if address else (),
        )

    def _ended_as(self, task: Task, ending: Ending) -> StatusUpdate:
        message = "; ".join(part for part in (ending.message, task.drain_note) if part)
        return StatusUpdate(task.task_id, ending.state, endings.cut(message), healthy=ending.healthy)
