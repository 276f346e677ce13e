/** What an instance takes of CPU and memory, and how an error budget stands, in words. Pure. */

import type { ErrorBudget, TaskUsage } from "./types.ts";
import { cores, mebibytes } from "./words.ts";

const MIB = 1024 * 1024;

/** A line each for CPU and memory, and all of it for the title; what is not known is said, and never a 0. */
export function taken(found: TaskUsage | undefined): { cpu: string; memory: string; title: string } {
  if (!found) return { cpu: "", memory: "", title: "" };
  const of = (used: string, limit: string): string => (limit ? `${used} / ${limit}` : used);
  const cpu = found.cpus === null ? "?" : of(cores(found.cpus), found.cpusLimit === null ? "" : cores(found.cpusLimit));
  const memory = found.memBytes === null ? "?" : of(mebibytes(found.memBytes / MIB), found.memLimitBytes === null ? "" : mebibytes(found.memLimitBytes / MIB));
  const age = found.ageSeconds === null ? "" : `, measured ${Math.round(found.ageSeconds)} s ago`;
  return { cpu: `${cpu} CPU`, memory, title: found.missing || `${cpu} CPUs and ${memory} of memory${age}` };
}

export type Left = "bad" | "warn" | "good" | "plain";

/** How much of a budget is left, whether that is well, and what it is counted from. */
export function left(found: ErrorBudget): { tone: Left; share: number; head: string; text: string } {
  const percent = (share: number): string => `${(Math.round(share * 1000) / 10).toLocaleString("en")}%`;
  const counted = `${found.failed.toLocaleString("en")} of ${found.requests.toLocaleString("en")} requests failed, ${(Math.round(found.allowed * 10) / 10).toLocaleString("en")} may`;
  const text = `${counted}; burn rate ${(Math.round(found.burnRate * 100) / 100).toLocaleString("en")}`;
  if (found.remaining === null) return { tone: "plain", share: 1, head: `Fewer than ${found.minRequests.toLocaleString("en")} requests came`, text };
  const tone = found.spent ? "bad" : found.remaining < 0.25 || found.burnRate > 1 ? "warn" : "good";
  const head = found.remaining > 0 ? `${percent(found.remaining)} left` : found.remaining === 0 ? "Spent" : `Spent, and ${percent(-found.remaining)} beyond it`;
  return { tone, share: Math.min(1, Math.max(0, found.remaining)), head, text };
}
