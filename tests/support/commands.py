"""What a client sees of a command that runs in an instance."""

from __future__ import annotations

from dataclasses import dataclass, field

from eratos.common.tunnel import Kind


@dataclass
class Seen:
    output: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)
    code: int | None = None
    failure: str = ""
    task: str = ""  #: the one that it ran in, where the scheduler chose it

    def told(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.EXIT:
            self.code = int(payload)
        elif kind is Kind.FAILURE:
            self.failure = payload.decode()
