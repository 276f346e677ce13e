/** Holds the model, keeps it true by the event stream, and tells whoever draws it that it changed. */

import { useEffect, useRef, useState } from "preact/hooks";

import { Failure, follow, get, signedIn, signIn, type Following } from "./api.ts";
import { heed, Part, renew, retry } from "./live.ts";
import { appsOf, Model, numberOf } from "./model.ts";
import type { Autoscaling, Balancer, Caller, Deployment, ErrorBudget, Happening, Overview, TaskUsage } from "./types.ts";
import { told, type Line } from "./words.ts";

/** All that the timeline tells of, and our own that say what to look at anew. */
const KINDS = [
  "status_update_event",
  "instance_changed_event",
  "instance_health_changed_event",
  "health_status_changed_event",
  "unhealthy_instance_kill_event",
  "api_post_event",
  "group_change_success",
  "group_change_failed",
  "deployment_info",
  "deployment_success",
  "deployment_failed",
  "app_terminated_event",
  "unknown_instance_terminated_event",
  "scheduler_registered_event",
  "scheduler_reregistered_event",
  "scheduler_disconnected_event",
  "cluster_changed_event",
  "app_changed_event",
  "deployment_changed_event",
  "job_changed_event",
  "quota_changed_event",
  "volume_changed_event",
  "autoscale_event",
  "events_lost_event",
];
const EVENTS = `/v2/events?${KINDS.map((kind) => `event_type=${kind}`).join("&")}`;

/** Changes are gathered for so long before the API is asked about them. */
const GATHER_MS = 250;
/** More apps than these at once: everything is asked for anew. */
const PART_MOST = 200;
const LINES_MOST = 5000;
/** A page that nobody sees leaves its connections to others after so long; a browser has six for a server. */
const HIDDEN_MS = 15_000;

export type Connection = "loading" | "live" | "lost" | "denied";

class Store {
  model = new Model();
  deployments: Deployment[] = [];
  ended: Deployment[] = [];
  lines: Line[] = [];
  caller: Caller = { name: "", roles: [] };
  /** Host and port of the scheduler that leads. */
  leader = "";
  connection: Connection = "loading";
  /** Whether instances are known, and not only how many there are of each app. */
  whole = false;
  reason = "";
  version = 0;
  #listeners = new Set<() => void>();
  #dirty = new Set<string>();
  #everything = false;
  #deployments = false;
  #timer = 0;
  #asking = false;
  #position = -1;
  #lastId = "";
  #following: Following | null = null;
  #told = false;

