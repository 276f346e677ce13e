"""Bills of materials: everything is in them, with a name that scanners understand and its licence."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from devtool import images, sbom, version
from devtool.licences import parts, table

KNOWN = table.current()
INSTALLED = {
    "haproxy": ("haproxy", "3.0.11-1+deb13u3", "amd64"),
    "libstdc++6": ("gcc-14", "14.2.0-19", "amd64"),
    "netbase": ("netbase", "1:6.5", "all"),
}


def names(bill: dict[str, Any]) -> set[str]:
    return {component["name"] for component in bill["components"]}


def component(bill: dict[str, Any], name: str) -> dict[str, Any]:
    return next(component for component in bill["components"] if component["name"] == name)


@pytest.mark.parametrize("image", images.IMAGES)
def test_a_bill_has_the_form_of_cyclonedx(image: str) -> None:
    bill = sbom.of_image(image, INSTALLED, KNOWN)
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"])
    assert bill["metadata"]["component"]["version"] == version.current()
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(set(references)) == len(references) >= len(INSTALLED)
    assert bill["dependencies"][0]["dependsOn"] == references
    for one in bill["components"]:
        assert one["type"] == "library" and one["name"]
        assert re.fullmatch(r"pkg:(pypi|npm|golang|deb)/\S+", one.get("purl", "pkg:pypi/-")), one
    assert bill == sbom.of_image(image, INSTALLED, KNOWN)


def test_an_image_has_its_debian_packages_with_their_licences() -> None:
    bill = sbom.of_image("balancer", INSTALLED, KNOWN)
    found = component(bill, "libstdc++6")
    assert found["purl"] == "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=trixie"
    assert found["properties"] == [{"name": "debian:source", "value": "gcc-14"}]
    assert {"license": {"name": "GPL-3.0-only"}} in found["licenses"]


def test_an_image_has_what_is_built_into_it_and_no_more() -> None:
    consul = component(sbom.of_image("consul", {}, KNOWN), "github.com/hashicorp/consul")
    assert consul["licenses"] == [{"expression": "BUSL-1.1"}]
    assert consul["purl"] == f"pkg:golang/github.com/hashicorp/consul@{consul['version']}"
    balancer = names(sbom.of_image("balancer", {}, KNOWN))
    assert "github.com/hashicorp/consul-template" in balancer and "github.com/hashicorp/consul" not in balancer
    scheduler = names(sbom.of_image("scheduler", {}, KNOWN))
    assert {"fastapi", "preact"} <= scheduler and not {"docker", "typescript", "pytest"} & scheduler
    assert "Apache Mesos, with what is linked into it" in names(sbom.of_image("agent", {}, KNOWN))
    assert "openjdk-21-jre-headless" in names(sbom.of_image("zookeeper", {}, KNOWN))


def test_the_package_has_all_its_halves_and_no_image() -> None:
    found = names(sbom.of_package(KNOWN))
    assert {"fastapi", "docker", "click", "preact"} <= found
    assert not {"pytest", "haproxy", "github.com/hashicorp/consul"} & found
    asked = {part.name for part in parts.python() if set(part.where) & {"scheduler", "executor", "cli"}}
    assert asked <= found


def test_a_bill_is_json() -> None:
    assert json.loads(json.dumps(sbom.of_package(KNOWN)))["components"]
