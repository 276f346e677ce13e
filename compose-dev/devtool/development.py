"""Tests, benchmarks and lint: the virtual environment they need, and the order they run in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import distribution, engine, fleet, health, images, lock, packages, wrapping
from .cluster import Compose
from .settings import GENERATED, ROOT, Settings
from .shell import CommandFailed, run
from .site import sphinx
from .terminal import Problem, Progress, say

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed-for"
#: What the installation depends on; the code itself is linked, not copied.
INSTALLED_FROM = (
    "setup.cfg",
    "pyproject.toml",
    *lock.of("build", "dev"),
)

OLDEST_PYTHON = (3, 11)

#: What the tests take for a browser.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Debian's packages that some tests need, and under which names their programs may be there.
PROGRAMS = {"chromium": BROWSERS, "busybox": ("busybox",)}
#: Benchmarks that need no cluster.
ALONE = frozenset({"api", "dashboard", "million", "placement", "recovery"})

#: Kinds of tests in the order they run: fast ones first, so that a mistake shows before minutes of image building.
WITHOUT_ENGINE = ("tests/unit", "tests/simulation", "tests/scenarios", "tests/browser")
#: Of them, those that find what they need on every machine.
NEEDS_NOTHING = ("tests/unit", "tests/scenarios")
#: What ``--fast`` has pytest run, by its markers.
FAST = "not hours and not slow"
#: On one cluster, one after another. The longest of all by far, so it has nothing else to do.
SHARED_CLUSTER = "tests/e2e"
#: Of that folder, tests that make clusters of their own.
OWN_CLUSTER = tuple(f"tests/e2e/test_{name}.py" for name in ("secure", "upgrade"))
#: What runs beside it.
BESIDE = ("tests/contract", *OWN_CLUSTER)
EVERY_KIND = (*WITHOUT_ENGINE, BESIDE[0], SHARED_CLUSTER)
#: Where that writes while the tests of the shared cluster are shown.
BESIDE_LOG = GENERATED / "tests-beside.log"
#: One more than cores: many of the fast tests wait for a moment.
WITHOUT_ENGINE_PROCESSES = str((os.cpu_count() or 1) + 1)


def ensure_venv(progress: Progress) -> None:
    """Make .venv with the project and its tools in it; again only when what it is made from has changed."""
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in INSTALLED_FROM if (ROOT / name).exists())).hexdigest()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    with progress.step("install the project and its tools into .venv"):
        if not _usable(str(PYTHON)):
            shutil.rmtree(VENV, ignore_errors=True)
            python = _find_python()
            try:
                run([python, "-m", "venv", str(VENV)])
            except CommandFailed:
                # Debian keeps the module venv in a package of its own.
                packages.require_root_and_apt(
                    "python cannot make virtual environments", "sudo apt-get install python3-venv, then run this again"
                )
                packages.update()
                packages.install("python3-venv")
                shutil.rmtree(VENV, ignore_errors=True)
                run([python, "-m", "venv", str(VENV)])
        lock.install(PYTHON, "dev", "-e", f"{ROOT}[dev]")
        STAMP.write_text(wanted)


def _environment() -> dict[str, str]:
    # Started as the user would start it: nothing that this program set for itself.
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _usable(python: str) -> bool:
    return bool(run([python, "-c", f"import sys; print(sys.version_info >= {OLDEST_PYTHON})"], check=False).strip() == "True")


def _find_python() -> str:
    for name in (sys.executable, "python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        if name and _usable(name):
            return name
    oldest = ".".join(map(str, OLDEST_PYTHON))
    raise Problem(
        f"the tests need Python {oldest} or later", f"install one (Debian 12: apt-get install python{oldest}) and run this again"
    )


def renew_lock(upgrade: bool) -> int:
    """Make requirements/ anew, with the tool that is locked itself. Return 0."""
    progress = Progress()
    ensure_venv(progress)
    with progress.step("resolve setup.cfg into requirements/"):
        lock.renew(PYTHON, upgrade)
    return 0


def test(settings: Settings, arguments: list[str], *, fast: bool = False, everything: bool = False, secure: bool = False) -> int:
    """Run all kinds of tests, or what pytest's arguments select. Return pytest's exit code.

    Those that take hours are left out (setup.cfg) unless ``everything`` is asked for, which also tries more of what is tried by
    chance. With ``fast`` so are those that are slow, and without arguments every kind that needs more than Python. With
    ``secure`` the end-to-end tests' cluster asks who asks.
    """
    if secure:
        os.environ["ERATOS_TEST_SECURE"] = "true"
    if everything:
        os.environ.setdefault("HYPOTHESIS_PROFILE", "thorough")
    progress = Progress()
    ensure_venv(progress)
    # The last word about markers counts, and an empty one chooses all.
    chosen = ["-m", FAST] if fast else ["-m", ""] if everything else []
    if fast and not _paths(arguments):
        arguments = [*NEEDS_NOTHING, *arguments]
    if arguments:
        if any(argument.startswith("tests/browser") for argument in arguments):
            _ensure_programs(progress)
        if needs_engine(arguments):
            _ensure_engine_and_images(settings, progress)
        return _pytest([*_side_by_side(arguments), *arguments, *chosen])
    _ensure_programs(progress)
    folders = _with_tests(WITHOUT_ENGINE)
    code = _pytest([*_side_by_side(folders), *folders, *chosen])
    if code:
        return code
    _ensure_engine_and_images(settings, progress)
    # Both wait for containers most of the time, so they share the machine.
    with _pytest_to_file([*BESIDE, *chosen], BESIDE_LOG) as beside:
        code = _pytest([SHARED_CLUSTER, *(f"--ignore={path}" for path in OWN_CLUSTER), *chosen])
        with progress.step("wait for the tests beside"):
            beside_code = _end_of(beside)
    say(BESIDE_LOG.read_text(errors="replace"))
    say(f"{SHARED_CLUSTER} ended with {code}, {' '.join(BESIDE)} with {beside_code}")
    return code or beside_code


def needs_engine(arguments: list[str]) -> bool:
    """Return whether pytest's arguments may select a test that needs Docker: unless every path is of a kind without."""
    paths = _paths(arguments)
    return not paths or not all(path.startswith(WITHOUT_ENGINE) for path in paths)


