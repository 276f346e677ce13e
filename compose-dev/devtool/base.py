"""What has to be there before anything is built: Debian's image, the host's certificates, the compose plugin.

Each comes from where it is usually got, and where that is out of reach, from the Debian archive: the base image by debootstrap,
the compose plugin out of that image.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import packages
from .settings import COMPOSE_FOLDER
from .shell import CommandFailed, run
from .terminal import Problem, Progress

IMAGE = "debian:trixie-slim"
#: What stands behind that name: Debian's image of one day, for every processor. The Dockerfile's images are built from IMAGE.
DIGEST = "sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f"
SUITE = "trixie"
#: Where Debian's packages come from unless a setting says otherwise, and where its security fixes do.
MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
BOOTSTRAP_FOLDER = Path("/var/tmp/eratos-base-image")
BUNDLE = COMPOSE_FOLDER / "ca" / "host-bundle.crt"
COMPOSE_DOCS = "https://docs.docker.com/compose/install/linux/"

_HOST_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
_DISTRIBUTION_CERTIFICATES = Path("/usr/share/ca-certificates")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def ensure_image(progress: Progress, mirror: str = "") -> None:
    """Make sure that the image all others are built from is there: pulled, or made of Debian's packages.

    ``mirror``: where these come from, where not from the usual place.
    """
    if run(["docker", "image", "inspect", IMAGE], check=False):
        return
    with progress.step(f"get the base image {IMAGE}") as step:
        try:
            step.detail = "pulling it from Docker Hub"
            pinned = f"{IMAGE.partition(':')[0]}@{DIGEST}"
            run(["docker", "pull", "-q", pinned], timeout_s=600)
            run(["docker", "tag", pinned, IMAGE])
        except CommandFailed as error:
            reason = error.output.strip().splitlines()[-1:] or ["no answer"]
            step.detail = "Docker Hub is out of reach: making it of Debian's packages"
            step.text = f"make the base image {IMAGE} of Debian's packages (Docker Hub is out of reach)"
            if not _bootstrap(reason[0], mirror):
                step.text += ", without security fixes: their archive is out of reach, too"


def _bootstrap(reason: str, mirror: str) -> bool:
    """Make the image. Return whether whatever is installed in it later comes with Debian's security fixes, if it should."""
    fix = f"load it from another machine (docker save {IMAGE} | ssh HERE docker load); or on Debian and Ubuntu: sudo ./dev up"
    packages.require_root_and_apt(f"the base image cannot be pulled: {reason}", fix)
    packages.update()
    packages.install("debootstrap", *packages.known("debian-archive-keyring"))
    # A fixed place, so that a run finds what an interrupted one left; not /tmp, which may be mounted without device files.
    folder = BOOTSTRAP_FOLDER
    _remove_tree(folder)
    folder.mkdir(parents=True)
    try:
        root = folder / "root"
        run(["debootstrap", "--variant=minbase", SUITE, str(root), mirror or MIRROR])
        fixed = bool(mirror) or _follow_security(root)
        _slim(root)
        # Through a pipe: docker import reads from nowhere else without a second copy on the disk.
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            done = subprocess.run(["docker", "import", "-", IMAGE], stdin=tar.stdout, capture_output=True, text=True)
        if done.returncode or tar.returncode:
            raise CommandFailed(["docker", "import", "-", IMAGE], "failed", done.stderr)
    finally:
        _remove_tree(folder)
    return fixed


def _follow_security(root: Path) -> bool:
    """Have the image take Debian's security fixes, as Debian's own does; debootstrap leaves them out. Return False where they
    are out of reach: builds would fail at them."""
    suite = f"{SUITE}-security"
    try:
        run(["wget", "-q", "-T", "20", "-t", "3", "-O", "/dev/null", f"{SECURITY_MIRROR}/dists/{suite}/InRelease"])
    except CommandFailed:
        return False
    with (root / "etc/apt/sources.list").open("a") as file:
        file.write(f"deb {SECURITY_MIRROR} {suite} main\n")
    return True


def _remove_tree(folder: Path) -> None:
    """Remove a folder of debootstrap, which mounts /proc and /sys in it and, when killed, leaves them mounted."""
    mounted = [
        line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1].startswith(f"{folder}/")
    ]
    for place in reversed(mounted):
        run(["umount", place])
    shutil.rmtree(folder, ignore_errors=True)


