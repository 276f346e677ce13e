import assert from "node:assert/strict";
import { test } from "node:test";

import { instanceOf, jobOf, pathOf } from "../src/ids.ts";
import { coming, defined, ended, fits, jobsOf, meaning, planned, result, standing } from "../src/jobs.ts";
import { heed, Part, renew, retry } from "../src/live.ts";
import { appsOf, row } from "../src/model.ts";
import { met, picture, told as toldNeed } from "../src/needs.ts";
import { stable, state, versionsOf } from "../src/pods.ts";
import { keeper, planned as plannedQuota, share, stated, told as toldQuota } from "../src/quotas.ts";
import { lines } from "../src/tree.ts";
import type { App, EndedRun, ErrorBudget, Happening, Job, Need, Pod, Quota, TaskUsage } from "../src/types.ts";
import { left, taken } from "../src/usage.ts";
import { told as toldEvent } from "../src/words.ts";

const event = (eventType: string, fields: object = {}): Happening => ({ eventType, timestamp: "2026-01-01T00:00:00Z", ...fields });

test("a run's path leads to its job, and an app's to none", () => {
  assert.deepEqual(["/shop/backup/20260131T020000Z", "/a/20260131T020000Z-i1", "/shop/backup", "/shop/20260131"].map(jobOf), ["shop.backup", "a", "", ""]);
  assert.equal(pathOf("shop.backup"), "/shop/backup");
  assert.equal(instanceOf("shop_cart.instance-1._app.12"), "shop_cart.instance-1");
});

test("what happens to a run is the job's, and no question about an app", () => {
  const found = event("status_update_event", { appId: "/shop/backup/20260131T020000Z", taskStatus: "TASK_FINISHED", host: "h" });
  assert.deepEqual(appsOf(found), []);
  assert.deepEqual(jobsOf(found), ["shop.backup"]);
  assert.deepEqual(jobsOf(event("job_changed_event", { jobId: "shop.mail" })), ["shop.mail"]);
  assert.deepEqual(jobsOf(event("status_update_event", { appId: "/shop/cart" })), []);
  const line = toldEvent(found, "m-1", [])!;
  assert.deepEqual([line.title, line.tone, line.job], ["A task of the job shop.backup ended well", "good", "shop.backup"]);
  assert.equal(toldEvent(event("status_update_event", { appId: "/a", taskStatus: "TASK_FINISHED" }), "m-1", ["/a"])!.tone, "warn");
});

function job(summary: Partial<Job["historySummary"]> = {}, more: Partial<Job> = {}): Job {
  const none = { successCount: 0, failureCount: 0, lastSuccessAt: null, lastFailureAt: null, missedCount: 0, lastMissedAt: null };
  return { id: "shop.backup", run: { cmd: "backup", cpus: 0.1, mem: 32 }, activeRuns: [], schedules: [], historySummary: { ...none, ...summary }, ...more };
}

const schedule = { cron: "* * * * *", timezone: "UTC", concurrencyPolicy: "ALLOW", startingDeadlineSeconds: 900, enabled: true };

test("a job is as its last result, also while it runs after one that was none", () => {
  const run = { id: "r", status: "ACTIVE" as const, createdAt: "", scheduledAt: null, tries: 0, message: "", tasks: [] };
  assert.deepEqual(standing(job()), ["off", "never ran"]);
  assert.deepEqual(standing(job({}, { activeRuns: [run] })), ["moves", "runs"]);
  assert.deepEqual(standing(job({ lastSuccessAt: "2026-01-02" }, { activeRuns: [{ ...run, status: "INITIAL" }] })), ["moves", "starts"]);
  assert.deepEqual(standing(job({ lastSuccessAt: "2026-01-02", lastFailureAt: "2026-01-01" })), ["fine", "succeeded"]);
  assert.deepEqual(standing(job({ lastSuccessAt: "2026-01-02", lastFailureAt: "2026-01-03" }, { activeRuns: [run] })), ["bad", "failed"]);
  assert.deepEqual(result(job({ lastFailureAt: "2026-01-03", lastMissedAt: "2026-01-04" })), { outcome: "missed", at: "2026-01-04" });
});

test("the next instant is the first of all schedules that have one", () => {
  const of = (...at: (string | undefined)[]): Job => job({}, { schedules: at.map((nextRunAt, index) => ({ id: `s${index}`, ...schedule, ...(nextRunAt ? { nextRunAt } : {}) })) });
  assert.equal(coming(of()), null);
  assert.equal(coming(of(undefined)), null);
  assert.deepEqual(coming(of("2026-03-01", undefined, "2026-02-01")), { at: "2026-02-01", schedule: "s2" });
});

