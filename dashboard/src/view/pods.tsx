/** Pods: each with its instances, of one also the containers of each instance. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import { get } from "../api.ts";
import { Part } from "../live.ts";
import { some } from "../model.ts";
import { container, fits, stable, state, summary, versionsOf } from "../pods.ts";
import { store, useClock, usePart } from "../store.ts";
import type { Happening, Pod, PodInstance } from "../types.ts";
import { clock, span } from "../words.ts";
import { AppLink, Badge, Card, Clip, NewOne, Sentence } from "./parts.tsx";
import { Searched } from "./searched.tsx";
import { TaskLog } from "./tasklog.tsx";

/** Whether the plan of an event names pods: one that is new is not known as a pod before. */
function plansPods(event: Happening): boolean {
  const steps = (event.plan as { steps?: { actions?: { pod?: string }[] }[] } | undefined)?.steps ?? [];
  return steps.some((step) => (step.actions ?? []).some((action) => action.pod));
}

function isPod(id: string): boolean {
  return store.model.rows.get(id)?.app.pod === true;
}

const pods = new Part<Pod[]>(
  () => get("/v2/pods/::status"),
  (event, apps, known) => plansPods(event) || apps.some((id) => isPod(id) || (known ?? []).some((pod) => pod.id === id)),
);

export function PodsPage({ values, set }: { values: URLSearchParams; set: (values: Record<string, string>) => void }): JSX.Element {
  const now = useClock(5000);
  return (
    <Searched
      title="Pods"
      part={pods}
      values={values}
      set={set}
      words="a pod, a container, an image"
      fits={fits}
      none="There is no pod yet"
      advice={store.acts ? "Make one here, or with: eratos apply pod.json" : "Or none that you may view."}
      actions={store.acts && <NewOne kind="pod" />}
      one="pod"
      height={60}
      class="pods"
      keyOf={(pod) => pod.id}
      columns={[
        ["Pod", "grow"],
        ["State", "state-column"],
        ["Stable", "stable-column"],
        ["Version", "since-column wide"],
      ]}
      draw={(pod) => <PodRow pod={pod} now={now} />}
    />
  );
}

function PodRow({ pod, now }: { pod: Pod; now: Date }): JSX.Element {
  const [tone, word] = state(pod.status);
  const versions = versionsOf(pod);
  return (
    <>
      <span role="cell" class="grow two-lines">
        <AppLink id={pod.id} />
        <span class="dim small one-line">
          <Clip text={summary(pod)} most={200} />
        </span>
      </span>
      <span role="cell" class="state-column">
        <Badge standing={tone} word={word} />
      </span>
      <span role="cell" class="stable-column">
        {stable(pod)}
        <span class="dim"> / {pod.spec.scaling?.instances ?? pod.instances.length}</span>
      </span>
      <span role="cell" class="since-column wide two-lines small">
        <span>{pod.spec.version ? clock(pod.spec.version, now) : ""}</span>
        {versions.length > 1 && <span class="dim">{some(versions.length, "version")} run</span>}
      </span>
    </>
  );
}

/** What a pod's page has beside an app's: its containers, as they are defined and as they run. */
export function Containers({ id }: { id: string }): JSX.Element | null {
  const part = useMemo(
    () => new Part<Pod>(() => get(`/v2/pods/${encodeURIComponent(id)}::status`), (_event, apps) => apps.includes(id)),
    [id],
  );
  const { value: pod, error } = usePart(part);
  if (!pod) return error ? <Sentence tone="bad">{error}</Sentence> : <p class="dim">Loading its containers …</p>;
  return (
    <Card title={<>Containers <span class="dim">of each instance</span></>}>
      <ul class="reasons">
        {pod.spec.containers.map((found) => (
          <li key={found.name}>
            <span class="chip">
              <bdi>{found.name.slice(0, 100)}</bdi>
            </span>
            <span class="grow">
              <Clip text={container(found)} />
            </span>
          </li>
        ))}
      </ul>
      {pod.instances.length > 0 && <h3 class="part-title">As they run</h3>}
      <ul class="ended">
        {pod.instances.slice(0, INSTANCES_MOST).map((instance) => (
          <Instance key={instance.id} instance={instance} version={pod.spec.version ?? ""} />
        ))}
      </ul>
      {pod.instances.length > INSTANCES_MOST && <p class="dim pad">and {some(pod.instances.length - INSTANCES_MOST, "more instance")}</p>}
    </Card>
  );
}

const INSTANCES_MOST = 50;

function Instance({ instance, version }: { instance: PodInstance; version: string }): JSX.Element {
  const now = useClock(5000);
  const [log, setLog] = useState("");
  const [tone, word] = state(instance.status);
  const own = instance.specReference?.split("::versions/")[1] ?? version;
  return (
    <li class="pod-instance">
      <div class="pod-head">
        <Badge standing={tone} word={word} />
        <span class="mono">{instance.id.slice(instance.id.indexOf(".instance-") + 10).slice(0, 8)}</span>
        {instance.agentHostname && (
          <span>
            on <bdi>{instance.agentHostname}</bdi>
          </span>
        )}
        {own !== version && <span class="chip">version {clock(own, now)}</span>}
        <span class="dim small" title={instance.statusSince}>
          for {span(now.getTime() - Date.parse(instance.statusSince))}
        </span>
        {instance.message && <span class="dim small">{instance.message}</span>}
      </div>
      <ul class="pod-containers">
        {instance.containers.map((found) => {
          const task = found.containerId.slice(0, -found.name.length - 1);
          const healthy = found.conditions.find((condition) => condition.name === "healthy")?.value;
          return (
            <li key={found.name}>
              <b>
                <bdi>{found.name}</bdi>
              </b>
              <span>{found.status.replace("TASK_", "").toLowerCase()}</span>
              {healthy !== undefined && <span class={healthy === "true" ? "good-text" : "bad-text"}>{healthy === "true" ? "healthy" : "not healthy"}</span>}
              <span class="dim small">{found.endpoints.map((endpoint) => `${endpoint.name}${endpoint.allocatedHostPort ? ` :${endpoint.allocatedHostPort}` : ""}`).join(", ")}</span>
              <button type="button" class="quiet" aria-expanded={log === found.name} aria-label={`Last lines of ${found.name}`} onClick={() => setLog(log === found.name ? "" : found.name)}>
                Log
              </button>
              {log === found.name && (
                <div class="whole">
                  <TaskLog task={task} container={found.name} stamp={found.status} />
                </div>
              )}
            </li>
          );
        })}
      </ul>
    </li>
  );
}
