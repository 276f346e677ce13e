/** Apps as a tree of groups, in the order in which it is shown. Pure. */

import { STANDINGS, type Row, type Standing } from "./model.ts";

export interface Group {
  kind: "group";
  id: string;
  depth: number;
  apps: number;
  ready: number;
  wanted: number;
  standing: Standing;
  open: boolean;
}

export interface Leaf {
  kind: "app";
  row: Row;
  depth: number;
}

export type Node = Group | Leaf;

interface Branch {
  group: Group;
  leaves: Row[];
  below: Map<string, Branch>;
}

function branch(id: string, depth: number): Branch {
  const group: Group = { kind: "group", id, depth, apps: 0, ready: 0, wanted: 0, standing: "off", open: true };
  return { group, leaves: [], below: new Map() };
}

/** Returns what is to be shown line by line; of a closed group only the group itself. */
export function lines(rows: Iterable<Row>, closed: ReadonlySet<string>): Node[] {
  const root = branch("/", -1);
  for (const row of rows) {
    const names = row.app.id.split("/").slice(1, -1);
    let at = root;
    let id = "";
    for (const name of names) {
      id += `/${name}`;
      let next = at.below.get(name);
      if (!next) at.below.set(name, (next = branch(id, at.group.depth + 1)));
      at = next;
      count(at.group, row);
    }
    at.leaves.push(row);
  }
  const found: Node[] = [];
  walk(root, closed, found);
  return found;
}

function count(group: Group, row: Row): void {
  group.apps++;
  group.ready += row.counts.ready;
  group.wanted += row.app.instances;
  if (STANDINGS.indexOf(row.standing) < STANDINGS.indexOf(group.standing)) group.standing = row.standing;
}

function walk(at: Branch, closed: ReadonlySet<string>, found: Node[]): void {
  for (const name of [...at.below.keys()].sort()) {
    const next = at.below.get(name)!;
    next.group.open = !closed.has(next.group.id);
    found.push(next.group);
    if (next.group.open) walk(next, closed, found);
  }
  at.leaves.sort((a, b) => (a.app.id < b.app.id ? -1 : 1));
  for (const row of at.leaves) found.push({ kind: "app", row, depth: at.group.depth + 1 });
}