  async start(): Promise<void> {
    this.#following?.stop();
    this.#following = null;
    this.connection = "loading";
    this.whole = false;
    this.#tell();
    try {
      // What lists of apps show comes first: of a large cluster it is a tenth of the whole.
      [this.caller] = await Promise.all([get<Caller>("/v2/whoami"), this.#load(false)]);
      const found = await this.#load();
      await this.#loadDeployments();
      this.#lastId = found.earlier;
      this.#follow();
    } catch (error) {
      this.#failed(error);
      if ((this.connection as Connection) === "lost") setTimeout(() => void this.start(), 3000);
    }
  }

  signOut(): void {
    signIn("");
    this.#following?.stop();
    this.model = new Model();
    this.lines = [];
    void this.start();
  }

  /** Whether the caller has a role for an app, or with "/" for everything. */
  may(role: "view" | "deploy" | "operate", path: string): boolean {
    const order = ["view", "deploy", "operate"];
    return this.caller.roles.some((grant) => {
      const [name, group] = grant.split(":") as [string, string];
      const within = group === "/" || path === group || path.startsWith(`${group}/`);
      return within && order.indexOf(name) >= order.indexOf(role);
    });
  }

  /** Whether the caller may change anything at all. */
  get acts(): boolean {
    return this.caller.roles.some((grant) => !grant.startsWith("view"));
  }

  /** Whether the caller may set any quota. */
  get operates(): boolean {
    return this.caller.roles.some((grant) => grant.startsWith("operate"));
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks at an app anew at once, as after an action of this page. */
  touch(...apps: string[]): void {
    for (const app of apps) this.#dirty.add(app);
    this.#deployments = true;
    this.#gather();
  }

  hidden(hidden: boolean): void {
    if (hidden && this.#following) {
      this.#following.stop();
      this.#following = null;
    } else if (!hidden && !this.#following && this.#lastId && this.connection !== "denied") {
      this.#follow();
    }
  }

  async #load(whole = true): Promise<Overview> {
    const [found, leader] = await Promise.all([get<Overview>(`/v2/overview${whole ? "" : "?tasks=false"}`), get<{ leader: string }>("/v2/leader")]);
    this.leader = leader.leader;
    this.model.replace(whole ? found : { ...found, apps: found.apps.map((app) => ({ ...app, tasks: app.tasks ?? [] })) });
    this.whole = whole;
    this.#position = numberOf(found.position);
    this.#tell();
    return found;
  }

  async #loadDeployments(): Promise<void> {
    const found = await Promise.all([get<Deployment[]>("/v2/deployments?embed=eratos"), get<Deployment[]>("/v2/deployments?ended=true")]);
    // Here pods are shown as apps are.
    const both = (each: Deployment): Deployment => ({ ...each, affectedApps: [...each.affectedApps, ...each.affectedPods].sort() });
    [this.deployments, this.ended] = [found[0].map(both), found[1].map(both)];
    this.#tell();
  }

  #follow(): void {
    this.#following = follow(EVENTS, this.#lastId, {
      frame: ({ id, data }) => this.#event(id, JSON.parse(data) as Happening),
      state: (live, reason) => {
        if (live) {
          this.connection = "live";
          this.reason = "";
          retry();
          this.#tell();
        } else if (reason) this.#failed(reason);
        else this.#failed(new Failure(0, "the stream of events ended: another scheduler may lead now"));
      },
    });
  }

  #event(id: string, event: Happening): void {
    if (id) this.#lastId = id;
    const apps = appsOf(event);
    const line = told(event, id || `${event.timestamp}-lost`, apps);
    if (line && this.lines[0]?.key !== line.key) {
      this.lines = [line, ...this.lines.slice(0, LINES_MOST - 1)];
      this.#tell();
    }
    if (id && numberOf(id) <= this.#position) return; // it happened before what is shown
    if (event.eventType === "events_lost_event") this.#position = -1;
    if (["events_lost_event", "cluster_changed_event"].includes(event.eventType) || event.eventType.startsWith("scheduler_")) this.#everything = true;
    if (event.eventType.startsWith("deployment_") || this.deployments.some((found) => found.affectedApps.some((app) => apps.includes(app)))) this.#deployments = true;
    if (event.eventType === "events_lost_event") this.#deployments = true;
    for (const app of apps) this.#dirty.add(app);
    if (event.eventType === "events_lost_event") renew();
    else heed(event, apps);
    this.#gather();
  }

  #gather(): void {
    if (!this.#timer && !this.#asking) this.#timer = window.setTimeout(() => void this.#ask(), GATHER_MS);
  }

  async #ask(): Promise<void> {
    this.#timer = 0;
    this.#asking = true;
    const dirty = [...this.#dirty];
    const everything = this.#everything || dirty.length > PART_MOST;
    const deployments = this.#deployments;
    this.#dirty.clear();
    this.#everything = this.#deployments = false;
    try {
      if (everything) await this.#load();
      else if (dirty.length) {
        this.model.patch(dirty, await get<Overview>(`/v2/overview?${dirty.map((id) => `app=${encodeURIComponent(id)}`).join("&")}`));
        this.#tell();
      }
      if (deployments) await this.#loadDeployments();
    } catch (error) {
      // Nothing is forgotten: it is asked again with the next change, or once the stream is back.
      for (const app of dirty) this.#dirty.add(app);
      this.#everything ||= everything;
      this.#deployments ||= deployments;
      this.#failed(error);
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
    this.#asking = false;
    if (this.#dirty.size || this.#everything || this.#deployments) this.#gather();
    else if (this.connection === "lost" && this.#following) {
      this.connection = "live";
      this.#tell();
    }
  }

  #failed(error: unknown): void {
    const failure = error instanceof Failure ? error : new Failure(0, String(error));
    if (!(error instanceof Failure)) console.error(error);
    this.connection = failure.status === 401 ? "denied" : "lost";
    this.reason = failure.status === 401 && !signedIn() ? "" : failure.whole;
    if (failure.status === 401) {
      this.#following?.stop();
      this.#following = null;
    }
    this.#tell();
  }

  /** Has everything drawn anew before the next picture, however much happened. */
  #tell(): void {
    this.version++;
    if (this.#told) return;
    this.#told = true;
    const tell = (): void => {
      this.#told = false;
      for (const listener of this.#listeners) listener();
    };
    if (document.hidden) setTimeout(tell, 200);
    else requestAnimationFrame(tell);
  }
}

export const store = new Store();

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = window.setTimeout(() => store.hidden(true), HIDDEN_MS);
  else store.hidden(false);
});

/** Draws the component anew whenever the store changes. */
export function useStore(): Store {
  const [, draw] = useState(0);
  useEffect(() => store.listen(() => draw((count) => count + 1)), []);
  return store;
}

/** Draws the component anew every so often, for times that go by. */
export function useClock(ms: number): Date {
  const [now, set] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => set(new Date()), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return now;
}

export interface Loaded<T> {
  value: T | null;
  error: string;
  loading: boolean;
}

/** Asks the API when `key` changes, and shows what was there until the answer comes. An empty key asks nothing. */
export function useAnswer<T>(key: string, ask: (signal: AbortSignal) => Promise<T>, sameAs = key): Loaded<T> {
  const [found, set] = useState<Loaded<T> & { of: string }>({ value: null, error: "", loading: true, of: sameAs });
  useEffect(() => {
    if (!key) return;
    const stopping = new AbortController();
    ask(stopping.signal).then(
      (value) => !stopping.signal.aborted && set({ value, error: "", loading: false, of: sameAs }),
      (error: unknown) => {
        if (stopping.signal.aborted) return;
        set({ value: null, error: error instanceof Failure ? error.whole : String(error), loading: false, of: sameAs });
      },
    );
    return () => stopping.abort();
  }, [key]);
  return found.of === sameAs ? found : { value: null, error: "", loading: true };
}

