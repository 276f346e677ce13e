"""Names: how ids of apps, instances, tasks, containers and Consul services are formed and recognised.

Everything eratos owns carries a prefix or a label from this module, and whatever lacks it is never touched.
Task ids follow Marathon's own form, so tools that parse those go on working::

    app       /shop/cart
    instance  shop_cart.instance-6f1c0a52-8a0e-4d5b-9f0e-2f4f4f1d7c11
    task      shop_cart.instance-6f1c0a52-8a0e-4d5b-9f0e-2f4f4f1d7c11._app.1
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

PREFIX: Final = "eratos"

#: Labels on every container that an executor starts.
LABEL_FRAMEWORK: Final = "eratos.framework"
LABEL_EXECUTOR: Final = "eratos.executor"
LABEL_AGENT: Final = "eratos.agent"
LABEL_HOST: Final = "eratos.host"
LABEL_APP: Final = "eratos.app"
LABEL_INSTANCE: Final = "eratos.instance"
LABEL_TASK: Final = "eratos.task"
#: On a Docker volume that an executor made: whose it is, beside LABEL_FRAMEWORK and LABEL_APP, and where it is mounted.
LABEL_VOLUME: Final = "eratos.volume"
LABEL_PATH: Final = "eratos.path"
#: How many services a task has in Consul.
LABEL_SERVICES: Final = "eratos.services"
#: Label of a status update: why its task does not know what it requires, or nothing where it does.
LABEL_OUTDATED: Final = "eratos.outdated"
#: Another one: how its health checks went (check_results.py).
LABEL_CHECKS: Final = "eratos.checks"
#: Further ones on the containers of a pod: which of them it is, and how many they are.
LABEL_CONTAINER: Final = "eratos.container"
LABEL_CONTAINERS: Final = "eratos.containers"

#: Folder of a pod's sandbox in which each of its containers has one of its own, where nested containers have theirs with Mesos.
CONTAINERS: Final = "containers"
#: Header of a log of which each line comes after its position, from which another reading may go on.
LOG_POSITIONS: Final = "Eratos-Log-Positions"

#: Variable in the environment of every process that an executor starts on its host: the same facts as a container's labels.
PROCESS_MARK: Final = "ERATOS_PROCESS"

#: Where executors serve their tasks' logs on each agent's host, unless a setting says otherwise. Beside Mesos' 5050 and 5051.
EXECUTOR_PORT: Final = 5052

#: Where balancers' companions listen, unless a setting says otherwise.
COMPANION_PORT: Final = 9100

#: Tag on every Consul service that stands for an instance; balancers look at tagged services only.
SERVICE_TAG: Final = "eratos"
#: Consul service under which each balancer's companion registers itself.
BALANCER_SERVICE: Final = "eratos-balancer"
#: Consul service under which an executor is found while tasks of it require others.
CONSUMER_SERVICE: Final = "eratos-consumer"

#: Keys in a Consul service's meta. Consul allows letters, digits, ``-`` and ``_``.
META_FRAMEWORK: Final = "eratos-framework"
META_AGENT: Final = "eratos-agent"
META_EXECUTOR: Final = "eratos-executor"
META_APP: Final = "eratos-app"
META_INSTANCE: Final = "eratos-instance"
META_TASK: Final = "eratos-task"
META_VERSION: Final = "eratos-version"
META_PORT: Final = "eratos-port"
META_ZONE: Final = "eratos-zone"
#: Of an app whose instances have ordinals: which one this is, and the name that it has by it.
META_ORDINAL: Final = "eratos-ordinal"
META_NAME: Final = "eratos-name"
#: The same as variables of its task.
ORDINAL_VARIABLE: Final = "ERATOS_ORDINAL"
NAME_VARIABLE: Final = "ERATOS_NAME"
#: On the entries in Consul's catalogue that stand for an app's service while no instance does, and since when they do.
META_PLACEHOLDER: Final = "eratos-placeholder"
META_SINCE: Final = "eratos-since"
#: And which weight the servers of each version of an app have, where that is not the same for all.
META_WEIGHTS: Final = "eratos-weights"
#: On the node that they are on: from when on Mesos has ended their framework for certain, unless this is put off.
META_UNTIL: Final = "eratos-until"
#: Ids of those entries, and the node that they are on, begin so.
PLACEHOLDER: Final = "eratos-app-"
PLACEHOLDER_NODE: Final = "eratos-apps-"
#: Service names that belong to Consul, to this protocol or to balancers, and so to no app.
RESERVED_SERVICES: Final = frozenset(
    {"consul", "eratos", BALANCER_SERVICE, CONSUMER_SERVICE, "eratos-executor", "eratos-scheduler", "static"}
)
#: In a balancer's meta: its name for people. It marks a balancer: no instance's meta can have it.
META_HOST: Final = "eratos-host"
#: In a balancer's meta, each followed by a number: a service that it leaves out, and why, as ``service: reason``.
META_LEFT_OUT: Final = "eratos-left-out-"

_SERVICE_ID = re.compile(rf"^{PREFIX}-(?P<task>.+\.instance-[0-9A-Za-z-]+\._app\.[0-9]+)(-[0-9]+)?$")
_TASK_ID = re.compile(r"^(?P<instance>(?P<app>.+)\.instance-[0-9A-Za-z-]+)\._app\.(?P<attempt>[0-9]+)$")


def safe_app_id(app_id: str) -> str:
    """Return an app id in the form that ids of its instances begin with: ``/shop/cart`` -> ``shop_cart``."""
    return app_id.strip("/").replace("/", "_")


def instance_id(app_id: str, unique: str) -> str:
    """Return the id of a new instance of an app; ``unique`` is a UUID or anything of ``[0-9A-Za-z-]``."""
    return f"{safe_app_id(app_id)}.instance-{unique}"


def volume_name(app_id: str, unique: str) -> str:
    """Return the name of a new persistent volume of an app, in Docker as well."""
    return f"{PREFIX}-{safe_app_id(app_id)}-{unique}"


def task_id(instance: str, attempt: int) -> str:
    """Return the id of an instance's task; attempts count from 1, one for each launch of the instance."""
    return f"{instance}._app.{attempt}"