test("runs that ended come with the last one first, whatever came of them", () => {
  const run = (id: string, finishedAt: string): EndedRun => ({ id, createdAt: "", finishedAt, scheduledAt: null, message: "", tries: 1, tasks: [] });
  const history = { ...job().historySummary, missed: [], successfulFinishedRuns: [run("c", "2026-03"), run("a", "2026-01")], failedFinishedRuns: [run("b", "2026-02")] };
  assert.deepEqual(ended(history).map(({ id, good }) => [id, good]), [["c", true], ["b", false], ["a", true]]);
});

test("what a run by hand means is said before it begins", () => {
  const run = { id: "r", status: "ACTIVE" as const, createdAt: "", scheduledAt: null, tries: 0, message: "", tasks: [] };
  assert.match(meaning(job()).join(" "), /the process backup, with 0.1 CPUs and 32 MiB.*ends the run/);
  assert.match(meaning(job({}, { activeRuns: [run], run: { cpus: 1, mem: 64, docker: { image: "shop/backup:1" }, restart: { policy: "ON_FAILURE" } } })).join(" "), /a container of shop\/backup:1.*beside 1 run.*another one/);
  assert.ok(meaning(job({}, { run: { cmd: "x".repeat(10_000), cpus: 1, mem: 1 } })).join("").length < 700);
  assert.ok(fits(job({}, { labels: { team: "blue" } }), ["shop", "team=blue"]) && !fits(job(), ["bank"]));
});

function need(app: string, of: string, more: Partial<Need> = {}): Need {
  return { app, name: "db", of, kind: of.startsWith("/") ? "app" : "service", variable: "", atLeast: 1, wait: true, onChange: "restart", outdated: 0, ...more };
}

test("a requirement is met, not met, not told to all, or not counted", () => {
  assert.deepEqual([need("/a", "/b", { ready: 1 }), need("/a", "/b", { ready: 1, atLeast: 2 }), need("/a", "/b", { ready: null }), need("/a", "mysql"), need("/a", "/b", { ready: 3, outdated: 2 })].map(met), ["met", "unmet", "unmet", "unknown", "outdated"]);
  assert.equal(met(need("/a", "/secret")), "unknown", "an app that may not be viewed");
  assert.equal(toldNeed(need("/a", "/b", { ready: 1, atLeast: 2 })), "1 ready, 2 are needed");
  assert.match(toldNeed(need("/a", "/b", { ready: 3, outdated: 2 })), /2 of its instances go by what was before/);
});

const columns = (needs: Need[]): Record<string, number> => Object.fromEntries(picture(needs).nodes.map((node) => [node.label, node.column]));

test("consumers stand to the left of all that they require", () => {
  assert.deepEqual(columns([need("/web", "/api"), need("/web", "/db:sql"), need("/api", "/db:sql", { name: "x" }), need("/api", "mail")]), { "/web": 0, "/api": 1, "/db": 2, mail: 2 });
  assert.deepEqual(picture([]), { nodes: [], edges: [], columns: 0, lines: 0 });
});

test("apps that require each other, or themselves, have a place as well", () => {
  const found = columns([need("/a", "/b"), need("/b", "/c"), need("/c", "/a"), need("/c", "/c", { name: "own" }), need("/z", "/a")]);
  assert.deepEqual(found, { "/z": 0, "/a": 1, "/b": 2, "/c": 3 });
  const circle = picture([need("/a", "/b"), need("/b", "/a")]);
  assert.deepEqual([circle.columns, circle.lines, circle.edges.length], [2, 1, 2]);
});

test("a line that passes a column has a place of its own there", () => {
  const { edges, nodes } = picture([need("/a", "/b"), need("/b", "/c"), need("/a", "/c", { name: "far" })]);
  const far = edges.find((edge) => edge.name === "far")!;
  assert.deepEqual(far.via.map(({ column }) => column), [1]);
  assert.ok(nodes.every((node) => node.column !== 1 || node.line !== far.via[0]!.line));
  assert.equal(nodes.length, 3);
});

test("no two parts of the picture have the same place, and none is left out", () => {
  const many = Array.from({ length: 60 }, (_, index) => need(`/a${index}`, `/a${(index * 7 + 3) % 60}`));
  const { nodes, columns, lines } = picture(many);
  assert.equal(new Set(nodes.map((node) => `${node.column} ${node.line}`)).size, 60);
  assert.ok(nodes.every((node) => node.column < columns && node.line < lines));
});

