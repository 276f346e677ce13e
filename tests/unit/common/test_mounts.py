"""Options of mounts: what binds a folder of the host, and that secrets in them are never repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eratos.common import mounts

ERROR = "failed to mount local volume: mount //nas/x:/var/lib/docker/volumes/x/_data, data: {}: permission denied"


@pytest.mark.parametrize(
    ("options", "binds"),
    [
        ("bind", True),
        ("ro,rbind", True),
        ("ro, bind", True),
        ("BIND", True),
        ("addr=10.0.0.9,rw", False),
        ("mode=bind", False),
        ("", False),
    ],
)
def test_a_bind_is_a_word_of_its_own(options: str, binds: bool) -> None:
    assert mounts.binds(options) is binds


def test_what_docker_repeats_of_a_secret_is_hidden_word_by_word() -> None:
    secret = "username=shop,password=hunter2,vers=3.0,ro"
    # Docker takes flags such as ro out of the options before it says them.
    said = mounts.without(ERROR.format("username=shop,password=hunter2,vers=3.0"), [secret])
    assert said == ERROR.format("username=***,password=***,vers=***")


def test_a_secret_that_is_no_list_is_hidden_as_a_whole_and_as_go_quotes_it() -> None:
    assert mounts.without('no such token "a\\"b\\\\c"', ['a"b\\c']) == 'no such token "***"'
    assert mounts.without("nothing is wrong", [""]) == "nothing is wrong"


words = st.from_regex(r"[a-z]{3,8}=[A-Z0-9]{6,12}", fullmatch=True)


@given(st.lists(words, min_size=1, max_size=5, unique=True), st.data())
def test_no_value_of_a_secret_is_left_in_whatever_order_it_is_said(options: list[str], data: st.DataObject) -> None:
    said = data.draw(st.permutations(options))
    text = mounts.without(ERROR.format(",".join(said)), [",".join(options)])
    assert not [word for word in options if word.partition("=")[2] in text]
