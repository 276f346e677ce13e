/** Jobs: when each runs next and how it ran last; of one also its runs, their logs, and what was missed. */

import type { ComponentChildren, JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import { removeJob, runNow, stopRun } from "../actions.tsx";
import { get } from "../api.ts";
import { toYaml } from "../document.ts";
import { ordered } from "../diff.ts";
import { pathOf } from "../ids.ts";
import { coming, defined, ended, fits, jobsOf, policy, result, standing } from "../jobs.ts";
import { Part } from "../live.ts";
import { some } from "../model.ts";
import { store, useClock, usePart } from "../store.ts";
import type { ActiveRun, EndedRun, Job, RunTask } from "../types.ts";
import { clock, span } from "../words.ts";
import { clean } from "./app.tsx";
import { Badge, Card, Clip, Empty, link, NewOne, Sentence } from "./parts.tsx";
import { Searched } from "./searched.tsx";
import { TaskLog } from "./tasklog.tsx";

const jobs = new Part<Job[]>(
  () => get("/v1/jobs?embed=activeRuns&embed=schedules&embed=historySummary"),
  (event) => jobsOf(event).length > 0,
);

export function JobLink({ id, children }: { id: string; children?: ComponentChildren }): JSX.Element {
  return (
    <a href={link("job", { id })} class="app-link" title={id}>
      {children ?? <bdi>{id}</bdi>}
    </a>
  );
}

export function JobsPage({ values, set }: { values: URLSearchParams; set: (values: Record<string, string>) => void }): JSX.Element {
  const now = useClock(1000);
  return (
    <Searched
      title="Jobs"
      part={jobs}
      values={values}
      set={set}
      words="a job, a label, a schedule"
      fits={fits}
      none="There is no job yet"
      advice={store.acts ? "Make one here, or with: eratos job apply backup.json" : "Or none that you may view."}
      actions={store.acts && <NewOne kind="job" />}
      one="job"
      height={60}
      class="jobs"
      keyOf={(job) => job.id}
      columns={[
        ["Job", "grow"],
        ["State", "state-column"],
        ["Next, last", "when-column"],
        ["How it went", "since-column wide"],
        ["Actions", "do-column"],
      ]}
      draw={(job) => <JobRow job={job} now={now} />}
    />
  );
}

/** How far ahead an instant is, or that it is due. */
function ahead(at: string, now: Date): string {
  const left = Date.parse(at) - now.getTime();
  return left > 0 ? `in ${span(left)}` : "due now";
}

function ago(at: string, now: Date): string {
  return `${span(now.getTime() - Date.parse(at))} ago`;
}

function schedules(job: Job): string {
  return job.schedules.length ? job.schedules.map((each) => `${each.cron} ${each.timezone}${each.enabled ? "" : " (off)"}`).join("; ") : "by hand";
}

function JobRow({ job, now }: { job: Job; now: Date }): JSX.Element {
  const [tone, word] = standing(job);
  const next = coming(job);
  const last = result(job);
  const summary = job.historySummary;
  return (
    <>
      <span role="cell" class="grow two-lines">
        <JobLink id={job.id} />
        <span class="dim small one-line">
          <span class="narrow">{next ? ahead(next.at, now) : "no instant"}: </span>
          <Clip text={schedules(job)} most={200} />
        </span>
      </span>
      <span role="cell" class="state-column two-lines">
        <span>
          <Badge standing={tone} word={word} />
        </span>
        {job.activeRuns.length > 0 && tone === "bad" && <span class="dim small">{some(job.activeRuns.length, "run")} at work</span>}
      </span>
      <span role="cell" class="when-column two-lines">
        <span class="one-line" title={next?.at}>{next ? ahead(next.at, now) : "no instant"}</span>
        <span class="dim small one-line" title={last?.at}>{last ? ago(last.at, now) : "never"}</span>
      </span>
      <span role="cell" class="since-column wide two-lines small">
        <span>{summary.successCount.toLocaleString("en")} good, {summary.failureCount.toLocaleString("en")} failed</span>
        <span class="dim">{summary.missedCount.toLocaleString("en")} missed</span>
      </span>
      <span role="cell" class="do-column">
        {store.may("deploy", pathOf(job.id)) && (
          <button type="button" class="quiet" onClick={() => runNow(job)} aria-label={`Run ${job.id} now`}>
            Run now …
          </button>
        )}
      </span>
    </>
  );
}

export function JobPage({ id }: { id: string }): JSX.Element {
  const part = useMemo(
    () =>
      new Part<Job>(
        () => get(`/v1/jobs/${encodeURIComponent(id)}?embed=activeRuns&embed=schedules&embed=history&embed=historySummary`),
        (event) => jobsOf(event).includes(id),
      ),
    [id],
  );
  const { value, error, loading } = usePart(part);
  if (loading) return <p class="dim">Loading …</p>;
  // One that was deleted is gone, whatever was known of it.
  if (!value || /does not exist/.test(error))
    return (
      <Empty title={`There is no job ${id.slice(0, 300)}`}>
        <p>{error || "It was deleted, or you may not view it."}</p>
        <a href={link("jobs")}>All jobs</a>
      </Empty>
    );
  return <Shown job={value} error={error} />;
}

function Shown({ job, error }: { job: Job; error: string }): JSX.Element {
  const now = useClock(1000);
  const acts = store.may("deploy", pathOf(job.id));
  const [tone, word] = standing(job);
  const last = ended(job.history!);
  return (
    <>
      <nav class="crumbs" aria-label="Jobs">
        <a href={link("jobs")}>Jobs</a>
      </nav>
      <div class="page-head">
        <h1 class="app-name">
          <bdi>{job.id}</bdi> <Badge standing={tone} word={word} />
        </h1>
        {acts && (
          <div class="actions">
            <button type="button" class="primary" onClick={() => runNow(job)}>
              Run now …
            </button>
            <a class="button" href={link("edit", { id: job.id, kind: "job" })}>
              Edit …
            </a>
            <button type="button" class="danger-quiet" onClick={() => removeJob(job)}>
              Delete …
            </button>
          </div>
        )}
      </div>
      {error && <Sentence tone="bad">{error}</Sentence>}
      {job.description && (
        <p class="dim">
          <Clip text={job.description} most={600} />
        </p>
      )}
      <Schedules job={job} now={now} />
      <AtWork job={job} acts={acts} now={now} />
      {last[0] && <LastRun run={last[0]} now={now} />}
      <Ended runs={last} now={now} job={job} />
      {job.history!.missed.length > 0 && <Missed job={job} now={now} />}
      <Card title="Definition">
        <pre class="definition" tabIndex={0} aria-label="Definition">
          {toYaml(ordered(clean(defined(job))))}
        </pre>
      </Card>
    </>
  );
}

function Schedules({ job, now }: { job: Job; now: Date }): JSX.Element {
  return (
    <Card title="Schedules">
      {job.schedules.length === 0 ? (
        <p class="dim pad">None: it runs by hand.</p>
      ) : (
        <ul class="reasons">
          {job.schedules.map((each) => (
            <li key={each.id}>
              <span class="chip">
                <bdi>{each.id}</bdi>
              </span>
              <div class="grow two-lines">
                <span>
                  <code>{each.cron}</code> <span class="dim">{each.timezone}</span>
                </span>
                <span class="dim small">
                  {policy(each.concurrencyPolicy)}; missed {span(1000 * each.startingDeadlineSeconds)} after its instant
                </span>
              </div>
              {each.nextRunAt ? (
                <span class="two-lines">
                  <span>next {ahead(each.nextRunAt, now)}</span>
                  <span class="dim small">{clock(each.nextRunAt, now)} here</span>
                </span>
              ) : (
                <span class="badge">{each.enabled ? "never again" : "off"}</span>
              )}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

const STATUS = { INITIAL: ["waits", "waits"], STARTING: ["moves", "starts"], ACTIVE: ["moves", "runs"] } as const;

function AtWork({ job, acts, now }: { job: Job; acts: boolean; now: Date }): JSX.Element {
  return (
    <Card title={<>At work <span class="dim">{job.activeRuns.length}</span></>}>
      {job.activeRuns.length === 0 ? (
        <p class="dim pad">No run.</p>
      ) : (
        <ul class="reasons">
          {job.activeRuns.map((run) => (
            <li key={run.id}>
              <Badge standing={STATUS[run.status][0]} word={STATUS[run.status][1]} />
              <div class="grow two-lines">
                <span>
                  <span class="mono">{run.id}</span> <span class="dim">since {span(now.getTime() - Date.parse(run.createdAt))}</span>
                </span>
                {run.message && (
                  <span class="dim small">
                    <Clip text={run.message} most={400} />
                  </span>
                )}
                <Tasks run={run} />
              </div>
              {acts && (
                <button type="button" onClick={() => stopRun(job, run)} aria-label={`Stop the run ${run.id}`}>
                  Stop …
                </button>
              )}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Tasks({ run }: { run: ActiveRun | EndedRun }): JSX.Element {
  return (
    <>
      {run.tasks.map((task) => (
        <span key={task.id} class="small dim run-task">
          {task.status.replace("TASK_", "").toLowerCase()} on <bdi>{task.host || "?"}</bdi>
          {task.exitCode !== null && `, exit code ${task.exitCode}`}
          {task.message && !run.message.includes(task.message) && (
            <>
              : <Clip text={task.message} most={200} />
            </>
          )}{" "}
          <a href={link("logs", { task: task.id })} aria-label={`Log of ${task.id}`}>
            Log
          </a>
        </span>
      ))}
    </>
  );
}

function LastRun({ run, now }: { run: EndedRun & { good: boolean }; now: Date }): JSX.Element {
  const task: RunTask | undefined = run.tasks[run.tasks.length - 1];
  return (
    <Card
      title={
        <>
          Last result <Badge standing={run.good ? "fine" : "bad"} word={run.good ? "succeeded" : "failed"} />
        </>
      }
    >
      <div class="pad">
        <p>
          <span class="mono">{run.id}</span> ended {ago(run.finishedAt, now)}, after {span(Date.parse(run.finishedAt) - Date.parse(run.createdAt))}
          {task && task.exitCode !== null && `, with exit code ${task.exitCode}`}
          {run.message && (
            <>
              : <Clip text={run.message} most={500} />
            </>
          )}
        </p>
        {task ? <TaskLog task={task.id} /> : <p class="dim">No task of it ran.</p>}
      </div>
    </Card>
  );
}

function Ended({ runs, job, now }: { runs: (EndedRun & { good: boolean })[]; job: Job; now: Date }): JSX.Element {
  const { successCount, failureCount } = job.historySummary;
  const [all, setAll] = useState(false);
  const most = 10;
  return (
    <Card
      title={
        <>
          Ended <span class="dim">{successCount.toLocaleString("en")} well, {failureCount.toLocaleString("en")} not</span>
        </>
      }
    >
      {runs.length === 0 ? (
        <p class="dim pad">No run yet.</p>
      ) : (
        <ul class="ended">
          {runs.slice(0, all ? runs.length : most).map((run) => (
            <li key={run.id}>
              <Badge standing={run.good ? "fine" : "bad"} word={run.good ? "succeeded" : "failed"} />
              <span class="grow two-lines">
                <span>
                  <span class="mono">{run.id}</span> {run.tries > 1 && <span class="chip">{run.tries} tries</span>}
                </span>
                {run.message && (
                  <span class="dim small">
                    <Clip text={run.message} />
                  </span>
                )}
                <Tasks run={run} />
              </span>
              <span class="dim small" title={run.finishedAt}>
                {ago(run.finishedAt, now)}, took {span(Date.parse(run.finishedAt) - Date.parse(run.createdAt))}
              </span>
            </li>
          ))}
        </ul>
      )}
      {runs.length > most && (
        <p class="pad more">
          <button type="button" aria-expanded={all} onClick={() => setAll(!all)}>
            {all ? "Show the last ones" : `Show all ${runs.length} that are kept`}
          </button>
        </p>
      )}
    </Card>
  );
}

function Missed({ job, now }: { job: Job; now: Date }): JSX.Element {
  const { missed, missedCount } = job.history!;
  return (
    <Card title={<>Missed <span class="dim">{missedCount.toLocaleString("en")}</span></>}>
      <ul class="ended">
        {missed.map((each) => (
          <li key={`${each.scheduledAt} ${each.scheduleId}`}>
            <span class="mono">{clock(each.scheduledAt, now)}</span>
            {each.scheduleId && <span class="chip">{each.scheduleId}</span>}
            <span class="grow dim small">
              <Clip text={each.reason} />
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
