"""Regular expressions of users, as ``java.util.regex.Pattern`` reads them, matched in linear time by RE2.

Marathon hands LIKE and UNLIKE to Java, and Java's matcher, like Python's, tries one way after another: a short expression
can take it years. RE2 never does, but reads some constructs in another way than Java (``\\s``, ``.``, ``(?i)``) and knows
others not at all. So an expression is read here, construct by construct, and written anew in what both agree on. What
has no such form is refused with the reason: look-arounds, back-references, possessive quantifiers, intersections.

One difference is left: ``\\b`` knows ASCII's words alone, as in Java from version 19 on; Mesos' attributes are ASCII.

Source: the documentation of ``Pattern``, Java 8 (Marathon's), and https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import re2

#: Characters of an expression; real ones have dozens.
LENGTH_MAX: Final = 1024
#: RE2's bound for one counted repetition, and for nested ones together (re2.h, ``kMaxRepeat``).
REPEAT_MAX: Final = 1000
#: Groups within each other.
DEPTH_MAX: Final = 50
#: Memory that one expression may take, in bytes: its program and the states that matching adds. To make such a program takes
#: 6 ms at the most, and one of a MiB takes 60, which ten characters can ask for (``\P{L}{50}``).
MEMORY_MAX: Final = 128 * 1024
#: Classes of Unicode, such as ``\\p{L}``, in one expression: each is hundreds of ranges, and RE2 makes one of all between ``|``.
UNICODE_MAX: Final = 20
#: Steps of the programs of one definition's expressions together. A step and a byte of what is matched take 10 ns at the most.
STEPS_MAX: Final = 16 * 1024
#: The same for an app with one instance on each host: all hosts are compared at once, as one that is not would have none.
STEPS_ON_EACH_HOST_MAX: Final = 2048
#: What it takes to read an expression, in units of 10 ns: a character of it, a step of its program, a class of Unicode.
READ_CHARACTER: Final = 200
READ_STEP: Final = 75
READ_UNICODE: Final = 10_000
#: What it takes to find that a program would be too large.
READ_TOO_LARGE: Final = 150_000
#: What reading the expressions of one request may take, of the same units: a second.
READ_MOST: Final = 100_000_000
#: Compiled expressions that are kept; all of them together take no more than so many times ``MEMORY_MAX``.
KEPT_MAX: Final = 1024

Range = tuple[int, int]
_LAST: Final = 0x10FFFF


class BadExpression(ValueError):
    """An expression that Java refuses, or that has no form in linear time. The message says which part, and why."""

    #: How much it was to find that out: units of 10 ns.
    reading: int = 0


class Expression:
    """A compiled expression."""

    __slots__ = ("_compiled", "reading")

    def __init__(self, text: str) -> None:
        """Read Java's expression. Raises BadExpression."""
        options = within(MEMORY_MAX)
        options.never_capture = True
        reader = _Reader(text)
        written = reader.whole()
        #: How much it was to read it: units of 10 ns at the most.
        self.reading = READ_CHARACTER * len(text) + READ_UNICODE * reader.unicode
        try:
            self._compiled = re2.compile(written, options)
        except re2.error as error:
            refused = BadExpression(f"is too large: its repetitions and classes take too much memory ({said(error)})")
            refused.reading = self.reading + READ_TOO_LARGE
            raise refused from None
        self.reading += READ_STEP * self.steps

    @property
    def steps(self) -> int:
        """How long its program is: two for a character of a list of names, ``(...){100}`` has a hundred times its own."""
        return int(self._compiled.programsize)

    def matches(self, text: str) -> bool:
        """Return whether the whole text matches, as Java's ``String.matches`` does."""
        return self._compiled.fullmatch(text.encode("utf-8", "replace")) is not None

    def work(self, text: str) -> int:
        """Return how much :meth:`matches` has to do at the most: units of 10 ns."""
        return 100 + (self.steps + 16) * len(text.encode("utf-8", "replace"))


@functools.lru_cache(maxsize=KEPT_MAX)
def compiled(text: str) -> Expression | BadExpression:
    """Return an expression, compiled once while it is in use, or why it is refused."""
    try:
        return Expression(text)
    except BadExpression as error:
        error.reading = error.reading or READ_CHARACTER * min(len(text), LENGTH_MAX)
        return error


