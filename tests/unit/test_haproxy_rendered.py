"""Splitting a rendered configuration into shape and servers."""

from __future__ import annotations

import pytest

from eratos.haproxy.rendered import normal_address, parse, with_servers, without_frontends

TEXT = """\
# Rendered by consul-template.
# refused evil: path "/x }"
# refused evil: path "/x }"

frontend eratos:traffic from traffic
  bind "${ERATOS_HTTP_BIND-:8000}"
  default_backend prime

frontend eratos:tcp:5432:cart from tcp
  bind :5432 tcp-ut 900s
  default_backend cart

backend prime from traffic
  balance roundrobin
  default-server check inter 500ms
  server a 10.0.0.1:80
  server b 10.0.0.2:80 weight 3

backend cart from traffic
  balance roundrobin
"""


def test_servers_defaults_frontends_and_refusals_are_found() -> None:
    found = parse(TEXT)
    assert found.pools == {"prime": {"a": "10.0.0.1:80", "b": "10.0.0.2:80 weight 3"}, "cart": {}}
    assert found.addresses() == {"prime": {"a": "10.0.0.1:80", "b": "10.0.0.2:80"}}
    assert found.defaults == {"prime": "check inter 500ms"}
    assert found.frontends == ("eratos:traffic", "eratos:tcp:5432:cart")
    assert found.ports == {"eratos:tcp:5432:cart": (5432,)}
    assert found.refused == ('evil: path "/x }"',)


@pytest.mark.parametrize(
    "line", ["  server a 10.0.0.1:80\n", "# Rendered by consul-template.\n", '# refused evil: path "/x }"\n\n']
)
def test_servers_comments_and_blank_lines_are_no_part_of_the_shape(line: str) -> None:
    assert parse(TEXT.replace(line, "")).shape == parse(TEXT).shape


@pytest.mark.parametrize(
    "line", ["  default-server check inter 500ms\n", "  bind :5432 tcp-ut 900s\n", "backend cart from traffic\n"]
)
def test_everything_else_is_part_of_the_shape(line: str) -> None:
    assert parse(TEXT.replace(line, "")).shape != parse(TEXT).shape


def test_a_server_with_settings_or_a_name_twice_is_not_plain() -> None:
    assert parse(TEXT).plain
    assert not parse(TEXT.replace("weight 3", "backup")).plain
    assert not parse(TEXT.replace("weight 3", "weight 3 backup")).plain
    assert not parse(TEXT.replace("  server b ", "  server a ")).plain


def test_the_described_text_tells_its_shape_and_has_the_same() -> None:
    rendered = parse(TEXT)
    described = rendered.described()
    assert described.endswith(f"\nglobal\n  description {rendered.shape}\n")
    again = parse(described)
    assert (again.shape, again.pools) == (rendered.shape, rendered.pools)
    assert again.described() == described


def test_servers_are_added_at_the_end_of_their_backend() -> None:
    merged = with_servers(parse(TEXT), {"prime": {"c": "10.0.0.3:80"}, "cart": {"d": "10.0.0.4:80"}})
    assert merged.pools["prime"] == {"a": "10.0.0.1:80", "b": "10.0.0.2:80 weight 3", "c": "10.0.0.3:80"}
    assert merged.pools["cart"] == {"d": "10.0.0.4:80"}
    assert merged.shape == parse(TEXT).shape
    assert "weight 3\n  server c 10.0.0.3:80\n\nbackend cart" in merged.text


def test_a_frontend_is_left_out_with_its_reason() -> None:
    reduced = without_frontends(parse(TEXT), {"eratos:tcp:5432:cart": "eratos:tcp:5432:cart: port 5432: taken"})
    assert reduced.frontends == ("eratos:traffic",)
    assert reduced.refused == ('evil: path "/x }"', "eratos:tcp:5432:cart: port 5432: taken")
    assert reduced.pools == parse(TEXT).pools
    assert "bind :5432" not in reduced.text


@pytest.mark.parametrize(
    "text",
    [
        *("", "server x\n", "backend\nserver", "backend\n  server a\n", "\0\n", "global"),
        *("bind\n", "frontend\n  bind\n", "frontend a\n  bind :x\n"),
    ],
)
def test_nonsense_is_split_without_complaint(text: str) -> None:
    assert parse(parse(text).described()).shape == parse(text).shape


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[fd00:0::1]:80", "[fd00::1]:80"),
        ("fd00::1:80", "[fd00::1]:80"),
        ("[::::]:80", ":::::80"),
        ("host:80", "host:80"),
    ],
)
def test_one_address_has_one_form(written: str, normal: str) -> None:
    assert normal_address(written) == normal
