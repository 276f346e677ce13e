"""Regular expressions as Java reads them: what means the same is matched in linear time, the rest is refused with a reason.

The answers in the first table are those of Java 17 (``Pattern.matches``), construct by construct as its documentation
lists them.
"""

from __future__ import annotations

import pytest

from eratos.marathon import definition, expressions, pod_definition
from eratos.marathon.errors import InvalidApp
from eratos.marathon.expressions import DEPTH_MAX, LENGTH_MAX, BadExpression, Expression, compiled

MATCHES = [
    # characters
    ("rack-[1-3]", "rack-2", "rack-4 xrack-2 rack-22"),
    (r"a\.b", "a.b", "axb"),
    (r"\\", "\\", "\\\\"),
    (r"\0101\x42\u0043\x{44}", "ABCD", "abcd"),
    (r"\t\n\r\f\a\e\cA", "\t\n\r\f\a\x1b\x01", "t"),
    (r"\-\_\#\ ", "-_# ", "-"),
    ("a]b}", "a]b}", "ab"),
    ("é中", "é中", "É中"),
    # classes
    ("[abc]+", "cab", "abd"),
    ("[^abc]", "d \n é", "a"),
    ("[a-cX-Z0]+", "bY0", "d"),
    ("[]a]+", "]a", "["),
    ("[^]a]", "b", "] a"),
    ("[-a]+[a-]+", "-a-", "b"),
    (r"[\d-z]+", "1-z", "y"),
    (r"[\]\[\^]+", "][^", "a"),
    ("[a-c-e]+", "b-e", "d"),
    ("[a&b]+", "a&b", "c"),
    # predefined classes
    (".", "a é \t", "\n \r \x85 \u2028 \u2029"),
    ("(?s).", "\n \r \u2028", ""),
    (r"\d\D", "1a", "11 aa"),
    (r"\s+", "\t\n\x0b\f\r ", "\xa0"),
    (r"\S", "a \xa0", "\x0b"),
    (r"\w+", "az_AZ09", "é -"),
    (r"\W", "é -", "_"),
    (r"\h+", " \t\xa0\u1680\u180e\u2000\u200a\u202f\u205f\u3000", "\n"),
    (r"\v+", "\n\x0b\f\r\x85\u2028\u2029", " "),
    (r"\H\V", "aa", " a"),
    # POSIX classes, ASCII only
    (r"\p{Alpha}\p{Digit}\p{Alnum}\p{Lower}\p{Upper}", "a1bcD", "é1bcD a1bCD"),
    (r"\p{Punct}+", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "a"),
    (r"\p{Graph}\p{Print}\p{Blank}\p{XDigit}", "!\x20\tf", "!\x20\tg"),
    (r"\p{Space}\p{Cntrl}\p{ASCII}", "\x0b\x7fa", "a\x7fa"),
    (r"\P{Alpha}[\P{Digit}x]", "1a 1x éx", "a1 11"),
    # Unicode's general categories
    (r"\p{L}\pL\p{Lu}\p{IsLl}\P{N}", "éxÉxx", "1xÉxx éxéxx"),
    # boundaries
    ("^a$", "a", "a\n b"),
    (r"\Aa\z|b\Z", "a b", "ab"),
    (r".*\bgpu\b.*", "a-gpu-1", "agpu"),
    (r"a\Bb", "ab", "a"),
    # quantifiers: greedy and lazy ones mean the same for a whole text
    ("a?b*c+", "c abbcc", "ab"),
    ("a??b*?c+?", "abcc", "ab"),
    ("a{2}b{1,}c{0,2}", "aab aabbcc", "ab aabccc"),
    ("([a-z0-9]+)+", "abc", "a-c"),
    # groups, alternatives, quotation, flags
    ("(?:a|b)(?<name>c|)", "ac b", "c"),
    (r"\Qa.b*\E+", "a.b**", "aab"),
    (r"\Q1", "1", "a"),
    ("a(?i)b|c", "aB C", "AB"),
    ("(?i:[a-c]x)y", "AXy", "AXY"),
    ("(?i)k(?-i)s", "Ks", "KS \u212as"),
    ("(?i)é[^a]", "éb", "Éb éA"),
]

