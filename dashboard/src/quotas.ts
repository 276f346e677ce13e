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
