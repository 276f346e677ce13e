"""Who may import whom, as in the table of docs/architecture.md. Sources are read with ``ast``: nothing has to be importable."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.folders import ROOT

#: A library's code as it came (docs/adr/0040), for which none of this holds.
COPIED = "eratos.mesos.pymesos"
TOPS = ("common", "mesos", "marathon", "scheduler", "executor", "haproxy", "cli")

#: The standard library's modules that only describe and compute: no sockets, threads, clocks, randomness, environment.
DATA = frozenset(
    {"__future__", "abc", "bisect", "collections", "contextlib", "copy", "csv", "dataclasses", "datetime", "enum", "fractions"}
    | {"functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "re", "shlex", "string", "textwrap", "typing"}
)
#: What ``datetime`` and others of them offer to read a clock with.
CLOCKS = frozenset({"now", "utcnow", "today"})


@dataclass(frozen=True)
class Layer:
    """One row of the table. A package may always import itself; a package below it is a row of its own."""

    package: str
    may: tuple[str, ...] = ()  #: packages of eratos, by prefix
    libraries: frozenset[str] = frozenset()
    stdlib: frozenset[str] | None = None  #: None: all of it


_API = frozenset({"fastapi", "starlette", "uvicorn", "h11", "msgspec", "prometheus_client", "websockets"})

LAYERS = (
    Layer("eratos.common"),
    Layer("eratos.mesos", ("eratos.common",), frozenset({"httptools"})),
    Layer("eratos.marathon", ("eratos.common",), frozenset({"cronsim", "pydantic", "re2", "requests", "urllib3", "websockets"})),
    Layer("eratos.scheduler.core", ("eratos.common", "eratos.marathon"), stdlib=DATA),
    Layer("eratos.scheduler.access", ("eratos.common", "eratos.marathon")),
    Layer("eratos.scheduler.events", ("eratos.scheduler.core", "eratos.common", "eratos.marathon"), frozenset({"msgspec"})),
    Layer("eratos.scheduler.mesos", ("eratos.scheduler.core", "eratos.common", "eratos.mesos"), frozenset({"msgspec"})),
    Layer(
        "eratos.scheduler.store", ("eratos.scheduler.core", "eratos.common", "eratos.marathon"), frozenset({"kazoo", "msgspec"})
    ),
    Layer(
        "eratos.scheduler.api",
        ("eratos.scheduler.access", "eratos.scheduler.core", "eratos.scheduler.events", "eratos.common", "eratos.marathon"),
        _API,
    ),
    Layer(
        "eratos.scheduler", ("eratos.scheduler", "eratos.common", "eratos.marathon"), frozenset({"kazoo", "consul", "requests"})
    ),
    Layer("eratos.executor.core", ("eratos.common",), stdlib=DATA),
    Layer("eratos.executor.mesos", ("eratos.executor.core", "eratos.common", "eratos.mesos")),
    Layer("eratos.executor", ("eratos.executor", "eratos.common"), frozenset({"docker", "consul", "requests", "urllib3"})),
    Layer("eratos.haproxy.core", ("eratos.common",), stdlib=DATA),
    Layer("eratos.haproxy", ("eratos.haproxy", "eratos.common")),
    Layer("eratos.cli", ("eratos.cli.images", "eratos.common", "eratos.marathon"), frozenset({"click", "yaml"})),
    Layer("eratos.cli.images", ("eratos.cli", "eratos.common", "eratos.marathon"), frozenset({"docker", "requests"})),
)


def test_the_page_says_the_same() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## Who may import whom")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w/]+)/` \| (.+) \|$", page, re.MULTILINE))
    assert list(rows) == [layer.package.removeprefix("eratos.").replace(".", "/") for layer in LAYERS]
    for layer, row in zip(LAYERS, rows.values(), strict=True):
        said = set(re.findall(r"\w+", row.lower().replace("-", "_").replace("py_", "")))
        allowed = {name.rpartition(".")[2] for name in layer.may if name != layer.package} | layer.libraries
        assert allowed <= said, layer.package


@dataclass(frozen=True)
class Import:
    module: str  #: absolute name of what is imported, names after ``from`` included where they may be modules
    line: int


def _sources() -> Iterator[tuple[str, Path]]:
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(("eratos", *parts))
            if not _within(module, COPIED):
                yield module, path


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@functools.cache
def _imports(module: str, path: Path) -> tuple[Import, ...]:
    return tuple(_found(module, path))


def _found(module: str, path: Path) -> Iterator[Import]:
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            if origin.startswith("eratos"):
                for alias in node.names:
                    yield Import(f"{origin}.{alias.name}", node.lineno)
            else:
                yield Import(origin, node.lineno)


def _layer(module: str) -> Layer:
    """Return the row of a module: the one with the longest package name that holds it."""
    return max((layer for layer in LAYERS if _within(module, layer.package)), key=lambda layer: len(layer.package))


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _complaint(module: str, imported: str) -> str:
    """Say why a module must not import another, or nothing."""
    layer, top = _layer(module), imported.split(".")[0]
    if top == "eratos":
        own = _within(imported, layer.package) and _layer(imported) == layer
        allowed = own or any(_within(imported, package) for package in layer.may)
        return "" if allowed else f"{layer.package} may import {', '.join(layer.may) or 'the standard library'} only"
    if top in TOPS:
        return f"write eratos.{imported}: the folder imported by its bare name is another module object"
    if top in sys.stdlib_module_names:
        return "" if layer.stdlib is None or top in layer.stdlib else f"{layer.package} decides and does nothing else: no {top}"
    return "" if top in layer.libraries else f"{layer.package} may use {', '.join(sorted(layer.libraries)) or 'no library'}"


def test_every_module_imports_only_what_its_layer_may() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{found.line} imports {found.module}: {complaint}"
        for module, path in _sources()
        for found in _imports(module, path)
        if (complaint := _complaint(module, found.module))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("eratos.common.log", "eratos.marathon.app"),
        ("eratos.common.log", "requests"),
        ("eratos.scheduler.core.machine", "time"),
        ("eratos.scheduler.core.machine", "eratos.scheduler.store.base"),
        ("eratos.scheduler.core.machine", "eratos.executor.core.task"),
        ("eratos.scheduler.loop", "eratos.executor.loop"),
        ("eratos.scheduler.loop", "scheduler.core"),
        ("eratos.scheduler.api.apps", "eratos.scheduler.loop"),
        ("eratos.scheduler.store.sqlite", "eratos.scheduler.api.apps"),
        ("eratos.executor.loop", "eratos.marathon.app"),
        ("eratos.executor.loop", "httptools"),
        ("eratos.cli.main", "eratos.scheduler.core.state"),
        ("eratos.haproxy.apply", "requests"),
        ("eratos.haproxy.apply", "eratos.marathon.routing"),
        ("eratos.haproxy.core.services", "socket"),
        ("eratos.haproxy.core.services", "eratos.haproxy.apply"),
    ],
)
def test_the_check_itself_finds_what_is_forbidden(module: str, imported: str) -> None:
    assert _complaint(module, imported)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("eratos.scheduler.core.machine", "eratos.scheduler.core.placement"),
        ("eratos.scheduler.core.machine", "eratos.marathon.app.App"),
        ("eratos.scheduler.loop", "eratos.scheduler.mesos.driver"),
        ("eratos.scheduler.mesos.driver", "threading"),
        ("eratos.cli.main", "eratos.marathon.client.MarathonClient"),
        ("eratos.haproxy.apply", "eratos.haproxy.core.services"),
        ("eratos.haproxy.core.services", "eratos.common.routing"),
    ],
)
def test_the_check_itself_lets_pass_what_is_allowed(module: str, imported: str) -> None:
    assert not _complaint(module, imported)


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, or nothing."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for imported in sorted(graph.get(module, ())):
            if found := visit(imported, [*way, module]):
                return found
        done.add(module)
        return []

    return next(filter(None, (visit(module, []) for module in sorted(graph))), [])


def test_no_modules_import_each_other_in_a_circle_even_for_their_types() -> None:
    modules = dict(_sources())
    names = {module.removesuffix(".__init__") for module in modules}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = {item.module for item in _imports(module, path) if item.module.startswith("eratos.")}
        # What is imported may be a name in a module rather than the module.
        homes = {name if name in names else name.rpartition(".")[0] for name in found}
        graph[module.removesuffix(".__init__")] = (homes & names) - {module.removesuffix(".__init__")}
    assert not _circle(graph), " -> ".join(_circle(graph))


def test_the_check_itself_finds_a_circle() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_decisions_read_no_clock() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.attr}(): now is an argument here"
        for module, path in _sources()
        if _layer(module).stdlib is DATA
        for node in ast.walk(_parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]
    assert not wrong, "\n".join(wrong)


def test_pymesos_is_imported_in_one_module() -> None:
    found = {module for module, path in _sources() for item in _imports(module, path) if _within(item.module, COPIED)}
    assert found == {"eratos.mesos.library"}


def test_the_sample_worker_imports_nothing_of_eratos() -> None:
    for path in (ROOT / "worker").rglob("*.py"):
        bad = {item.module for item in _imports("worker." + path.stem, path) if item.module.split(".")[0] in ("eratos", *TOPS)}
        assert not bad, f"{path}: {bad}"


def test_the_tests_import_the_installed_packages_and_never_the_bare_folders() -> None:
    bare = re.compile(rf"^\s*(?:from|import) +(?:{'|'.join(TOPS)})\b", re.MULTILINE)
    assert bare.search("x = 1\nfrom scheduler.core import y\n")
    for path in (path for path in (ROOT / "tests").rglob("*.py") if bare.search(path.read_text())):
        bad = {item.module for item in _imports("tests." + path.stem, path) if item.module.split(".")[0] in TOPS}
        assert not bad, f"{path}: {bad}"
