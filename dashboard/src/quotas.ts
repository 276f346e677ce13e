/** Quotas of groups: how much of each is in use. Pure. */

import type { Quota, QuotaAmounts } from "./types.ts";
import { cores, mebibytes } from "./words.ts";

const KINDS: [keyof QuotaAmounts, (used: number, limit: number) => string][] = [
  ["instances", (used, limit) => `${used.toLocaleString("en")} of ${limit.toLocaleString("en")} instances`],
  ["cpus", (used, limit) => `${cores(used)} of ${cores(limit)} CPUs`],
  ["mem", (used, limit) => `${mebibytes(used)} of ${mebibytes(limit)} memory`],
  ["disk", (used, limit) => `${mebibytes(used)} of ${mebibytes(limit)} disk`],
];

/** The largest part of a limit that is in use: 1 is all of it, and more where the quota was lowered below that. */
export function share(quota: Quota): number {
  let most = 0;
  for (const [kind] of KINDS) {
    const limit = quota[kind];
    if (limit === null) continue;
    const used = quota.used[kind] ?? 0;
    most = Math.max(most, limit ? used / limit : used ? 2 : 1);
  }
  return most;
}

/** What is in use of each limit, in words. */
export function told(quota: Quota): string {
  return KINDS.flatMap(([kind, say]) => {
    const limit = quota[kind];
    return limit === null ? [] : [say(quota.used[kind] ?? 0, limit)];
  }).join(", ");
}

/** What of a quota is stated. */
export function stated(quota: Quota): Record<string, unknown> {
  return { group: quota.group, ...Object.fromEntries(KINDS.flatMap(([kind]) => (quota[kind] === null ? [] : [[kind, quota[kind]]]))) };
}

/** What comes of a quota that is set: a sentence each. */
export function planned(quota: Quota): string[] {
  return [
    `Within ${quota.group} a change that would want more than this is refused. Now in use: ${told(quota)}.`,
    ...(share(quota) > 1 ? ["More is in use than it allows: nothing is stopped, and what asks for more is refused."] : []),
  ];
}

/** Who operates this group may set its quota: the one around it, so that nobody lifts their own. */
export function keeper(group: string): string {
  return group.slice(0, group.lastIndexOf("/")) || "/";
}
