"""`./dev audit`: asks a public database of vulnerabilities (OSV) about everything that is locked. For machines that are online.

It learns names and versions, nothing else. What it knows of no package, such as Debian's, is not asked here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from . import lock, web
from .settings import ROOT
from .terminal import Problem, say

SERVICE = "https://api.osv.dev"
_PACKAGE = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_MODULE = re.compile(r"^(\S+) (v[^ /]+) h1:", re.MULTILINE)
#: Modules that images are built of: what go.sum names beside the modules' own descriptions.
_GO_SUMS = "compose-dev/images/*/go.sum"
#: What the dashboard is built of and with.
_NPM_LOCK = "dashboard/package-lock.json"
#: As many as the service takes at once.
_BATCH = 1000
_TIMEOUT_S = 60


def locked(root: Path = ROOT) -> list[tuple[str, str, str]]:
    """Return ecosystem, name and version of every package in lock files."""
    found = set()
    for half in lock.HALVES:
        text = (root / "requirements" / f"{half}.txt").read_text()
        found |= {("PyPI", name, version) for name, version in _PACKAGE.findall(text)}
    for file in root.glob(_GO_SUMS):
        found |= {("Go", name, version) for name, version in _MODULE.findall(file.read_text())}
    packages = json.loads((root / _NPM_LOCK).read_text())["packages"]
    found |= {("npm", place.rpartition("node_modules/")[2], package["version"]) for place, package in packages.items() if place}
    return sorted(found)


def run(service: str = SERVICE) -> int:
    """Print the known vulnerabilities of what is locked. Return 1 if there are any. Raise Problem where nobody answers."""
    packages = locked()
    troubles = 0
    for begin in range(0, len(packages), _BATCH):
        batch = packages[begin : begin + _BATCH]
        queries: list[dict[str, Any]] = [
            {"package": {"ecosystem": kind, "name": name}, "version": version} for kind, name, version in batch
        ]
        for index, result in enumerate(_ask(service, queries)):
            _, name, version = batch[index]
            for vulnerability in result.get("vulns") or ():
                troubles += 1
                say(f"{name} {version}: {vulnerability['id']}  {service.replace('api.', '')}/vulnerability/{vulnerability['id']}")
    say(f"{len(packages)} packages asked about, {troubles} known vulnerabilities")
    return 1 if troubles else 0


def _ask(service: str, queries: list[dict[str, Any]]) -> list[dict[str, list[dict[str, str]]]]:
    fix = "this needs a way to the internet; proxies are not used"
    try:
        status, text = web.request("POST", f"{service}/v1/querybatch", {"queries": queries}, _TIMEOUT_S)
        results = json.loads(text)["results"] if status == 200 else None
    except (web.Unanswered, KeyError, TypeError, ValueError) as error:
        raise Problem(f"nobody could be asked about vulnerabilities: {error}", fix) from None
    if not isinstance(results, list) or len(results) != len(queries):
        raise Problem(f"{service} answered HTTP {status} and not what was asked", fix)
    return results
