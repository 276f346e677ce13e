/** Deployments as they move, what is being drained, and the deployments that have ended. */

import type { JSX } from "preact";

import { rollBack, steer } from "../actions.tsx";
import { shortName, some } from "../model.ts";
import { store, useClock, useStore } from "../store.ts";
import type { App, Deployment, Task } from "../types.ts";
import { action, clock, span } from "../words.ts";
import { AppLink, Card, Clip, Empty, Health, LongList } from "./parts.tsx";

const APPS_MOST = 12;

export function DeploymentsPage(): JSX.Element {
  const { deployments, ended, model, version } = useStore();
  const now = useClock(1000);
  const drains: { app: App; task: Task }[] = [];
  for (const { app } of model.rows.values()) for (const task of app.tasks) if (task.condition === "stopping") drains.push({ app, task });
  return (
    <>
      <h1>Deployments and drains</h1>
      {deployments.length === 0 && (
        <Empty title="No deployment is under way">
          <p>Whatever is changed shows up here, step by step.</p>
        </Empty>
      )}
      {deployments.map((deployment) => (
        <Moving key={deployment.id} deployment={deployment} now={now} version={version} />
      ))}
      <Card title={<>Being drained and stopped <span class="dim">{drains.length}</span></>}>
        {drains.length === 0 ? (
          <p class="dim pad">Nothing. An instance that is to go leaves the balancers first, and ends once its requests have.</p>
        ) : (
          <LongList
            items={drains}
            height={52}
            label="Instances that are being drained"
            class="drains"
            keyOf={({ task }) => task.id}
            draw={({ app, task }) => (
              <>
                <span role="cell" class="grow two-lines">
                  <AppLink id={app.id} />
                  <span class="dim small one-line">{task.note ? <Clip text={task.note} most={200} /> : "out of the balancers, then ended"}</span>
                </span>
                <span role="cell" class="mono wide">
                  {shortName(task.id)}
                </span>
                <span role="cell">
                  <bdi>{model.agents.get(task.agent)?.host ?? task.agent}</bdi>
                </span>
              </>
            )}
          />
        )}
      </Card>
      <Card title="Ended">
        {ended.length === 0 ? (
          <p class="dim pad">None since this scheduler leads.</p>
        ) : (
          <ul class="ended">
            {ended.map((deployment) => (
              <li key={deployment.id}>
                <span class={`badge ${deployment.eratos.outcome === "done" ? "fine" : deployment.eratos.outcome === "failed" ? "bad" : "waits"}`}>{deployment.eratos.outcome}</span>
                <span class="grow">
                  <Apps deployment={deployment} />
                  {deployment.eratos.reason && (
                    <span class="dim small block">
                      <Clip text={deployment.eratos.reason} />
                    </span>
                  )}
                </span>
                <span class="dim small" title={deployment.eratos.endedAt}>
                  {span(now.getTime() - Date.parse(deployment.eratos.endedAt!))} ago, took {span(Date.parse(deployment.eratos.endedAt!) - Date.parse(deployment.eratos.begunAt))}
                </span>
              </li>
            ))}
          </ul>
        )}
      </Card>
    </>
  );
}

function Apps({ deployment }: { deployment: Deployment }): JSX.Element {
  const { affectedApps } = deployment;
  return (
    <span class="app-list">
      {affectedApps.slice(0, 4).map((app) => (
        <AppLink key={app} id={app} />
      ))}
      {affectedApps.length > 4 && <span class="dim">and {affectedApps.length - 4} more</span>}
    </span>
  );
}

function Moving({ deployment, now }: { deployment: Deployment; now: Date; version: number }): JSX.Element {
  const found = deployment.eratos;
  const { steps = [], currentStep = 1 } = deployment;
  const gates = Object.entries(found.atGateSince ?? {});
  const acts = deployment.affectedApps.every((app) => store.may("deploy", app));
  const left = Object.values(found.instancesLeft ?? {}).reduce((sum, count) => sum + count, 0);
  return (
    <Card
      class="deployment"
      title={
        <>
          <Apps deployment={deployment} />
          {found.paused ? <span class="badge waits">paused</span> : gates.length ? <span class="badge waits">at a gate</span> : <span class="badge moves">under way</span>}
          {found.rollsBack && <span class="chip">rolls back {found.rollsBack}</span>}
        </>
      }
      actions={
        acts && (
          <>
            {gates.length > 0 && (
              <button type="button" class="primary" onClick={() => steer(deployment, "promote")}>
                Promote …
              </button>
            )}
            <button type="button" onClick={() => steer(deployment, found.paused ? "resume" : "pause")}>
              {found.paused ? "Resume …" : "Pause …"}
            </button>
            <button type="button" class="danger-quiet" onClick={() => rollBack(deployment)}>
              Roll back …
            </button>
          </>
        )
      }
    >
      <ol class="steps" aria-label="Steps">
        {steps.map((step, index) => (
          <li key={index} class={index + 1 < currentStep ? "done" : index + 1 === currentStep ? "now" : "later"} aria-current={index + 1 === currentStep ? "step" : undefined}>
            <span class="step-number">{index + 1}</span>
            <span>
              {step.actions.slice(0, 3).map(action).join(", ")}
              {step.actions.length > 3 && ` and ${step.actions.length - 3} more`}
            </span>
          </li>
        ))}
      </ol>
      {gates.map(([app, since]) => (
        <p key={app} class="warn-text pad">
          {app} stands at a gate since {clock(since, now)}: {found.newInstancesAtMost?.[app] ?? 0} of its instances are of the new version and ready.
        </p>
      ))}
      <ul class="progress">
        {deployment.affectedApps.slice(0, APPS_MOST).map((id) => {
          const row = store.model.rows.get(id);
          const waits = found.waiting?.[id];
          return (
            <li key={id}>
              <span class="grow">
                <AppLink id={id} />
                {waits && waits.length > 0 && <span class="dim small block">waits for {waits.join(", ")}</span>}
              </span>
              {row ? <Health row={row} /> : <span class="dim">gone</span>}
              <span class="dim small left">{found.instancesLeft?.[id] ? `${some(found.instancesLeft[id]!, "instance")} left` : "at rest"}</span>
            </li>
          );
        })}
      </ul>
      {deployment.affectedApps.length > APPS_MOST && <p class="dim pad">and {some(deployment.affectedApps.length - APPS_MOST, "more app")}</p>}
      <p class="dim small pad">
        <span class="mono">{deployment.id}</span>: began {span(now.getTime() - Date.parse(found.begunAt))} ago, {some(left, "instance")} left
        {found.deadline && `; ends as failed unless it comes further by ${clock(found.deadline, now)}`}
      </p>
    </Card>
  );
}
