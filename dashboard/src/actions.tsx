/** What can be done to apps and deployments: each with what it will mean, and what asks first. */

import type { ComponentChildren } from "preact";

import { call } from "./api.ts";
import { some, type Row } from "./model.ts";
import { store } from "./store.ts";
import type { Deployment, Plan } from "./types.ts";
import { confirm } from "./view/dialog.tsx";
import { planned } from "./words.ts";

export function address(id: string): string {
  return `/v2/apps/${encodeURIComponent(id)}`;
}

/** What a change of an app would mean, as the API plans it. */
export async function preview(id: string, body: unknown): Promise<ComponentChildren> {
  const plan = (await call<Plan>("PUT", `${address(id)}?dryRun=true`, body)).body;
  const locked = Object.entries(plan.eratos?.lockedBy ?? {});
  return (
    <>
      <ul>
        {planned(plan).map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
      {locked.map(([app, deployment]) => (
        <p key={app} class="warn">
          {app} is in deployment {deployment} already: the change is refused unless it is forced.
        </p>
      ))}
    </>
  );
}

async function changed(id: string, method: string, path: string, body?: unknown): Promise<string> {
  const answer = await call<{ deploymentId?: string } | null>(method, path, body);
  store.touch(id);
  const deployment = answer.deployment || answer.body?.deploymentId || "";
  return [deployment ? `Deployment ${deployment} is under way.` : "Done.", answer.notice].filter(Boolean).join(" ");
}

export function scale(row: Row, instances: number): void {
  const { id } = row.app;
  confirm({
    title: `Scale ${id} from ${row.app.instances} to ${instances}`,
    meaning: preview(id, { instances }),
    verb: `Scale to ${instances}`,
    danger: instances < row.app.instances,
    forces: true,
    act: (force) => changed(id, "PUT", `${address(id)}?force=${force}`, { instances }),
  });
}

export function restart(row: Row): void {
  const { id } = row.app;
  confirm({
    title: `Restart ${id}`,
    meaning: <p>All {some(row.app.tasks.length, "instance")} are replaced by new ones of the same version, within the app's upgrade strategy. The old ones are drained before they stop.</p>,
    verb: "Restart",
    forces: true,
    act: (force) => changed(id, "POST", `${address(id)}/restart?force=${force}`),
  });
}

export function remove(row: Row): void {
  const { id } = row.app;
  confirm({
    title: `Delete ${id}`,
    meaning: <p>The definition with its versions is deleted, and {some(row.app.tasks.length, "instance")} are drained and stopped. Nothing is kept to bring it back from.</p>,
    verb: `Delete ${id}`,
    danger: true,
    act: () => changed(id, "DELETE", address(id)),
  });
}

export function kill(row: Row, task: string, scaled: boolean): void {
  const { id } = row.app;
  confirm({
    title: scaled ? "Stop an instance and scale down" : "Stop an instance",
    meaning: <p>{task} is drained and stopped. {scaled ? `${id} is scaled to ${Math.max(0, row.app.instances - 1)}.` : "A new one takes its place."}</p>,
    verb: scaled ? "Stop and scale down" : "Stop it",
    danger: true,
    act: () => changed(id, "DELETE", `${address(id)}/tasks/${encodeURIComponent(task)}?scale=${scaled}`),
  });
}

export function endDelay(row: Row): void {
  const { id } = row.app;
  confirm({
    title: `Try ${id} again now`,
    meaning: <p>The delay after its failures ends, and its waiting instances are launched with the next offer.</p>,
    verb: "Try now",
    act: () => changed(id, "DELETE", `/v2/queue/${encodeURIComponent(id)}/delay`),
  });
}

export function goBack(id: string, version: string, definition: Record<string, unknown>): void {
  const { version: _version, versionInfo: _info, ...wanted } = definition;
  confirm({
    title: `Take ${id} back to ${version}`,
    meaning: preview(id, wanted),
    verb: "Take it back",
    forces: true,
    act: (force) => changed(id, "PUT", `${address(id)}?force=${force}`, { version }),
  });
}

export function releaseBrake(reason: string): void {
  confirm({
    title: "Release the disaster brake",
    meaning: (
      <>
        <p>{reason}</p>
        <p>Launching and stopping go on at once, and what is lost is replaced. Tasks that the store knows nothing of are killed.</p>
      </>
    ),
    verb: "Release the brake",
    danger: true,
    act: async () => {
      await call("DELETE", "/v2/brake");
      store.touch();
      return "The brake is released.";
    },
  });
}

const STEER: Record<string, [string, string]> = {
  pause: ["Pause", "No more instances of what is new are started, and no more of what was before are stopped, until it is resumed."],
  resume: ["Resume", "It goes on where it stopped."],
  promote: ["Promote", "Apps that stand at a gate of their canary go on to the next step."],
};

export function steer(deployment: Deployment, how: "pause" | "resume" | "promote"): void {
  const [verb, meaning] = STEER[how]!;
  confirm({
    title: `${verb} the deployment of ${deployment.affectedApps.slice(0, 3).join(", ")}`,
    meaning: <p>{meaning}</p>,
    verb,
    act: async () => {
      await call("POST", `/v2/deployments/${encodeURIComponent(deployment.id)}/${how}`);
      store.touch(...deployment.affectedApps);
    },
  });
}

export function rollBack(deployment: Deployment): void {
  confirm({
    title: `Roll back the deployment of ${deployment.affectedApps.slice(0, 3).join(", ")}`,
    meaning: (
      <>
        <p>Another deployment takes these apps back to what they were before:</p>
        <ul>
          {deployment.affectedApps.slice(0, 20).map((app) => (
            <li key={app}>{app}</li>
          ))}
        </ul>
        {deployment.affectedApps.length > 20 && <p>and {deployment.affectedApps.length - 20} more</p>}
      </>
    ),
    verb: "Roll back",
    danger: true,
    act: async () => {
      const answer = await call<{ deploymentId: string }>("DELETE", `/v2/deployments/${encodeURIComponent(deployment.id)}`);
      store.touch(...deployment.affectedApps);
      return `Deployment ${answer.body.deploymentId} takes it back.`;
    },
  });
}

export function putApp(id: string, body: unknown, force: boolean): Promise<string> {
  return changed(id, "PUT", `${address(id)}?partialUpdate=false&force=${force}`, body);
}
