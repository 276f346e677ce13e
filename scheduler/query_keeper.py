"""Keeps the prepared query of one data center of Consul as :mod:`prepared_query` decides. Called by the catalogue.

Needs of Consul's ACL: ``query:write`` for all names (``query_prefix ""``). Where the setting is off it needs nothing: a token
that may see no query finds none to remove.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import consul
from consul.callback import CB

from eratos.common.log import fields

from . import prepared_query

log = logging.getLogger(__name__)


class QueryKeeper:
    """The query of one framework in one data center. For one thread."""

    def __init__(self, framework_id: Callable[[], str], nearest: int) -> None:
        """``nearest``: how many other data centers are asked at most where there is nobody; 0: no query."""
        self._framework_id = framework_id
        self._nearest = nearest
        self._settled = False  #: one of ours is gone for this term
        self._told = ""  #: why not, as last reported

    def keep(self, client: consul.Consul) -> None:
        """Make the query what it should be. What Consul refuses is logged once, and holds nothing else up.

        Raises requests' errors where it does not answer.
        """
        framework_id = self._framework_id()
        if not framework_id or self._settled:
            return
        try:
            step = self._take(client, framework_id, self._nearest)
        except consul.ConsulException as error:
            self._settled = not self._nearest  # a token that may not even look has made none
            if self._told != str(error):
                log.warning("the prepared query cannot be kept: does the token have query:write? %s", fields(error=error))
            self._told = str(error)
            return
        self._settled = not self._nearest
        if step.verb == "leave" and self._told != step.query_id:
            log.warning("another prepared query answers for all names, and is left alone %s", fields(query=step.query_id))
        self._told = step.query_id if step.verb == "leave" else ""

    def remove(self, client: consul.Consul) -> None:
        """Remove the query of this framework, which is gone for good. Raises the errors of Consul's library."""
        if framework_id := self._framework_id():
            self._take(client, framework_id, 0)

    def _take(self, client: consul.Consul, framework_id: str, nearest: int) -> prepared_query.Step:
        step = prepared_query.step(client.query.list(dc=client.dc) or (), framework_id, nearest)
        # The library's own calls know neither Near nor the checks, and put the token into the query: every caller would have it.
        options: dict[str, Any] = {"params": [("dc", client.dc)] if client.dc else None, "headers": client.prepare_headers()}
        body = json.dumps(prepared_query.definition(framework_id, nearest))
        if step.verb == "create":
            client.http.post(CB.json(), "/v1/query", data=body, **options)
        elif step.verb == "update":
            client.http.put(CB.boolean(), f"/v1/query/{step.query_id}", data=body, **options)
        elif step.verb == "delete":
            client.http.delete(CB.boolean(), f"/v1/query/{step.query_id}", **options)
        if step.verb not in ("none", "leave"):
            log.info("the prepared query for all names was changed %s", fields(how=step.verb, datacenter=client.dc))
        return step
