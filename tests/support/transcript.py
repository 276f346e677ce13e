"""Scenario transcripts, in the way of etcd's raft: commands in a text file, and after ``----`` all that the core did about them.

A file is a test (tests/scenarios/test_scenarios.py) and a document at once. Blocks are separated by blank lines::

    app /web instances=2 cpus=0.5
    ----
    store apps//web
    revive

Commands drive the real core with a clock that only ``tick`` moves. See :class:`Script` for what there is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from support.builders import a_machine, a_status, an_app, an_offer
from support.records import as_stored

from eratos.scheduler.core import actions, events
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import InverseOffer, TaskState, Window
from eratos.scheduler.core.records import INSTANCES, InstanceRecord

SEPARATOR = "----"


@dataclass
class Block:
    comments: list[str]
    command: str
    expected: list[str]


def parse(text: str) -> list[Block]:
    """Read a transcript. Raises ValueError where a block has no command."""
    blocks = []
    for chunk in text.strip().split("\n\n"):
        lines = chunk.splitlines()
        comments = [line for line in lines if line.startswith("#")]
        rest = [line for line in lines if not line.startswith("#")]
        command, *expected = rest if rest else [""]
        if expected[:1] == [SEPARATOR]:
            expected = expected[1:]
        blocks.append(Block(comments, command, expected))
    return blocks


def rendered(blocks: list[Block], outputs: list[list[str]]) -> str:
    """Return the text of a transcript with new outputs."""
    chunks = []
    for block, output in zip(blocks, outputs, strict=True):
        lines = [*block.comments]
        if block.command:
            lines += [block.command, SEPARATOR, *output]
        chunks.append("\n".join(lines))
    return "\n\n".join(chunks) + "\n"


class Script:
    """Runs commands against a core, a store that outlives ``crash``, and agents that only offer what they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.ids = 0
        self._start()

    def _start(self) -> None:
        self.machine = a_machine(as_stored(self.store), self.now, **self.settings)
        self.machine.step.new_id = self._new_id

    def _new_id(self) -> str:
        self.ids += 1
        return f"i{self.ids}"

    def run(self, line: str) -> list[str]:
        """Run one command and return what the core did. Raises ValueError for an unknown one."""
        if not line:
            return []
        words = line.split()
        options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        names = [word for word in words[1:] if "=" not in word]
        command: Callable[[list[str], dict[str, str]], Iterator[str] | list[str]] | None
        command = getattr(self, "do_" + words[0].replace("-", "_"), None)
        if command is None:
            raise ValueError(f"no command: {line}")
        out = list(command(names, options))
        self.machine.state.check()
        return out

    def handle(self, *happened: Any, lose_after: int | None = None) -> list[str]:
        """Have the core take events and decide; perform at most so many writes and calls, then the process is gone."""
        for event in happened:
            self.machine.take(event, self.now)
        out = self.machine.decide(self.now)
        ordered = list(out)
        lines = []
        for number, action in enumerate(ordered):
            if lose_after is not None and number >= lose_after:
                lines.append("(the process is gone)")
                break
            if isinstance(action, actions.Put):
                self.store[action.key] = action.record
            elif isinstance(action, actions.Forget):
                self.store.pop(action.key, None)
            lines += describe(action)
        return lines

    def _command(self, command: events.Command) -> list[str]:
        return self.handle(events.CommandReceived(0, command))

    # Commands

    def do_set(self, names: list[str], options: dict[str, str]) -> list[str]:
        """``set placement=pack``: settings of the core from here on."""
        self.settings.update({key: json.loads(value) if value[0] in "0123456789" else value for key, value in options.items()})
        self._start()
        return []

    def do_subscribe(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self.handle(events.Subscribed("fw1", "master:5050"))

    def do_disconnect(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self.handle(events.Disconnected())

    def do_crash(self, names: list[str], options: dict[str, str]) -> list[str]:
        """The process dies and starts again from the store."""
        self._start()
        return []

    def do_rollback(self, names: list[str], options: dict[str, str]) -> list[str]:
        """The process dies, the store loses every instance, and it starts again."""
        self.store = {key: value for key, value in self.store.items() if not key.startswith(INSTANCES)}
        self._start()
        return []

    def do_app(self, names: list[str], options: dict[str, str]) -> list[str]:
        """``app /web instances=3 cpus=0.5 ...``: other fields as JSON."""
        fields = {key: json.loads(value) for key, value in options.items()}
        return self._command(events.PutApps((an_app(names[0], **fields),), force=True))

    def do_chain(self, names: list[str], options: dict[str, str]) -> list[str]:
        """``chain /db /web cpus=0.2 ...``: apps of one deployment, each of which depends on the one before it."""
        fields = {key: json.loads(value) for key, value in options.items()}
        needs: list[list[str]] = [[], *([name] for name in names)]
        apps = [an_app(name, dependencies=before, **fields) for name, before in zip(names, needs, strict=False)]
        return self._command(events.PutApps(tuple(apps)))

    def do_version(self, names: list[str], options: dict[str, str]) -> list[str]:
        """``version /web 2``: back to the second of the versions that are kept, the oldest one being the first."""
        kept = sorted(self.machine.state.versions[names[0]])
        return self._command(events.PutVersion(names[0], kept[int(names[1]) - 1]))

    def do_take_back(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.RollBack(names[0]))

    def do_cancel(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.Cancel(names[0]))

    def do_pause(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.Pause(names[0]))

    def do_resume(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.Pause(names[0], paused=False))

    def do_promote(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.Promote(names[0]))

    def do_scale(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.PutApps((self.machine.state.apps[names[0]].with_instances(int(names[1])),), force=True))

    def do_delete(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.DeleteApps(tuple(names), force=True))

    def do_restart(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.RestartApp(names[0], force=True))

    def do_release_brake(self, names: list[str], options: dict[str, str]) -> list[str]:
        return self._command(events.ReleaseBrake())

    def do_offer(self, names: list[str], options: dict[str, str]) -> list[str]:
        """``offer a1 a2 cpus=2 zone=z1 window=1600-2000 rescinded= lose-after=1``."""
        fields: dict[str, Any] = {key: options[key] for key in ("zone", "region") if key in options}
        attributes = {key: value for key, value in options.items() if key.startswith("@")}
        if attributes:
            fields["attributes"] = {key[1:]: value for key, value in attributes.items()}
        if "window" in options:
            begin, end = options["window"].split("-")
            fields["window"] = Window(float(begin), float(end))
        offers = tuple(an_offer(name, cpus=float(options.get("cpus", 4)), **fields) for name in names)
        rescinded = [events.OfferRescinded(offer.offer_id) for offer in offers if "rescinded" in options]
        lose_after = int(options["lose-after"]) if "lose-after" in options else None
        return self.handle(events.OffersReceived(offers), *rescinded, lose_after=lose_after)

    def do_inverse(self, names: list[str], options: dict[str, str]) -> list[str]:
        begin, end = options["window"].split("-")
        window = Window(float(begin), float(end))
        return self.handle(events.InverseOffersReceived(tuple(InverseOffer(f"inv-{n}", n, window) for n in names)))

    def do_status(self, names: list[str], options: dict[str, str]) -> list[str]:
        """``status TASK STATE reason=... message=... uuid= lose-after=1``; TASK may leave out ``.instance-`` and ``._app``."""
        fields: dict[str, Any] = {key: options[key] for key in ("reason", "message", "uuid", "agent") if key in options}
        if "healthy" in options:
            fields["healthy"] = json.loads(options["healthy"])
        lose_after = int(options["lose-after"]) if "lose-after" in options else None
        return self.handle(events.StatusChanged(a_status(long(names[0]), names[1], **fields)), lose_after=lose_after)

    def do_stop(self, names: list[str], options: dict[str, str]) -> list[str]:
        """Every task that is being stopped ends."""
        stopping = [i for i in self._instances() if i.stopping]
        return self.handle(*(events.StatusChanged(a_status(i.task_id, "KILLED", i.agent_id)) for i in stopping))

    def do_run(self, names: list[str], options: dict[str, str]) -> list[str]:
        """Every launched task runs, or those of the agents named; healthy if ``healthy=true``."""
        fields = {"healthy": json.loads(options["healthy"])} if "healthy" in options else {}
        launching = [i for i in self._instances() if i.launching and (not names or i.agent_id in names)]
        return self.handle(*(events.StatusChanged(a_status(i.task_id, "RUNNING", i.agent_id, **fields)) for i in launching))

    def do_lose(self, names: list[str], options: dict[str, str]) -> list[str]:
        """The master marks the agents unreachable, with all their tasks."""
        lost = [i for name in names for i in self._instances() if i.agent_id == name]
        return self.handle(
            *(events.AgentLost(name) for name in names),
            *(events.StatusChanged(a_status(i.task_id, "UNREACHABLE", i.agent_id, uuid="")) for i in lost),
        )

    def do_return(self, names: list[str], options: dict[str, str]) -> list[str]:
        """The agents are back, and the tasks with the ids given in ``tasks=`` (default: all known there) still run."""
        if "tasks" in options:
            back = [(long(task), names[0]) for task in options["tasks"].split(",")]
        else:
            back = [(i.task_id, i.agent_id) for i in self._instances() if i.agent_id in names]
        return self.handle(*(events.StatusChanged(a_status(task, "RUNNING", agent, uuid="")) for task, agent in back))

    def do_tick(self, names: list[str], options: dict[str, str]) -> list[str]:
        self.now += float(names[0])
        return self.handle(events.Tick())

    def do_show(self, names: list[str], options: dict[str, str]) -> Iterator[str]:
        """What the core knows: instances, what apps wait for, the brake."""
        state = self.machine.state
        for instance in sorted(state.instances.values(), key=lambda i: i.instance_id):
            marks = [name for name in ("stopping", "inactive", "moving") if getattr(instance, name)]
            what = instance.state.name if instance.state else "waits"
            yield " ".join([short(instance.task_id), what, instance.agent_id, *marks]).rstrip().replace("  ", " ")
        for app_id in sorted(state.in_need):
            launches = state.launches_of(app_id)
            yield f"{app_id} waits: {launches.waiting.value if launches.waiting else 'to be placed'}"
            for reason, count in Counter(r.reason.value for r in launches.refusals.values()).items():
                yield f"  {count} x {reason}"
        if state.brake.engaged:
            yield f"brake: {state.brake.reason}"
        if state.deployments:
            yield f"deployments: {len(state.deployments)}"

    def do_deployments(self, names: list[str], options: dict[str, str]) -> Iterator[str]:
        """What is under way and how far it is, and how others have ended."""
        state = self.machine.state
        for found in state.deployments.values():
            left = ", ".join(f"{app_id} {left}" for app_id, left in sorted(found.left.items()))
            marks = ["paused"] * found.record.paused
            marks += [f"{app_id} held" for app_id in sorted(found.held)] + [
                f"{app_id} at a gate" for app_id in sorted(found.reached)
            ]
            yield f"{found.deployment_id} of {', '.join(sorted(found.app_ids))}, left: {'; '.join([left, *marks])}"
        for over in state.ended:
            yield f"{over.record.deployment_id} {over.outcome.value}" + (f": {over.reason}" if over.reason else "")
        for app_id, reason in state.failed.items():
            yield f"{app_id}: {reason}"

    def _instances(self) -> list[Instance]:
        return sorted((i for i in self.machine.state.instances.values() if i.state), key=lambda i: i.instance_id)


def short(task_id: str) -> str:
    return task_id.replace(".instance-", ".").replace("._app.", ".")


def long(task: str) -> str:
    app, instance, attempt = task.split(".")
    return f"{app}.instance-{instance}._app.{attempt}"


def describe(action: actions.Action) -> list[str]:
    """Return the lines of one action."""
    match action:
        case actions.Put(key, record):
            if not isinstance(record, InstanceRecord):
                return [f"store {key}"]
            state = TaskState(record.state).name + (" stopping" if record.stopping else "")
            return [f"store {short(key).replace('.instance-', '.')} {state} on {record.agent_id}"]
        case actions.Forget(key):
            return [f"forget {short(key)}"]
        case actions.Accept():
            launches = ", ".join(f"{short(x.task_id)} ports {[p.host_port for p in x.payload.ports]}" for x in action.launches)
            return [f"accept {action.agent_id}: {launches}"]
        case actions.Decline():
            return [f"decline {len(action.offer_ids)} for {action.refuse_s:g} s"]
        case actions.AnswerInverse():
            answer = "yes" if action.accept else "not yet"
            return [f"answer {', '.join(action.offer_ids)}: {answer}, ask again in {action.refuse_s:g} s"]
        case actions.Kill():
            return [f"kill {short(action.task_id)} on {action.agent_id}"]
        case actions.Reconcile():
            return [f"reconcile {', '.join(short(task) for task, _ in action.tasks) or 'everything'}"]
        case actions.Acknowledge():
            return [f"acknowledge {short(action.status.task_id)} {action.status.state.name}"]
        case actions.Refuse():
            return [f"refuse, {action.refusal.value}: {action.message}"]
        case actions.Reply():
            return []
        case actions.Resubscribe():
            return [f"{type(action).__name__.lower()}: {action.reason}"]
    return [type(action).__name__.lower()]