def parse_task_id(value: str) -> tuple[str, int] | None:
    """Return (instance id, attempt), or None where the id was not made by :func:`task_id`."""
    match = _TASK_ID.match(value)
    return (match["instance"], int(match["attempt"])) if match else None


def service_name(app_id: str, port_name: str = "") -> str:
    """Return the Consul service name of an app's port: ``/shop/cart`` -> ``shop-cart``, port ``admin`` -> ``shop-cart-admin``.

    Only letters, digits and dashes, so that Consul's DNS can answer for it.
    """
    parts = [part for part in (*app_id.strip("/").split("/"), port_name) if part]
    return re.sub(r"[^0-9A-Za-z-]+", "-", "-".join(parts))


def stable_name(app_id: str, ordinal: int) -> str:
    """Return the name of the instance that holds an ordinal of an app, whichever it is: ``/shop/db``, 0 -> ``shop-db-0``."""
    return f"{service_name(app_id)}-{ordinal}"


def ordinal_tag(ordinal: int) -> str:
    """Return the Consul tag of an instance with an ordinal, by which DNS finds it: ``ordinal-0.shop-db.service.consul``."""
    return f"ordinal-{ordinal}"


def service_id(task: str, port_index: int = 0) -> str:
    """Return the Consul service id of one port of a task. It is also the server's name in HAProxy."""
    return f"{PREFIX}-{task}" if port_index == 0 else f"{PREFIX}-{task}-{port_index}"


def task_of_service(service: str) -> str | None:
    """Return the task that a Consul service id was made for, or None where :func:`service_id` did not make it."""
    match = _SERVICE_ID.match(service)
    return match["task"] if match else None


def is_balancer(service: Mapping[str, Any]) -> bool:
    """Return whether a service in Consul is a balancer's: by its mark, as anybody may take the name."""
    meta = service.get("Meta") or {}
    return bool(meta.get(META_HOST)) and META_TASK not in meta


def container_name(task: str, container: str = "") -> str:
    """Return the name of a task's container, or of one of a pod's.

    Never ``mesos-*``: Mesos' Docker containerizer may stop such containers (rule 69).
    """
    return f"{PREFIX}-{task}.{container}" if container else f"{PREFIX}-{task}"
