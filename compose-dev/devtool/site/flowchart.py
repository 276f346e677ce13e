"""Mermaid's flowcharts as pictures, so that the site needs neither Mermaid's megabytes of JavaScript nor a server.

Of its language this takes what the documents use: nodes with their texts, arrows, dotted ones and texts on them, several nodes by
``&``, and subgraphs, of which the nodes are drawn and the frames are not: a frame would go around others, too. Anything else is
an error, which names the line. The direction is always downwards: that fits a phone, too.
"""

from __future__ import annotations

import html
import itertools
import re
import textwrap
from dataclasses import dataclass, field

_NODE = re.compile(r"(\w+)(?:\[\((.+?)\)\]|\[(.+?)\])?")
_ARROW = re.compile(r"\s*(-->|-\.->)(?:\|([^|]*)\|)?\s*")
_SUBGRAPH = re.compile(r"subgraph (\w+)(?:\[(.+)\])?$")

_LETTER_PX, _LINE_PX = 7.2, 18
_WRAP = 20
_PAD_PX, _GAP_PX, _LAYER_PX = 12, 24, 60
#: Times that the layers are sorted, downwards and upwards.
_SWEEPS = 4


@dataclass
class Chart:
    """Nodes with what they show, and arrows between them."""

    nodes: dict[str, str] = field(default_factory=dict)
    arrows: list[tuple[str, str, str, bool]] = field(default_factory=list)  #: from, to, text, whether dotted


@dataclass
class _Box:
    lines: list[str]
    x: float = 0
    y: float = 0

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * _LETTER_PX + 2 * _PAD_PX

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE_PX + 16


def parse(text: str) -> Chart:
    """Return what a flowchart says. Raise ValueError with the line that is not understood."""
    first, *lines = [line.strip() for line in text.strip().splitlines()]
    if not re.fullmatch(r"flowchart (LR|TB|TD)", first):
        raise ValueError(f"not a flowchart: {first}")
    chart = Chart()
    for line in filter(None, lines):
        if line != "end" and not _SUBGRAPH.match(line):
            _statement(chart, line)
    return chart


def _statement(chart: Chart, line: str) -> None:
    at, before, arrow = 0, list[str](), None
    while at < len(line):
        here = []
        while True:
            node = _NODE.match(line, at)
            if not node:
                raise ValueError(f"not understood from {line[at:]!r}: {line}")
            at = node.end()
            shown = node[2] or node[3]
            if shown or node[1] not in chart.nodes:
                chart.nodes[node[1]] = shown or node[1]
            here.append(node[1])
            if not line[at:].startswith(" & "):
                break
            at += 3
        if arrow:
            chart.arrows += [(one, other, arrow[2] or "", arrow[1] == "-.->") for one in before for other in here]
        before = here
        if at == len(line):
            return
        arrow = _ARROW.match(line, at)
        if not arrow:
            raise ValueError(f"not understood from {line[at:]!r}: {line}")
        at = arrow.end()
    raise ValueError(f"an arrow leads nowhere: {line}")


def layers(chart: Chart) -> list[list[str]]:
    """Return the nodes by layer: each below all that lead to it, arrows that would close a circle left out."""
    below: dict[str, set[str]] = {name: set() for name in chart.nodes}
    for one, other, _, _ in chart.arrows:
        if one != other and not _reaches(below, other, one):
            below[one].add(other)
    depth = dict.fromkeys(chart.nodes, 0)
    for _ in chart.nodes:
        for one, others in below.items():
            for other in others:
                depth[other] = max(depth[other], depth[one] + 1)
    # A source stands right above the first that it leads to, not at the top of the page.
    targets = {one for others in below.values() for one in others}
    for one, others in below.items():
        if one not in targets and others:
            depth[one] = min(depth[other] for other in others) - 1
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, at in depth.items():
        found[at].append(name)
    return found


def _reaches(below: dict[str, set[str]], start: str, end: str) -> bool:
    return start == end or any(_reaches(below, name, end) for name in below[start])


