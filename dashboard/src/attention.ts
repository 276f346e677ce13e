/** What is not well, each with a sentence and what to do about it; the worst first. Pure. */

import { some, type Model, type Row } from "./model.ts";
import type { Balancer, Deployment } from "./types.ts";

export interface Notice {
  key: string;
  tone: "bad" | "warn";
  title: string;
  text: string;
  fix: string;
  app?: string;
  brake?: boolean;
}

/** Of apps with the same trouble so many are named. */
const NAMED_MOST = 6;

export function notices(model: Model, deployments: Deployment[], balancers: Balancer[] | null, consul: string | null): Notice[] {
  const found: Notice[] = [];
  if (!model.scheduler.connected)
    found.push({
      key: "master",
      tone: "bad",
      title: "The scheduler has no connection to a Mesos master",
      text: model.scheduler.reason || "What runs goes on; nothing is launched or stopped until it is back.",
      fix: "Look whether a master leads and can be reached from the scheduler; it tries again by itself.",
    });
  if (model.brake?.engaged)
    found.push({
      key: "brake",
      tone: "bad",
      title: "The disaster brake is engaged: nothing is launched or stopped",
      text: model.brake.reason,
      fix: "It releases itself once most of what was lost is back. Release it by hand if the loss is real.",
      brake: true,
    });
  if (consul)
    found.push({
      key: "consul",
      tone: "bad",
      title: "Consul does not answer the scheduler",
      text: consul,
      fix: "Look whether Consul's agent runs where --consul says. Balancers go on with what they know; instances that start are not seen by them before it is back.",
    });
  for (const agent of model.agents.values()) {
    if (agent.sweep)
      found.push({
        key: `sweep ${agent.id}`,
        tone: "warn",
        title: `An executor died on ${agent.host}, and may have left something there`,
        text: agent.sweep.message,
        fix: "Nothing is to be done: an executor that starts there removes it.",
      });
    if (agent.leftAlone)
      found.push({
        key: `alone ${agent.id}`,
        tone: "warn",
        title: `${agent.host} is left alone until ${new Date(agent.leftAlone.until).toLocaleTimeString("sv")}`,
        text: `Starts of ${agent.leftAlone.startsFailedOf.join(", ")} failed there, and nowhere else.`,
        fix: "Look at its disk, its Docker and its network; it is tried again by itself.",
      });
    if (agent.drain)
      found.push({
        key: `drain ${agent.id}`,
        tone: "warn",
        title: `${agent.host} is drained since ${new Date(agent.drain.since).toLocaleString("sv")}${agent.drain.by ? ` by ${agent.drain.by}` : ""}`,
        text: agent.drain.deadline
          ? `It takes nothing. What can move is replaced elsewhere; what is left is stopped at ${new Date(agent.drain.deadline).toLocaleString("sv")}.`
          : "It takes nothing. What can move is replaced elsewhere.",
        fix: `Give it back on its tile, or by eratos agent undrain ${agent.host}.`,
      });
    if (agent.maintenance)
      found.push({
        key: `maintenance ${agent.id}`,
        tone: "warn",
        title: `${agent.host} is in maintenance from ${new Date(agent.maintenance.begin).toLocaleString("sv")}`,
        text: "Its instances are replaced on other hosts before it is emptied.",
        fix: "Nothing is to be done; the master's maintenance schedule says when it is back.",
      });
  }
  for (const balancer of balancers ?? [])
    if (balancer.trouble)
      found.push({
        key: `balancer ${balancer.name}`,
        tone: "bad",
        title: `The balancer ${balancer.name} is not well`,
        text: balancer.trouble,
        fix: "Its container's log says more; it goes on with the last good configuration.",
      });
  for (const deployment of deployments)
    for (const [app, since] of Object.entries(deployment.eratos.atGateSince ?? {}))
      found.push({
        key: `gate ${deployment.id} ${app}`,
        tone: "warn",
        title: `${app} stands at a gate of its canary since ${new Date(since).toLocaleTimeString("sv")}`,
        text: `${deployment.eratos.newInstancesAtMost?.[app] ?? "Some"} instances of the new version are ready.`,
        fix: "Promote it, or roll it back, under Deployments.",
        app,
      });
  const rows = [...model.rows.values()].sort((a, b) => (a.app.id < b.app.id ? -1 : 1));
  add(found, "bad", rows.filter((row) => row.standing === "bad"), fixOf);
  add(found, "warn", rows.filter((row) => row.standing === "waits"), fixOf);
  return [...found.filter(({ tone }) => tone === "bad"), ...found.filter(({ tone }) => tone === "warn")];
}

function add(found: Notice[], tone: "bad" | "warn", rows: Row[], fix: (row: Row) => string): void {
  for (const row of rows.slice(0, NAMED_MOST))
    found.push({ key: `app ${row.app.id}`, tone, title: row.app.id, text: row.sentence, fix: fix(row), app: row.app.id });
  if (rows.length > NAMED_MOST)
    found.push({
      key: `more ${tone}`,
      tone,
      title: `and ${some(rows.length - NAMED_MOST, "more app")}`,
      text: tone === "bad" ? "They need a look as well." : "They wait as well.",
      fix: `Under Apps, is:${tone === "bad" ? "bad" : "waits"} lists them.`,
    });
}

function fixOf(row: Row): string {
  if (row.app.failing) return "Its page has the last lines that it wrote before it ended.";
  if (row.app.deploymentFailed) return "Its page says why; roll back to a version that worked, or mend the definition.";
  if (row.counts.unhealthy) return "Look at the log of an instance that fails; it is replaced if it stays so.";
  if (row.counts.unreachable) return "Look at its host and its network; instances are replaced when it stays away.";
  if (row.app.notBalanced) return "Change the label or the port that is named; what is left out is not served.";
  return "Its page says what it waits for, and until when.";
}
