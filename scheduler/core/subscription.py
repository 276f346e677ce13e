"""The subscription with a master: what its begin and its end mean, and what Mesos is asked while it lasts."""

from __future__ import annotations

from . import maintenance, status_updates, sweeps
from .actions import Reconcile, Resubscribe
from .events import AgentLost, ExecutorLost, Subscribed
from .records import FRAMEWORK_ID
from .step import Step
from .timers import Timer, TimerKind

_RECONCILE = Timer(TimerKind.RECONCILE)


def subscribed(step: Step, event: Subscribed) -> None:
    """Begin anew with a master: no offer of before is good any more, and every task is asked about."""
    state = step.state
    state.connected, state.master, state.suppressed = True, event.master, frozenset()
    step.offering.filtered = False
    step.subscribed_at = step.now
    state.not_subscribed, state.region = "", event.region
    state.offers.clear()
    for agent_id in [found for found in state.agents if found not in state.on_agent]:
        if agent_id in state.lost:
            _forget(step, agent_id)
        else:
            state.lose(agent_id)  # what this master knows of it shows once it offers something
    if event.framework_id != state.framework_id:
        state.framework_id = event.framework_id
        step.store(FRAMEWORK_ID, event.framework_id)
    for instance in state.instances.values():
        if instance.stopping:
            status_updates.kill(step, instance)
    _begin_round(step)
    step.timers.set(_RECONCILE, step.now)


def disconnected(step: Step) -> None:
    """Note that the subscription ended."""
    step.state.connected = False
    step.state.offers.clear()
    step.reconciliation.stop()
    step.timers.clear(_RECONCILE)


def master_error(step: Step, message: str) -> None:
    """End the subscription, and this process where the master has removed the framework."""
    disconnected(step)
    if "removed" in message.lower():
        # The master ended this framework and with it every task: nothing can go on under this id (failover timeout).
        step.out.abort = f"the master removed framework {step.state.framework_id}: {message}"
    else:
        step.call(Resubscribe(message))


def lost(step: Step, event: AgentLost | ExecutorLost) -> None:
    """Ask about the tasks of an agent that is lost, or whose executor is; forget what a lost one offered."""
    state, agent_id = step.state, event.agent_id
    status_updates.ask_about(step, state.on_agent.get(agent_id, {}).values())
    if isinstance(event, ExecutorLost):
        sweeps.executor_lost(step, agent_id, event.status)
        return
    for offer_id in [offer.offer_id for offer in state.offers.values() if offer.agent_id == agent_id]:
        del state.offers[offer_id]
    state.lose(agent_id)
    state.room.pop(agent_id, None)
    maintenance.left(step, agent_id)
    if agent_id not in state.on_agent:
        _forget(step, agent_id)


def _forget(step: Step, agent_id: str) -> None:
    step.state.forget(agent_id)
    step.state.lost.discard(agent_id)
    step.state.scheduled.pop(agent_id, None)
    step.state.windows.pop(agent_id, None)


def reconcile_due(step: Step) -> None:
    """Take the next step of reconciliation; when a round is over, another one begins after a while."""
    instances = step.state.instances
    for instance_id in list(step.reconciliation.unanswered):
        if instance_id not in instances or instances[instance_id].waiting:
            step.reconciliation.answered(instance_id)  # it was given up meanwhile, and nobody will speak of it
    requests, delay_s = step.reconciliation.step()
    for request in requests:
        found = (instances.get(instance_id) for instance_id in request)
        asked = tuple((i.task_id, i.agent_id) for i in found if i is not None and not i.waiting)
        if asked or not request:
            step.call(Reconcile(asked))
    if not requests and step.state.connected:
        _begin_round(step)
    step.timers.set(_RECONCILE, step.now + delay_s)


def _begin_round(step: Step) -> None:
    step.reconciliation.start(instance.instance_id for instance in step.state.with_task())
