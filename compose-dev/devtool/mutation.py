"""``./dev mutate``: changes one operator or number of a pure module at a time, and runs the tests that should notice.

It runs in the development's virtual environment, as a module of its own. This process imports what is not ours once; each
mutant is a fork of it, in which the changed module is loaded in the original's place. So a mutant costs half a second, and
no file is ever changed. ADR 26 says why no tool from elsewhere does it.

What survives is printed, and a failure unless ``tests/survivors.txt`` lists it with a reason.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

from .settings import ROOT

SURVIVORS = ROOT / "tests" / "survivors.txt"
#: Pure modules that hold a formula, each with a table of its own in the folder of tests that mirrors its package.
TARGETS = (
    *(f"scheduler/core/{name}" for name in ("brake", "constraints", "crash_backoff", "hosts", "order", "jobs", "ordinals")),
    *(f"scheduler/core/{name}" for name in ("gates", "per_host", "placement", "quotas", "reconcile", "rollout")),
    *(f"scheduler/core/{name}" for name in ("sweeps", "timers", "versions")),
    *(f"scheduler/core/{name}" for name in ("autoscale", "error_budget")),
    *(f"executor/core/{name}" for name in ("check_status", "endings", "ownership", "retention", "usage")),
    *(f"haproxy/core/{name}" for name in ("guard", "usage", "zones")),
    *(f"cli/{name}" for name in ("findings", "top")),
)
MOST = 30  #: mutants of one module, unless more are asked for
TIMEOUT_S = 60.0

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One change of a module."""

    line: int
    change: str  #: with the source line, what identifies it in the list of survivors
    tree: ast.Module

    def identity(self, module: str, lines: list[str]) -> str:
        return f"{module}: {lines[self.line - 1].strip()}: {self.change}"


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its lines."""
    for index in range(len(_places(ast.parse(source)))):
        tree = ast.parse(source)
        node, what = _places(tree)[index]
        yield Mutant(getattr(node, "lineno", 1), _change(node, what), tree)


def _places(tree: ast.Module) -> list[tuple[ast.AST, int]]:
    """Return what can be changed: nodes with the index of the operator in them. Types, constants and texts are left alone."""
    left_alone: set[int] = set()
    for node in ast.walk(tree):
        alone: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            alone += node.decorator_list
        if isinstance(node, ast.FunctionDef):
            alone.append(node.returns)
        if isinstance(node, ast.arg | ast.AnnAssign):
            alone.append(node.annotation)
        if isinstance(node, ast.Assert | ast.JoinedStr):
            alone.append(node)  # what cannot be, and what people read
        if isinstance(node, ast.Module):
            # The value of a constant is a choice, and tests know it by its name.
            alone += [found.value for found in node.body if isinstance(found, ast.Assign | ast.AnnAssign)]
        left_alone |= {id(below) for found in alone if found is not None for below in ast.walk(found)}
    places: list[tuple[ast.AST, int]] = []
    for node in ast.walk(tree):
        if id(node) in left_alone:
            continue
        if isinstance(node, ast.Compare):
            places += [(node, index) for index, operator in enumerate(node.ops) if type(operator) in _COMPARED]
        elif (
            (isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED)
            or isinstance(node, ast.BoolOp)
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))
            or (isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float))
            or (isinstance(node, ast.Name) and node.id in _NAMES)
            or isinstance(node, ast.Continue | ast.Break)
        ):
            places.append((node, 0))
    return sorted(places, key=lambda place: (getattr(place[0], "lineno", 0), getattr(place[0], "col_offset", 0), place[1]))


def _change(node: ast.AST, index: int) -> str:
    """Change a node in its tree; return in words what was changed."""
    if isinstance(node, ast.Compare):
        before = node.ops[index]
        node.ops[index] = _COMPARED[type(before)]()
        return f"{type(before).__name__} becomes {type(node.ops[index]).__name__}"
    if isinstance(node, ast.BinOp):
        name = type(node.op).__name__
        node.op = _COMPUTED[type(node.op)]()
        return f"{name} becomes {type(node.op).__name__}"
    if isinstance(node, ast.BoolOp):
        name = type(node.op).__name__
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return f"{name} becomes {type(node.op).__name__}"
    if isinstance(node, ast.UnaryOp):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        return "Not is dropped"
    if isinstance(node, ast.Constant):
        value = node.value
        assert isinstance(value, bool | int | float)
        node.value = not value if isinstance(value, bool) else value + 1
        return f"{value} becomes {node.value}"
    if isinstance(node, ast.Name):
        before_name, node.id = node.id, _NAMES[node.id]
        return f"{before_name} becomes {node.id}"
    # A loop's continue and break: the node turns into the other.
    name = type(node).__name__
    node.__class__ = ast.Break if isinstance(node, ast.Continue) else ast.Continue
    return f"{name} becomes {type(node).__name__}"


class _InPlace(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module of ours in its changed form, before anything else does."""

    def __init__(self, name: str, code: CodeType, path: Path) -> None:
        self._name, self._code, self._path = name, code, path

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self, origin=str(self._path)) if name == self._name else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def _begin(module: str, tests: Path, mutant: Mutant | None) -> int:
    """Fork a process that runs the tests on a mutant, or on the module as it is; return its id."""
    if child := os.fork():
        return child
    path = ROOT / f"{module}.py"
    if mutant is not None:
        code = compile(ast.fix_missing_locations(mutant.tree), str(path), "exec")
        sys.meta_path.insert(0, _InPlace("eratos." + module.replace("/", "."), code, path))
    import pytest

    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.setsid()
    options = ["-x", "-q", "--noconftest", "-p", "no:cacheprovider"]
    os._exit(int(pytest.main([*options, "-W", "ignore::pytest.PytestAssertRewriteWarning", str(tests)])))


