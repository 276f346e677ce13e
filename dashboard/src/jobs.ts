/** Jobs: when they run next, how they ran last, and which events are about them. Pure. */

import { jobOf } from "./ids.ts";
import { some, type Standing } from "./model.ts";
import type { EndedRun, Happening, Job, JobHistory } from "./types.ts";
import { clock } from "./words.ts";

/** The jobs that an event is about. */
export function jobsOf(event: Happening): string[] {
  const found = [event.jobId, jobOf(String(event.appId ?? "")), jobOf(String(event.runSpecId ?? ""))];
  return found.filter((id): id is string => typeof id === "string" && id !== "");
}

export interface Coming {
  at: string;
  schedule: string;
}

/** The next instant of all schedules; null: there is none. */
export function coming(job: Job): Coming | null {
  const found = job.schedules.flatMap((each) => (each.nextRunAt ? [{ at: each.nextRunAt, schedule: each.id }] : []));
  return found.reduce<Coming | null>((first, each) => (first && first.at <= each.at ? first : each), null);
}

export interface Result {
  outcome: "succeeded" | "failed" | "missed";
  at: string;
}

/** How the last run ended, or that the last instant was missed; null: it never ran. */
export function result(job: Job): Result | null {
  const { lastSuccessAt, lastFailureAt, lastMissedAt } = job.historySummary;
  const all: [Result["outcome"], string | null][] = [
    ["succeeded", lastSuccessAt],
    ["failed", lastFailureAt],
    ["missed", lastMissedAt],
  ];
  let last: Result | null = null;
  for (const [outcome, at] of all) if (at && (!last || at >= last.at)) last = { outcome, at };
  return last;
}

export function standing(job: Job): [Standing, string] {
  const last = result(job);
  if (last && last.outcome !== "succeeded") return ["bad", last.outcome];
  if (job.activeRuns.length) return ["moves", job.activeRuns.some((run) => run.status === "ACTIVE") ? "runs" : "starts"];
  if (last) return ["fine", "succeeded"];
  return ["off", "never ran"];
}

/** The runs that have ended, the last first. */
export function ended(history: JobHistory): (EndedRun & { good: boolean })[] {
  const found = [
    ...history.successfulFinishedRuns.map((run) => ({ ...run, good: true })),
    ...history.failedFinishedRuns.map((run) => ({ ...run, good: false })),
  ];
  return found.sort((a, b) => (a.finishedAt > b.finishedAt ? -1 : a.finishedAt < b.finishedAt ? 1 : a.id > b.id ? -1 : 1));
}

const POLICIES: Record<string, string> = {
  ALLOW: "beside runs at work",
  FORBID: "only while none is at work",
  REPLACE: "in place of runs at work",
};

/** What becomes of an instant, in words. */
export function policy(name: string): string {
  return POLICIES[name] ?? name;
}

/** What starting a run now would mean, a sentence each. */
export function meaning(job: Job): string[] {
  const { run } = job;
  const what = run.docker?.image ? `a container of ${run.docker.image}` : `the process ${run.cmd ?? ""}`;
  const active = job.activeRuns.length;
  return [
    `One run begins as soon as an agent has room: ${what.length > 300 ? `${what.slice(0, 300)}…` : what}, with ${run.cpus} CPUs and ${run.mem} MiB.`,
    ...(active ? [`It works beside ${some(active, "run")} at work: what schedules say of that does not hold for a start by hand.`] : []),
    ...(run.restart?.policy === "ON_FAILURE" ? ["A task that fails is followed by another one."] : ["A task that fails ends the run."]),
  ];
}

export function fits(job: Job, words: string[]): boolean {
  const text = [job.id, job.description ?? "", ...Object.entries(job.labels ?? {}).map(([key, value]) => `${key}=${value.slice(0, 200)}`), ...job.schedules.map((each) => `${each.id} ${each.cron}`)].join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** What of a job is its definition. */
export function defined(job: Job): Record<string, unknown> {
  const { description, labels, activeRuns: _runs, history: _history, historySummary: _summary, schedules, ...rest } = job;
  const plain = schedules.map(({ nextRunAt: _next, ...each }) => each);
  return {
    ...rest,
    ...(description && { description }),
    ...(labels && Object.keys(labels).length && { labels }),
    ...(plain.length && { schedules: plain }),
  };
}

/** What comes of a job that is put, as the API plans it: a sentence each. */
export function planned(job: Job, now: Date): string[] {
  const timed = job.schedules.map((each) => {
    const when = `${each.id} (${each.cron} ${each.timezone})`;
    if (!each.enabled) return `The schedule ${when} is off.`;
    return each.nextRunAt ? `The schedule ${when} has it run next at ${clock(each.nextRunAt, now)} of this clock.` : `The schedule ${when} never comes again.`;
  });
  const active = job.activeRuns.length;
  return [...(timed.length ? timed : ["It has no schedule: it runs by hand."]), ...(active ? [`${some(active, "run")} at work ${active === 1 ? "goes" : "go"} on as it was begun.`] : [])];
}
