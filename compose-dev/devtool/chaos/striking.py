"""Doing one fault, and undoing it: how to undo it is on the disk before it is done."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from ..alone import held
from ..settings import Settings
from ..shell import CommandFailed, run
from ..terminal import Problem
from . import faults, parts
from .journal import Journal
from .strike import Fault, Strike

DO_S = 60


def do(fault: Fault, strike: Strike) -> None:
    """Break what a fault breaks. Raise Problem where that cannot be done; it may have been done in part."""
    for command in strike.do:
        try:
            # Whoever makes good what kill -9 has left has to come after this.
            run(command, timeout_s=DO_S, pass_fds=held())
        except CommandFailed as error:
            if not fault.ends_its_command:
                raise Problem(f"{fault.name} could not be done: {error}", "the cluster is restored; run this again") from None


@contextlib.contextmanager
def broken(settings: Settings, journal: Journal, app_id: str, name: str, part: str = "") -> Iterator[Strike]:
    """Break a part, or one by chance, for as long as this lasts; of workers, one of this app's. Raise Problem."""
    fault = faults.named(name)
    found = parts.look(settings, app_id)
    strike = fault.strike(found, faults.choose(fault, found, part, random.Random()))
    entry = journal.begin(strike.what, strike.undo)
    try:
        do(fault, strike)
        yield strike
    finally:
        journal.undo(entry)
