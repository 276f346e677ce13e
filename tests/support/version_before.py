"""Images with the code of the version before, for tests that upgrade a running cluster.

They are the present images with the older code laid over the present one, so that they cost seconds. The older code comes
out of the repository's own history.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

#: The commit that users run who have not upgraded yet.
BEFORE = "7b9821ab6f03a1094d45a42d7a20db41c05cf7ea"

_SITE = "/opt/eratos/site-packages"
_PYTHON = f"{_SITE}/eratos"
_SCHEDULER = {f"{_PYTHON}/{name}": name for name in ("common", "marathon", "scheduler")}
_EXECUTOR = {f"{_PYTHON}/{name}": name for name in ("common", "executor")}
_BALANCER = {f"/opt/eratos/lib/eratos/{name}": name for name in ("common", "haproxy")}
_BALANCER |= {"/opt/eratos/services": "haproxy/services"}
#: kind of image -> where it has the code, and from which folders of the repository; the user it runs as
_IMAGES = {"scheduler": (_SCHEDULER, "eratos"), "agent": (_EXECUTOR, "root"), "balancer": (_BALANCER, "haproxy")}


def build(root: Path, folder: Path) -> dict[str, str]:
    """Build the images and return them by kind: ``scheduler``, ``agent``, ``balancer``.

    Skips the test, saying so, where the repository's history does not reach back to BEFORE.
    """
    archive = subprocess.run(["git", "-C", str(root), "archive", BEFORE], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"the history does not hold {BEFORE}, the version to upgrade from: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return {kind: _build(kind, folder) for kind in _IMAGES}


def _build(kind: str, folder: Path) -> str:
    code, user = _IMAGES[kind]
    lines = [f"FROM eratos/{kind}", "USER root", f"RUN rm -rf {' '.join(code)}"]
    owner = {"/opt/eratos/services": "--chown=haproxy:haproxy "}
    lines += [f"COPY {owner.get(target, '')}{source} {target}" for target, source in code.items()]
    if kind in ("scheduler", "agent"):
        # It took pymesos and what reads HTTP for it from packages of their own; the present code has a copy of pymesos.
        lines += [
            f"COPY compat/http-parser/http_parser {_SITE}/http_parser",
            f"RUN cp -r {_PYTHON}/mesos/pymesos {_SITE}/pymesos && "
            f"sed -i 's/^from [.][.]http_parser import/from http_parser.http import/' {_SITE}/pymesos/process.py",
        ]
    if kind == "agent":
        # Where the present command finds its beginning.
        lines.append(f"RUN echo 'from eratos.executor.__main__ import main' > {_PYTHON}/executor/script.py")
    if kind == "balancer":
        lines += [
            "RUN rm -rf /etc/eratos-balancer/*.ctmpl /etc/eratos-balancer/*.cfg /etc/eratos-balancer/*.hcl",
            "COPY haproxy/*.ctmpl haproxy/*.cfg haproxy/*.hcl /etc/eratos-balancer/",
            "RUN cd /etc/eratos-balancer && cat contract.ctmpl haproxy.ctmpl > balancer.ctmpl",
        ]
    (folder / f"{kind}.Dockerfile").write_text("\n".join([*lines, f"USER {user}"]) + "\n")
    image = f"eratos-before/{kind}"
    done = subprocess.run(
        ["docker", "build", "-q", "-t", image, "-f", str(folder / f"{kind}.Dockerfile"), str(folder)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"the image of the version before: {done.stderr}"
    return image
