"""Writes a balancer's configuration to standard output, once: ``python3 -m eratos.haproxy.render nginx``.

For nginx, which has no companion; HAProxy's is written by the companion itself, as a new process for each change would come late.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from eratos.common.errors import FatalError

from . import config
from .core import nginx_text, services, zones


def main(words: list[str]) -> None:
    """Exits with a sentence where the facts or an administrator's file cannot be read."""
    if words != ["nginx"]:
        sys.exit("usage: python3 -m eratos.haproxy.render nginx")
    state = Path(os.environ.get("ERATOS_STATE_DIR") or nginx_text.DEFAULTS["ERATOS_STATE_DIR"])
    folder = Path(os.environ.get("ERATOS_SNIPPETS_DIR") or config.SNIPPETS_DIR)
    try:
        scope = config.scope(os.environ)
        facts = services.read_facts((state / "facts.json").read_text())
        for datacenter, path in config.far_facts(state, scope).items():
            # What is elsewhere must never stand in the way of what is here.
            try:
                facts = services.with_far(facts, datacenter, path.read_text())
            except FileNotFoundError:
                pass  # consul-template waits for that data center's first answer
            except (OSError, ValueError) as error:
                print(f"{path.name}: {error}", file=sys.stderr)
        snippets = {path.stem: path.read_text() for path in folder.glob("*.conf")}
    except (FatalError, OSError, ValueError) as error:
        sys.exit(f"nothing is written: {error}")
    if unknown := sorted(snippets.keys() - set(nginx_text.SNIPPETS)):
        sys.exit(f"{folder / unknown[0]}.conf: its name must be {', '.join(f'{name}.conf' for name in nginx_text.SNIPPETS)}")
    sys.stdout.write(nginx_text.render(zones.weighed(services.decide(facts, scope)), os.environ, snippets))


if __name__ == "__main__":
    main(sys.argv[1:])
