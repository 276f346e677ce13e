/** Pods: how they are, in the words of apps. Pure. */

import { some, type Standing } from "./model.ts";
import type { Pod, PodContainer } from "./types.ts";

export const STATES: Record<string, [Standing, string]> = {
  STABLE: ["fine", "stable"],
  DEGRADED: ["waits", "degraded"],
  TERMINAL: ["moves", "being stopped"],
  STAGING: ["moves", "starts"],
  PENDING: ["waits", "waits"],
};

export function state(name: string): [Standing, string] {
  return STATES[name] ?? ["off", name.toLowerCase()];
}

/** How many of a pod's instances are stable. */
export function stable(pod: Pod): number {
  return pod.instances.filter((instance) => instance.status === "STABLE").length;
}

/** The container of a pod in a line: what it is made of, and what it may take. */
export function container(found: PodContainer): string {
  return `${found.image?.id ?? "a process"}, ${found.resources.cpus} CPUs, ${found.resources.mem} MiB`;
}

/** The versions that its instances have. */
export function versionsOf(pod: Pod): string[] {
  return [...new Set(pod.instances.map((instance) => instance.specReference?.split("::versions/")[1] ?? "").filter(Boolean))].sort();
}

export function fits(pod: Pod, words: string[]): boolean {
  const text = [pod.id, ...pod.spec.containers.map((found) => `${found.name} ${found.image?.id ?? ""}`)].join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}

export function summary(pod: Pod): string {
  return `${some(pod.spec.containers.length, "container")}: ${pod.spec.containers.map((found) => found.name).join(", ")}`;
}
