"""What Docker leaves out of a build context: a table for the rules that eratos has, and for Docker itself."""

from __future__ import annotations

from typing import Final

#: Content of a ``.dockerignore``; files, and whether each is left out.
CASES: Final[list[tuple[str, dict[str, bool]]]] = [
    ("", {"a": False, "b/c": False}),
    ("# a\n\n  \n", {"a": False, "# a": False}),
    ("\ufeffa\n", {"a": True, "b": False}),
    ("a\n", {"a": True, "b/a": False, "ab": False, "A": False}),
    ("README\n", {"README": True, "readme": False}),
    ("  a  \r\n", {"a": True}),
    ("/a\n/b/\n", {"a": True, "b/c": True, "c/a": False}),
    ("./a/../b\n", {"b": True, "a": False}),
    ("../a\n", {"a": False}),
    ("b\n", {"b/c/d": True, "bc/d": False}),
    ("*.md\n", {"a.md": True, "b/a.md": False, "a.mdx": False}),
    ("*/*.md\n", {"a.md": False, "b/a.md": True, "b/c/a.md": False}),
    ("**/*.md\n", {"a.md": True, "b/a.md": True, "b/c/a.md": True}),
    ("**/cache\n", {"cache/a": True, "b/cache/c/d": True, "b/cached": False}),
    ("b/**\n", {"b/c": True, "b/c/d": True, "c/b": False}),
    ("b/**/d\n", {"b/d": True, "b/c/d": True, "b/c/e/d": True, "b/c": False}),
    ("?.txt\n", {"a.txt": True, "ab.txt": False}),
    ("[ab].txt\n", {"a.txt": True, "c.txt": False}),
    ("[^ab].txt\n", {"a.txt": False, "c.txt": True}),
    ("[a-c]x\n", {"bx": True, "dx": False}),
    ("a.b+c(d)\n", {"a.b+c(d)": True, "aXb+c(d)": False}),
    ("\\*\n", {"*": True, "a": False}),
    ("*\n!a\n", {"a": False, "b": True, "c/d": True}),
    ("b\n!b/c\n", {"b/c/e": False, "b/d": True}),
    ("!a\n*\n", {"a": True}),
    ("*.md\n!README*.md\nREADME-secret.md\n", {"a.md": True, "README-a.md": False, "README-secret.md": True}),
    ("! a\na\n", {"a": True}),
]