function quota(group: string, limits: Partial<Quota>, used: Partial<Quota["used"]> = {}): Quota {
  return { group, instances: null, cpus: null, mem: null, disk: null, ...limits, used: { instances: 0, cpus: 0, mem: 0, disk: 0, ...used } };
}

test("a quota is as full as the fullest of its limits", () => {
  assert.equal(share(quota("/a", { instances: 10, cpus: 4 }, { instances: 5, cpus: 3 })), 0.75);
  assert.equal(share(quota("/a", { instances: 0 })), 1, "nothing may be wanted");
  assert.ok(share(quota("/a", { mem: 64 }, { mem: 128 })) > 1);
  assert.equal(toldQuota(quota("/a", { instances: 10, mem: 2048 }, { instances: 3, mem: 96, disk: 9 })), "3 of 10 instances, 96 MiB of 2.0 GiB memory");
});

test("a quota is stated without what is in use, and set by who operates the group around its own", () => {
  assert.deepEqual(stated(quota("/a", { instances: 10, mem: 0 }, { instances: 3 })), { group: "/a", instances: 10, mem: 0 });
  assert.deepEqual(plannedQuota(quota("/a", { cpus: 4 }, { cpus: 1 })), ["Within /a a change that would want more than this is refused. Now in use: 1 of 4 CPUs."]);
  assert.match(plannedQuota(quota("/a", { cpus: 4 }, { cpus: 5 }))[1]!, /^More is in use/);
  assert.deepEqual([keeper("/a/b"), keeper("/a"), keeper("/")], ["/a", "/", "/"]);
});

test("a job is defined without what became of it, and says what putting it would mean", () => {
  const timed = (id: string, more: object): Job["schedules"][number] => ({ id, ...schedule, ...more });
  const run = { id: "r", status: "ACTIVE" as const, createdAt: "", scheduledAt: null, tries: 0, message: "", tasks: [] };
  const schedules = [timed("one", { nextRunAt: "2026-01-01T03:00:00.000Z" }), timed("off", { enabled: false }), timed("gone", {})];
  const found = job({}, { schedules, activeRuns: [run] });
  const defined_ = defined(found) as { schedules: object[] };
  assert.ok(!("activeRuns" in defined_) && !("historySummary" in defined_) && defined_.schedules.every((each) => !("nextRunAt" in each)));
  const [next, off, gone, active] = planned(found, new Date("2026-01-01T00:00:00Z"));
  assert.match(next!, /^The schedule one \(.*\) has it run next at .*:00:00 of this clock\.$/);
  assert.deepEqual([/is off/.test(off!), /never comes again/.test(gone!), active], [true, true, "1 run at work goes on as it was begun."]);
  assert.deepEqual(planned(job(), new Date()), ["It has no schedule: it runs by hand."]);
  assert.ok(!("schedules" in defined(job())));
});

function app(id: string): App {
  return { id, version: "v1", instances: 0, cpus: 0.1, mem: 32, labels: {}, waiting: 0, atRest: true, tasks: [] };
}

test("a group shows its quota, also one without apps; an app's and everything's are no groups", () => {
  const quotas = ["/shop", "/empty/deep", "/", "/shop/cart"].map((group) => quota(group, { instances: 1 }));
  const shown = lines([row(app("/shop/cart"))], new Set(), quotas).map((node) => (node.kind === "group" ? `${node.id}${node.quota ? " bounded" : ""} ${node.apps}` : node.row.app.id));
  assert.deepEqual(shown, ["/empty 0", "/empty/deep bounded 0", "/shop bounded 1", "/shop/cart"]);
});

test("a pod is told in the words of apps", () => {
  const instance = (status: string, version: string): Pod["instances"][number] => ({ id: "i", status, statusSince: "", specReference: `/v2/pods/p::versions/${version}`, networks: [], containers: [] });
  const pod: Pod = { id: "/p", spec: { containers: [] }, status: "DEGRADED", statusSince: "", instances: [instance("STABLE", "2"), instance("STAGING", "1"), { ...instance("PENDING", ""), specReference: undefined } as never] };
  assert.deepEqual([stable(pod), versionsOf(pod), state("STABLE")[0], state("NEW")[1]], [1, ["1", "2"], "fine", "new"]);
});

