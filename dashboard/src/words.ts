/** Numbers, times and events in words. Pure. */

import { jobOf } from "./ids.ts";
import { some } from "./model.ts";
import type { Action, Happening, Plan } from "./types.ts";

export function mebibytes(mem: number): string {
  return mem >= 10_240 ? `${Math.round(mem / 1024).toLocaleString("en")} GiB` : mem >= 1024 ? `${(mem / 1024).toFixed(1)} GiB` : `${Math.round(mem)} MiB`;
}

export function cores(cpus: number): string {
  return (Math.round(cpus * 100) / 100).toLocaleString("en");
}

/** How long ago, or how far ahead: `3 min`. */
export function span(ms: number): string {
  const s = Math.round(Math.abs(ms) / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** The time of day here, with the day where it is another one. */
export function clock(at: string, now: Date): string {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return at;
  const day = time.toDateString() === now.toDateString() ? "" : `${time.toLocaleDateString("sv")} `;
  return day + time.toLocaleTimeString("sv");
}

const ACTIONS: Record<string, string> = {
  StartApplication: "start",
  StopApplication: "delete",
  ScaleApplication: "scale",
  RestartApplication: "replace",
};

export function action(found: Action): string {
  return `${ACTIONS[found.action.replace(/Pod$/, "Application")] ?? found.action} ${found.app ?? found.pod ?? ""}`;
}

/** What a plan means, a sentence for each app. */
export function planned(plan: Plan): string[] {
  const apps = Object.entries(plan.eratos?.apps ?? {});
  return apps.map(([id, effect]) => {
    const parts = [
      effect.starts ? `${some(effect.starts, "instance")} will be started` : "",
      effect.stops ? `${effect.stops.toLocaleString("en")} stopped` : "",
      effect.keeps ? `${effect.keeps.toLocaleString("en")} kept as they are` : "",
    ].filter(Boolean);
    return `${id}: ${parts.join(", ") || "nothing changes"}.`;
  });
}

export type Tone = "good" | "bad" | "warn" | "plain";

/** A line of the timeline. */
export interface Line {
  key: string;
  at: string;
  tone: Tone;
  title: string;
  text: string;
  apps: string[];
  task: string;
  /** Whose run it is about; empty: it is about none. */
  job: string;
}

const STATES: Record<string, [string, Tone]> = {
  TASK_STAGING: ["was launched", "plain"],
  TASK_STARTING: ["starts", "plain"],
  TASK_RUNNING: ["runs", "good"],
  TASK_KILLING: ["is being stopped", "plain"],
  TASK_FINISHED: ["ended by itself", "warn"],
  TASK_FAILED: ["failed", "bad"],
  TASK_KILLED: ["was stopped", "plain"],
  TASK_ERROR: ["could not be started", "bad"],
  TASK_LOST: ["was lost", "bad"],
  TASK_DROPPED: ["never reached its agent", "bad"],
  TASK_UNREACHABLE: ["cannot be reached", "bad"],
  TASK_GONE: ["is gone with its agent", "bad"],
  TASK_GONE_BY_OPERATOR: ["is gone with its agent", "bad"],
  TASK_UNKNOWN: ["is unknown to the master", "bad"],
};

/** Says what an event means; null where another event says the same, or it is for programs alone. */
export function told(event: Happening, id: string, apps: string[]): Line | null {
  const text = (name: string): string => (typeof event[name] === "string" ? (event[name] as string) : "");
  const line = (tone: Tone, title: string, more = "", task = ""): Line => ({ key: id, at: event.timestamp, tone, title, text: more, apps, task, job });
  const job = jobOf(text("appId"));
  const one = job ? `A task of the job ${job}` : `An instance of ${text("appId")}`;
  const many = apps.length > 3 ? `${apps.length.toLocaleString("en")} apps` : apps.join(", ");
  switch (event.eventType) {
    case "status_update_event": {
      // What runs on says so with a message only.
      if (text("taskStatus") === "TASK_RUNNING" && text("message"))
        return line("plain", `${one}: ${text("message")}`, text("host"), text("taskId"));
      const [said, tone] = job && text("taskStatus") === "TASK_FINISHED" ? ["ended well", "good" as Tone] : (STATES[text("taskStatus")] ?? [text("taskStatus"), "plain" as Tone]);
      return line(tone, `${one} ${said}`, [text("host"), text("message")].filter(Boolean).join(": "), text("taskId"));
    }
    case "health_status_changed_event":
      return event.alive ? line("good", `${one} is healthy`, "", text("instanceId")) : line("bad", `${one} fails its health checks`, "", text("instanceId"));
    case "unhealthy_instance_kill_event":
      return line("bad", `An instance of ${text("appId")} is replaced: it stayed unhealthy`, text("reason"), text("taskId"));
    case "api_post_event":
      return line("plain", `${many} was changed`, `by a request from ${text("clientIp") || "?"}`);
    case "group_change_failed":
      return line("warn", `A change of ${many || text("groupId")} was refused`, text("reason"));
    case "deployment_info":
      return line("plain", `A deployment of ${many} began`, text("id"));
    case "deployment_success":
      return line("good", `A deployment of ${many} is done`, text("id"));
    case "deployment_failed":
      return line("bad", `A deployment of ${many} ended early`, text("reason"));
    case "autoscale_event": {
      const [from, to] = [Number(event.from), Number(event.to)];
      return event.made ? line("plain", `${text("appId")} was scaled from ${from} to ${to} by its load`, text("reason")) : line("plain", `${text("appId")} would be scaled from ${from} to ${to} by its load`, text("reason"));
    }
    case "app_terminated_event":
      return line("plain", `${text("appId")} is gone`);
    case "unknown_instance_terminated_event":
      return line("warn", `A task that no record stood for ended`, text("instanceId"));
    case "scheduler_registered_event":
    case "scheduler_reregistered_event":
      return line("good", "The scheduler is connected with the master", text("master"));
    case "scheduler_disconnected_event":
      return line("bad", "The scheduler lost its connection with the master");
    case "events_lost_event":
      return line("warn", "Events are missing here", event.lost === null ? "another scheduler leads now" : `${String(event.lost)} were not kept`);
  }
  return null;
}