def _paths(arguments: list[str]) -> list[str]:
    return [argument for argument in arguments if argument.startswith("tests")]


def _side_by_side(arguments: list[str]) -> list[str]:
    """Return what has pytest use every core: for whole folders of tests that share nothing, unless it is told otherwise."""
    paths = _paths(arguments)
    if needs_engine(arguments) or any(".py" in path for path in paths) or any(word.startswith("-n") for word in arguments):
        return []
    return ["-n", WITHOUT_ENGINE_PROCESSES, "--dist", "worksteal"]


def _with_tests(folders: tuple[str, ...]) -> list[str]:
    return [folder for folder in folders if any((ROOT / folder).rglob("test_*.py"))]


def _pytest(arguments: list[str]) -> int:
    command = _pytest_command(arguments)
    say(f"\n$ .venv/bin/python {' '.join(command[1:])}")
    return to_its_end(command, _environment())


def _pytest_to_file(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start pytest, which writes into a file. What it would keep for ``--last-failed`` is left to the one that is shown."""
    command = _pytest_command(["-p", "no:cacheprovider", *arguments])
    say(f"\n$ .venv/bin/python {' '.join(command[1:])} > {log} &")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=output, stderr=subprocess.STDOUT)


def _pytest_command(arguments: list[str]) -> list[str]:
    # -P: the folders at the root are packages under other names, and must not be found under their own.
    return [str(PYTHON), "-P", "-m", "pytest", *arguments]


def _ensure_engine_and_images(settings: Settings, progress: Progress) -> None:
    _ensure_programs(progress)
    engine.ensure(progress)
    images.ensure(settings, Compose(settings), progress)


def _ensure_programs(progress: Progress) -> None:
    """Install a browser and a small shell for the tests that need one, where that can be done: elsewhere they are skipped, and
    say so.
    """
    lacking = [package for package, names in PROGRAMS.items() if not any(map(shutil.which, names))]
    if not lacking or not packages.available():
        return
    with progress.step(f"install {' and '.join(lacking)}, which some tests run"):
        packages.update()
        packages.install(*packages.known(*lacking))


def bench(settings: Settings, name: str | None, arguments: list[str]) -> int:
    """Run one benchmark of bench/, with the cluster up if it needs one; without a name, list them. Return its exit code."""
    found = {path.stem: path for path in sorted((ROOT / "bench").glob("*.py")) if not path.name.startswith("_")}
    if name not in found:
        names = ", ".join(found) or "none yet"
        if name is None:
            say(f"benchmarks: {names}")
            return 0
        raise Problem(f"there is no benchmark {name}", f"choose one of: {names}")
    progress = Progress()
    ensure_venv(progress)
    if name not in ALONE:
        lacking = health.missing(settings)
        if lacking:
            raise Problem(f"the cluster is not up: {', '.join(lacking)}", "./dev up")
        fleet.ensure_sample(settings, None)
    environment = {
        **_environment(),
        **settings.variables,
        "ERATOS_PROJECT": settings.project,
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("bench", "tests", "compose-dev")),
    }
    return to_its_end([str(PYTHON), "-P", str(found[name]), *arguments], environment)


def to_its_end(command: list[str], env: dict[str, str]) -> int:
    """Run a program that cleans up after ctrl-C, which reaches it, too: subprocess.run would soon kill it."""
    with subprocess.Popen(command, cwd=ROOT, env=env) as process:
        return _end_of(process)


def _end_of(process: subprocess.Popen[bytes]) -> int:
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            return process.wait()


def docs() -> int:
    """Write the pages that are made of the code, and wrap documents with too long lines. Return 0 if that was possible."""
    listed = run(["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]).split()
    names = [name for name in listed if (ROOT / name).is_file()]
    for name in wrapping.wrap_files(ROOT, names):
        say(f"wrapped {name}")
    ensure_venv(Progress())
    environment = {**_environment(), "PYTHONPATH": str(ROOT / "compose-dev")}
    pages = ("devtool.configuration_page", "devtool.reference_pages")
    return max(subprocess.run([str(PYTHON), "-P", "-m", page], cwd=ROOT, env=environment).returncode for page in pages)


def site(folder: Path) -> int:
    """Build the documents as a site. Return 0 if every link in them leads somewhere."""
    progress = Progress()
    ensure_venv(progress)
    environment = {**_environment(), "PYTHONPATH": str(ROOT / "compose-dev")}
    code = to_its_end(sphinx.command(PYTHON, "html", folder), environment)
    if not code:
        sphinx.lead_to_contents(folder)
        say(f"{folder / 'index.html'}: open it in a browser, or serve the folder")
    return code


def package(folder: Path) -> int:
    """Build what would be uploaded into a folder. Return 0."""
    progress = Progress()
    ensure_venv(progress)
    with progress.step("build the source distribution and the wheel"):
        built = distribution.build(PYTHON, folder)
    for path in built:
        say(str(path))
    return 0


def licences() -> int:
    """Write docs/licences.md. Return 0 if every licence is known."""
    progress = Progress()
    ensure_venv(progress)
    engine.ensure(progress)
    environment = {**_environment(), "PYTHONPATH": str(ROOT / "compose-dev")}
    return to_its_end([str(PYTHON), "-P", "-m", "devtool.licences.command"], environment)


def mutate(arguments: list[str]) -> int:
    """Run :mod:`mutation` with its arguments. Return 0 if each mutant was noticed, or is excused."""
    ensure_venv(Progress())
    environment = {**_environment(), "PYTHONPATH": str(ROOT / "compose-dev")}
    return to_its_end([str(PYTHON), "-P", "-m", "devtool.mutation", *arguments], environment)


def lint() -> int:
    """Check style, types, the documents' links, and that all tests can be imported. Return 0 if all are clean."""
    ensure_venv(Progress())
    # Lanes go side by side: mypy takes the longest, and has no other beside it that would write what it keeps.
    lanes = [
        [[str(PYTHON), "-m", "ruff", "check", "."], sphinx.command(PYTHON, "dummy", GENERATED / "site-links")],
        [
            # All at once: each of them would read eratos again.
            [str(PYTHON), "-m", "mypy", "-p", "eratos", "-p", "devtool", "-p", "support"],
            [str(PYTHON), "-m", "mypy", *sorted(str(file.relative_to(ROOT)) for file in (ROOT / "bench").glob("*.py"))],
        ],
        # What is compiled for it lies there when tests run, in several processes that all need it: most of what collecting costs.
        [_pytest_command(["--collect-only", "-q", "-p", "no:cacheprovider", *_with_tests(EVERY_KIND)])],
    ]
    path = os.pathsep.join([str(_link_farm()), *(str(ROOT / folder) for folder in ("compose-dev", "tests", "bench"))])

    def run_lane(checks: list[list[str]]) -> list[tuple[list[str], subprocess.CompletedProcess[str]]]:
        return [(check, run_check(check)) for check in checks]

    def run_check(check: list[str]) -> subprocess.CompletedProcess[str]:
        paths = {"MYPYPATH": path, "PYTHONPATH": str(ROOT / "compose-dev")} if "sphinx" in check else {"MYPYPATH": path}
        return subprocess.run(
            check, cwd=ROOT, env={**_environment(), **paths}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    codes = []
    with ThreadPoolExecutor(len(lanes)) as pool:
        for checked in pool.map(run_lane, lanes):
            for check, done in checked:
                lines = done.stdout.rstrip().splitlines()
                # The name of each test comes before what is wrong with some.
                shown = len(lines) if "pytest" not in check else 100 if done.returncode else 1
                say("\n".join([f"\n$ {' '.join(['python', *check[1:]])}", *lines[-shown:]]))
                codes.append(done.returncode)
    return max(codes)


def _link_farm() -> Path:
    """Make a folder with the packages under the names they are imported by: mypy does not see setuptools' import hook."""
    farm = GENERATED / "mypy"
    shutil.rmtree(farm, ignore_errors=True)
    (farm / "eratos").mkdir(parents=True)
    for name in ("common", "mesos", "marathon", "scheduler", "executor", "haproxy", "cli"):
        (farm / "eratos" / name).symlink_to(ROOT / name, target_is_directory=True)
    return farm
