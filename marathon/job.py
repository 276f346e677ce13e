"""Jobs in Metronome's language: what runs to its end, by hand or by cron. Only how often is a job's own matter: what it runs is
described as an app is, and read by the same code (:mod:`.definition`).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator

from . import bounds, definition, ids, pydantic_errors, strict_json
from .app import App
from .app_parts import Labels, Part, PositiveSeconds, Seconds
from .cron import Cron, time_zone
from .errors import PROBLEMS_MOST, InvalidApp, InvalidInItself, Problem
from .normalise import has_exclusive_volumes, without_nulls

#: A job's id: names with dots between them, as Metronome has it. Its place among groups is the same with slashes.
JOB_ID: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
SCHEDULE_ID: Final = r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"
#: A run's id and a dot follow, and the whole has to be an app's id.
ID_CHARACTERS_MAX: Final = 140
SCHEDULES_MOST: Final = 20
DEFINITION_BYTES_MAX: Final = 256 * 1024
#: Seconds after which a run whose agent cannot be reached counts as lost.
LOST_S: Final = 300

_NAMED: Final[Mapping[str, str]] = {
    JOB_ID: "must be lowercase letters, digits and dashes, with dots between names, such as shop.backup",
    SCHEDULE_ID: "must be letters, digits, dashes, dots and underscores, with a letter or digit at both ends, such as nightly",
}

#: What is shown with a job. Accepted, so that a shown job can be sent back, and dropped.
OUTPUT_ONLY: Final = frozenset({"activeRuns", "history", "historySummary"})
#: The same with a schedule.
SCHEDULE_OUTPUT_ONLY: Final = frozenset({"nextRunAt"})

#: Fields of ``run`` that an app has under the same name.
_SAME: Final = (
    *("cmd", "args", "cpus", "mem", "disk", "gpus", "env", "secrets", "user", "networks", "taskKillGracePeriodSeconds"),
)
#: The same of ``run.docker``, which an app has in its container.
_DOCKER: Final = ("image", "forcePullImage", "privileged", "parameters", "pullConfig")
_OPERATORS: Final[Mapping[str, str]] = {"EQ": "IS", "IS": "IS", "LIKE": "LIKE", "UNLIKE": "UNLIKE"}
#: Places in an app -> those in a job's run.
_PLACES: Final = (
    ("/container/docker", "/run/docker"),
    ("/container/volumes", "/run/volumes"),
    ("/container", "/run/docker"),
    ("/fetch", "/run/artifacts"),
    ("/constraints", "/run/placement/constraints"),
    ("/maxLaunchDelaySeconds", "/run/maxLaunchDelay"),
    ("/labels", "/labels"),
    ("/id", "/id"),
)

Json = dict[str, Any]


def _named(pattern: str) -> AfterValidator:
    def check(name: str) -> str:
        if not re.fullmatch(pattern.strip("^$"), name):
            raise ValueError(f"{_NAMED[pattern]}, not '{strict_json.shortened(name)}'")
        return name

    return AfterValidator(check)


class Schedule(Part):
    """When a job runs by itself."""

    id: Annotated[str, Field(max_length=100), _named(SCHEDULE_ID)]
    cron: str
    timezone: str = "UTC"
    #: What comes of an instant while a run of the job is at work: another run beside it, none, or one in its place.
    concurrency_policy: Literal["ALLOW", "FORBID", "REPLACE"] = "ALLOW"
    enabled: bool = True
    #: An instant that could not be started for so long is missed.
    starting_deadline_seconds: PositiveSeconds = 900

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        time_zone(name)
        return name

    @field_validator("cron")
    @classmethod
    def _readable(cls, expression: str) -> str:
        Cron(expression, "UTC")
        return expression

    @cached_property
    def times(self) -> Cron:
        return Cron(self.cron, self.timezone)

    def same_times(self, other: Schedule) -> bool:
        """Return whether both name the same instants, and at the same ones mean to run."""
        return (self.cron, self.timezone, self.enabled) == (other.cron, other.timezone, other.enabled)


class RestartPolicy(Part):
    """What comes of a run whose task failed."""

    policy: Literal["NEVER", "ON_FAILURE"] = "NEVER"
    #: From the run's beginning on it is tried again for so long; None: until it is done.
    active_deadline_seconds: Seconds | None = None


class RunConstraint(Part):
    """Where it may run."""

    attribute: Annotated[str, Field(min_length=1)]
    operator: Literal["EQ", "IS", "LIKE", "UNLIKE"]
    value: str = ""


class RunPlacement(Part):
    constraints: tuple[RunConstraint, ...] = ()


class RunSpec(Part):
    """What a job runs. Fields that are read as an app's are held as they were given."""

    cmd: Any = None
    args: Any = None
    cpus: Any = 1.0
    mem: Any = 128.0
    disk: Any = 0.0
    gpus: Any = 0
    env: Any = None
    secrets: Any = None
    user: Any = None
    networks: Any = None
    task_kill_grace_period_seconds: Any = None
    docker: Mapping[str, Any] | None = None
    volumes: Any = None
    artifacts: Any = None
    max_launch_delay: Seconds = 3600
    placement: RunPlacement = RunPlacement()
    restart: RestartPolicy = RestartPolicy()