def readable(texts: Iterable[str], most: int | None = None) -> int:
    """Read expressions for as long as one request may take; return how many were read."""
    return done(texts, lambda text: compiled(text).reading, READ_MOST if most is None else most)


def done(texts: Iterable[str], work: Callable[[str], int], most: int) -> int:
    """Do some work, which returns how much it was, for one expression after the other as long as ``most`` allows; return for how
    many it was done.
    """
    count = 0
    for text in texts:
        if most <= 0:
            break
        most -= work(text)
        count += 1
    return count


def within(memory: int) -> re2.Options:
    """Return RE2's options for an expression that may take so many bytes."""
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False  # RE2 writes to standard error otherwise
    return options


def said(error: re2.error) -> str:
    """Return why RE2 does not take an expression."""
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def refusals(texts: Iterable[str], steps_most: int = STEPS_MAX) -> list[str]:
    """Return of each expression of one definition why it is refused, for itself or with those before it, or nothing."""
    said, steps = [], 0
    for text in texts:
        found = compiled(text)
        if isinstance(found, BadExpression):
            said.append(str(found))
            continue
        steps += found.steps
        too_many = (
            f"takes {found.steps} steps to match, with the expressions before it {steps}, and {steps_most} are the most for "
            "all expressions of a definition: repeat less, or ask for an attribute in place of long lists"
        )
        said.append(too_many if steps > steps_most else "")
    return said


def _ranges(characters: str) -> tuple[Range, ...]:
    """Return ranges written as pairs: ``azAZ`` is a to z and A to Z."""
    points = [ord(character) for character in characters]
    return tuple(zip(points[::2], points[1::2], strict=True))


_DIGIT = _ranges("09")
_WORD = _ranges("azAZ__09")
_SPACE = _ranges("\t\r  ")  # \t \n \x0B \f \r and blank; RE2's own \s lacks \x0B
_HORIZONTAL = _ranges("\t\t  \xa0\xa0\u1680\u1680\u180e\u180e\u2000\u200a\u202f\u202f\u205f\u205f\u3000\u3000")
_VERTICAL = _ranges("\n\r\x85\x85\u2028\u2029")
_LINE_ENDS = _ranges("\n\n\r\r\x85\x85\u2028\u2029")
_PUNCTUATION = _ranges("!/:@[`{~")
_CLASSES: Final = {"d": _DIGIT, "w": _WORD, "s": _SPACE, "h": _HORIZONTAL, "v": _VERTICAL}
_POSIX: Final = {
    "Lower": _ranges("az"),
    "Upper": _ranges("AZ"),
    "ASCII": _ranges("\0\x7f"),
    "Alpha": _ranges("azAZ"),
    "Digit": _DIGIT,
    "Alnum": _ranges("azAZ09"),
    "Punct": _PUNCTUATION,
    "Graph": _ranges("!~"),
    "Print": _ranges(" ~"),
    "Blank": _ranges("  \t\t"),
    "Cntrl": _ranges("\0\x1f\x7f\x7f"),
    "XDigit": _ranges("09afAF"),
    "Space": _SPACE,
}
#: Unicode's general categories that Java and RE2 both have under the same name. Not C: Java's has the unassigned as well.
_CATEGORIES: Final = frozenset(
    {"L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf"}
    | {"Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"}
)
#: Letters and digits that mean themselves, but for the last of them before a repetition: most of what real expressions hold.
_PLAIN: Final = r"[A-Za-z0-9]+(?![A-Za-z0-9?*+{])"
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
_FIX: Final = "eratos matches in time linear in the text, without trying again: write it another way"


