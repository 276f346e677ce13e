"""`./dev sbom`: bills of materials in CycloneDX' form, of each image and of the Python package.

They come of the lock files, of what Debian's package manager lists in an image, and of docs/licences.md. The same parts make the
same file: there is no time and no random number in it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import engine, images, version
from .licences import look_up, table
from .licences.parts import COPIED, DEBIAN, GO, NPM, OTHER, PYTHON, Part
from .terminal import Problem, say

#: Image -> halves of the project and programs that are in it, besides its Debian packages.
HOLDS = {
    "agent": ("executor",),
    "balancer": ("consul-template",),
    "balancer-nginx": ("consul-template",),
    "consul": ("consul",),
    "scheduler": ("scheduler", "the dashboard"),
}
#: What the Python package asks for, whichever half of it is installed, and what is inside it.
PACKAGE = ("cli", "executor", "scheduler", "the dashboard")

_SPECIFICATION = "1.6"
_SUITE = "trixie"
#: Names of SPDX, of which an expression may be made; other words are names of licences without an identifier there.
_SPDX = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR) [A-Za-z0-9.+-]+)*")


def run(folder: Path) -> int:
    """Write a file for each image of the cluster and one for the Python package. Return 0."""
    engine.require()
    known = table.current()
    if not known:
        raise Problem("docs/licences.md is not there", "./dev licences")
    folder.mkdir(parents=True, exist_ok=True)
    bills = {"eratos": of_package(known)}
    for image in images.IMAGES:
        try:
            bills[f"eratos-{image}"] = of_image(image, look_up.installed(image), known)
        except Problem as problem:
            raise Problem(f"the image eratos/{image} cannot be asked: {problem}", "build the images: ./dev up") from None
    for name, bill in bills.items():
        path = folder / f"{name}.cdx.json"
        path.write_text(json.dumps(bill, indent=1) + "\n")
        say(f"{path}: {len(bill['components'])} components")
    return 0


def of_package(known: Iterable[Part]) -> dict[str, Any]:
    """Return the bill of the Python package with all its halves."""
    components = [_component(part) for part in known if part.kind != DEBIAN and set(part.where) & set(PACKAGE)]
    return _bill({"type": "application", "name": "eratos", "purl": f"pkg:pypi/eratos@{version.current()}"}, components)


def of_image(image: str, installed: dict[str, tuple[str, str, str]], known: Iterable[Part]) -> dict[str, Any]:
    """Return the bill of an image, which has these Debian packages: package -> source package, version and processor."""
    licences = {part.name: part.licence for part in known if part.kind == DEBIAN}
    components = [
        _debian(name, source, release, processor, licences.get(source, ""))
        for name, (source, release, processor) in sorted(installed.items())
    ]
    components += [_debian(name, name, "", "", "") for name in COPIED.get(image, ())]
    holds = {image, *HOLDS.get(image, ())}
    components += [_component(part) for part in known if part.kind != DEBIAN and set(part.where) & holds]
    return _bill({"type": "container", "name": f"eratos/{image}"}, components)


def _bill(subject: dict[str, Any], components: list[dict[str, Any]]) -> dict[str, Any]:
    own = {**subject, "version": version.current(), "licenses": _licences("Apache-2.0"), "bom-ref": subject["name"]}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([own, components], sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": _SPECIFICATION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": [component["bom-ref"] for component in components]}],
    }


def _component(part: Part) -> dict[str, Any]:
    place = {
        PYTHON: f"pkg:pypi/{part.name.lower().replace('_', '-')}@{part.version}",
        NPM: f"pkg:npm/{quote(part.name, safe='/')}@{part.version}",
        GO: f"pkg:golang/{part.name.lower()}@{quote(part.version)}",
    }.get(part.kind, "")
    component = {"type": "library", "name": part.name, "version": part.version, "licenses": _licences(part.licence)}
    if part.kind == OTHER:
        return {"bom-ref": part.name, **component}
    return {"bom-ref": place, **component, "purl": place}


def _debian(name: str, source: str, release: str, processor: str, licence: str) -> dict[str, Any]:
    at = f"@{quote(release)}" if release else ""
    architecture = f"arch={processor}&" if processor else ""
    place = f"pkg:deb/debian/{quote(name)}{at}?{architecture}distro={_SUITE}"
    component = {"bom-ref": place, "type": "library", "name": name, "purl": place, "licenses": _licences(licence)}
    properties = [{"name": "debian:source", "value": source}]
    return {**component, **({"version": release} if release else {}), "properties": properties}


def _licences(licence: str) -> list[dict[str, Any]]:
    """Return what a bill says of a licence; several of Debian's, with commas, are names one by one."""
    if licence and _SPDX.fullmatch(licence):
        return [{"expression": licence}]
    return [{"license": {"name": name}} for name in licence.split(", ") if name]
