"""The page about a load or about chaos: what stands on it, and that it fetches nothing and runs nothing."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from devtool import plots
from devtool.terminal import Problem


class Elements(HTMLParser):
    """Every element with its attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag and kind in (attributes.get("class") or "")]


def read(run: plots.Run) -> Elements:
    elements = Elements()
    elements.feed("\n".join(plots.page(run)))
    return elements


def second(at_s: float, requests: int = 20, failed: int = 0, **reasons: int) -> dict[str, Any]:
    return {"at_s": at_s, "requests": requests, "failed": failed, "reasons": reasons, "p50_s": 0.01, "p99_s": 0.2}


FAILURE = {"at_s": 6.5, "target": "balancer1", "reason": "refused", "instance": "a.1", "latency_s": 0.5, "detail": "<nobody>"}
FOUND = {
    "scenario": "two <faults>",
    "seed": 7,
    "requests": 400,
    "failed": 1,
    "excused": 2,
    "answered": 0.9975,
    "slowest_recovery_s": 4.0,
    "p99_s": 0.2,
    "broken": ["(e) host-off: 1 requests failed, 0 at most were expected"],
    "steps": [
        {"step": "worker-killed", "at_s": 1.0, "over_s": 1.0, "recovery_s": 1.0, "strength_s": 2.0, "failed": 0, "excused": 0},
        {"step": "host-off", "at_s": 6.0, "over_s": 12.0, "recovery_s": 4.0, "strength_s": 5.0, "failed": 1, "excused": 2},
    ],
    "timeline": [
        {"at_s": 1.0, "event": "strike", "text": "kill of worker a"},
        {"at_s": 6.0, "event": "well", "text": "all is well after a"},
        {"at_s": 6.0, "event": "strike", "text": "the power of agent2 is cut"},
        {"at_s": 18.0, "event": "broken", "text": "broken: <x>"},
    ],
    "failures": [FAILURE],
    "seconds": [second(number) for number in range(1, 20)],
    "rotation": [(1.0, 10), (6.5, 7), (9.0, 10)],
}


def test_a_page_of_chaos_leads_from_each_band_to_what_happened() -> None:
    page = read(plots.of_chaos(FOUND, "THE CLUSTER DID NOT COME THROUGH", False))
    assert [section["id"] for section in page.all("section")] == ["step-1", "step-2"]
    # Requests, latency and rotation: each with a band for each step.
    assert [link["href"] for link in page.all("a")] == ["#step-1", "#step-2"] * 3
    first, second = page.text.partition("2. host-off")[::2]
    assert "kill of worker a" in first and "all is well after a" in first and "agent2" not in first
    assert "the power of agent2 is cut" in second and "refused at balancer1, a.1 after 0.50 s: <nobody>" in second
    assert page.all("td", "bad") and "THE CLUSTER DID NOT COME THROUGH" in page.text


def test_bands_lie_where_their_seconds_do() -> None:
    width = plots.WIDTH - plots.LEFT
    bands = read(plots.of_chaos(FOUND, "", False)).all("rect", "band")[:2]
    begins = [plots.LEFT + width * at_s / 19 for at_s in (1, 6)]
    assert [float(band["x"] or 0) for band in bands] == pytest.approx(begins, abs=0.1)
    assert float(bands[1]["width"] or 0) == pytest.approx(width * 6 / 19, abs=0.1)
    assert float(bands[0]["width"] or 0) == 2  # what is over at once is seen as well


def test_a_second_with_one_failure_of_many_is_seen() -> None:
    page = read(plots.of_load("t", "v", False, [], {"failed": 1, "failures": [FAILURE]}, [second(1, 1000, 1, refused=1)]))
    (bar,) = page.all("rect", "fill-bad")
    assert float(bar["height"] or 0) >= 3
    assert "1 refused" in page.text and [section["id"] for section in page.all("section")] == ["failures"]


def test_a_load_without_failures_lists_none() -> None:
    page = read(plots.of_load("t", "every request was answered", True, ["fact"], {"failed": 0}, [second(1)]))
    assert not page.all("section") and not page.all("rect", "fill-bad") and "none failed" in page.text


def test_a_run_of_nothing_is_a_page() -> None:
    assert read(plots.Run("t", "no request was made", False, [], [])).all("h1")


def test_many_failures_are_counted() -> None:
    page = read(plots.of_load("t", "v", False, [], {"failed": 50, "failures": [FAILURE] * 50}, []))
    assert len(page.all("tr")) == plots.LISTED + 1 and f"and {50 - plots.LISTED} more failed" in page.text


def test_nothing_is_fetched_or_run_and_names_are_text() -> None:
    page = read(plots.of_chaos(FOUND, "", True))
    assert not {tag for tag, _ in page.found} & {"script", "link", "img", "iframe", "x", "faults", "nobody"}
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.found)
    assert "two <faults>" in page.text and "broken: <x>" in page.text
    assert not [key for _, attributes in page.found for key in attributes if key in ("src", "style") or key.startswith("on")]


@pytest.mark.parametrize(
    ("most", "end"),
    [(1, 1), (1.1, 2), (2, 2), (3, 5), (5, 5), (7, 10), (10, 10), (11, 20), (90, 100), (101, 200), (0.3, 0.5), (0.05, 0.05)],
)
def test_an_axis_ends_with_a_round_number(most: float, end: float) -> None:
    assert plots.round_up(most) == pytest.approx(end)


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    run = plots.of_chaos(FOUND, "", True)
    plots.write(tmp_path / "page.html", run)
    assert (tmp_path / "page.html").read_text().endswith("</body></html>") and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(Problem, match="--page"):
        plots.write(tmp_path / "gone" / "page.html", run)


@pytest.mark.parametrize(("name", "fine"), [("", True), ("page.html", True), ("gone/page.html", False), (".", False)])
def test_where_no_page_can_lie_is_told_beforehand(tmp_path: Path, name: str, fine: bool) -> None:
    path = str(tmp_path / name) if name else ""
    if fine:
        plots.check(path)
        return
    with pytest.raises(Problem, match="--page"):
        plots.check(path)