class _Reader:
    """Reads one expression from left to right; ``whole`` returns it in RE2's language."""

    def __init__(self, text: str) -> None:
        if len(text) > LENGTH_MAX:
            raise BadExpression(f"has {len(text)} characters: {LENGTH_MAX} are allowed")
        if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            raise BadExpression("has half of a character (a lone surrogate): write the whole one")
        self._text = _unquoted(text)
        self._at = 0
        self._depth = 0
        self._fold = False  #: (?i), for ASCII letters only, as in Java
        self._dot_all = False  #: (?s)
        self._names: set[str] = set()
        self.unicode = 0  #: classes of Unicode that were read

    def whole(self) -> str:
        written, _ = self._alternatives()
        if self._at < len(self._text):
            self._fail("a ) closes no group")
        return written

    # The text

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._text[at] if at < len(self._text) else ""

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _taken(self, expected: str) -> bool:
        if self._text.startswith(expected, self._at):
            self._at += len(expected)
            return True
        return False

    def _pattern(self, pattern: str) -> re.Match[str] | None:
        found = re.compile(pattern).match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _fail(self, reason: str) -> NoReturn:
        raise BadExpression(f"{reason} (at character {min(self._at, len(self._text))})")

    # The grammar. Each part comes with whether $ or \Z is in it: both let one last line break follow, which RE2's do not.
    # A match of the whole text has room for none, unless more of the expression follows that could take it.

    def _alternatives(self) -> tuple[str, bool]:
        branches, has_end = [], False
        while True:
            branch, ends = self._sequence()
            has_end = has_end or ends
            branches.append(branch)
            if not self._taken("|"):
                return "|".join(branches), has_end

    def _sequence(self) -> tuple[str, bool]:
        parts: list[str] = []
        has_end = False
        while self._peek() not in ("", "|", ")"):
            if not has_end and (plain := self._pattern(_PLAIN)):
                parts.append("".join(map(self._literal, plain[0])) if self._fold else plain[0])
                continue
            if has_end and self._peek() != "$" and not self._text.startswith(("\\Z", "\\z"), self._at):
                self._fail("an end of the text ($ or \\Z) has something after it: Java lets a last line break follow there")
            atom, ends = self._atom()
            has_end = has_end or ends
            quantifier = self._quantifier()
            if quantifier and ends:
                self._fail("an end of the text ($ or \\Z) is repeated: remove the repetition")
            parts.append(f"(?:{atom}){quantifier}" if quantifier else atom)
        return "".join(parts), has_end

    def _quantifier(self) -> str:
        if self._peek() not in ("?", "*", "+", "{"):
            return ""
        found = self._pattern(r"[?*+]|\{([0-9]{1,9})(?:(,)([0-9]{1,9})?)?\}")
        if found is None:
            if self._peek() == "{":
                self._fail("{ begins no repetition such as {2} or {1,3}: write \\{ for the character")
            return ""
        if found[1] is not None:
            least, most = int(found[1]), int(found[3] or found[1])
            if max(least, most) > REPEAT_MAX:
                self._fail(f"{found[0]} repeats too often: {REPEAT_MAX} times at most")
            if most < least:
                self._fail(f"{found[0]} ends before it begins")
        if self._taken("+"):
            self._fail(f"{found[0]}+ is possessive: {_FIX}")
        self._taken("?")  # a lazy one takes less first; for a match of the whole text that is the same
        if self._peek() and self._peek() in "?*+":
            self._fail(f"{self._peek()} repeats a repetition")
        return found[0]

    def _atom(self) -> tuple[str, bool]:
        character = self._next()
        match character:
            case "(":
                return self._group()
            case "[":
                return self._class(), False
            case ".":
                return ("(?s:.)" if self._dot_all else _set(_LINE_ENDS, (), negated=True)), False
            case "^":
                return "\\A", False
            case "$":
                return "\\z", True
            case "*" | "+" | "?":
                self._fail(f"{character} has nothing before it to repeat")
            case "{":
                self._fail("{ has nothing before it to repeat: write \\{ for the character")
            case "\\":
                return self._escaped()
        return self._literal(character), False

    def _literal(self, character: str) -> str:
        if self._fold and character.isascii() and character.isalpha():
            return f"[{character}{character.swapcase()}]"
        return _point(ord(character))

    def _group(self) -> tuple[str, bool]:
        if self._depth >= DEPTH_MAX:
            self._fail(f"more than {DEPTH_MAX} groups lie within each other")
        flags = self._fold, self._dot_all
        if self._taken("?"):
            for begin, name in (("=", "look-ahead"), ("!", "look-ahead"), ("<=", "look-behind"), ("<!", "look-behind")):
                if self._taken(begin):
                    self._fail(f"(?{begin} is a {name}: {_FIX}")
            if self._taken(">"):
                self._fail(f"(?> is an independent group: {_FIX}")
            if self._taken("<"):
                self._name()
            elif self._flags():
                if self._peek() and self._peek() in "?*+{":
                    self._fail(f"{self._peek()} has nothing before it to repeat")
                return "", False  # (?i): for what follows in the group around it
        self._depth += 1
        inner, has_end = self._alternatives()
        self._depth -= 1
        if not self._taken(")"):
            self._fail("a ( is not closed")
        self._fold, self._dot_all = flags
        return f"(?:{inner})", has_end

    def _name(self) -> None:
        found = self._pattern(r"([a-zA-Z][a-zA-Z0-9]*)>")
        if found is None:
            self._fail("a group's name begins with a letter, has letters and digits, and ends with >")
        if found[1] in self._names:
            self._fail(f"the group {found[1]} is there twice")
        self._names.add(found[1])

    def _flags(self) -> bool:
        """Read flags; returns whether they stand alone, as in (?i), and not before a group's content, as in (?i:x)."""
        found = self._pattern(r"([a-zA-Z]*)(?:-([a-zA-Z]*))?([:)])")
        if found is None:
            self._fail("(? begins no group that is known")
        on, off = found[1], found[2] or ""
        for flag in on + off:
            if flag not in "is":
                self._fail(f"the flag {flag} is not supported: only i and s are")
        self._fold = (self._fold or "i" in on) and "i" not in off
        self._dot_all = (self._dot_all or "s" in on) and "s" not in off
        return found[3] == ")"

    def _escaped(self) -> tuple[str, bool]:
        """Read what follows a backslash outside of a class."""
        character = self._peek()
        if character and character in "bBAz":
            self._at += 1
            if character == "b" and self._peek() == "{":
                self._fail("\\b{ is not supported")
            return "\\" + character, False
        if character == "Z":
            self._at += 1
            return "\\z", True
        if character in ("R", "X", "G", "N", "k") or (character.isdigit() and character != "0"):
            what = {"R": "a line break matcher", "X": "a grapheme cluster", "G": "the end of the former match", "N": "a name"}
            self._fail(f"\\{character} is not supported: it is {what.get(character, 'a back-reference')}; {_FIX}")
        found = self._escaped_class()
        if found is not None:
            return _set(*found), False
        return self._literal(self._escaped_character()), False

    def _escaped_class(self) -> tuple[tuple[Range, ...], tuple[str, ...]] | None:
        """Read \\d and the like as ranges and categories, or nothing where no class follows."""
        character = self._peek()
        if character.isascii() and character.lower() in _CLASSES:
            self._at += 1
            ranges = _CLASSES[character.lower()]
            return (_complement(ranges) if character.isupper() else ranges), ()
        if not character or character not in "pP":
            return None
        self._at += 1
        found = self._pattern(r"\{([^{}]*)\}|([A-Z])")
        if found is None:
            self._fail("\\p needs a class, as in \\p{Alpha}")
        name = found[1] if found[1] is not None else found[2]
        if self._fold:
            self._fail(f"\\p{{{name}}} with the flag i means different things in different versions of Java: write the letters")
        if name in _POSIX:
            return (_complement(_POSIX[name]) if character == "P" else _POSIX[name]), ()
        category = name.removeprefix("Is")
        if category not in _CATEGORIES:
            self._fail(f"\\p{{{name}}} is not supported: known are {', '.join(_POSIX)} and general categories such as L or Lu")
        self.unicode += 1
        if self.unicode > UNICODE_MAX:
            self._fail(f"more than {UNICODE_MAX} classes of Unicode such as \\p{{{category}}}: write one class in brackets, once")
        return (), (f"\\{character}{{{category}}}",)

    def _escaped_character(self) -> str:
        """Read the character that an escape stands for."""
        character = self._next()
        if not character:
            self._fail("a backslash ends the expression: write \\\\ for the character")
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character == "0":
            found = self._pattern(r"[0-3][0-7][0-7]|[0-7][0-7]?")
            return self._character(int(found[0], 8) if found else None)
        if character == "x":
            found = self._pattern(r"([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,8})\}")
            return self._character(int(found[1] or found[2], 16) if found else None)
        if character == "u":
            found = self._pattern(r"[0-9a-fA-F]{4}")
            return self._character(int(found[0], 16) if found else None)
        if character == "c":
            control = self._next()
            return self._character(ord(control) ^ 64 if control else None)
        if character.isascii() and character.isalpha():
            self._fail(f"\\{character} is no escape that is known")
        return character

    def _character(self, point: int | None) -> str:
        if point is None:
            self._fail("the number of a character is missing")
        if point > _LAST or 0xD800 <= point <= 0xDFFF:
            self._fail(f"{point:x} is the number of no character")
        return chr(point)

    def _class(self) -> str:
        """Read a class in brackets."""
        negated = self._taken("^")
        ranges: list[Range] = []
        categories: list[str] = []
        first = True
        while True:
            character = self._peek()
            if not character:
                self._fail("a [ is not closed")
            if character == "]" and not first:
                self._at += 1
                return _set(self._folded(ranges), categories, negated=negated)
            first = False
            if character == "[":
                self._fail("a class lies within a class: write one class, and \\[ for the character")
            if self._text.startswith("&&", self._at):
                self._fail("&& is an intersection of classes: write one class, and \\& for the character")
            if character == "\\":
                self._at += 1
                found = self._escaped_class()
                if found is not None:
                    ranges += found[0]
                    categories += found[1]
                    continue
                self._at -= 1
            begin = self._of_class()
            end = begin
            if self._peek() == "-" and self._peek(1) not in ("", "]", "["):
                self._at += 1
                if self._text.startswith("&&", self._at):
                    self._fail("&& is an intersection of classes: write one class, and \\& for the character")
                end = self._of_class()
                if end < begin:
                    self._fail(f"the range {chr(begin)}-{chr(end)} ends before it begins")
            ranges.append((begin, end))

    def _of_class(self) -> int:
        character = self._next()
        return ord(self._escaped_character() if character == "\\" else character)

    def _folded(self, ranges: Iterable[Range]) -> tuple[Range, ...]:
        """Return ranges with the other case of their ASCII letters, where the flag i is on."""
        found = list(ranges)
        if self._fold:
            for begin, end in tuple(found):
                for low, high, step in ((65, 90, 32), (97, 122, -32)):
                    if max(begin, low) <= min(end, high):
                        found.append((max(begin, low) + step, min(end, high) + step))
        return tuple(found)


