/** All that the dashboard knows of the cluster, and what follows from it. Pure: whoever holds it says when it changes. */

import { jobOf } from "./ids.ts";
import type { Agent, App, Brake, Condition, Happening, Overview, Task } from "./types.ts";

/** How an app is, the most urgent first. */
export const STANDINGS = ["bad", "waits", "moves", "fine", "off"] as const;
export type Standing = (typeof STANDINGS)[number];

export const CONDITIONS: readonly Condition[] = ["ready", "unready", "launching", "unhealthy", "unreachable", "stopping"];

/** An app with what is counted of it. */
export interface Row {
  app: App;
  counts: Record<Condition, number>;
  /** Instances with a task. */
  there: number;
  old: number;
  standing: Standing;
  /** Why it is not fine, in a sentence. */
  sentence: string;
  /** Of the id and the labels, in small letters, to search in. */
  text: string;
}

export function row(app: App): Row {
  const counts: Record<Condition, number> = { ready: 0, unready: 0, launching: 0, unhealthy: 0, unreachable: 0, stopping: 0, ...app.conditions };
  let old = app.old ?? 0;
  for (const task of app.tasks) {
    counts[task.condition]++;
    if (task.version !== app.version && task.condition !== "stopping") old++;
  }
  const [standing, sentence] = judge(app, counts);
  const labels = Object.entries(app.labels).map(([key, value]) => `${key}=${value.slice(0, 200)}`);
  const there = CONDITIONS.reduce((sum, name) => sum + counts[name], 0);
  return { app, counts, there, old, standing, sentence, text: [app.id, ...labels].join("\n").toLowerCase() };
}

function judge(app: App, counts: Record<Condition, number>): [Standing, string] {
  if (app.deploymentFailed) return ["bad", `Its deployment failed: ${app.deploymentFailed}`];
  if (counts.unhealthy) return ["bad", `${some(counts.unhealthy, "instance")} of it ${counts.unhealthy === 1 ? "fails its" : "fail their"} health checks.`];
  if (counts.unreachable) return ["bad", `${some(counts.unreachable, "instance")} of it cannot be reached.`];
  if (app.notBalanced) return ["bad", app.notBalanced];
  if (app.failing && app.waiting) return ["bad", `It keeps failing: ${app.why ?? ""}`];
  if (app.deleted) return ["moves", "It was deleted, and its instances are being stopped."];
  if (app.waiting) return ["waits", `${some(app.waiting, "instance")} ${app.waiting === 1 ? "waits" : "wait"}${app.why ? `: ${app.why}` : "."}`];
  if (!app.atRest || app.deployment) return ["moves", app.deployment ? "A deployment is under way." : "Instances are on their way."];
  if (app.instances === 0) return ["off", "It is scaled to none."];
  return ["fine", ""];
}

export function some(count: number, what: string): string {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

export class Model {
  rows = new Map<string, Row>();
  agents = new Map<string, Agent>();
  scheduler: Overview["scheduler"] = { frameworkId: null, master: null, connected: true, reason: "" };
  brake: Brake | null = null;
  /** Grows with each change of what is on an agent, or of the agent. */
  stamps = new Map<string, number>();
  /** Which tasks are on an agent, with their apps; made anew when asked for after a change. */
  #onAgent: Map<string, { app: App; task: Task }[]> | null = null;

  /** Takes over an answer to a question for everything. */
  replace(found: Overview): void {
    this.rows = new Map(found.apps.map((app) => [app.id, row(app)]));
    this.agents = new Map(found.agents.map((agent) => [agent.id, agent]));
    for (const id of this.agents.keys()) this.#stamp(id);
    this.#rest(found);
  }

  /** Takes over an answer to a question for some apps: those that are not in it are gone. */
  patch(asked: Iterable<string>, found: Overview): void {
    const there = new Map(found.apps.map((app) => [app.id, app]));
    for (const id of asked) {
      const app = there.get(id);
      for (const task of [...(this.rows.get(id)?.app.tasks ?? []), ...(app?.tasks ?? [])]) this.#stamp(task.agent);
      if (app) this.rows.set(id, row(app));
      else this.rows.delete(id);
    }
    for (const agent of found.agents) this.agents.set(agent.id, agent);
    this.#rest(found);
  }

  #rest(found: Overview): void {
    this.scheduler = found.scheduler;
    this.brake = found.brake ?? null;
    this.#onAgent = null;
  }

  #stamp(agent: string): void {
    this.stamps.set(agent, (this.stamps.get(agent) ?? 0) + 1);
  }

  onAgent(id: string): { app: App; task: Task }[] {
    if (!this.#onAgent) {
      this.#onAgent = new Map();
      for (const { app } of this.rows.values())
        for (const task of app.tasks) {
          const there = this.#onAgent.get(task.agent);
          if (there) there.push({ app, task });
          else this.#onAgent.set(task.agent, [{ app, task }]);
        }
    }
    return this.#onAgent.get(id) ?? [];
  }

  totals(): { apps: number; instances: number; wanted: number; standings: Record<Standing, number>; counts: Record<Condition, number>; waiting: number } {
    const standings: Record<Standing, number> = { bad: 0, waits: 0, moves: 0, fine: 0, off: 0 };
    const counts: Record<Condition, number> = { ready: 0, unready: 0, launching: 0, unhealthy: 0, unreachable: 0, stopping: 0 };
    let instances = 0;
    let wanted = 0;
    let waiting = 0;
    for (const found of this.rows.values()) {
      standings[found.standing]++;
      instances += found.there;
      wanted += found.app.instances;
      waiting += found.app.waiting;
      for (const name of CONDITIONS) counts[name] += found.counts[name];
    }
    return { apps: this.rows.size, instances, wanted, standings, counts, waiting };
  }
}

/** Which apps an event is about. Runs of jobs are none: the overview does not know them. */
export function appsOf(event: Happening): string[] {
  const found = new Set<string>();
  const add = (id: unknown): void => void (typeof id === "string" && id.startsWith("/") && !jobOf(id) && found.add(id));
  add(event.appId);
  add(event.runSpecId);
  add((event.appDefinition as { id?: unknown } | undefined)?.id);
  const steps = (event.plan as { steps?: { actions?: { app?: unknown; pod?: unknown }[] }[] } | undefined)?.steps ?? [];
  for (const step of steps) for (const action of step.actions ?? []) (add(action.app), add(action.pod));
  return [...found];
}

/** The number in an event's id, which counts on from event to event; -1: none. */
export function numberOf(id: string): number {
  const number = Number(id.slice(id.lastIndexOf("-") + 1));
  return id && Number.isInteger(number) ? number : -1;
}

/** How often an instance was started anew: its attempt stands last in the task's id. */
export function restarts(taskId: string): number {
  const attempt = Number(/\._app\.(\d+)$/.exec(taskId)?.[1] ?? "1");
  return Math.max(0, attempt - 1);
}

/** A short name of an instance: the end of its id tells it from its siblings. */
export function shortName(taskId: string): string {
  const found = /\.instance-([0-9a-z-]+)/i.exec(taskId)?.[1] ?? taskId;
  return found.length > 8 ? found.slice(0, 8) : found;
}
