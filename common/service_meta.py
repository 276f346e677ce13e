"""What Consul takes of a service's meta. For one pair beyond it its agent refuses the whole service, with HTTP status 400."""

from __future__ import annotations

from typing import Final

KEY_CHARACTERS_MAX: Final = 128
VALUE_BYTES_MAX: Final = 512
PAIRS_MAX: Final = 64
#: Keys that begin so are Consul's own.
RESERVED: Final = "consul-"


def fault(key: str, value: str) -> str:
    """Return why Consul would refuse a pair, or nothing; ``key`` is of letters, digits, ``-`` and ``_``, and not too long."""
    if key.startswith(RESERVED):
        return f"begins with {RESERVED}, and such names are Consul's own: choose another name"
    # A character takes up to four bytes. Half of one comes to Consul as a whole one, of as many bytes.
    if (size := len(value.encode(errors="surrogatepass"))) > VALUE_BYTES_MAX:
        return f"is {size} bytes long, and Consul takes {VALUE_BYTES_MAX} at most: shorten it"
    return ""
