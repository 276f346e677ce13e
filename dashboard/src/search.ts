/** What is typed above a list: words that must all be found, `label:key=value` and `is:bad`. Pure. */

import { STANDINGS, type Row, type Standing } from "./model.ts";

export interface Search {
  words: string[];
  labels: string[];
  standings: Standing[];
  /** Words that begin like a filter and are none. */
  unknown: string[];
}

export function parse(text: string): Search {
  const found: Search = { words: [], labels: [], standings: [], unknown: [] };
  for (const word of text.toLowerCase().split(/\s+/).filter(Boolean)) {
    if (word.startsWith("label:")) found.labels.push(word.slice(6));
    else if (word.startsWith("is:")) {
      const standing = STANDINGS.find((name) => name === word.slice(3));
      if (standing) found.standings.push(standing);
      else found.unknown.push(word);
    } else found.words.push(word);
  }
  return found;
}

export function fits(row: Row, search: Search): boolean {
  if (search.standings.length && !search.standings.includes(row.standing)) return false;
  for (const word of search.words) if (!row.text.includes(word)) return false;
  for (const label of search.labels) {
    const [key, value] = split(label);
    const own = Object.entries(row.app.labels).some(
      ([name, text]) => name.toLowerCase() === key && (value === null || text.toLowerCase() === value),
    );
    if (!own) return false;
  }
  return true;
}

function split(label: string): [string, string | null] {
  const at = label.indexOf("=");
  return at < 0 ? [label, null] : [label.slice(0, at), label.slice(at + 1)];
}
