"""What `./dev up --secure` needs beside compose.yaml: secrets, certificates, and ZooKeeper and Consul that ask who asks.

All of it is made once for each cluster and kept in .generated/, for the user alone. Parts get theirs in volumes, one for each
kind of part, whose files belong to the user that the part runs as: what a part does not need it does not have. The certificates
are made by openssl, and the schedulers' own commands make what only they know how to make, both in containers: this machine
needs neither.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import settings as settings_module
from . import web
from .settings import CONSUL_SERVERS, SCHEDULERS, Settings
from .shell import CommandFailed, run
from .terminal import Problem

#: Brought up first, and configured whom to answer before anybody else is there.
FIRST = ("zookeeper", *(f"consul{number}" for number in range(1, CONSUL_SERVERS + 1)))
#: Kinds of parts with a volume of their own -> image and user.
PARTS = {
    "zookeeper": ("eratos/zookeeper", "zookeeper"),
    "master": ("eratos/mesos-master", "mesos"),
    "agent": ("eratos/agent", "root"),
    "consul-server": ("eratos/consul", "consul"),
    "consul-agent": ("eratos/consul", "consul"),
    "consul-balancer": ("eratos/consul", "consul"),
    "balancer": ("eratos/balancer", "haproxy"),
    "scheduler": ("eratos/scheduler", "eratos"),
    "prometheus": ("eratos/prometheus", "prometheus"),
}
#: What each part may do with Consul. The longest name counts: executors write every service but the balancers' and Consul's own.
POLICIES = {
    "agent": 'node_prefix "" { policy = "write" } service_prefix "" { policy = "read" } agent_prefix "" { policy = "write" }',
    # Keys are read for apps that require one.
    "executor": 'node_prefix "" { policy = "read" } service_prefix "" { policy = "write" } key_prefix "" { policy = "read" } '
    'service "eratos-balancer" { policy = "read" } service "consul" { policy = "read" }',
    "scheduler": 'node_prefix "" { policy = "read" } node_prefix "eratos-apps-" { policy = "write" } '
    'service_prefix "" { policy = "write" }',
    "balancer": 'node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" } service_prefix "" { policy = "read" } '
    'service "eratos-balancer" { policy = "write" }',
    # Names are asked for by anybody who is on a host, and tell no more than where services are.
    "dns": 'node_prefix "" { policy = "read" } service_prefix "" { policy = "read" } query_prefix "" { policy = "read" }',
}
#: A part may take a while to come up.
CLOSE_S = 90
_POLL_S = 0.3
#: Days that the certificates last: as long as anybody plays with a cluster.
_DAYS = 3650

# Three authorities: who may speak for one part of the cluster may not speak for another. Strict clients want to see what a
# certificate may be used for.
_MAKE_CERTIFICATES = f"""
set -e
cd "$(mktemp -d)"
for authority in api consul zookeeper; do
  openssl req -x509 -newkey rsa:2048 -nodes -days {_DAYS} -subj "/CN=eratos $authority" -keyout $authority-ca.key \\
    -addext keyUsage=critical,keyCertSign,cRLSign -out $authority-ca.pem 2>/dev/null
