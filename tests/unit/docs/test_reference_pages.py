"""docs/cli-reference.md and docs/api-reference.md are what the commands and the endpoints say."""

from __future__ import annotations

import pytest
from devtool import reference_pages


def test_the_pages_are_what_the_code_says() -> None:
    assert reference_pages.COMMANDS.read_text() == reference_pages.commands(), "./dev docs writes it anew"
    assert reference_pages.ENDPOINTS.read_text() == reference_pages.endpoints(), "./dev docs writes it anew"


@pytest.mark.parametrize(
    "line",
    [
        "eratos app apply [OPTIONS] FILE...",
        "| `--output, -o table\\|wide\\|json\\|yaml` | wide cuts nothing off; json and yaml are for scripts |",
        "### eratos deployment promote",
    ],
)
def test_commands_are_written_as_users_type_them(line: str) -> None:
    assert line in reference_pages.commands().splitlines()


def test_an_endpoint_names_its_role_body_and_answers() -> None:
    row = "| `PUT /v2/apps/{app_id}` | Put app | deploy | `force` (true or false), `partialUpdate` (true or false), "
    (found,) = [line for line in reference_pages.endpoints().splitlines() if line.startswith(row)]
    assert found.endswith("| `AppUpdate` | 200, 201, 400, 404, 408, 409, 413, 415, 422 |")