class Job(Part):
    """A job with its schedules."""

    id: Annotated[str, Field(max_length=ID_CHARACTERS_MAX), _named(JOB_ID)]
    description: Annotated[str, Field(max_length=4096)] = ""
    labels: Labels = {}
    run: RunSpec
    schedules: Annotated[tuple[Schedule, ...], Field(max_length=SCHEDULES_MOST)] = ()

    @property
    def path(self) -> str:
        """Its place among apps and groups, by which roles are given: ``shop.backup`` is ``/shop/backup``."""
        return path_of(self.id)

    def to_json(self) -> Json:
        """Return Metronome's JSON of the job in canonical form, with its schedules."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def with_schedules(self, schedules: Iterable[Schedule]) -> Self:
        return type(self).model_validate({**self.model_dump(by_alias=True), "schedules": tuple(schedules)})

    def schedule(self, schedule_id: str) -> Schedule | None:
        return next((found for found in self.schedules if found.id == schedule_id), None)

    @cached_property
    def app(self) -> App:
        """What a run of it is to those who place and start tasks: an app of one instance. Raises InvalidApp."""
        return definition.parse(_app_json(self))


#: Why no run has volumes that outlive it.
_NO_VOLUMES: Final = "is refused: a run has no volumes that outlive it; use hostPath, or an external volume"


def path_of(job_id: str) -> str:
    return "/" + job_id.replace(".", "/")


def parse(data: Any, before: Job | None = None) -> Job:
    """Read a user's job. Without schedules it keeps those that there were ``before``. Raises InvalidApp."""
    if not isinstance(data, Mapping):
        raise InvalidInItself([Problem("/", f"must be an object with the job's fields, not {pydantic_errors.kind(data)}")])
    strict_json.check(data)
    raw = {key: value for key, value in data.items() if key not in OUTPUT_ONLY}
    _bounded(raw)
    if "schedules" not in raw and before is not None:
        raw["schedules"] = [schedule.model_dump(mode="json", by_alias=True) for schedule in before.schedules]
    return _read(raw)


def restore(data: Mapping[str, Any]) -> Job:
    """Read what :meth:`Job.to_json` wrote. Raises InvalidApp."""
    return _modelled(dict(data))


def parse_schedule(data: Any) -> Schedule:
    """Read a user's schedule. Raises InvalidApp."""
    if not isinstance(data, Mapping):
        raise InvalidInItself([Problem("/", f"must be an object with the schedule's fields, not {pydantic_errors.kind(data)}")])
    strict_json.check(data)
    _bounded(data)
    raw = _schedule(data)
    try:
        return Schedule.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise InvalidInItself(_problems(error, Schedule)) from None


def _bounded(data: Mapping[str, Any]) -> None:
    if (size := len(json.dumps(data))) > DEFINITION_BYTES_MAX:
        raise InvalidInItself(
            [Problem("/", f"takes {size} bytes: {DEFINITION_BYTES_MAX} are the most; have it fetch what is large")]
        )
    if found := list(itertools.islice(bounds.sizes(data), PROBLEMS_MOST + 1)):
        raise InvalidInItself(found)
    given = {key: value for key, value in data.items() if key != "id"}
    if found := list(itertools.islice(bounds.values(given), PROBLEMS_MOST + 1)):
        raise InvalidInItself(found)