def _run(module: str, tests: Path, chosen: list[Mutant], at_once: int) -> list[Mutant]:
    """Return the mutants that no test noticed. One that takes far too long was noticed."""
    waiting, running = list(reversed(chosen)), dict[int, tuple[Mutant, float]]()
    survived = []
    while waiting or running:
        while waiting and len(running) < at_once:
            mutant = waiting.pop()
            running[_begin(module, tests, mutant)] = (mutant, time.monotonic() + TIMEOUT_S)
        child, status = os.waitpid(-1, os.WNOHANG)
        if child in running:
            mutant, _ = running.pop(child)
            if os.waitstatus_to_exitcode(status) == 0:
                survived.append(mutant)
            continue
        for late in [child for child, (_, until) in running.items() if time.monotonic() > until]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(late, signal.SIGKILL)
        time.sleep(0.02)
    return survived


def listed(text: str) -> dict[str, str]:
    """Return the survivors of a list, with the reason that stands below each: ``module: line: change``, then ``  reason``."""
    found: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if line.startswith("  ") and last:
            found[last] = (found[last] + " " + line.strip()).strip()
        elif line and not line.startswith("#"):
            last = line
            found[last] = ""
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev mutate", description="Change pure modules, and see whether a test notices.")
    parser.add_argument("modules", nargs="*", default=TARGETS, metavar="MODULE", help="such as scheduler/core/brake")
    parser.add_argument("--most", type=int, default=MOST, help=f"mutants of each module, 0 for all (default: {MOST})")
    parser.add_argument("--seed", type=int, default=1, help="which ones, where there are more (default: 1)")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(TARGETS):
        parser.error(f"{', '.join(sorted(unknown))}: choose of {', '.join(TARGETS)}")
    os.chdir(ROOT)
    # What each mutant needs and is none of the targets, imported once.
    for name in ("pytest", "hypothesis", "pydantic", "re2", "_pytest.assertion.rewrite", "eratos.marathon.definition"):
        importlib.import_module(name)
    excused = listed(SURVIVORS.read_text()) if SURVIVORS.exists() else {}
    tried = new = 0
    for module in options.modules:
        package, _, name = module.rpartition("/")
        tests = ROOT / "tests" / "unit" / package / f"test_{name}.py"
        source = (ROOT / f"{module}.py").read_text()
        lines = source.splitlines()
        every = list(mutants(source))
        chosen = every
        if options.most and len(every) > options.most:
            chosen = sorted(random.Random(options.seed).sample(every, options.most), key=lambda mutant: mutant.line)
        _, status = os.waitpid(_begin(module, tests, None), 0)
        if os.waitstatus_to_exitcode(status):
            sys.exit(f"{tests.relative_to(ROOT)} fails as it is: mend that first")
        survived = [mutant.identity(module, lines) for mutant in _run(module, tests, chosen, os.cpu_count() or 1)]
        unexcused = [identity for identity in survived if not excused.get(identity)]
        said = f"{len(chosen)} of {len(every)} tried, {len(survived)} survived, {len(unexcused)} unexplained"
        print(f"{module}: {said}", flush=True)
        for identity in unexcused:
            print(f"  {identity}", flush=True)
        tried, new = tried + len(chosen), new + len(unexcused)
    print(f"{tried} tried, {new} unexplained")
    sys.exit(1 if new else 0)


if __name__ == "__main__":
    main()