def svg(text: str) -> str:
    """Return the picture of a flowchart. Its colours are the page's, light or dark."""
    chart = parse(text)
    boxes = {name: _Box(textwrap.wrap(shown, _WRAP) or [name]) for name, shown in chart.nodes.items()}
    rows, ways = _routed(chart, layers(chart), boxes)
    width = max(sum(boxes[name].width + _GAP_PX for name in row) for row in rows) + 2 * _GAP_PX
    y = 20.0
    for row in rows:
        tallest = max(boxes[name].height for name in row)
        x = (width - sum(boxes[name].width + _GAP_PX for name in row) + _GAP_PX) / 2
        for name in row:
            boxes[name].x, boxes[name].y = x, y + (tallest - boxes[name].height) / 2
            x += boxes[name].width + _GAP_PX
        y += tallest + _LAYER_PX
    height = y - _LAYER_PX + 20
    parts = [_arrow([boxes[name] for name in way], dotted) for way, (_, _, _, dotted) in zip(ways, chart.arrows, strict=True)]
    parts += [_box(boxes[name]) for name in chart.nodes]
    # Texts come last, so that no line crosses them; those between the same layers stand at different heights.
    layer = {name: at for at, row in enumerate(rows) for name in row}
    begun: dict[int, int] = {}
    for way, (one, _, said, _) in zip(ways, chart.arrows, strict=True):
        if said:
            parts.append(_said([boxes[name] for name in way], said, begun.get(layer[one], 0)))
            begun[layer[one]] = begun.get(layer[one], 0) + (len(way) == 2)
    read = "; ".join(f"{chart.nodes[one]} to {chart.nodes[other]}{said and f': {said}'}" for one, other, said, _ in chart.arrows)
    return (
        f'<svg class="flowchart" role="img" viewBox="0 0 {width:.0f} {height:.0f}" style="max-width: {width:.0f}px" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{html.escape(read)}</title><defs><marker id="head" viewBox="0 0 8 8" '
        f'refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _routed(chart: Chart, rows: list[list[str]], boxes: dict[str, _Box]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the layers with a gap in each that an arrow passes, sorted so that few cross, and the way of each arrow."""
    depth = {name: at for at, row in enumerate(rows) for name in row}
    ways = []
    for number, (one, other, said, _) in enumerate(chart.arrows):
        down = depth[one] <= depth[other]
        between = range(depth[one] + 1, depth[other]) if down else range(depth[one] - 1, depth[other], -1)
        way = [one]
        for at in between:
            way.append(f"{number} {at}")
            boxes[way[-1]] = _Box(["x" * min(len(said), 12)] if at == between[len(between) // 2] else [""])
            rows[at].append(way[-1])
        ways.append([*way, other])
    beside: dict[str, list[str]] = {}
    for way in ways:
        for one, other in itertools.pairwise(way):
            beside.setdefault(one, []).append(other)
            beside.setdefault(other, []).append(one)
    place = {name: (at + 0.5) / len(row) for row in rows for at, name in enumerate(row)}
    for _ in range(_SWEEPS):
        for row in [*rows, *reversed(rows)]:
            wanted = {name: sum(place[one] for one in beside.get(name, [name])) / len(beside.get(name, [name])) for name in row}
            row.sort(key=lambda name: wanted[name])
            place |= {name: (at + 0.5) / len(row) for at, name in enumerate(row)}
    return rows, ways


def _points(way: list[_Box]) -> list[tuple[float, float]]:
    """Return where an arrow begins, passes and ends."""
    first, last = way[0], way[-1]
    middles = [(box.x + box.width / 2, box.y + box.height / 2) for box in way]
    if last.y > first.y:
        return [(middles[0][0], first.y + first.height), *middles[1:-1], (middles[-1][0], last.y)]
    if last.y < first.y:
        return [(first.x + first.width * 0.8, first.y), *middles[1:-1], (last.x + last.width * 0.8, last.y + last.height)]
    side = last.x > first.x
    return [(first.x + first.width * side, middles[0][1]), (last.x + last.width * (not side), middles[1][1])]


def _arrow(way: list[_Box], dotted: bool) -> str:
    points = _points(way)
    (x, y), drawn = points[0], f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for x2, y2 in points[1:]:
        drawn += f"C{x:.0f} {(y + y2) / 2:.0f} {x2:.0f} {(y + y2) / 2:.0f} {x2:.0f} {y2:.0f}"
        x, y = x2, y2
    return f'<path class="arrow{" dotted" * dotted}" marker-end="url(#head)" d="{drawn}"/>'


def _said(way: list[_Box], said: str, earlier: int) -> str:
    points = _points(way)
    if len(points) > 2:
        x, y = points[len(points) // 2]
    else:
        (x1, y1), (x2, y2) = points
        share = (0.24, 0.52, 0.8)[earlier % 3]
        x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
    return f'<text class="said" x="{x:.0f}" y="{y + 4:.0f}">{html.escape(said)}</text>'


def _box(box: _Box) -> str:
    middle = box.x + box.width / 2
    lines = "".join(
        f'<tspan x="{middle:.0f}" y="{box.y + 21 + at * _LINE_PX:.0f}">{html.escape(line)}</tspan>'
        for at, line in enumerate(box.lines)
    )
    shape = f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}"'
    return f'<rect class="box" rx="6" {shape}/><text>{lines}</text>'
