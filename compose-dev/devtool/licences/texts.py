"""From what packages say to names of licences (SPDX's): licence texts, Python's metadata, Debian's copyright files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

#: Under which a part may stand that is no Debian package. They ask for no more than to be named and handed on, and the source of
#: changed files at most; what asks for more is decided one by one (`NAMED`).
KNOWN = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}
    | {"Unlicense", "Zlib"}
)
#: Parts under another licence, each with the page that says why it may be.
_CONSUL = ("BUSL-1.1", "adr/0041-consul-is-the-users-choice.md")
NAMED = {("Go", "github.com/hashicorp/consul" + part): _CONSUL for part in ("", "/envoyextensions", "/troubleshoot")}

#: What each text has, and none before it.
_TEXTS = (
    ("BUSL-1.1", r"business source license"),
    ("MPL-2.0", r"mozilla public license,? (version|v\.) ?2\.0"),
    ("Apache-2.0", r"apache license,? version 2\.0|apache\.org/licenses/license-2\.0"),
    ("Unlicense", r"this is free and unencumbered software"),
    ("CC0-1.0", r"cc0 1\.0 universal"),
    ("PSF-2.0", r"python software foundation license version 2"),
    ("MIT", r"permission is hereby granted, free of charge, to any person"),
    ("ISC", r"permission to use, copy, modify,? and(/or)? distribute this software for any purpose with or without fee"),
    ("Zlib", r"this software is provided .as-is., without any express or implied warranty"),
)
_BSD = r"redistribution and use in source and binary forms"
_BSD_3 = r"neither the names? of|endorse or promote"

#: Short names in Debian's copyright files, in small letters, to names of SPDX.
_DEBIAN = (
    (r"a?gpl-?v?(\d)(?:\.(\d))?(\+|-or-later)?.*", "GPL"),
    (r"lgpl-?v?(\d)(?:\.(\d))?(\+|-or-later)?.*", "LGPL"),
    (r"gfdl(?:-niv)?-(\d)\.(\d)(\+)?.*", "GFDL"),
)
_DEBIAN_PLAIN = (
    (r"expat.*|mit|mit-.*|x11", "MIT"),
    (r"bsd-?2-?clause.*", "BSD-2-Clause"),
    (r"bsd-?3(-?clause.*)?", "BSD-3-Clause"),
    (r"bsd-?4-?clause.*", "BSD-4-Clause"),
    (r"apache(-2(\.0)?)?", "Apache-2.0"),
    (r"isc.*", "ISC"),
    (r"mpl-2\.0", "MPL-2.0"),
    (r"mpl-1\.1", "MPL-1.1"),
    (r"artistic(-1.*)?", "Artistic-1.0"),
    (r"artistic-2", "Artistic-2.0"),
    (r"zlib", "Zlib"),
    (r"cc0.*", "CC0-1.0"),
    (r"0bsd", "0BSD"),
    (r"psf.*|python.*", "PSF-2.0"),
    (r"openldap.*|oldap.*", "OLDAP-2.8"),
    (r"curl", "curl"),
    (r"bsl-1(\.0)?", "BSL-1.0"),
    (r"pcre", "BSD-3-Clause"),
    (r"public-domain.*|pd|pd-debian", "public domain"),
    (r"gpl", "GPL"),
    (r"lgpl", "LGPL"),
)
_PYTHON = {
    "mit license": "MIT",
    "apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}


def of_text(text: str) -> str:
    """Return the licences whose texts are in a file, joined by AND, or "" where none is known."""
    words = " ".join(re.sub(r"[*#>\"]|//", " ", text).split()).lower()
    found = [name for name, pattern in _TEXTS if re.search(pattern, words)]
    if re.search(_BSD, words):
        found.append("BSD-3-Clause" if re.search(_BSD_3, words) else "BSD-2-Clause")
    return both(found)


def both(licences: Iterable[str]) -> str:
    """Return an expression under which all of these hold."""
    names = sorted({name for one in licences if one for name in one.split(" AND ")})
    return " AND ".join(names)


def of_metadata(expression: str, field: str, classifiers: Iterable[str], files: Iterable[str]) -> str:
    """Return the licence of a Python package: what it states in SPDX's words, else its licence's text, else its classifier."""
    if expression:
        return expression
    stated = _PYTHON.get(field.strip().lower(), field.strip())
    if stated in KNOWN:
        return stated
    texts = both(of_text(text) for text in files)
    classified = [_PYTHON.get(one.rpartition(" :: ")[2].lower(), "") for one in classifiers if one.startswith("License")]
    return texts or both(classified)


def of_debian(copyright_file: str) -> str:
    """Return the licences of a Debian package by its copyright file, or "" where none is recognised.

    Those that are named there in the words of Debian's policy; in free text, those that it refers to or whose text it holds.
    What has no name beyond the file (there is much of it in old packages) is left to the file.
    """
    stated = re.findall(r"^License: *(\S.*)$", copyright_file, re.MULTILINE | re.IGNORECASE)
    names = {_debian(word) for line in stated for word in re.split(r",? (?:and|or) |, |_or_|/", line)}
    if not names - {""}:
        names = {_debian(word) for word in re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*\w)", copyright_file)}
        names |= set(of_text(copyright_file).split(" AND "))
    return ", ".join(sorted(names - {""}))


def _debian(word: str) -> str:
    word = word.strip().lower().replace(" with ", "-with-").split(" ")[0]
    for pattern, family in _DEBIAN:
        match = re.fullmatch(pattern, word)
        if match:
            later = "-or-later" if match[3] else "-only"
            return f"{family}-{match[1]}.{match[2] or 0}{later}"
    return next((name for pattern, name in _DEBIAN_PLAIN if re.fullmatch(pattern, word)), "")


def complaint(kind: str, name: str, licence: str, named: Mapping[tuple[str, str], tuple[str, str]] = NAMED) -> str:
    """Return why a part may not be used under its licence, or ""."""
    if not licence:
        return f"{kind} {name}: its licence is unknown; read it, and state it in BY_HAND (devtool/licences/look_up.py)"
    if kind == "Debian":
        return ""  # Debian's main is free software as a whole; look_up.py takes nothing else
    if (kind, name) in named:
        before = named[kind, name][0]
        return "" if licence == before else f"{kind} {name}: under {licence}, and not {before} any more"
    # One of those that may be chosen is enough; all of those that hold together have to be known.
    if any(set(one.strip(" ()").split(" AND ")) <= KNOWN for one in licence.split(" OR ")):
        return ""
    return f"{kind} {name}: {licence} is not among the licences that are known (KNOWN in devtool/licences/texts.py)"
