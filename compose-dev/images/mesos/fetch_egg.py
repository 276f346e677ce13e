"""Download Apache Mesos' compiled scheduler egg from the package index and verify its digest.

Called by the `mesos-build` stage: ``fetch_egg.py TARGET``. It uses pypi-simple because pip refuses eggs.
"""

import hashlib
import os
import sys
from pathlib import Path

from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

NAME = "mesos.scheduler-1.11.0-py2.7-linux-x86_64.egg"
SHA256 = "4940ebb70894ee004cf8a12b7b66b52a351be1070ec2a4e6f7dae4ec04f8cb61"

target = Path(sys.argv[1])
with PyPISimple(os.environ.get("PIP_INDEX_URL") or PYPI_SIMPLE_ENDPOINT) as index:
    page = index.get_project_page("mesos.scheduler")
    index.download_package(next(package for package in page.packages if package.filename == NAME), target)
if (found := hashlib.sha256(target.read_bytes()).hexdigest()) != SHA256:
    sys.exit(f"{NAME}: sha256 is {found}, expected {SHA256}; do not use this file")
