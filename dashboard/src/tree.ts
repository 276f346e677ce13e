/** Apps as a tree of groups, in the order in which it is shown. Pure. */

import { STANDINGS, type Row, type Standing } from "./model.ts";
import type { Quota } from "./types.ts";

export interface Group {
  kind: "group";
  id: string;
  depth: number;
  apps: number;
  ready: number;
  wanted: number;
  standing: Standing;
  open: boolean;
  quota?: Quota;
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

/**
 * Returns what is to be shown line by line; of a closed group only the group itself. A group that has a quota is shown without
 * apps as well.
 */
export function lines(rows: Iterable<Row>, closed: ReadonlySet<string>, quotas: readonly Quota[] = []): Node[] {
  const root = branch("/", -1);
  const leaves = new Set<string>();
  for (const row of rows) {
    const groups = way(root, row.app.id.slice(0, row.app.id.lastIndexOf("/")));
    for (const { group } of groups) count(group, row);
    (groups[groups.length - 1] ?? root).leaves.push(row);
    leaves.add(row.app.id);
  }
  for (const quota of quotas) {
    if (quota.group === "/" || leaves.has(quota.group)) continue;
    const groups = way(root, quota.group);
    groups[groups.length - 1]!.group.quota = quota;
  }
  const found: Node[] = [];
  walk(root, closed, found);
  return found;
}

/** Returns the groups that lead to one, itself the last; those that are not there yet are made. */
function way(root: Branch, group: string): Branch[] {
  const found: Branch[] = [];
  let at = root;
  let id = "";
  for (const name of group.split("/").slice(1)) {
    id += `/${name}`;
    let next = at.below.get(name);
    if (!next) at.below.set(name, (next = branch(id, at.group.depth + 1)));
    found.push((at = next));
  }
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
