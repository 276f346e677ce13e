/** How an app is autoscaled, in words. Pure. */

import type { Autoscaling } from "./types.ts";

const TARGETS: Record<string, string> = {
  requestsPerSecond: "Requests a second",
  concurrency: "Requests under way",
  queue: "Requests waiting",
  cpu: "Shares of their CPU",
};

function figure(name: string, value: number): string {
  return name === "cpu" ? value.toLocaleString("en", { maximumFractionDigits: 2 }) : value.toLocaleString("en", { maximumFractionDigits: 1 });
}

/** What is measured of all instances together, and how much there is to be of each: a line for each target. */
export function measured(found: Autoscaling): string[] {
  return Object.entries(found.measured).map(
    ([name, { value, target }]) => `${TARGETS[name] ?? name}: ${value === null ? "?" : figure(name, value)} in all, ${figure(name, target)} wanted of each`,
  );
}

/** The last change, or the last one that mode `advise` would have made; empty: there was none. */
export function last(found: Autoscaling): string {
  if (!found.last) return "";
  const { from, to, message, made } = found.last;
  return `${made ? "changed" : "would have changed"} ${from} to ${to}: ${message}`;
}
