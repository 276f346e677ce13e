"""The dashboard in Chromium with 2,000 apps and 20,000 instances: the real API and core in a process of their own, agents played.

Run by ``./dev bench dashboard``; needs Chromium, and no cluster. The last line is one JSON object.

* ``paint_s``: from the page's begin until the first rows can be seen and filtered, the median of five.
* ``long_task_ms``: the longest time for which the page was busy in one go during a minute of 30 changes a second.
* ``heap_mb``: the page's heap after that minute, and ``heap_growth_mb`` by how much it grew in its second half.
* ``bundle_kb``: all files of the dashboard, compressed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import random
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from playwright.sync_api import Browser, Page
from support.driven_browser import FLAGS, a_browser
from support.folders import ROOT
from support.played_fleet import Served, change, fleet_of

APPS, INSTANCES, AGENTS = 2000, 20_000, 200

ROWS = "document.querySelectorAll('.apps .list-body [role=row]').length"
FILTERED = "[...document.querySelectorAll('.apps .app-link')].every((link) => link.title.includes('cart-8'))"
WATCH = """() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
    }).observe({ type: 'longtask', buffered: false });
}"""


def serve(line: Connection, per_s: float) -> None:
    """Serve a fleet; begin to change it when told to, and end when told to."""
    fleet, chance = fleet_of(APPS, INSTANCES, AGENTS), random.Random(1)
    with Served(fleet) as url:
        line.send(url)
        line.recv()
        begun, made = time.monotonic(), 0
        while not line.poll():
            due = int((time.monotonic() - begun) * per_s)
            for _ in range(due - made):
                change(fleet, chance)
            made = max(made, due)
            line.poll(1 / per_s)
        line.send(made)


def paint(browser: Browser, url: str) -> float:
    """Return how long a new page takes until rows are there and a filter has been answered."""
    page = browser.new_page(bypass_csp=True, viewport={"width": 1280, "height": 1000})
    begun = time.monotonic()
    page.goto(f"{url}/#/apps")
    page.wait_for_function(f"{ROWS} >= 20", polling=10)
    page.fill("input[type=search]", "cart-8")
    page.wait_for_function(FILTERED, polling=10)
    took = time.monotonic() - begun
    page.close()
    return took


def heap(page: Page) -> float:
    """Return the megabytes that are in use once what is not was collected."""
    client = page.context.new_cdp_session(page)
    client.send("HeapProfiler.collectGarbage")
    return float(client.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def busy(page: Page, url: str, line: Connection, seconds: float) -> dict[str, Any]:
    page.goto(f"{url}/#/cluster")
    page.wait_for_function(f"document.querySelectorAll('.tile').length === {AGENTS}")
    page.wait_for_timeout(2000)
    page.evaluate(WATCH)
    line.send("begin")
    page.wait_for_timeout(seconds * 500)
    longest = page.evaluate("window.longest")
    middle = heap(page)  # which stops the page for a while
    page.goto(f"{url}/#/apps")
    page.evaluate("window.longest = 0")
    page.wait_for_timeout(seconds * 500)
    longest = max(longest, page.evaluate("window.longest"))
    line.send("end")
    changes = line.recv()
    after = heap(page)
    return {
        "long_task_ms": round(longest),
        "changes": changes,
        "heap_mb": round(after, 1),
        "heap_growth_mb": round(after - middle, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--per-s", type=float, default=30)
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, arguments.per_s))
    process.start()
    url = here.recv()
    print(f"{APPS} apps with {INSTANCES} instances on {AGENTS} agents at {url}, Chromium {' '.join(FLAGS)}", file=sys.stderr)
    with a_browser() as browser:
        paints = [paint(browser, url) for _ in range(5)]
        page = browser.new_page(bypass_csp=True, viewport={"width": 1280, "height": 1000})
        found = busy(page, url, here, arguments.seconds)
    process.join(10)
    process.terminate()
    files = [path for path in (ROOT / "scheduler" / "dashboard").iterdir() if path.name != "built-from"]
    size = sum(len(gzip.compress(path.read_bytes())) for path in files) / 1000
    print(json.dumps({"paint_s": round(statistics.median(paints), 2), **found, "bundle_kb": round(size)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
