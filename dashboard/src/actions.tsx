/** What can be done to apps and deployments: each with what it will mean, and what asks first. */

import type { ComponentChildren } from "preact";

import { call, get } from "./api.ts";
import { instanceOf } from "./ids.ts";
import { meaning } from "./jobs.ts";
import { some, type Row } from "./model.ts";
import { store } from "./store.ts";
import type { ActiveRun, Agent, Deployment, Job, Move, Plan, Volume } from "./types.ts";
import { confirm } from "./view/dialog.tsx";
import { link } from "./view/parts.tsx";
import { mebibytes, planned } from "./words.ts";

export function address(id: string): string {
  return `/v2/apps/${encodeURIComponent(id)}`;
}

export function podAddress(id: string): string {
  return `/v2/pods/${encodeURIComponent(id)}`;
}

export function jobAddress(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`;
}

export function quotaAddress(group: string): string {
  return `/v2/quotas/${encodeURIComponent(group)}`;
}

/** What a change of an app or, at its own address, of a pod would mean, as the API plans it. */
export async function preview(id: string, body: unknown, at = address(id), more = ""): Promise<ComponentChildren> {
  const plan = (await call<Plan>("PUT", `${at}?dryRun=true${more}`, body)).body;
  const locked = Object.entries(plan.eratos?.lockedBy ?? {});
  const held = Object.entries(plan.eratos?.heldBy ?? {});
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
      {held.map(([app, why]) => (
        <p key={app} class="warn">
          {why}: the change is refused unless it is forced.
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

/** A pod has no partial change: its definition is put whole, with another number. */
async function scaledPod(id: string, instances: number): Promise<unknown> {
  return { ...(await get<Record<string, unknown>>(podAddress(id))), scaling: { kind: "fixed", instances } };
}

export function scale(row: Row, instances: number): void {
  const { id, pod } = row.app;
  const at = podAddress(id);
  confirm({
    title: `Scale ${id} from ${row.app.instances} to ${instances}`,
    meaning: pod ? scaledPod(id, instances).then((body) => preview(id, body, at)) : preview(id, { instances }),
    verb: `Scale to ${instances}`,
    danger: instances < row.app.instances,
    forces: true,
    act: async (force) =>
      pod ? changed(id, "PUT", `${at}?force=${force}`, await scaledPod(id, instances)) : changed(id, "PUT", `${address(id)}?force=${force}`, { instances }),
  });
}

export function restart(row: Row): void {
  const { id } = row.app;
  confirm({
    title: `Restart ${id}`,
    meaning: <p>All {some(row.there, "instance")} are replaced by new ones of the same version, within the app's upgrade strategy. The old ones are drained before they stop.</p>,
    verb: "Restart",
    forces: true,
    act: (force) => changed(id, "POST", `${address(id)}/restart?force=${force}`),
  });
}

export function remove(row: Row): void {
  const { id, pod } = row.app;
  confirm({
    title: `Delete ${id}`,
    meaning: <p>The definition with its versions is deleted, and {some(row.there, "instance")} are drained and stopped. Nothing is kept to bring it back from.</p>,
    verb: `Delete ${id}`,
    danger: true,
    forces: true,
    act: (force) => changed(id, "DELETE", pod ? `${podAddress(id)}?force=${force}` : address(id)),
  });
}

export function kill(row: Row, task: string, scaled: boolean): void {
  const { id, pod } = row.app;
  const at = pod ? `${podAddress(id)}::instances/${encodeURIComponent(instanceOf(task))}` : `${address(id)}/tasks/${encodeURIComponent(task)}?scale=${scaled}`;
  confirm({
    title: scaled ? "Stop an instance and scale down" : "Stop an instance",
    meaning: <p>{task} is drained and stopped. {scaled ? `${id} is scaled to ${Math.max(0, row.app.instances - 1)}.` : "A new one takes its place."}</p>,
    verb: scaled ? "Stop and scale down" : "Stop it",
    danger: true,
    act: () => changed(id, "DELETE", at),
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

/** A pod goes back to a definition with as many instances as it has now. */
export function goBackPod(id: string, version: string, definition: Record<string, unknown>): void {
  const { version: _version, ...former } = definition;
  const wanted = get<Record<string, unknown>>(podAddress(id)).then(({ scaling }) => ({ ...former, scaling }));
  confirm({
    title: `Take ${id} back to ${version}`,
    meaning: wanted.then((body) => preview(id, body, podAddress(id))),
    verb: "Take it back",
    forces: true,
    act: async (force) => changed(id, "PUT", `${podAddress(id)}?force=${force}`, await wanted),
  });
}

export function runNow(job: Job): void {
  confirm({
    title: `Run ${job.id} now`,
    meaning: (
      <ul>
        {meaning(job).map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
    ),
    verb: "Run it now",
    act: async () => {
      const { body } = await call<{ id: string }>("POST", `${jobAddress(job.id)}/runs`);
      return `The run ${body.id} of ${job.id} has begun.`;
    },
  });
}

export function stopRun(job: Job, run: ActiveRun): void {
  confirm({
    title: `Stop the run ${run.id}`,
    meaning: (
      <p>
        {run.tasks.length ? "Its task gets SIGTERM, and SIGKILL once its grace period is over. " : "It has no task yet, and will have none. "}
        It counts as failed{job.schedules.length ? ", and schedules go on" : ""}.
      </p>
    ),
    verb: "Stop the run",
    danger: true,
    act: async () => {
      await call("POST", `${jobAddress(job.id)}/runs/${encodeURIComponent(run.id)}/actions/stop`);
    },
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

export function drain(agent: Agent, apps: string[]): void {
  confirm({
    title: `Drain ${agent.host}`,
    meaning: (
      <>
        <p>
          Nothing more is launched there until it is given back. {apps.length ? "What runs there of these apps is replaced elsewhere, and stopped once that is ready:" : "Nothing of eratos runs there."}
        </p>
        <ul>
          {apps.slice(0, 20).map((app) => (
            <li key={app}>{app}</li>
          ))}
        </ul>
        {apps.length > 20 && <p>and {apps.length - 20} more</p>}
        <p>
          Runs of jobs, and instances whose volumes do not follow, stay until they end. <code>eratos agent drain {agent.host} --deadline SECONDS</code> has what is left stopped then.
        </p>
      </>
    ),
    verb: "Drain it",
    danger: true,
    act: async () => {
      await call("PUT", `/v2/drains/${encodeURIComponent(agent.host)}`, {});
      return `${agent.host} is drained.`;
    },
  });
}

export function undrain(agent: Agent): void {
  confirm({
    title: `Give ${agent.host} back`,
    meaning: <p>Instances are launched there again. What was to leave, and has not, stays.</p>,
    verb: "Give it back",
    act: async () => {
      await call("DELETE", `/v2/drains/${encodeURIComponent(agent.host)}`);
      return `${agent.host} takes instances again.`;
    },
  });
}

export function move(volume: Volume): void {
  confirm({
    title: `Move an instance of ${volume.appId}`,
    meaning: (
      <p>
        The instance with {volume.containerPath} is stopped once another host than {volume.host} has room; it starts there with copies of its volumes, and is away while they are made. Until a copy is whole the old volumes count.
      </p>
    ),
    verb: "Move it",
    danger: true,
    act: async () => {
      await call("POST", "/v2/moves", { instance: volume.instanceId });
    },
  });
}

export function destroy(volume: Volume): void {
  confirm({
    title: `Destroy a volume of ${volume.appId}`,
    meaning: (
      <p>
        {volume.id} ({volume.containerPath}, {mebibytes(volume.size)}) on {volume.host} is destroyed with all data in it. Nothing brings it back.
      </p>
    ),
    verb: "Destroy it",
    danger: true,
    act: async () => {
      const { body } = await call<Volume>("DELETE", `/v2/volumes/${encodeURIComponent(volume.id)}`);
      return body.use === "deleting" ? `${body.id}: ${body.message}` : `${body.id} is gone.`;
    },
  });
}

export function stay(move: Move): void {
  confirm({
    title: `Cancel the move of ${move.app}`,
    meaning: <p>Its instance stays on {move.from}, or starts there again with the data that it had when it was stopped. Copies are destroyed.</p>,
    verb: "Cancel the move",
    danger: true,
    act: async () => {
      await call("DELETE", `/v2/moves/${encodeURIComponent(move.app)}`);
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
    forces: how === "promote",
    act: async (force) => {
      await call("POST", `/v2/deployments/${encodeURIComponent(deployment.id)}/${how}${force ? "?force=true" : ""}`);
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

export function putPod(id: string, body: unknown, force: boolean): Promise<string> {
  return changed(id, "PUT", `${podAddress(id)}?force=${force}`, body);
}

export async function putJob(id: string, body: unknown, there: boolean): Promise<string> {
  await (there ? call("PUT", jobAddress(id), body) : call("POST", "/v1/jobs", body));
  return `The job ${id} is ${there ? "changed" : "made"}.`;
}

export function removeJob(job: Job): void {
  const active = job.activeRuns.length;
  confirm({
    title: `Delete ${job.id}`,
    meaning: (
      <p>
        The job is deleted with its schedules and its history{active ? `, and ${some(active, "run")} at work ${active === 1 ? "is" : "are"} stopped` : ""}. Nothing is kept to bring it back from.
      </p>
    ),
    verb: `Delete ${job.id}`,
    danger: true,
    act: async () => {
      await call("DELETE", `${jobAddress(job.id)}?stopCurrentJobRuns=${active > 0}`);
      location.hash = link("jobs");
      return `The job ${job.id} is deleted.`;
    },
  });
}

export async function putQuota(group: string, body: unknown): Promise<string> {
  const { notice } = await call("PUT", quotaAddress(group), body);
  return [`The quota of ${group} is set.`, notice].filter(Boolean).join(" ");
}

export function removeQuota(group: string): void {
  confirm({
    title: `Delete the quota of ${group}`,
    meaning: <p>What is wanted within {group} is bounded no longer. Quotas of groups around it, and within it, go on to hold.</p>,
    verb: "Delete the quota",
    danger: true,
    act: async () => {
      await call("DELETE", quotaAddress(group));
      location.hash = link("apps");
      return `${group} has no quota any more.`;
    },
  });
}
