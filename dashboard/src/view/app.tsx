/** One app: how it is and why, its instances, its figures, its definition with versions, and what can be done to it. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { address, endDelay, goBack, goBackPod, kill, podAddress, remove, restart, scale } from "../actions.tsx";
import { get } from "../api.ts";
import { last, measured } from "../autoscaling.ts";
import { diff, ordered } from "../diff.ts";
import { toJson, toYaml } from "../document.ts";
import { restarts, shortName, some, type Row } from "../model.ts";
import { store, useAnswer, useClock, useFigures, useLast, useStore, useUsages } from "../store.ts";
import type { App, Explanation, Task, TaskUsage } from "../types.ts";
import { left, taken, type Left } from "../usage.ts";
import { clock, span } from "../words.ts";
import { Badge, Card, Clip, ConditionBadge, Empty, Health, link, LongList, Sentence, Spark } from "./parts.tsx";
import { NeedsOf } from "./needs.tsx";
import { Containers } from "./pods.tsx";
import { TaskLog } from "./tasklog.tsx";
import { VolumesOf } from "./volumes.tsx";

export function AppPage({ id }: { id: string }): JSX.Element {
  const { model, connection, version } = useStore();
  const row = model.rows.get(id);
  if (!row)
    return connection === "loading" ? (
      <p class="dim">Loading …</p>
    ) : (
      <Empty title={`There is no app ${id.slice(0, 300)}`}>
        <p>It was deleted, or you may not view it.</p>
        <a href={link("apps")}>All apps</a>
      </Empty>
    );
  return <Shown key={id} row={row} version={version} />;
}

function Shown({ row }: { row: Row; version: number }): JSX.Element {
  const { app } = row;
  const acts = store.may("deploy", app.id) && !app.deleted;
  const names = app.id.split("/").slice(1);
  return (
    <>
      <nav class="crumbs" aria-label="Groups">
        <a href={link("apps")}>Apps</a>
        {names.slice(0, -1).map((name, index) => (
          <a key={index} href={link("apps", { q: `/${names.slice(0, index + 1).join("/")}/` })}>
            <bdi>{name}</bdi>
          </a>
        ))}
      </nav>
      <div class="page-head">
        <h1 class="app-name">
          <bdi>{app.id}</bdi> <Badge standing={row.standing} />
          {app.pod && <span class="chip">pod</span>}
        </h1>
        {acts && <Actions row={row} />}
      </div>
      {row.sentence && (
        <Sentence tone={row.standing === "bad" ? "bad" : row.standing === "waits" ? "warn" : "plain"}>
          <Clip text={row.sentence} most={1500} />
        </Sentence>
      )}
      <Charts app={app.id} />
      <Budget app={app.id} />
      <Scaled app={app.id} />
      <Reasons row={row} acts={acts} />
      <Instances row={row} acts={acts} />
      {app.pod && !app.deleted && <Containers id={app.id} />}
      {app.lastFailure && <LastFailure row={row} />}
      {!app.pod && <VolumesOf app={app.id} />}
      {!app.pod && <NeedsOf app={app.id} />}
      {!app.deleted && <Definition row={row} acts={acts} />}
    </>
  );
}

function Actions({ row }: { row: Row }): JSX.Element {
  const { app } = row;
  return (
    <div class="actions">
      {app.perHost ? <span class="dim">One on each of {some(app.instances, "host")}</span> : <Scale row={row} />}
      {!app.pod && (
        <button type="button" onClick={() => restart(row)}>
          Restart …
        </button>
      )}
      <a class="button" href={link("edit", { id: app.id, ...(app.pod && { kind: "pod" }) })}>
        Edit …
      </a>
      <button type="button" class="danger-quiet" onClick={() => remove(row)}>
        Delete …
      </button>
    </div>
  );
}

function Scale({ row }: { row: Row }): JSX.Element {
  const { app } = row;
  const [count, setCount] = useState<string | null>(null);
  const wanted = count === null ? app.instances : Number(count);
  const changed = Number.isInteger(wanted) && wanted >= 0 && wanted !== app.instances;
  return (
    <form
      class="scale"
      onSubmit={(event) => {
        event.preventDefault();
        if (changed) scale(row, wanted);
        setCount(null);
      }}
    >
      <label>
        <span class="unseen">Instances wanted</span>
        <input type="number" min={0} step={1} value={count ?? app.instances} onInput={(event) => setCount(event.currentTarget.value)} />
      </label>
      <button type="submit" disabled={!changed} class={changed ? "primary" : ""}>
        Scale …
      </button>
    </form>
  );
}

function Charts({ app }: { app: string }): JSX.Element | null {
  const { samples, balancers } = useFigures();
  if (!balancers || !balancers.some((balancer) => balancer.services.some((service) => service.app === app))) return null;
  const of = (pick: (found: { rate: number; answer: number; failed: number }) => number): number[] =>
    samples.map((sample) => pick(sample.apps.get(app) ?? { rate: 0, answer: 0, failed: 0 }));
  return (
    <div class="sparks card" role="group" aria-label="Requests through the balancers">
      <Spark values={of((found) => found.rate)} label="Requests" unit="/ s" />
      <Spark values={of((found) => found.answer)} label="Time to answer" unit="ms" />
      <Spark values={of((found) => found.failed)} label="Answers with 5xx" unit="/ s" tone="bad" />
    </div>
  );
}

function Reasons({ row, acts }: { row: Row; acts: boolean }): JSX.Element | null {
  const { app } = row;
  const now = useClock(1000);
  // Asked anew with each change of the app, which is a new object then.
  const key = `${app.id} ${app.version} ${app.waiting} ${app.tasks.map((task) => task.condition + (task.note ?? "")).join()} ${app.deployment ?? ""} ${app.why ?? ""}`;
  const found = useAnswer<Explanation>(key, (signal) => get(`/v2/explain/${encodeURIComponent(app.id)}`, signal), app.id);
  const explanation = useLast(found.value);
  const said = explanation?.reasons ?? [];
  const notes = explanation?.definition ?? [];
  const claims = explanation?.balancers ?? [];
  if (!said.length && !notes.length && !claims.length) return null;
  return (
    <Card title={said.length ? "What waits, and why" : "How it is reached"}>
      <ul class="reasons">
        {said.map((reason) => (
          <li key={`${reason.reason} ${reason.message}`}>
            <span class="chip">
              {reason.count > 0 && <b>{reason.count}</b>} {reason.reason}
            </span>
            <div class="grow">
              <Clip text={reason.message} most={600} />
              {reason.until && (
                <div class="dim small">
                  until {clock(reason.until, now)}, {Date.parse(reason.until) > now.getTime() ? `in ${span(Date.parse(reason.until) - now.getTime())}` : "now"}
                </div>
              )}
            </div>
            {acts && reason.until && ["BackOff", "Backoff", "Delay"].includes(reason.reason) && (
              <button type="button" onClick={() => endDelay(row)}>
                Try now …
              </button>
            )}
          </li>
        ))}
        {claims.map((claim) => (
          <li key={claim}>
            <span class="chip">Balancers</span>
            <div class="grow">
              <Clip text={claim} most={600} />
            </div>
          </li>
        ))}
        {notes.map((note) => (
          <li key={note.path + note.message}>
            <span class="chip">{note.verdict}</span>
            <div class="grow">
              <code>{note.path}</code> {note.message}
            </div>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Budget({ app }: { app: string }): JSX.Element | null {
  const found = useFigures().budgets[app];
  const now = useClock(10_000);
  if (!found) return null;
  const { tone, share, head, text } = left(found);
  return (
    <Card title={`Error budget: ${found.objective}% in ${found.window}`}>
      <div class="pad budget">
        <span class="bar" aria-hidden="true">
          <i class={BARS[tone]} style={{ width: `${share * 100}%` }} />
        </span>
        <p>
          <strong class={`${tone}-text`}>{head}</strong>: {text}
          {found.until && `; whole again at ${clock(found.until, now)} if nothing fails any more`}
        </p>
        {found.spent && <p class="bad-text">It is spent: what is planned waits, and a change of the definition is refused unless it is forced.</p>}
        {found.missing && (
          <p class="dim">
            Not all is known, and of that nothing is spent or earned: <Clip text={found.missing} most={300} />
          </p>
        )}
      </div>
    </Card>
  );
}

function Scaled({ app }: { app: string }): JSX.Element | null {
  const found = useFigures().autoscaling[app];
  const now = useClock(10_000);
  if (!found) return null;
  const changed = last(found);
  return (
    <Card
      title={
        <>
          Autoscaling: {found.min} to {some(found.max, "instance")}
          {found.mode === "advise" && <span class="chip">advises, and changes nothing</span>}
        </>
      }
    >
      <div class="pad">
        {measured(found).map((line) => (
          <p key={line}>{line}</p>
        ))}
        <p>
          <Clip text={found.message} most={600} />
          {found.until && <span class="dim">, until {clock(found.until, now)}</span>}
        </p>
        {found.missing && (
          <p class="warn-text">
            Not all is measured, so nothing is scaled down: <Clip text={found.missing} most={300} />
          </p>
        )}
        {changed && (
          <p class="dim small">
            {span(now.getTime() - Date.parse(found.last!.at))} ago: <Clip text={changed} most={600} />
          </p>
        )}
      </div>
    </Card>
  );
}

const BARS: Record<Left, string> = { good: "ready", warn: "waits", bad: "bad", plain: "use" };

const ORDER = ["unhealthy", "unreachable", "launching", "unready", "stopping", "ready"];

function Instances({ row, acts }: { row: Row; acts: boolean }): JSX.Element {
  const { app } = row;
  const now = useClock(5000);
  const usages = useUsages(app.id);
  const tasks = [...app.tasks].sort((a, b) => ORDER.indexOf(a.condition) - ORDER.indexOf(b.condition) || (a.id < b.id ? -1 : 1));
  const title = (
    <>
      Instances <Health row={row} />
      {row.old > 0 && <span class="chip">{row.old} of an earlier version</span>}
    </>
  );
  return (
    <Card
      title={title}
      actions={
        app.tasks.length > 0 && (
          <a class="button" href={link("logs", { app: app.id })}>
            Follow their logs
          </a>
        )
      }
    >
      {tasks.length === 0 ? (
        <p class="dim pad">{app.instances ? "None has a task yet." : "None is wanted."}</p>
      ) : (
        <LongList
          items={tasks}
          height={56}
          label={`Instances of ${app.id}`}
          class="instances"
          keyOf={(task) => task.id}
          columns={[
            ["Instance", "grow"],
            ["State", "condition-column"],
            ["Host and ports", "host-column"],
            ["CPU, memory", "usage-column wide"],
            ["Since, restarts", "since-column wide"],
            ["Actions", "do-column"],
          ]}
          draw={(task) => <InstanceRow row={row} task={task} usage={usages.tasks.get(task.id)} error={usages.error} acts={acts} now={now} />}
        />
      )}
    </Card>
  );
}

function InstanceRow({ row, task, usage, error, acts, now }: { row: Row; task: Task; usage: TaskUsage | undefined; error: string; acts: boolean; now: Date }): JSX.Element {
  const { cpu, memory, title } = taken(usage);
  const agent = store.model.agents.get(task.agent);
  const again = restarts(task.id);
  return (
    <>
      <span role="cell" class="grow two-lines">
        <span title={task.id} class="mono">
          {shortName(task.id)} {task.version !== row.app.version && <span class="chip">{clock(task.version, now)}</span>}
        </span>
        {task.note && (
          <span class="dim small one-line">
            <Clip text={task.note} most={160} />
          </span>
        )}
      </span>
      <span role="cell" class="condition-column">
        <ConditionBadge condition={task.condition} />
      </span>
      <span role="cell" class="host-column two-lines">
        <bdi class="one-line">{agent?.host ?? task.agent}</bdi>
        <span class="dim small one-line">{task.ports.map((port) => `:${port}`).join(" ")}</span>
      </span>
      <span role="cell" class="usage-column wide two-lines" title={error || title}>
        <span class="one-line">{cpu}</span>
        <span class="dim small one-line">{memory}</span>
      </span>
      <span role="cell" class="since-column wide two-lines" title={task.since}>
        <span>{span(now.getTime() - Date.parse(task.since))}</span>
        <span class="dim small">{again ? `${some(again, "restart")}` : "never restarted"}</span>
      </span>
      <span role="cell" class="do-column">
        <a class="button quiet" href={link("logs", { app: row.app.id, task: task.id })} aria-label={`Log of ${shortName(task.id)}`}>
          Log
        </a>
        {acts && task.condition !== "stopping" && (
          <button type="button" class="quiet" onClick={() => kill(row, task.id, false)} aria-label={`Stop ${shortName(task.id)}`}>
            Stop …
          </button>
        )}
      </span>
    </>
  );
}

function LastFailure({ row }: { row: Row }): JSX.Element {
  const failure = row.app.lastFailure!;
  const now = useClock(10_000);
  return (
    <Card title="Last failure">
      <div class="pad">
        <p>
          {failure.state} on <bdi>{failure.host}</bdi>, {span(now.getTime() - Date.parse(failure.at))} ago: <Clip text={failure.message || "it said nothing"} most={800} />
        </p>
        <TaskLog key={failure.taskId} task={failure.taskId} />
      </div>
    </Card>
  );
}

type Definition = Record<string, unknown>;

async function definition(app: App, signal: AbortSignal): Promise<Definition> {
  if (app.pod) return clean(await get<Definition>(podAddress(app.id), signal));
  return clean((await get<{ app: Definition }>(address(app.id), signal)).app);
}

async function versionsOf(app: App, signal: AbortSignal): Promise<string[]> {
  if (app.pod) return get<string[]>(`${podAddress(app.id)}::versions`, signal);
  return (await get<{ versions: string[] }>(`${address(app.id)}/versions`, signal)).versions;
}

function Definition({ row, acts }: { row: Row; acts: boolean }): JSX.Element {
  const { app } = row;
  const [chosen, choose] = useState("");
  const [form, setForm] = useState<"yaml" | "json">("yaml");
  const current = useAnswer<Definition>(`${app.id} ${app.version} ${app.instances}`, (signal) => definition(app, signal), app.id);
  const versions = useAnswer<string[]>(`${app.id} ${app.version}`, (signal) => versionsOf(app, signal), app.id);
  const at = app.pod ? `${podAddress(app.id)}::versions` : `${address(app.id)}/versions`;
  const other = useAnswer<Definition>(chosen && `${app.id} ${chosen}`, async (signal) => clean(await get<Definition>(`${at}/${chosen}`, signal)));
  const now = new Date();
  const write = (value: unknown): string => (form === "yaml" ? toYaml(ordered(value)) : toJson(ordered(value)));
  const earlier = (versions.value ?? []).filter((version) => version !== app.version);
  return (
    <Card
      title="Definition"
      actions={
        <>
          <div class="switch" role="group" aria-label="Written as">
            {(["yaml", "json"] as const).map((name) => (
              <button key={name} type="button" aria-pressed={form === name} onClick={() => setForm(name)}>
                {name.toUpperCase()}
              </button>
            ))}
          </div>
          <select aria-label="Compare with a version" value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
            <option value="">Version {clock(app.version, now)}</option>
            {earlier.map((version) => (
              <option key={version} value={version}>
                What changed since {clock(version, now)}
              </option>
            ))}
          </select>
          {acts && chosen && other.value && (
            <button type="button" onClick={() => (app.pod ? goBackPod : goBack)(app.id, chosen, other.value!)}>
              Take it back to this …
            </button>
          )}
        </>
      }
    >
      {current.error && <Sentence tone="bad">{current.error}</Sentence>}
      {other.error && <Sentence tone="bad">{other.error}</Sentence>}
      {current.value && (
        <pre class="definition" tabIndex={0} aria-label="Definition">
          {chosen && other.value
            ? diff(write(other.value), write(current.value)).map((line, index) => (
                <span key={index} class={line.kind}>
                  {line.kind === "gone" ? <del>- {line.text}</del> : line.kind === "new" ? <ins>+ {line.text}</ins> : `  ${line.text}`}
                  {"\n"}
                </span>
              ))
            : write(current.value)}
        </pre>
      )}
    </Card>
  );
}

const NOT_DEFINED = ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "deployments", "tasks", "lastTaskFailure", "versionInfo", "version", "taskStats", "readinessCheckResults"];

/** The definition without what is counted, and without fields that say nothing. */
export function clean(found: Definition): Definition {
  return Object.fromEntries(Object.entries(found).filter(([key, value]) => !NOT_DEFINED.includes(key) && value !== null && !isEmpty(value)));
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