def _slim(root: Path) -> None:
    """Leave out what Debian's own slim image leaves out: documentation, translations, package lists."""
    left_out = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists"]
    for name in left_out:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    excluded = "".join(f"path-exclude /{name}/*\n" for name in left_out if name.startswith("usr/"))
    (root / "etc/dpkg/dpkg.cfg.d/docker").write_text(excluded)
    (root / "etc/apt/apt.conf.d/docker-no-languages").write_text('Acquire::Languages "none";\n')


def pass_certificates() -> None:
    """Put the certificates that this host trusts beyond its distribution's own where image builds find them.

    Only those: a bundle with all of them would change, and every image with it, whenever the distribution updates its own.
    """
    bundle = next((Path(path) for path in _HOST_BUNDLES if Path(path).exists()), None)
    if bundle is None:
        # macOS keeps certificates elsewhere; compose-dev/ca/README.md says what to do behind a private authority.
        return
    distribution = [path.read_text(errors="replace") for path in sorted(_DISTRIBUTION_CERTIFICATES.rglob("*.crt"))]
    own = "".join(f"{certificate}\n" for certificate in private_certificates(bundle.read_text(errors="replace"), distribution))
    if own and (not BUNDLE.exists() or BUNDLE.read_text() != own):
        BUNDLE.write_text(own)
    elif not own and BUNDLE.exists():
        BUNDLE.unlink()


def private_certificates(bundle: str, distribution: list[str]) -> list[str]:
    """Return the certificates of a bundle that the distribution did not bring. With nothing to compare, all of them."""
    known = {certificate for text in distribution for certificate in _CERTIFICATE.findall(text)}
    return [certificate for certificate in _CERTIFICATE.findall(bundle) if certificate not in known]


def compose_version() -> str:
    """Return the version of the compose plugin, "" where there is none."""
    return run(["docker", "compose", "version", "--short"], check=False).strip()


def ensure_compose(progress: Progress) -> None:
    """Make sure that `docker compose` is version 2 or later: a package, or out of the base image, which has to be there."""
    if compose_version():
        return
    if sys.platform == "darwin":
        raise Problem(
            "the compose plugin of Docker is not installed", "brew install docker-compose, and link it as its notes say"
        )
    with progress.step("install the compose plugin") as step:
        if packages.available():
            packages.update()
            for name in ("docker-compose-v2", "docker-compose-plugin", "docker-compose"):
                # Debian 12 has version 1 under the last name: another program.
                if re.match(r"(\d+:)?([2-9]|\d\d)", packages.candidate(name)):
                    step.detail = f"package {name}"
                    packages.install(name)
                    if compose_version():
                        return
        step.detail = f"out of {SUITE}'s package"
        _extract_compose()
        if not compose_version():
            raise Problem("the compose plugin of Docker does not run here", f"install it by hand: {COMPOSE_DOCS}")


def _extract_compose() -> None:
    """Take the plugin out of the package of a newer Debian, in a container of it."""
    libc, version = platform.libc_ver()
    if libc == "glibc" and tuple(map(int, version.split(".")[:2])) < (2, 34):
        raise Problem("the compose plugin of Docker is not installed", f"install it by hand: {COMPOSE_DOCS}")
    folder = Path("/usr/local/lib/docker" if os.geteuid() == 0 else Path.home() / ".docker") / "cli-plugins"
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        "exec 3>&1 >&2; cd /tmp; apt-get update -qq; apt-get download -qq docker-compose; dpkg-deb -x docker-compose_*.deb x; "
        "cat x/usr/libexec/docker/cli-plugins/docker-compose >&3"
    )
    unfinished = folder / "docker-compose.part"
    with unfinished.open("wb") as file:
        done = subprocess.run(
            ["docker", "run", "--rm", IMAGE, "sh", "-ec", script], stdout=file, stderr=subprocess.PIPE, text=False
        )
    if done.returncode:
        unfinished.unlink()
        raise Problem(
            f"the compose plugin could not be fetched: {done.stderr.decode(errors='replace').strip()[-400:]}",
            f"install it by hand: {COMPOSE_DOCS}",
        )
    unfinished.chmod(0o755)
    unfinished.rename(folder / "docker-compose")
