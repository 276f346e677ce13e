/** A definition as text, JSON or YAML: read, and where in it something stands that the API complains about. Pure. */

import { isMap, isSeq, LineCounter, parseDocument, stringify, type Document, type Node } from "yaml";

import type { Detail } from "./failure.ts";

export interface Complaint {
  /** From 1. */
  line: number;
  text: string;
}

export interface Read {
  value: unknown;
  complaints: Complaint[];
}

/** Reads a text. JSON is YAML, too, so lines are known for both. */
export function read(text: string): Read {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: "1.2" });
  const complaints = document.errors.map((error) => ({
    line: lines.linePos(error.pos[0]).line,
    text: error.message.split("\n")[0]!.replace(/ at line \d+, column \d+:?$/, ""),
  }));
  if (complaints.length) return { value: null, complaints };
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    // Of an alias without its anchor, or of too many of them, the library says no line.
    const alias = /: (\S+)$/.exec(String(error))?.[1];
    const at = alias ? text.split("\n").findIndex((line) => line.includes(`*${alias}`)) : -1;
    return { value: null, complaints: [{ line: Math.max(1, at + 1), text: (error as Error).message }] };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return { value: null, complaints: [{ line: 1, text: "this must be one definition: an object with its fields" }] };
  return { value, complaints: [] };
}

/** Returns each of the API's errors with the line that it is about; a field that is missing is missed in what should hold it. */
export function placed(text: string, details: Detail[]): Complaint[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  return details
    .map((detail) => {
      const [offset, rest] = find(document, segments(detail.path));
      return { line: lines.linePos(offset).line, text: `${rest ? `${rest}: ` : ""}${detail.errors.join("; ")}` };
    })
    .sort((a, b) => a.line - b.line);
}

/** The parts of a path such as `/healthChecks(0)/path`; a text as key, a number as index. */
export function segments(path: string): (string | number)[] {
  const found: (string | number)[] = [];
  for (const part of path.split("/").filter(Boolean)) {
    const [, name, indexes] = /^(.*?)((?:\(\d+\))*)$/.exec(part)!;
    if (name) found.push(name);
    for (const index of indexes!.matchAll(/\((\d+)\)/g)) found.push(Number(index[1]));
  }
  return found;
}

function find(document: Document, path: (string | number)[]): [number, string] {
  let node = document.contents as Node | null;
  let offset = node?.range?.[0] ?? 0;
  for (const [index, part] of path.entries()) {
    let next: Node | null = null;
    if (isMap(node)) {
      const pair = node.items.find((item) => String((item.key as { value?: unknown }).value ?? item.key) === String(part));
      if (pair) {
        offset = (pair.key as Node).range?.[0] ?? offset;
        next = pair.value as Node | null;
      }
    } else if (isSeq(node) && typeof part === "number") {
      next = (node.items[part] as Node | undefined) ?? null;
      offset = next?.range?.[0] ?? offset;
    }
    if (!next) {
      const found = isMap(node) && node.items.some((item) => String((item.key as { value?: unknown }).value) === String(part));
      return [offset, path.slice(found ? index + 1 : index).join("/")];
    }
    node = next;
  }
  return [offset, path.length ? String(path[path.length - 1]) : ""];
}

export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 100 });
}

export function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
