"""What a request's apps are held against beside their own rules: names that are not theirs to have."""

from __future__ import annotations

import pytest
from support.builders import an_app

from eratos.common import names
from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.scheduler.api.definitions import check


def named(app_id: str, cmd: str = "x") -> App:
    return definition.parse({"id": app_id, "cmd": cmd, "portDefinitions": [{}]})


@pytest.mark.parametrize("service", sorted(names.RESERVED_SERVICES))
def test_a_name_of_the_protocol_is_no_apps(service: str) -> None:
    """Executors and balancers would take its instances for parts of eratos: each drain would wait for its whole time."""
    for app_id in {f"/{service}", "/" + service.replace("-", "/")}:
        with pytest.raises(InvalidApp, match=f"gives the Consul service {service}, which is none of an app's"):
            check({}, (named(app_id),), None)
    check({}, (named(f"/{service}-1"),), None)


def test_an_app_that_has_one_already_can_be_changed() -> None:
    there = named("/eratos-balancer")
    check({there.id: there}, (named("/eratos-balancer", "y"),), None)
    with pytest.raises(InvalidApp, match="none of an app's"):
        check({there.id: there, "/a": an_app("/a")}, (named("/consul"),), None)