test("an answer is asked for when it is shown, and again after what it is about alone", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let asked = 0;
  const part = new Part(async () => ++asked, (found) => found.eventType === "job_changed_event");
  heed(event("job_changed_event"), []);
  assert.equal(asked, 0, "nobody shows it");
  let drawn = 0;
  const leave = part.join(() => drawn++);
  const pass = async (): Promise<void> => {
    context.mock.timers.tick(1000);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  await pass();
  assert.deepEqual([asked, part.value, drawn, part.loading], [1, 1, 1, false]);
  heed(event("status_update_event"), ["/a"]);
  await pass();
  assert.equal(asked, 1);
  for (let count = 0; count < 5; count++) heed(event("job_changed_event"), []);
  await pass();
  assert.equal(asked, 2, "many changes are one question");
  renew();
  await pass();
  assert.equal(asked, 3);
  leave();
  heed(event("job_changed_event"), []);
  await pass();
  assert.equal(asked, 3);
  part.join(() => {});
  assert.equal(part.value, null, "who looks later may be somebody else");
});

test("what changes while an answer is on its way is asked once more, and an error keeps what was known", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const answers: ((value: number) => void)[] = [];
  let fails = false;
  const part = new Part<number>(
    () => (fails ? Promise.reject(Object.assign(new Error("x"), { whole: "no answer" })) : new Promise((resolve) => answers.push(resolve))),
    () => true,
  );
  const pass = async (): Promise<void> => {
    context.mock.timers.tick(1000);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  const leave = part.join(() => {});
  await pass();
  heed(event("a"), []);
  heed(event("b"), []);
  await pass();
  assert.equal(answers.length, 1, "one question at a time");
  answers[0]!(1);
  await pass();
  await pass();
  assert.equal(answers.length, 2);
  fails = true;
  answers[1]!(2);
  await pass();
  heed(event("c"), []);
  await pass();
  assert.deepEqual([part.value, part.error], [2, "no answer"]);
  fails = false;
  retry();
  await pass();
  assert.equal(answers.length, 3, "what failed is asked again once the line is back");
  answers[2]!(3);
  await pass();
  retry();
  await pass();
  assert.deepEqual([part.value, part.error, answers.length], [3, "", 3], "and what did not fail is not");
  leave();
});

function usage(more: Partial<TaskUsage> = {}): TaskUsage {
  const found = { id: "t", ageSeconds: 1.6, cpus: 0.254, cpusLimit: 0.5, memBytes: 12 * 1024 * 1024, memLimitBytes: 32 * 1024 * 1024, missing: "" };
  return { ...found, ...more };
}

test("what an instance takes stands beside what it may, and what is not known is no 0", () => {
  assert.deepEqual(taken(usage()), { cpu: "0.25 / 0.5 CPU", memory: "12 MiB / 32 MiB", title: "0.25 / 0.5 CPUs and 12 MiB / 32 MiB of memory, measured 2 s ago" });
  const { cpu, memory } = taken(usage({ cpus: 0, cpusLimit: null, memLimitBytes: null }));
  assert.deepEqual([cpu, memory], ["0 CPU", "12 MiB"]);
  const unknown = taken(usage({ cpus: null, memBytes: null, ageSeconds: null, missing: "the executor does not answer" }));
  assert.deepEqual([unknown.cpu, unknown.memory, unknown.title], ["? CPU", "?", "the executor does not answer"]);
  assert.deepEqual(taken(undefined), { cpu: "", memory: "", title: "" });
});

function budget(more: Partial<ErrorBudget> = {}): ErrorBudget {
  const counted = { requests: 100_000, failed: 40, allowed: 100, remaining: 0.6, burnRate: 0.404 };
  return { objective: 99.9, window: "1h", minRequests: 50, ...counted, spent: false, missing: "", until: null, ...more };
}

test("an error budget says what is left of it, and when that is not well", () => {
  assert.deepEqual(left(budget()), { tone: "good", share: 0.6, head: "60% left", text: "40 of 100,000 requests failed, 100 may; burn rate 0.4" });
  assert.deepEqual([left(budget({ remaining: 0.2 })).tone, left(budget({ burnRate: 1.1 })).tone], ["warn", "warn"]);
  const { tone, share: part, head } = left(budget({ remaining: -0.5, spent: true }));
  assert.deepEqual([tone, part, head], ["bad", 0, "Spent, and 50% beyond it"]);
  assert.equal(left(budget({ remaining: 0.05, spent: true })).tone, "bad");
  assert.equal(left(budget({ remaining: 0, spent: true })).head, "Spent");
  assert.deepEqual([left(budget({ remaining: null })).head, left(budget({ remaining: null })).tone], ["Fewer than 50 requests came", "plain"]);
});