def _schedule(data: Any) -> Any:
    if not isinstance(data, Mapping):
        return data
    return {key: value for key, value in data.items() if value is not None and key not in SCHEDULE_OUTPUT_ONLY}


def _read(raw: Json) -> Job:
    job = _modelled(raw)
    volumes = job.run.volumes if isinstance(job.run.volumes, list) else []
    if kept := [index for index, volume in enumerate(volumes) if isinstance(volume, dict) and volume.get("persistent")]:
        raise InvalidInItself([Problem(f"/run/volumes({index})/persistent", _NO_VOLUMES) for index in kept])
    problems = [*_rules(job, raw)]
    try:
        job.app  # noqa: B018  it is read by the rules of apps
    except InvalidApp as error:
        problems += [Problem(place(problem.path), problem.message) for problem in error.problems]
    if problems:
        raise InvalidInItself(problems)
    return job


def _modelled(raw: Json) -> Job:
    if isinstance(raw.get("schedules"), list):
        raw["schedules"] = [_schedule(each) for each in raw["schedules"]]
    given = {key: without_nulls(value, key) for key, value in raw.items() if value is not None}
    if given.pop("dependencies", None):
        raise InvalidInItself(
            [Problem("/dependencies", "is refused: jobs do not wait for each other here; start one from the other")]
        )
    try:
        return Job.model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise InvalidInItself(_problems(error, Job)) from None


def _problems(error: ValidationError, model: type[Job | Schedule]) -> Iterator[Problem]:
    for problem in pydantic_errors.problems(error, model):
        ucr = problem.path == "/run/ucr"
        yield Problem(problem.path, "is refused: it is for Mesos' own containers; use docker" if ucr else problem.message)


def _rules(job: Job, raw: Mapping[str, Any]) -> Iterator[Problem]:
    if fault := ids.reserved(job.path):
        yield Problem("/id", fault)
    seen: set[str] = set()
    for index, schedule in enumerate(job.schedules):
        if schedule.id in seen:
            yield Problem(f"/schedules({index})/id", f"is {schedule.id}, as that of another schedule: choose another one")
        seen.add(schedule.id)
    docker = job.run.docker
    if docker is not None and (unknown := sorted(docker.keys() - {*_DOCKER})):
        yield Problem(f"/run/docker/{unknown[0]}", f"is no field that eratos knows: {', '.join(_DOCKER)} are")


def _app_json(job: Job) -> Json:
    run = job.run
    given = run.model_dump(mode="json", by_alias=True)
    app: Json = {name: given[name] for name in _SAME if given[name] is not None}
    app |= {"id": job.path, "labels": dict(job.labels), "maxLaunchDelaySeconds": run.max_launch_delay}
    container: Json = {}
    if run.docker is not None:
        container |= {"type": "DOCKER", "docker": {key: value for key, value in run.docker.items() if key in _DOCKER}}
    if run.volumes:
        container["volumes"] = run.volumes
    # What is no list the app's own field refuses.
    networks = run.networks if isinstance(run.networks, list) else ()
    # Nobody is to find a run, so it has no ports; an app that states none would be given one.
    if any(isinstance(each, dict) and each.get("mode", "host") != "host" for each in networks):
        container["portMappings"] = []
    else:
        app["portDefinitions"] = []
    if container:
        app["container"] = container
    if run.artifacts is not None:
        app["fetch"] = run.artifacts
    if placed := run.placement.constraints:
        app["constraints"] = [[each.attribute, _OPERATORS[each.operator], each.value] for each in placed]
    # Two of one run must not be at work, so whatever is out of reach has its time to come back; without end, where it writes to
    # a volume that others may have next.
    if not has_exclusive_volumes(app):
        app["unreachableStrategy"] = {"inactiveAfterSeconds": LOST_S, "expungeAfterSeconds": LOST_S}
    return app


def place(path: str) -> str:
    """Return where in a job stands what is wrong with its app."""
    for of_app, of_job in _PLACES:
        if path == of_app or path.startswith((of_app + "/", of_app + "(")):
            return of_job + path[len(of_app) :]
    return "/run" + path if path != "/" else "/run"
