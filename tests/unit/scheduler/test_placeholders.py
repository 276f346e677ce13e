"""What stands in Consul for apps, whether they have instances or not: kept level-triggered, and nothing of anybody else's."""

from __future__ import annotations

import json
from typing import Any

import consul
import pytest

from eratos.common.errors import TemporaryError
from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.scheduler import placeholders
from eratos.scheduler.placeholder_keeper import GONE_S, Fleet, PlaceholderKeeper

WEEK_S = 604_800.0
FRAMEWORK = "fw-0001"
NODE = "eratos-apps-fw-0001"


def an_app(app_id: str, **labels: str) -> App:
    return definition.parse(
        {"id": app_id, "cmd": "x", "portDefinitions": [{"port": 0, "name": "http"}, {"port": 0}], "labels": labels}
    )


WEB = an_app("/web", HAPROXY_0_VHOST="web.test", CONSUL_TAGS="prod")
PLAIN = an_app("/plain")


class FakeConsul:
    """A catalogue that takes transactions, as Consul's does."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.checks: dict[str, str] = {}
        self.transactions: list[int] = []
        self.node_meta: dict[str, str] = {}
        self.others: list[dict[str, Any]] = []  #: nodes of other frameworks
        self.reads = 0
        self.refuses = False
        self.denies = False
        self.catalog = self
        self.http = self
        self.dc: str | None = None

    def prepare_headers(self) -> dict[str, str]:
        return {"X-Consul-Token": "t"}

    def node(self, name: str) -> tuple[str, Any]:
        assert name == NODE
        self.reads += 1
        return "1", {"Node": {"Meta": self.node_meta}, "Services": dict(self.services)} if self.node_meta else None

    def nodes(self, filter_expr: str) -> tuple[str, list[dict[str, Any]]]:
        assert filter_expr == 'Node matches "^eratos-apps-"'
        return "1", [{"Node": NODE, "Meta": self.node_meta, "ModifyIndex": 5}, *self.others]

    def put(self, callback: Any, path: str, *, params: Any, headers: dict[str, str], data: str) -> bool:
        assert (path, headers) == ("/v1/txn", {"X-Consul-Token": "t"})
        assert params == (None if self.dc is None else [("dc", self.dc)])
        if self.refuses:
            return False
        operations = json.loads(data)
        assert len(operations) <= 64
        if self.denies:
            raise consul.ConsulException("409 Permission denied")
        first = operations[0]["Node"]
        if first["Verb"] == "delete-cas":
            self.others = [other for other in self.others if other != first["Node"] | {"Meta": other["Meta"]}]
            return True
        assert first["Node"]["Node"] == NODE
        if first["Verb"] == "delete":
            self.services.clear()
            return True
        self.node_meta = first["Node"]["Meta"]
        self.transactions.append(len(operations))
        for operation in operations[1:]:
            ((kind, body),) = operation.items()
            if kind == "Service" and body["Verb"] == "set":
                self.services[body["Service"]["ID"]] = body["Service"]
            elif kind == "Service":
                assert body["Service"]["Service"], "Consul refuses a deletion without the name"
                del self.services[body["Service"]["ID"]]
            else:
                assert body["Check"]["Node"] == NODE
                self.checks[body["Check"]["ServiceID"]] = body["Check"]["Status"]
        return True


class Rig:
    def __init__(self, *apps: App) -> None:
        self.apps = {app.id: app for app in apps}
        self.with_instances: set[str] = set()
        self.weights: dict[str, dict[str, int]] = {}
        self.now = 1000.0
        self.consul = FakeConsul()
        self.keeper = self.another()

    def another(self) -> PlaceholderKeeper:
        def fleet() -> Fleet:
            return Fleet(FRAMEWORK, dict(self.apps), frozenset(self.with_instances), dict(self.weights))

        return PlaceholderKeeper(fleet, WEEK_S, lambda: self.now)

    def keep(self, *, in_full: bool = True) -> list[str]:
        self.keeper.keep(self.consul, in_full=in_full)  # type: ignore[arg-type]
        return sorted(self.consul.services)


def test_each_balanced_port_has_an_entry_that_is_never_well():
    rig = Rig(WEB, PLAIN)
    assert rig.keep() == ["eratos-app-web"]
    entry = rig.consul.services["eratos-app-web"]
    assert (entry["Service"], entry["Tags"]) == ("web", ["eratos", "prod"])
    assert entry["Meta"] == {
        "haproxy-group": "external",
        "haproxy-mode": "http",
        "haproxy-vhost": "web.test",
        "eratos-app": "/web",
        "eratos-framework": FRAMEWORK,
        "eratos-placeholder": "true",
        "eratos-since": "000000001000000",
    }
    assert rig.consul.checks == {"eratos-app-web": "critical"}


def test_nothing_is_written_while_nothing_changes():
    rig = Rig(WEB)
    rig.keep()
    assert not rig.keeper.changed()
    rig.keep()
    rig.keep(in_full=False)
    assert len(rig.consul.transactions) == 1
    assert rig.consul.reads == 2


def test_another_leader_finds_everything_as_it_is():
    rig = Rig(WEB)
    rig.keep()
    rig.keeper = rig.another()
    rig.now += 100
    rig.keep()
    assert len(rig.consul.transactions) == 1


def test_a_consul_that_lost_its_data_gets_it_back():
    rig = Rig(WEB)
    rig.keep()
    rig.consul.services.clear()
    assert rig.keep(in_full=False) == []
    assert rig.keep() == ["eratos-app-web"]


def test_an_entry_keeps_since_when_it_is_there_over_changes():
    rig = Rig(WEB)
    rig.keep()
    rig.apps["/web"] = an_app("/web", HAPROXY_0_VHOST="other.test")
    rig.now += 100
    assert rig.keeper.changed()
    rig.keep(in_full=False)
    rig.keep()
    meta = rig.consul.services["eratos-app-web"]["Meta"]
    assert (meta["haproxy-vhost"], meta["eratos-since"]) == ("other.test", "000000001000000")


def test_what_is_no_longer_balanced_goes_at_once():
    rig = Rig(WEB)
    rig.keep()
    rig.apps["/web"] = an_app("/web")
    assert rig.keep(in_full=False) == []


def test_a_deleted_app_stays_while_it_has_instances_and_for_a_while():
    rig = Rig(WEB)
    rig.keep()
    del rig.apps["/web"]
    rig.with_instances.add("/web")
    for _ in range(3):
        rig.now += GONE_S
        assert rig.keep() == ["eratos-app-web"]
    rig.with_instances.clear()
    assert rig.keep(in_full=False) == ["eratos-app-web"]
    assert rig.keeper.changed(), "it has to be looked at again"
    rig.now += GONE_S
    assert rig.keep(in_full=False) == []
    assert not rig.keeper.changed()


def test_a_new_leader_knows_of_deleted_apps():
    rig = Rig(WEB)
    rig.keep()
    rig.apps.clear()
    rig.keeper = rig.another()
    assert rig.keep() == ["eratos-app-web"]
    rig.now += GONE_S
    assert rig.keep() == []


def test_a_name_that_another_app_takes_over_is_as_new_as_any():
    rig = Rig(an_app("/a/b", HAPROXY_0_PATH="/x"))
    rig.keep()
    rig.apps = {"/a-b": an_app("/a-b", HAPROXY_0_PATH="/x")}
    rig.now += 5
    rig.keep()
    meta = rig.consul.services["eratos-app-a-b"]["Meta"]
    assert (meta["eratos-app"], meta["eratos-since"]) == ("/a-b", "000000001005000")


def test_many_entries_go_in_several_transactions():
    rig = Rig(*(an_app(f"/app{number}", HAPROXY_0_PATH=f"/{number}") for number in range(100)))
    assert len(rig.keep()) == 100
    assert rig.consul.transactions == [61, 61, 61, 21]


def test_what_is_on_the_node_and_no_entry_is_left_alone():
    rig = Rig(WEB)
    rig.consul.services["stranger"] = {"ID": "stranger", "Service": "web", "Meta": {"eratos-since": "1"}}
    rig.consul.services["eratos-app-odd"] = {"ID": "eratos-app-odd", "Service": "odd", "Meta": None}
    assert rig.keep() == ["eratos-app-odd", "eratos-app-web", "stranger"]


def test_a_transaction_that_is_refused_is_an_error_and_done_again():
    rig = Rig(WEB)
    rig.consul.refuses = True
    with pytest.raises(TemporaryError):
        rig.keep()
    assert rig.keeper.changed()
    rig.consul.refuses = False
    assert rig.keep(in_full=False) == ["eratos-app-web"]


def test_without_a_framework_there_is_nothing():
    rig = Rig(WEB)
    keeper = PlaceholderKeeper(lambda: Fleet("", rig.apps, ()), WEEK_S)
    keeper.keep(rig.consul, in_full=True)  # type: ignore[arg-type]
    keeper.remove(rig.consul)  # type: ignore[arg-type]
    assert rig.consul.services == {}


def test_the_node_is_the_frameworks_own():
    assert placeholders.node("AB-0001") == "eratos-apps-ab-0001"


def test_an_entry_says_which_version_has_how_much_of_the_traffic():
    rig = Rig(WEB)
    rig.weights = {"/web": {"v2": 0, "v1": 100}}
    rig.keep()
    assert rig.consul.services["eratos-app-web"]["Meta"]["eratos-weights"] == "v1=100,v2=0"
    assert not rig.keeper.changed()
    rig.weights = {"/web": {"v1": 100, "v2": 25}}
    assert rig.keeper.changed()
    rig.keep(in_full=False)
    assert rig.consul.services["eratos-app-web"]["Meta"]["eratos-weights"] == "v1=100,v2=25"
    rig.weights = {}
    rig.keep(in_full=False)
    assert "eratos-weights" not in rig.consul.services["eratos-app-web"]["Meta"]


# Frameworks that are gone for good


def test_the_node_says_until_when_mesos_keeps_the_framework():
    rig = Rig(WEB)
    rig.keep()
    assert rig.consul.node_meta == {"eratos-framework": FRAMEWORK, "eratos-until": placeholders.timestamp(1000.0 + WEEK_S)}
    rig.now += WEEK_S / 100
    rig.keep()
    assert len(rig.consul.transactions) == 1, "it is not written each few seconds"
    rig.now += 1
    rig.keep()
    rig.keep(in_full=False)
    assert rig.consul.transactions == [3, 1]
    assert rig.consul.node_meta["eratos-until"] == placeholders.timestamp(rig.now + WEEK_S)


def test_a_leader_puts_off_the_end_of_entries_that_a_version_before_made():
    rig = Rig(WEB)
    rig.keep()
    rig.consul.node_meta = {"eratos-framework": FRAMEWORK}
    rig.keep()
    assert rig.consul.node_meta["eratos-until"] == placeholders.timestamp(1000.0 + WEEK_S)


@pytest.mark.parametrize(
    ("framework", "meta", "after_s", "swept"),
    [
        ("gone", {"eratos-framework": "gone", "eratos-until": "000000001000000"}, 0, False),
        ("gone", {"eratos-framework": "gone", "eratos-until": "000000001000000"}, 0.001, True),
        ("Gone", {"eratos-framework": "Gone", "eratos-until": "000000001000000"}, 1, True),
        ("gone", {"eratos-framework": "other", "eratos-until": "000000001000000"}, 1, False),
        ("gone", {"eratos-framework": "gone"}, 1e9, False),  # of a version before
        ("gone", None, 1e9, False),  # of nobody knows whom
    ],
)
def test_what_a_framework_left_is_removed_once_mesos_has_ended_it(
    framework: str, meta: dict[str, str] | None, after_s: float, swept: bool
):
    rig = Rig(WEB)
    rig.keep()
    rig.consul.node_meta["eratos-until"] = "000000000000001"  # of its own a leader removes nothing
    rig.consul.others = [{"Node": f"eratos-apps-{framework.lower()}", "Meta": meta, "ModifyIndex": 7}]
    rig.now += after_s
    rig.keeper.sweep(rig.consul)  # type: ignore[arg-type]
    assert (rig.consul.others == []) == swept
    assert rig.keep() == ["eratos-app-web"]


def test_a_token_that_may_not_remove_them_is_said_once_and_holds_nothing_up(caplog: pytest.LogCaptureFixture):
    rig = Rig(WEB)
    rig.keep()
    meta = {"eratos-framework": "gone", "eratos-until": "000000000000001"}
    rig.consul.others = [{"Node": "eratos-apps-gone", "Meta": meta, "ModifyIndex": 7}]
    rig.consul.denies = True
    for _ in range(2):
        rig.keeper.sweep(rig.consul)  # type: ignore[arg-type]
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "node:write" in said and "eratos-apps-gone" in said


def test_a_framework_that_the_master_has_removed_takes_its_entries_along():
    rig = Rig(WEB)
    rig.keep()
    rig.keeper.remove(rig.consul)  # type: ignore[arg-type]
    assert rig.consul.services == {}
