"""Build stand-ins for the old libraries that Mesos' object was linked against: libssl and libcrypto 1.0, libcurl 4.

Called by the `mesos-build` stage: ``make_stubs.py OBJECT TARGET_FOLDER``. The dynamic loader wants each library with its
symbol versions, but only TLS and the fetcher call into them, which the cluster does not use. So every function aborts: a call
would be seen at once.
"""

import collections
import re
import subprocess
import sys
from pathlib import Path

OPENSSL_VERSIONS = ["OPENSSL_1.0.0", "OPENSSL_1.0.1", "OPENSSL_1.0.2"]
LIBRARIES = {
    "libssl.so.1.0.0": OPENSSL_VERSIONS,
    "libcrypto.so.1.0.0": OPENSSL_VERSIONS,
    "libcurl.so.4": ["CURL_OPENSSL_3"],
}


def wanted_symbols(path: str) -> dict[str, set[str]]:
    """Return the undefined OpenSSL and curl symbols of an object, by symbol version."""
    table = subprocess.run(["readelf", "-W", "--dyn-syms", path], capture_output=True, text=True, check=True).stdout
    symbols = collections.defaultdict(set)
    for name, version in re.findall(r"UND (\S+?)@((?:OPENSSL|CURL)_\S+)", table):
        symbols[version].add(name)
    return symbols


def build(library: str, versions: list[str], symbols: dict[str, set[str]], folder: Path) -> None:
    """Compile one stand-in. Each version gets an anchor, since a version without symbols would vanish."""
    source, version_script, previous = ["#include <stdlib.h>"], [], ""
    for index, version in enumerate(versions):
        names = sorted(symbols[version])
        source += [f"void *{name}(void) {{ abort(); }}" for name in names]
        source.append(f"void anchor_{index}(void) {{}}")
        exported = " ".join(f"{name};" for name in [*names, f"anchor_{index}"])
        hidden = "local: *;" if index == 0 else ""
        version_script.append(f"{version} {{ global: {exported} {hidden} }} {previous};")
        previous = version
    Path("stub.c").write_text("\n".join(source))
    Path("stub.map").write_text("\n".join(version_script))
    options = ["-w", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-Wl,--version-script=stub.map"]
    subprocess.run(["gcc", *options, "-o", str(folder / library), "stub.c"], check=True)


if __name__ == "__main__":
    found = wanted_symbols(sys.argv[1])
    for library, versions in LIBRARIES.items():
        build(library, versions, found, Path(sys.argv[2]))
