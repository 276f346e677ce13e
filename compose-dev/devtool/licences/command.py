"""`./dev licences`: writes docs/licences.md anew. It runs in the development's virtual environment, whose packages it asks."""

from __future__ import annotations

import dataclasses
import sys

from .. import images
from ..terminal import Problem, say
from . import look_up, parts, table, texts


def main() -> int:
    """Write the page. Return 1 if a part is under a licence that nobody knows, and name it."""
    try:
        return _write()
    except Problem as problem:
        print(f"error: {problem}\nfix:   {problem.fix}", file=sys.stderr)
        return 1


def _write() -> int:
    # Debian's packages alone are looked up where they are new: what others say costs nothing to read again.
    known = {part.name: part.licence for part in table.current() if part.kind == parts.DEBIAN and part.licence}
    found = [dataclasses.replace(part, licence=look_up.of_python(part)) for part in parts.python()]
    found += parts.npm() + parts.others() + look_up.go_modules() + look_up.debian_packages(images.IMAGES, known)
    table.PAGE.write_text(table.write(found))
    complaints = complaints_about(found)
    for line in complaints:
        print(f"error: {line}", file=sys.stderr)
    say(f"{len(found)} parts in {table.PAGE.name}, {len(complaints)} of them not understood")
    return 1 if complaints else 0


def complaints_about(found: list[parts.Part]) -> list[str]:
    """Return a line for each part under a licence that is not known."""
    return [line for line in (texts.complaint(part.kind, part.name, part.licence) for part in found) if line]


if __name__ == "__main__":
    sys.exit(main())