def _unquoted(text: str) -> str:
    """Return an expression with a backslash for each character between \\Q and \\E, as Java does before all else."""
    written: list[str] = []
    at, quoted = 0, False
    while at < len(text):
        pair = text[at : at + 2]
        if quoted and pair == "\\E":
            at, quoted = at + 2, False
        elif quoted:
            # Letters and digits as numbers: after a backslash they would mean something, and after an escape belong to it.
            written.append(f"\\x{{{ord(text[at]):x}}}" if text[at].isascii() and text[at].isalnum() else "\\" + text[at])
            at += 1
        elif pair == "\\Q":
            at, quoted = at + 2, True
        elif pair[0] == "\\":
            written.append(pair)
            at += 2
        else:
            written.append(pair[0])
            at += 1
    return "".join(written)


def _set(ranges: Iterable[Range], categories: Iterable[str], *, negated: bool = False) -> str:
    inner = "".join(_point(low) if low == high else f"{_point(low)}-{_point(high)}" for low, high in ranges)
    return f"[{'^' if negated else ''}{inner}{''.join(categories)}]"


def _point(point: int) -> str:
    character = chr(point)
    return character if character.isascii() and character.isalnum() else f"\\x{{{point:x}}}"


def _complement(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found, begin = [], 0
    for low, high in sorted(ranges):
        if begin < low:
            found.append((begin, low - 1))
        begin = max(begin, high + 1)
    if begin <= _LAST:
        found.append((begin, _LAST))
    return tuple(found)
