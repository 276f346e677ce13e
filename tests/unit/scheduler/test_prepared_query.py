"""When Consul's prepared query for all names is made, changed, removed, or somebody else's."""

from __future__ import annotations

import copy
import logging
from typing import Any

import consul
import pytest

from eratos.scheduler.prepared_query import Step, definition, step
from eratos.scheduler.query_keeper import QueryKeeper

OURS = definition("fw-1", 2) | {"ID": "q1", "Token": "", "DNS": {"TTL": ""}, "CreateIndex": 7}
OTHERS = definition("fw-2", 2) | {"ID": "q2"}
#: A query for one name, and a template for names that begin with something.
UNRELATED = [{"ID": "q3", "Name": "db", "Service": {"Service": "db"}}, {"ID": "q4", "Name": "geo-", "Template": {"Type": "x"}}]
#: For one service, without a name: it is called by its id.
NAMELESS = {"ID": "q5", "Name": "", "Template": {"Type": "", "Regexp": ""}, "Service": {"Service": "db", "IgnoreCheckIDs": None}}


def changed(**service: Any) -> dict[str, Any]:
    found = copy.deepcopy(OURS)
    found["Service"] |= service
    return found


@pytest.mark.parametrize(
    ("found", "nearest", "expected"),
    [
        ([], 2, Step("create")),
        ([], 0, Step("none")),
        ([*UNRELATED, NAMELESS], 2, Step("create")),
        ([OURS], 2, Step("none")),
        ([OURS], 3, Step("update", "q1")),
        ([changed(Near="")], 2, Step("update", "q1")),
        ([changed(Tags=None)], 2, Step("update", "q1")),
        ([changed(Failover=None)], 2, Step("update", "q1")),
        ([OURS | {"Template": {"Type": "name_prefix_match", "Regexp": ""}}], 2, Step("none")),
        ([OURS | {"Name": "x"}], 2, Step("update", "q1")),
        ([*UNRELATED, OURS], 0, Step("delete", "q1")),
        ([OTHERS], 2, Step("leave", "q2")),
        ([OTHERS], 0, Step("none")),
        ([OTHERS | {"Service": {"Service": "x"}}], 2, Step("leave", "q2")),
    ],
)
def test_what_is_done_about_it(found: list[dict[str, Any]], nearest: int, expected: Step) -> None:
    assert step(found, "fw-1", nearest) == expected


class PlayedConsul:
    """Queries, and whether they may be changed."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)
        self.denies = False
        self.dc = "dc2"
        self.query = self.http = self
        self.done: list[str] = []

    def prepare_headers(self) -> dict[str, str]:
        return {"X-Consul-Token": "t"}

    def list(self, dc: str) -> Any:
        assert dc == "dc2"
        return self.found

    def post(self, callback: object, path: str, *, params: Any, headers: dict[str, str], data: str = "") -> None:
        assert (params, headers) == ([("dc", "dc2")], {"X-Consul-Token": "t"})
        assert "token" not in data.lower()
        if self.denies:
            raise consul.ConsulException("403 Permission denied")
        self.done.append(path)

    put = delete = post


def test_one_of_ours_is_removed_once_a_term_where_none_is_wanted() -> None:
    keeper, played = QueryKeeper(lambda: "fw-1", 0), PlayedConsul(OURS)
    for _ in range(3):
        keeper.keep(played)  # type: ignore[arg-type]
    assert played.done == ["/v1/query/q1"]


def test_before_there_is_a_framework_nothing_is_done() -> None:
    played = PlayedConsul()
    QueryKeeper(lambda: "", 2).keep(played)  # type: ignore[arg-type]
    QueryKeeper(lambda: "", 2).remove(played)  # type: ignore[arg-type]
    assert played.done == []


def test_a_gone_framework_takes_its_query_along() -> None:
    played = PlayedConsul(OURS)
    QueryKeeper(lambda: "fw-1", 2).remove(played)  # type: ignore[arg-type]
    assert played.done == ["/v1/query/q1"]


@pytest.mark.parametrize(("denies", "found", "told"), [(True, [], "does the token have"), (False, [OTHERS], "is left alone")])
def test_what_stands_in_the_way_is_told_once_and_tried_again(
    denies: bool, found: list[dict[str, Any]], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, played = QueryKeeper(lambda: "fw-1", 2), PlayedConsul(*found)
    played.denies = denies
    with caplog.at_level(logging.WARNING):
        keeper.keep(played)  # type: ignore[arg-type]
        keeper.keep(played)  # type: ignore[arg-type]
    assert [told in record.getMessage() for record in caplog.records] == [True]
    played.denies, played.found = False, []
    keeper.keep(played)  # type: ignore[arg-type]
    assert played.done == ["/v1/query"]