done
certificate() {{
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout key -out request 2>/dev/null
  printf 'subjectAltName=%s\\nkeyUsage=digitalSignature,keyEncipherment\\nextendedKeyUsage=serverAuth,clientAuth\\n%s' "$3" \\
    'basicConstraints=critical,CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' > extension
  openssl x509 -req -in request -CA $2-ca.pem -CAkey $2-ca.key -CAcreateserial -extfile extension -days {_DAYS} \\
    2>/dev/null > $1.pem
  cat key >> $1.pem
}}
here=DNS:localhost,IP:127.0.0.1
certificate api api "$here,{",".join(f"DNS:scheduler{n}" for n in range(1, SCHEDULERS + 1))}"
certificate zookeeper zookeeper "$here,DNS:zookeeper"
certificate consul-server consul "$here,DNS:server.dc1.consul,{",".join(f"DNS:consul{n}" for n in range(1, CONSUL_SERVERS + 1))}"
certificate consul-agent consul "$here,DNS:client.dc1.consul"
tar -c ./*.pem
"""

# ZooKeeper's nodes: what Mesos and eratos have is theirs, and nobody makes others. Who leads Mesos everybody may read.
_CLOSE_ZOOKEEPER = """
from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl
everybody = make_acl("world", "anyone", read=True)
zookeeper = KazooClient("zookeeper:2181", timeout=6)
zookeeper.start({timeout_s})
for name, others in (("mesos", [everybody]), ("eratos", [])):
    acl = [make_digest_acl(name, {passwords!r}[name], all=True), *others]
    if zookeeper.exists("/" + name):
        zookeeper.set_acls("/" + name, acl)
    else:
        zookeeper.create("/" + name, acl=acl)
zookeeper.set_acls("/", [everybody])
zookeeper.stop()
"""


def folder(settings: Settings) -> Path:
    """Return where a cluster's secrets are on this machine."""
    return settings_module.GENERATED / f"{settings.project}.secrets"


def known(settings: Settings) -> dict[str, Any]:
    """Return the secrets that were made for a cluster, none where there are none yet."""
    try:
        found: dict[str, Any] = json.loads((folder(settings) / "secrets.json").read_text())
        return found
    except (FileNotFoundError, ValueError):
        return {}


def variables(settings: Settings) -> dict[str, str]:
    """Return what secure.yaml takes from the environment."""
    found = known(settings)
    if not settings.secure or not found:
        return {}
    return {
        "ERATOS_SECURE_ZOOKEEPER_PASSWORD": found["zookeeper"]["eratos"],
        "ERATOS_SECURE_BALANCER_TOKEN": found["consul"]["balancer"],
    }


def forget(settings: Settings) -> None:
    """Drop a cluster's secrets with all that they opened."""
    shutil.rmtree(folder(settings), ignore_errors=True)


def prepare(settings: Settings) -> None:
    """Make what is missing of the secrets, and have each part's volume hold its own."""
    if not known(settings):
        _make(settings)
    made = known(settings)
    if missing := POLICIES.keys() - made["consul"].keys():  # a cluster of a version before
        made["consul"].update({name: str(uuid.uuid4()) for name in missing})
        _write(folder(settings) / "secrets.json", json.dumps(made, indent=2) + "\n")
    if settings.observe and "observer" not in made:
        line, token = _user("prometheus", "view")
        made["observer"] = {"line": line, "token": token}
        _write(folder(settings) / "secrets.json", json.dumps(made, indent=2) + "\n")
    for part, (image, user) in PARTS.items():
        if part == "prometheus" and not settings.observe:
            continue  # its image may not be there
        _fill(settings, part, image, user)


def _make(settings: Settings) -> None:
    made: dict[str, Any] = {
        "zookeeper": {name: secrets.token_hex(24) for name in ("mesos", "eratos")},
        "mesos": {name: secrets.token_hex(24) for name in ("eratos", "agent", "operator")},
        "consul": {name: str(uuid.uuid4()) for name in ("management", *POLICIES)},
        "gossip": base64.b64encode(secrets.token_bytes(32)).decode(),
        "framework": secrets.token_hex(32),
    }
    certificates = _in_container("eratos/consul", ["sh", "-s"], _MAKE_CERTIFICATES.encode())
    with tarfile.open(fileobj=io.BytesIO(certificates)) as tar:
        made["files"] = {Path(one.name).name: (tar.extractfile(one) or io.BytesIO()).read().decode() for one in tar}
    made["credentials"], made["token"] = _user("dev", "operate")
    script = "cat > /tmp/key && chmod 600 /tmp/key && eratos-scheduler companions-key --framework-key-file /tmp/key"
    made["companions"] = _in_container("eratos/scheduler", ["sh", "-c", script], made["framework"].encode()).decode().strip()
    place = folder(settings)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("api-ca.pem", "consul-ca.pem"):
        _write(place / name, made["files"][name])
    _write(place / "token", made["token"] + "\n")
    # For curl, whose arguments others see.
    _write(place / "header", f"Authorization: Bearer {made['token']}\n")
    # Last: what is there is whole.
    _write(place / "secrets.json", json.dumps(made, indent=2) + "\n")


def _user(name: str, role: str) -> tuple[str, str]:
    """Make a user of the API. Return the line of the credentials file, and the token."""
    user = _ended("eratos/scheduler", ["eratos-scheduler", "user", name, "token", role], b"", (), 120)
    token = re.search(r"eratos_\S+", user.stderr.decode())
    if token is None:
        raise Problem(f"no token was made for the API: {user.stderr.decode().strip()}", "run this again")
    return user.stdout.decode(), token[0]


def _write(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".part")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def contents(made: dict[str, Any], part: str) -> dict[str, str]:
    """Return the files of a kind of part: none gets what it does not use."""
    files, mesos, consul = made["files"], made["mesos"], made["consul"]
    masters = "zookeeper:2181/mesos"

    def credentials(*principals: str) -> str:
        return json.dumps({"credentials": [{"principal": name, "secret": mesos[name]} for name in principals]})

    if part == "zookeeper":
        return {name: files[name] for name in ("zookeeper.pem", "zookeeper-ca.pem")}
    if part == "master":
        return {"zk": f"zk://mesos:{made['zookeeper']['mesos']}@{masters}", "credentials": credentials(*mesos)}
    if part == "agent":
        return {
            "zk": f"zk://{masters}",
            "credential": json.dumps({"principal": "agent", "secret": mesos["agent"]}),
            "http-credentials": credentials("operator"),
            "ca.pem": files["consul-ca.pem"],
            "consul-token": consul["executor"],
        }
    if part.startswith("consul"):
        certificate = files["consul-server.pem" if part == "consul-server" else "consul-agent.pem"]
        tls = part != "consul-balancer"
        return {
            "consul.hcl": consul_settings(made, server=part == "consul-server", tls=tls),
            "ca.pem": files["consul-ca.pem"],
            "certificate.pem": certificate,
            "environment": f"export CONSUL_HTTP_TOKEN={consul['agent']} CONSUL_CACERT=/secrets/ca.pem "
            f"CONSUL_HTTP_ADDR={'https' if tls else 'http'}://127.0.0.1:8500\n",
        }
    if part == "balancer":
        return {"companions-key": made["companions"]}
    if part == "prometheus":
        return {"token": made["observer"]["token"], "api-ca.pem": files["api-ca.pem"]}
    return {
        "zookeeper-ca.pem": files["zookeeper-ca.pem"],
        "consul-ca.pem": files["consul-ca.pem"],
        "api-ca.pem": files["api-ca.pem"],
        "api.pem": files["api.pem"],
        "mesos-secret": mesos["eratos"],
        "consul-token": consul["scheduler"],
        "credentials": made["credentials"] + made.get("observer", {}).get("line", ""),
        "framework-key": made["framework"],
    }


def consul_settings(made: dict[str, Any], server: bool, tls: bool) -> str:
    """Return the settings of a Consul agent beyond its others; `tls`: it listens with TLS alone."""
    tokens = {"agent": made["consul"]["agent"], "dns": made["consul"]["dns"]}
    if server:
        tokens["initial_management"] = made["consul"]["management"]
    lines = [f'    {name} = "{token}"' for name, token in tokens.items()]
    ports = "ports {\n  http  = -1\n  https = 8500\n}\n" if tls else ""
    return f"""\
encrypt = "{made["gossip"]}"
{ports}acl {{
  enabled        = true
  default_policy = "deny"
  tokens {{
{chr(10).join(lines)}
  }}
}}
tls {{
  defaults {{
    ca_file         = "/secrets/ca.pem"
    cert_file       = "/secrets/certificate.pem"
    key_file        = "/secrets/certificate.pem"
    verify_incoming = true
    verify_outgoing = true
  }}
  https {{ verify_incoming = false }}
  internal_rpc {{ verify_server_hostname = true }}
}}
"""


def _fill(settings: Settings, part: str, image: str, user: str) -> None:
    """Have the volume of a kind of part hold its files, for the part's own user alone; those that are there stay."""
    files = contents(known(settings), part)
    name = f"{settings.project}_secrets-{part}"
    state = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    label = run(["docker", "volume", "inspect", "--format", '{{index .Labels "eratos.secrets"}}', name], check=False).strip()
    if label == state:
        return
    labels = [f"com.docker.compose.project={settings.project}", f"eratos.secrets={state}"]
    run(["docker", "volume", "create", *(word for one in labels for word in ("--label", one)), name])
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        place = tarfile.TarInfo(".")
        place.type, place.mode, place.uname, place.gname = tarfile.DIRTYPE, 0o700, user, user
        tar.addfile(place)
        for file, text in files.items():
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode, entry.uname, entry.gname = len(text.encode()), 0o400, user, user
            tar.addfile(entry, io.BytesIO(text.encode()))
    words = ["tar", "-x", "-p", "--same-owner", "-C", "/secrets"]
    _in_container(image, words, data.getvalue(), "--user", "0", "-v", f"{name}:/secrets")


def close(settings: Settings, start: Callable[[], None]) -> None:
    """Have ZooKeeper and Consul ask who asks, once for each cluster; `start` brings up these two alone, for the first time."""
    made = known(settings)
    rules = hashlib.sha256(json.dumps([POLICIES, _CLOSE_ZOOKEEPER]).encode()).hexdigest()
    if made.get("closed") == rules:
        return
    start()
    if "closed" not in made:
        # Afterwards nobody may, and nobody needs to.
        script = _CLOSE_ZOOKEEPER.format(timeout_s=CLOSE_S, passwords=made["zookeeper"])
        python = ["/opt/eratos/bin/python", "-"]
        _in_container(
            "eratos/scheduler", python, script.encode(), "--network", f"{settings.project}_default", timeout_s=CLOSE_S + 30
        )
    _close_consul(settings, made)
    _write(folder(settings) / "secrets.json", json.dumps({**made, "closed": rules}, indent=2) + "\n")


def restore(settings: Settings) -> None:
    """Have Consul know again whom it answers, where it has lost its data. One that does not answer is left as it is."""
    with contextlib.suppress(Problem):
        _close_consul(settings, known(settings))


def _close_consul(settings: Settings, made: dict[str, Any]) -> None:
    deadline = time.monotonic() + CLOSE_S
    for name, rules in POLICIES.items():
        policy = {"Name": name, "Description": f"eratos: {name}", "Rules": rules}
        found = _consul(settings, "GET", f"/v1/acl/policy/name/{name}", None, deadline)
        path = f"/v1/acl/policy/{found['ID']}" if found else "/v1/acl/policy"
        _consul(settings, "PUT", path, policy, deadline)
        token = {"AccessorID": str(uuid.uuid5(uuid.NAMESPACE_OID, made["consul"][name])), "SecretID": made["consul"][name]}
        token.update({"Description": f"eratos: {name}", "Policies": [{"Name": name}]})
        if not _consul(settings, "GET", f"/v1/acl/token/{token['AccessorID']}", None, deadline):
            _consul(settings, "PUT", "/v1/acl/token", token, deadline)


def _consul(settings: Settings, method: str, path: str, body: Any, deadline: float) -> Any:
    """Ask Consul until it answers; None for what it does not know."""
    while True:
        try:
            status, text = web.request(method, settings.url("CONSUL", 1, path), body, access=access(settings, "CONSUL"))
        except web.Unanswered as error:
            text = str(error)
        else:
            if status == 200:
                return json.loads(text)
            if method == "GET" and (status == 404 or "ACL not found" in text or "Cannot find" in text):
                return None
            text = f"HTTP {status}: {text.strip()}"
        if time.monotonic() > deadline:
            raise Problem(f"Consul was not closed: {path}: {text}", "./dev logs consul1 shows more; then run this again")
        time.sleep(_POLL_S)


def access(settings: Settings, kind: str) -> web.Access:
    """Return how one of the cluster's published ports is asked: nothing is shown where nobody asks."""
    made = known(settings) if settings.secure else {}
    if not made:
        return web.Access()
    place = folder(settings)
    if kind == "API":
        return web.Access({"Authorization": f"Bearer {made['token']}"}, place / "api-ca.pem")
    if kind == "CONSUL":
        return web.Access({"X-Consul-Token": made["consul"]["management"]}, place / "consul-ca.pem")
    if kind == "MASTER":
        login = base64.b64encode(f"operator:{made['mesos']['operator']}".encode()).decode()
        return web.Access({"Authorization": f"Basic {login}"})
    return web.Access()


def how_to_ask(settings: Settings) -> list[str]:
    """Return what a user types to use the API and Consul of a cluster that asks who they are."""
    place = folder(settings)
    apis = ",".join(settings.url("API", number) for number in range(1, SCHEDULERS + 1))
    return [
        f"export ERATOS_URL={apis}",
        f"export ERATOS_CA_FILE={place / 'api-ca.pem'} ERATOS_TOKEN_FILE={place / 'token'}",
        f"curl --cacert $ERATOS_CA_FILE -H @{place / 'header'} {settings.url('API', 1, '/v2/apps')}",
        f"the secrets of Consul and of Mesos' operator: {place / 'secrets.json'}",
    ]


def _in_container(image: str, words: list[str], data: bytes, *options: str, timeout_s: float = 120) -> bytes:
    return _ended(image, words, data, options, timeout_s).stdout


def _ended(
    image: str, words: list[str], data: bytes, options: tuple[str, ...], timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a program in a container of an image, with data on its standard input. Raise CommandFailed unless it succeeds."""
    network = [] if "--network" in options else ["--network", "none"]
    command = ["docker", "run", "--rm", "-i", *network, *options, "--entrypoint", words[0], image, *words[1:]]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise CommandFailed(command, f"did not end within {timeout_s} s", "") from None
    if done.returncode:
        raise CommandFailed(command, f"failed with exit code {done.returncode}", done.stderr.decode(errors="replace"))
    return done
