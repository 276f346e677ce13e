/** Who requires whom, as a list and as a picture: where each stands, and what is between them. Pure. */

import type { Need } from "./types.ts";

/** How a requirement is: met, met only in part or not at all, told to some of its app's instances only, or not ours to know. */
export type Met = "met" | "unmet" | "outdated" | "unknown";

/** A column and a line of the picture. */
export interface Place {
  column: number;
  line: number;
}

export interface Node extends Place {
  /** Of an app its id, else the kind before what is looked for. */
  key: string;
  /** Empty: no app, or none that may be viewed. */
  app: string;
  kind: Need["kind"];
  label: string;
}

export interface Edge {
  from: Node;
  to: Node;
  name: string;
  met: Met;
  /** Free places of the columns between both. */
  via: Place[];
}

export interface Picture {
  nodes: Node[];
  edges: Edge[];
  columns: number;
  lines: number;
}

/** The app that a requirement is for; empty: it is for something else. */
export function provider(need: Need): string {
  return need.kind === "app" ? need.of.split(":", 1)[0]! : "";
}

export function met(need: Need): Met {
  if (need.kind === "app" && need.ready !== undefined && (need.ready === null || need.ready < need.atLeast)) return "unmet";
  if (need.outdated) return "outdated";
  return need.ready === undefined ? "unknown" : "met";
}

/** How it is, in words. */
export function told(need: Need): string {
  const of = need.outdated ? `; ${need.outdated.toLocaleString("en")} of its instances go by what was before` : "";
  if (need.kind !== "app" || need.ready === undefined) return `looked for by executors${of}`;
  if (need.ready === null) return `there is no such app${of}`;
  return `${need.ready.toLocaleString("en")} ready, ${need.atLeast.toLocaleString("en")} ${need.atLeast === 1 ? "is" : "are"} needed${of}`;
}

export function fits(need: Need, words: string[]): boolean {
  const text = `${need.app} ${need.name} ${need.of} ${need.kind}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Returns the picture: consumers to the left of what they require, as far as they do not require each other in a circle. */
export function picture(needs: Need[]): Picture {
  const nodes = new Map<string, Node>();
  const node = (key: string, app: string, kind: Need["kind"], label: string): Node => {
    let found = nodes.get(key);
    if (!found) nodes.set(key, (found = { key, app, kind, label, column: 0, line: 0 }));
    return found;
  };
  const edges = needs.map((need): Edge => {
    const app = provider(need);
    const from = node(need.app, need.app, "app", need.app);
    return { from, to: node(app || `${need.kind} ${need.of}`, app, need.kind, app || need.of), name: need.name, met: met(need), via: [] };
  });
  place([...nodes.values()], edges);
  const free: Node[] = [];
  const hops = edges.flatMap((edge) => {
    const way = [edge.from];
    for (let column = edge.from.column + 1; column < edge.to.column; column++) way.push({ key: `${edge.to.key} ${edge.from.key} ${edge.name}`, app: "", kind: "app", label: "", column, line: 0 });
    edge.via = way.slice(1);
    free.push(...way.slice(1));
    return [...way, edge.to].slice(1).map((to, index) => ({ from: way[index]!, to }));
  });
  const columns = inColumns([...nodes.values(), ...free], hops);
  return { nodes: [...nodes.values()], edges, columns: columns.length, lines: Math.max(0, ...columns.map((found) => found.length)) };
}

/** Puts each node one column behind the last of its consumers. In a circle, whoever has the fewest left of them goes first. */
function place(nodes: Node[], edges: Edge[]): void {
  const out = new Map<Node, Set<Node>>(nodes.map((each) => [each, new Set()]));
  const left = new Map<Node, number>(nodes.map((each) => [each, 0]));
  for (const { from, to } of edges)
    if (from !== to && !out.get(from)!.has(to)) {
      out.get(from)!.add(to);
      left.set(to, left.get(to)! + 1);
    }
  const free = nodes.filter((each) => !left.get(each));
  while (left.size) {
    const next = free.pop() ?? [...left].reduce((best, each) => (each[1] < best[1] ? each : best))[0];
    if (!left.delete(next)) continue;
    for (const to of out.get(next)!) {
      const count = left.get(to);
      if (count === undefined) continue;
      to.column = Math.max(to.column, next.column + 1);
      left.set(to, count - 1);
      if (count === 1) free.push(to);
    }
  }
}

/** Gives each node its line: near those that it has to do with, so that few lines cross. */
function inColumns(nodes: Node[], edges: Pick<Edge, "from" | "to">[]): Node[][] {
  const columns: Node[][] = [];
  for (const each of nodes.sort((a, b) => (a.key < b.key ? -1 : 1))) (columns[each.column] ??= []).push(each);
  const near = new Map<Node, Node[]>(nodes.map((each) => [each, []]));
  for (const { from, to } of edges) (near.get(from)!.push(to), near.get(to)!.push(from));
  const number = (column: Node[]): void => column.forEach((each, index) => (each.line = index));
  columns.forEach(number);
  for (const ahead of [true, false, true])
    for (const column of ahead ? columns : [...columns].reverse()) {
      const wish = new Map<Node, number>();
      for (const each of column) {
        const beside = near.get(each)!.filter((other) => (ahead ? other.column < each.column : other.column > each.column));
        wish.set(each, beside.length ? beside.reduce((sum, other) => sum + other.line, 0) / beside.length : each.line);
      }
      column.sort((a, b) => wish.get(a)! - wish.get(b)! || (a.key < b.key ? -1 : 1));
      number(column);
    }
  return columns;
}