REFUSED = [
    ("[a-z&&[^b]]", "intersection|within a class"),
    ("[a-d[m-p]]", "class within a class|within a class"),
    ("[a-z&&b]", "intersection"),
    ("a++", "possessive"),
    ("a{2}+", "possessive"),
    ("a(?=b)", "look-ahead"),
    ("a(?!b)", "look-ahead"),
    ("(?<=a)b", "look-behind"),
    ("(?<!a)b", "look-behind"),
    ("(?>a)", "independent group"),
    (r"(a)\1", "back-reference"),
    (r"(?<n>a)\k<n>", "back-reference"),
    ("a{2000}", "1000 times at most"),
    ("a{\u0663}", "begins no repetition"),  # a digit to Python, and three characters to RE2
    ("a{1,\u0663}", "begins no repetition"),
    ("((a{100}){100}){100}", "repetitions"),
    (r"\p{L}{1000}", "too large"),
    (r"\P{L}{50}", "too large"),
    (r".*|\p{L}{10}", "too large"),
    ("|".join([r"\p{Lu}"] * 21), "20 classes of Unicode"),
    ("[" + r"\P{L}" * 21 + "]", "20 classes of Unicode"),
    (r"\p{javaLowerCase}", "Alpha"),
    (r"\p{IsLatin}", "Alpha"),
    (r"\p{InGreek}", "Alpha"),
    (r"\p{C}", "Alpha"),
    (r"(?i)\p{Lower}", "flag i"),
    (r"\R", "line break matcher"),
    (r"\X", "grapheme"),
    (r"\G", "former match"),
    (r"\N{DIGIT ONE}", "name"),
    (r"\b{g}", "not supported"),
    ("(?m)^a$", "flag m"),
    ("(?x)a b", "flag x"),
    ("(?u)a", "flag u"),
    ("(?d)a", "flag d"),
    ("a$\n", "last line break"),
    (r"(a\Z)b", "last line break"),
    ("(a$)*", "repeated"),
    # what Java refuses as well
    ("(", "not closed"),
    ("[a", "not closed"),
    ("a)", "closes no group"),
    ("*a", "nothing before it"),
    ("a**", "repeats a repetition"),
    ("(?i)*", "nothing before it"),
    ("{1}", "nothing before it"),
    ("a{,3}", "begins no repetition"),
    ("a{3,2}", "ends before it begins"),
    ("[c-a]", "ends before it begins"),
    (r"[a-\d]", "no escape"),
    (r"\y", "no escape"),
    ("a\\", "ends the expression"),
    (r"\x4", "number of a character is missing"),
    (r"\ud800", "no character"),
    ("\ud800", "surrogate"),
    ("(?<1>a)", "name begins with a letter"),
    ("(?<n>a)(?<n>b)", "twice"),
    ("(?P<n>a)", "no group"),
    ("a" * (LENGTH_MAX + 1), "1024 are allowed"),
    ("(" * (DEPTH_MAX + 1) + "a" + ")" * (DEPTH_MAX + 1), "groups lie within"),
]


@pytest.mark.parametrize(("expression", "yes", "no"), MATCHES)
def test_what_means_the_same_is_matched_as_java_does(expression: str, yes: str, no: str) -> None:
    found = Expression(expression)
    # Several texts stand with blanks between them, unless the expression is about blanks.
    whole = found.matches(yes)
    assert whole or all(found.matches(text) for text in yes.split(" "))
    assert not any(found.matches(text) for text in ([no] if " " in yes and whole else no.split(" ")))


@pytest.mark.parametrize(("expression", "reason"), REFUSED)
def test_what_differs_is_refused_with_the_reason(expression: str, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadExpression, match=reason):
        Expression(expression)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("expression", ["([a-z0-9]+)+!", "(.?.?.?.?.?.?.?.?){8}!", "(a|a)*b", "(a*)*b", r"(\w+\s?)*!"])
def test_no_expression_tries_again_and_again(expression: str) -> None:
    # Java and Python would take longer than the universe is old.
    assert not Expression(expression).matches("a" * 5000)