/** Shows an answer that is kept true, and draws the component anew with each. */
export function usePart<T>(part: Part<T>): Part<T> {
  const [, draw] = useState(0);
  useEffect(() => part.join(() => draw((count) => count + 1)), [part]);
  return part;
}

// What balancers serve and count: a stream of its own, open while a page shows it.

export interface Sample {
  at: number;
  /** By app: requests a second, milliseconds to answer, answers with 5xx a second. */
  apps: Map<string, { rate: number; answer: number; failed: number }>;
}

const SAMPLES_MOST = 90;

class Figures {
  balancers: Balancer[] | null = null;
  /** By app that has one. */
  budgets: Record<string, ErrorBudget> = {};
  /** Why Consul does not answer the scheduler; empty: it does, null: that is not ours to know. */
  consul: string | null = null;
  /** By app that is autoscaled. */
  autoscaling: Record<string, Autoscaling> = {};
  samples: Sample[] = [];
  error = "";
  #readers = new Set<() => void>();
  #following: Following | null = null;
  #failed = new Map<string, number>();

  join(listener: () => void): () => void {
    this.#readers.add(listener);
    this.#following ??= follow("/v2/balancers", "", {
      frame: ({ data }) => {
        const found = JSON.parse(data) as { balancers: Balancer[]; errorBudgets?: Record<string, ErrorBudget>; autoscaling?: Record<string, Autoscaling>; consul?: { trouble: string } };
        this.budgets = found.errorBudgets ?? {};
        this.autoscaling = found.autoscaling ?? {};
        this.consul = found.consul?.trouble ?? null;
        this.#take(found.balancers);
      },
      state: (live, reason) => {
        this.error = live ? "" : (reason?.whole ?? "");
        this.#tell();
      },
    });
    return () => {
      this.#readers.delete(listener);
      if (this.#readers.size) return;
      this.#following?.stop();
      this.#following = null;
      this.samples = [];
      this.#failed.clear();
    };
  }

  #take(balancers: Balancer[]): void {
    this.balancers = balancers;
    const sample: Sample = { at: Date.now(), apps: new Map() };
    const sums = new Map<string, { rate: number; timed: number; busy: number; failed: number }>();
    for (const balancer of balancers)
      for (const service of balancer.services) {
        if (!service.app) continue;
        const sum = sums.get(service.app) ?? { rate: 0, timed: 0, busy: 0, failed: 0 };
        for (const server of service.servers) {
          sum.rate += server.rate ?? 0;
          sum.timed += (server.answer_ms ?? 0) * (server.rate ?? 0);
          sum.busy += server.rate ?? 0;
          const key = `${balancer.name}/${service.service}/${server.id}`;
          const failed = server.failed ?? 0;
          sum.failed += Math.max(0, failed - (this.#failed.get(key) ?? failed));
          this.#failed.set(key, failed);
        }
        sums.set(service.app, sum);
      }
    const before = this.samples[this.samples.length - 1];
    const seconds = before ? Math.max(0.5, (sample.at - before.at) / 1000) : 1;
    for (const [app, sum] of sums)
      sample.apps.set(app, { rate: sum.rate, answer: sum.busy ? sum.timed / sum.busy : 0, failed: sum.failed / seconds });
    this.samples = [...this.samples.slice(1 - SAMPLES_MOST), sample];
    this.#tell();
  }

  #tell(): void {
    for (const reader of this.#readers) reader();
  }
}

const figures = new Figures();

export function useFigures(): Figures {
  const [, draw] = useState(0);
  useEffect(() => figures.join(() => draw((count) => count + 1)), []);
  return figures;
}

export interface Usages {
  /** By task; empty until something is known. */
  tasks: Map<string, TaskUsage>;
  error: string;
}

/** What an app's instances take of CPU and memory: a stream of its own, open while a page shows it. */
export function useUsages(app: string): Usages {
  const none: Usages = { tasks: new Map(), error: "" };
  const [found, set] = useState<Usages & { of: string }>({ ...none, of: app });
  useEffect(() => {
    const following = follow(`/v2/usage?app=${encodeURIComponent(app)}`, "", {
      frame: ({ data }) => {
        const { tasks } = JSON.parse(data) as { tasks: TaskUsage[] };
        set({ of: app, tasks: new Map(tasks.map((task) => [task.id, task])), error: "" });
      },
      state: (live, reason) => {
        if (!live && reason) set((last) => ({ ...(last.of === app ? last : none), of: app, error: reason.whole }));
      },
    });
    return () => following.stop();
  }, [app]);
  return found.of === app ? found : none;
}

/** The last value that was not null, so that nothing flickers while an answer is on its way. */
export function useLast<T>(value: T | null): T | null {
  const last = useRef<T | null>(value);
  if (value !== null) last.current = value;
  return last.current;
}
