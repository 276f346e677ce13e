"""What pymesos needs of ``http-parser``, a C extension that does not build any more, over httptools (docs/adr/0040).

Responses only. ``pymesos.process.Connection`` calls it with whatever a read brought, and relies on two traits of the
original: bad input never raises but makes ``execute`` return another number than it was given, and there is no attribute
``errno`` (by which pymesos would take this for the original's pure Python variant).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import httptools

HTTP_REQUEST = 0
HTTP_RESPONSE = 1
HTTP_BOTH = 2


class Headers(MutableMapping[str, str]):
    """Headers in order of arrival: names keep their case and are found in any."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[str, str]] = {}

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __setitem__(self, name: str, value: str) -> None:
        self._items[name.lower()] = (name, value)

    def __delitem__(self, name: str) -> None:
        del self._items[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(dict(self))


class _Message:
    """What httptools' callbacks report. Apart from HttpParser, which must not show their names as its own methods."""

    def __init__(self) -> None:
        self.headers = Headers()
        self.body: list[bytes] = []
        self.begun = False
        self.headers_complete = False
        self.complete = False

    def on_message_begin(self) -> None:
        self.begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]},{text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.headers_complete = True

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.complete = True


class HttpParser:
    """Parses one response. As with the original, what was found stays found, even where another response follows."""

    def __init__(self, kind: int = HTTP_BOTH, decompress: bool = False) -> None:
        if kind not in (HTTP_RESPONSE, HTTP_BOTH):
            raise ValueError("this stand-in parses responses only: leave kind out, or give 1")
        if decompress:
            raise ValueError("this stand-in does not decompress: leave decompress out")
        self._message = _Message()
        self._parser = httptools.HttpResponseParser(self._message)
        self._error = ""

    def execute(self, data: bytes, length: int) -> int:
        """Parse ``length`` bytes of ``data``, 0 meaning the end of the connection.

        Returns ``length``; after an error something else, and get_errno() is not 0 from then on.
        """
        if self._error:
            return 0 if length else 1
        if length == 0:
            return self._end()
        try:
            self._parser.feed_data(data if length == len(data) else data[:length])
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])  # what follows is not HTTP any more
        except httptools.HttpParserError as error:
            self._error = str(error) or type(error).__name__
            return 0
        return length

    def _end(self) -> int:
        """Take note of the connection's end: it completes a body of unannounced length, and cuts off any other message."""
        message = self._message
        if message.begun and not message.complete:
            if not message.headers_complete or self.is_chunked() or "content-length" in message.headers:
                self._error = "the connection ended in the middle of the message"
                return 1
            message.complete = True
        return 0

    def get_errno(self) -> int:
        """Return 0, or 1 after an error."""
        return 1 if self._error else 0

    def get_error(self) -> str:
        """Return what could not be parsed, or an empty text."""
        return self._error

    def get_status_code(self) -> int:
        return int(self._parser.get_status_code())

    def get_headers(self) -> Headers:
        return self._message.headers

    def recv_body(self) -> bytes:
        """Return and forget the body bytes parsed since the last call."""
        body = b"".join(self._message.body)
        self._message.body.clear()
        return body

    def is_message_begin(self) -> bool:
        return self._message.begun

    def is_headers_complete(self) -> bool:
        return self._message.headers_complete

    def is_partial_body(self) -> bool:
        """Return whether recv_body() would return anything."""
        return bool(self._message.body)

    def is_message_complete(self) -> bool:
        return self._message.complete

    def is_chunked(self) -> bool:
        return self._message.headers.get("transfer-encoding", "").lower() == "chunked"