def test_hosts_of_any_length_can_be_asked_for() -> None:
    assert Expression(".{1,253}").matches("a" * 253)
    assert Expression(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,10}").matches("agent1.example.com")


def test_an_expression_is_compiled_once() -> None:
    """Also where ten apps have as many expressions as an app may have: one made anew for each offer costs the loop seconds."""
    first = compiled("agent[0-9]+")
    for number in range(10 * 100 - 1):
        compiled(f"agent{number}")
    assert compiled("agent[0-9]+") is first


def test_the_definition_names_the_constraint_and_what_is_wrong() -> None:
    with pytest.raises(InvalidApp, match=r"/constraints\(0\) .*regular expression.*look-ahead"):
        definition.parse({"id": "/x", "cmd": "x", "constraints": [["@hostname", "LIKE", "(?=a)a"]]})


def test_an_app_stored_before_the_rule_is_still_read() -> None:
    stored = {"id": "/x", "cmd": "x", "version": "v1", "constraints": [["@hostname", "UNLIKE", "(a)\\1"]]}
    app = definition.restore(stored)
    assert (app.version, app.constraints[0].value) == ("v1", "(a)\\1")
    with pytest.raises(InvalidApp, match="back-reference"):
        definition.parse(app.to_json())


@pytest.mark.parametrize(("constraints", "refused"), [(2, []), (3, ["(2)"])])
def test_the_expressions_of_a_definition_have_their_steps_together(constraints: int, refused: list[str]) -> None:
    """The same one on another field is matched again, so it counts again. A list of names is far below."""
    value = ".{1,250}"
    assert expressions.STEPS_MAX // 3 < Expression(value).steps < expressions.STEPS_MAX // 2
    found = [[f"rack{number}", "UNLIKE", value] for number in range(constraints)]
    app = {"id": "/x", "cmd": "x", "constraints": found}
    pod = {
        "id": "/x",
        "containers": [{"name": "a", "resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "x"}}}],
        "scheduling": {
            "placement": {"constraints": [{"fieldName": field, "operator": operator, "value": v} for field, operator, v in found]}
        },
    }
    for parse, given in ((definition.parse, app), (pod_definition.parse, pod)):
        places = []
        try:
            parse(given)
        except InvalidApp as error:
            places = [problem.path for problem in error.problems if "16384 are the most for all" in problem.message]
        assert [place[place.index("(") :].partition("/")[0] for place in places] == refused


@pytest.mark.parametrize("per_host", [True, False])
def test_an_app_on_each_host_may_have_fewer_steps_as_all_hosts_are_compared_at_once(per_host: bool) -> None:
    value = "[a-z0-9]{1,250}x" * 4
    assert expressions.STEPS_ON_EACH_HOST_MAX < Expression(value).steps < expressions.STEPS_MAX
    app = {"id": "/x", "cmd": "x", "constraints": [["@hostname", "UNLIKE", value]], "eratos": {"perHost": per_host}}
    if not per_host:
        definition.parse(app)
        return
    with pytest.raises(InvalidApp, match=r"/constraints\(0\) .* 2048 are the most"):
        definition.parse(app)
    assert definition.restore(app | {"version": "v1"}).per_host, "one that is stored goes on"


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("a", 200 + 75 * 5),
        (r"\p{L}", 5 * 200 + 10_000 + 75 * 1200),
        (r"\P{L}{50}", 9 * 200 + 10_000 + 150_000),
        ("(", 200),
        ("a" * 2000, 1024 * 200),
    ],
)
def test_reading_has_a_measure_of_what_it_takes(text: str, units: int) -> None:
    assert compiled(text).reading == units


def test_a_request_is_read_for_a_second_at_the_most() -> None:
    cheap, dear = [f"host{number}" for number in range(100)], [rf"\P{{L}}{{5}}{number}" for number in range(3)]
    assert expressions.readable(cheap) == 100
    assert expressions.readable(dear, most=compiled(dear[0]).reading + 1) == 2


def test_a_list_of_names_has_two_steps_or_so_for_each_character() -> None:
    names = "|".join(f"{number * 7919:08x}.example" for number in range(60))
    assert Expression(names).steps < 2.5 * len(names)
