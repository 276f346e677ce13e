"""Labels of marathon-lb (its config.py) that eratos' balancers do not act on, and what takes their place where something does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

PREFIX: Final = "HAPROXY_"

_DEPLOYMENT = "an upgrade needs no second app: ERATOS_BLUE_GREEN has two whole versions beside each other and shifts the traffic"
_TEMPLATE = "HAPROXY_n_... templates are lines of marathon-lb's own configuration; eratos' balancers write theirs alone"
_CERTIFICATE = "certificates lie in the balancers' folder ERATOS_CERTS_DIR and are found by their host names"
_CHECK = "instances are checked by the app's healthChecks"
_TIMES = "time limits and connections of an app: ERATOS_n_TIMEOUT_S, ERATOS_n_MAXCONN"
_BIND = "a balancer offers service ports on every address of its host"

#: Name behind prefix and port index -> what there is instead.
_INSTEAD: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *("DEPLOYMENT_GROUP", "DEPLOYMENT_ALT_PORT", "DEPLOYMENT_COLOUR", "DEPLOYMENT_STARTED_AT"),
            *("DEPLOYMENT_TARGET_INSTANCES", "APP_ID"),
        ),
        _DEPLOYMENT,
    ),
    **dict.fromkeys(("SSL_CERT", "BIND_OPTIONS"), _CERTIFICATE),
    "BACKEND_HEALTHCHECK_PORT_INDEX": _CHECK,
    **dict.fromkeys(
        (
            *("BACKEND_HTTP_HEALTHCHECK_OPTIONS", "BACKEND_TCP_HEALTHCHECK_OPTIONS"),
            *("BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", "BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS"),
        ),
        _CHECK,
    ),
    **dict.fromkeys(("BACKEND_HTTP_OPTIONS", "BACKEND_SERVER_OPTIONS"), _TIMES),
    "BACKEND_STICKY_OPTIONS": "HAPROXY_n_STICKY keeps clients at their instance",
    "BIND_ADDR": _BIND,
    **dict.fromkeys(
        (
            *("BACKEND_HEAD", "BACKEND_HSTS_OPTIONS", "BACKEND_REDIRECT_HTTP_TO_HTTPS"),
            *("BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", "FRONTEND_BACKEND_GLUE", "FRONTEND_HEAD"),
            *("HTTPS_FRONTEND_ACL", "HTTPS_FRONTEND_ACL_ONLY_WITH_PATH", "HTTPS_FRONTEND_ACL_WITH_AUTH"),
            *("HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH", "HTTPS_FRONTEND_ACL_WITH_PATH", "HTTPS_FRONTEND_AUTH_ACL_ONLY"),
            *("HTTPS_FRONTEND_AUTH_REQUEST_ONLY", "HTTP_BACKEND_ACL_ALLOW_DENY", "HTTP_BACKEND_NETWORK_ALLOWED_ACL"),
            *("HTTP_BACKEND_PROXYPASS_GLUE", "HTTP_BACKEND_REVPROXY_GLUE", "HTTP_FRONTEND_ACL", "HTTP_FRONTEND_ACL_ONLY"),
            *("HTTP_FRONTEND_ACL_ONLY_WITH_PATH", "HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH", "HTTP_FRONTEND_ACL_WITH_AUTH"),
            *("HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH", "HTTP_FRONTEND_ACL_WITH_PATH", "HTTP_FRONTEND_APPID_ACL"),
            *("HTTP_FRONTEND_ROUTING_ONLY", "HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH", "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH"),
            *("HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH", "MAP_HTTPS_FRONTEND_ACL", "MAP_HTTP_FRONTEND_ACL"),
            *("MAP_HTTP_FRONTEND_ACL_ONLY", "MAP_HTTP_FRONTEND_APPID_ACL", "TCP_BACKEND_ACL_ALLOW_DENY"),
            *("TCP_BACKEND_NETWORK_ALLOWED_ACL", "USERLIST_HEAD"),
        ),
        _TEMPLATE,
    ),
}
_LABEL = re.compile(r"HAPROXY_(?:[0-9]{1,3}_)?([A-Z_]+)")


def known(key: str) -> bool:
    """Return whether a label is one of marathon-lb's that is named here."""
    match = _LABEL.fullmatch(key)
    return match is not None and match[1] in _INSTEAD


def instead(key: str) -> str:
    """Say why nothing comes of a label, and what there is in its place."""
    match = _LABEL.fullmatch(key)
    reason = _INSTEAD.get(match[1]) if match is not None else None
    return f"marathon-lb's alone: {reason}" if reason else "no label that eratos knows, nor marathon-lb"
