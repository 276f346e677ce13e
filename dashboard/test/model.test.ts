import assert from "node:assert/strict";
import { test } from "node:test";

import { notices } from "../src/attention.ts";
import { diff, ordered } from "../src/diff.ts";
import { placed, read, segments, toYaml } from "../src/document.ts";
import { appsOf, Model, numberOf, restarts, row, shortName } from "../src/model.ts";
import { fits, parse } from "../src/search.ts";
import { backoff, Frames } from "../src/stream.ts";
import { lines } from "../src/tree.ts";
import type { Agent, App, Condition, Happening, Overview } from "../src/types.ts";
import { planned, span, told } from "../src/words.ts";

function app(id: string, conditions: Condition[] = [], more: Partial<App> = {}): App {
  const tasks = conditions.map((condition, index) => ({
    id: `${id.slice(1).replaceAll("/", "_")}.instance-${index}._app.1`,
    agent: "a1",
    version: "v1",
    condition,
    since: "2026-01-01T00:00:00.000Z",
    ports: [31000 + index],
  }));
  return { id, version: "v1", instances: conditions.length, cpus: 0.1, mem: 32, labels: {}, waiting: 0, atRest: true, tasks, ...more };
}

function agent(id: string): Agent {
  return { id, host: `host-${id}`, region: "", zone: "a" };
}

function overview(apps: App[], agents: Agent[] = [agent("a1")]): Overview {
  return { position: "m-7", earlier: "m-1", scheduler: { frameworkId: "f", master: "m:5050", connected: true, reason: "" }, agents, apps };
}

test("an app is as bad as the worst of it, and says why", () => {
  assert.deepEqual([row(app("/a", ["ready"])).standing, row(app("/a", ["ready"])).sentence], ["fine", ""]);
  assert.equal(row(app("/a", ["ready", "unhealthy"], { waiting: 1 })).standing, "bad");
  assert.match(row(app("/a", ["unhealthy"])).sentence, /^1 instance of it fails its health checks/);
  assert.match(row(app("/a", ["unhealthy", "unhealthy"])).sentence, /^2 instances of it fail their/);
  assert.equal(row(app("/a", ["unreachable"])).standing, "bad");
  assert.match(row(app("/a", [], { waiting: 2, why: "no offer fits" })).sentence, /2 instances wait: no offer fits/);
  assert.equal(row(app("/a", [], { waiting: 2, failing: true })).standing, "bad");
  assert.equal(row(app("/a", ["launching"], { atRest: false })).standing, "moves");
  assert.equal(row(app("/a", [])).standing, "off");
  assert.equal(row(app("/a", ["ready"], { notBalanced: "service a is left out" })).standing, "bad");
  assert.match(row(app("/a", ["stopping"], { deleted: true })).sentence, /deleted/);
});

test("an app whose instances are only counted yet reads as with each of them", () => {
  const whole = row(app("/a", ["ready", "ready", "unhealthy"], { version: "v2" }));
  const { tasks: _tasks, ...rest } = whole.app;
  const counted = row({ ...rest, tasks: [], conditions: { ready: 2, unhealthy: 1 }, old: 3 });
  assert.deepEqual({ ...counted, app: null }, { ...whole, app: null });
  assert.equal(counted.there, 3);
});

test("what is asked for and not answered is gone, and what is not asked for stays", () => {
  const model = new Model();
  model.replace(overview([app("/a", ["ready"]), app("/b", ["ready", "ready"])]));
  const before = model.stamps.get("a1")!;
  model.patch(["/a", "/c"], overview([app("/c", ["launching"])]));
  assert.deepEqual([...model.rows.keys()].sort(), ["/b", "/c"]);
  assert.deepEqual(model.onAgent("a1").map(({ task }) => task.condition).sort(), ["launching", "ready", "ready"]);
  assert.ok(model.stamps.get("a1")! > before, "what is drawn of the agent is drawn anew");
  assert.equal(model.totals().instances, 3);
});

test("an agent on which nothing changed is not drawn anew", () => {
  const model = new Model();
  model.replace(overview([app("/a", ["ready"])], [agent("a1"), agent("a2")]));
  const before = model.stamps.get("a2");
  model.patch(["/a"], overview([app("/a", ["unhealthy"])]));
  assert.equal(model.stamps.get("a2"), before);
});

test("events name their apps, in plans as well", () => {
  const event = (fields: object): Happening => ({ eventType: "e", timestamp: "t", ...fields });
  assert.deepEqual(appsOf(event({ appId: "/a" })), ["/a"]);
  assert.deepEqual(appsOf(event({ runSpecId: "/a", appId: "/a" })), ["/a"]);
  assert.deepEqual(appsOf(event({ plan: { steps: [{ actions: [{ app: "/a" }, { app: "/b" }] }] } })), ["/a", "/b"]);
  assert.deepEqual(appsOf(event({ plan: { steps: [{ actions: [{ pod: "/p" }] }] } })), ["/p"]);
  assert.deepEqual(appsOf(event({ appDefinition: { id: "/x" }, plan: 3 })), ["/x"]);
  assert.deepEqual(appsOf(event({ appId: 17 })), []);
  assert.deepEqual([numberOf("3f-a-17"), numberOf(""), numberOf("m-x")], [17, -1, -1]);
});

test("restarts and short names are read from a task's id", () => {
  assert.equal(restarts("shop_cart.instance-12345678-9abc._app.3"), 2);
  assert.equal(restarts("strange"), 0);
  assert.equal(shortName("shop_cart.instance-12345678-9abc._app.3"), "12345678");
});

test("a search takes words, labels and standings", () => {
  const cart = row(app("/shop/cart", ["ready"], { labels: { Team: "Blue" } }));
  const found = (text: string): boolean => fits(cart, parse(text));
  assert.ok(found("cart shop") && found("CART") && found("label:team") && found("label:team=blue") && found("is:fine") && found(""));
  assert.ok(!found("cart bank") && !found("label:team=red") && !found("label:other") && !found("is:bad"));
  assert.ok(found("is:bad is:fine"), "one of several standings is enough");
  assert.deepEqual(parse("is:ill").unknown, ["is:ill"]);
});

test("groups hold their apps, and a closed one shows the worst of them", () => {
  const rows = [app("/shop/cart", ["ready"]), app("/shop/deep/pay", ["unhealthy"]), app("/alone", ["ready"])].map(row);
  const shown = (closed: string[]): string[] => lines(rows, new Set(closed)).map((node) => (node.kind === "group" ? `${node.id}(${node.apps},${node.standing})` : node.row.app.id));
  assert.deepEqual(shown([]), ["/shop(2,bad)", "/shop/deep(1,bad)", "/shop/deep/pay", "/shop/cart", "/alone"]);
  assert.deepEqual(shown(["/shop"]), ["/shop(2,bad)", "/alone"]);
});

test("server-sent events come in any pieces", () => {
  const whole = ": a comment\r\nid: m-1\r\nevent: x\r\ndata: one\r\ndata: two\r\n\r\n\r\ndata:three\n\nid: m-2\ndata: cut";
  const frames = new Frames();
  const found = [...whole].flatMap((letter) => frames.feed(letter));
  assert.deepEqual(found, [
    { id: "m-1", event: "x", data: "one\ntwo" },
    { id: "m-1", event: "message", data: "three" },
  ]);
  assert.deepEqual(new Frames().feed(whole.slice(0, -1)), found);
});

test("attempts come less and less often, within bounds", () => {
  assert.ok(backoff(0, 0) >= 250 && backoff(0, 1) <= 500 && backoff(99, 1) <= 10_000 && backoff(99, 0) >= 5000);
});

test("a difference keeps what is the same", () => {
  assert.deepEqual(diff("a\nb\nc", "a\nx\nc\nd"), [
    { kind: "same", text: "a" },
    { kind: "gone", text: "b" },
    { kind: "new", text: "x" },
    { kind: "same", text: "c" },
    { kind: "new", text: "d" },
  ]);
  assert.ok(diff("a\nb", "a\nb").every((line) => line.kind === "same"));
  assert.equal(toYaml(ordered({ b: 1, a: [{ d: 1, c: 2 }] })), toYaml({ a: [{ c: 2, d: 1 }], b: 1 }));
});

const YAML = "id: /shop/cart\ninstances: 2\nhealthChecks:\n  - protocol: HTTP\n    path: /health\n  - protocol: TCP\n    portIndex: 9\n";

test("an error stands at its line, in YAML and in JSON", () => {
  const at = (text: string, path: string): [number, string] => {
    const [found] = placed(text, [{ path, errors: ["is wrong"] }]);
    return [found!.line, found!.text];
  };
  assert.deepEqual(at(YAML, "/healthChecks(1)/portIndex"), [7, "portIndex: is wrong"]);
  assert.deepEqual(at(YAML, "/instances"), [2, "instances: is wrong"]);
  assert.deepEqual(at(YAML, "/healthChecks(0)/port"), [4, "port: is wrong"]);
  assert.deepEqual(at(YAML, "/cmd"), [1, "cmd: is wrong"]);
  assert.deepEqual(at(YAML, "/"), [1, "is wrong"]);
  const json = JSON.stringify({ id: "/a", env: { KEY: 1 } }, null, 2);
  assert.deepEqual(at(json, "/env/KEY"), [4, "KEY: is wrong"]);
  assert.deepEqual(segments("/a(3)(4)/b"), ["a", 3, 4, "b"]);
  assert.deepEqual(placed("", [{ path: "/id", errors: ["x"] }])[0]!.line, 1);
});

test("what is no definition is told with its line", () => {
  assert.deepEqual(read("id: /a\ncpus: [1").complaints.length > 0, true);
  assert.equal(read("a: 1\na: 2").complaints[0]!.line, 2);
  assert.match(read("- a").complaints[0]!.text, /one definition/);
  assert.deepEqual(read('{"id": "/a"}'), { value: { id: "/a" }, complaints: [] });
  assert.ok(read("a: &x [1]\nb: *x").value, "anchors are resolved");
});

test("a plan is said in sentences", () => {
  const plan = { steps: [], eratos: { apps: { "/a": { version: "v", starts: 1, stops: 2, keeps: 1000 }, "/b": { version: null, starts: 0, stops: 0, keeps: 0 } } } };
  assert.deepEqual(planned(plan), ["/a: 1 instance will be started, 2 stopped, 1,000 kept as they are.", "/b: nothing changes."]);
});

test("spans of time are read at a glance", () => {
  assert.deepEqual([59_000, 61_000, 3_700_000, 90_000_000].map(span), ["59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
});

test("the timeline tells each thing once", () => {
  const event = (eventType: string, fields: object = {}): Happening => ({ eventType, timestamp: "2026-01-01T00:00:00Z", ...fields });
  const failed = told(event("status_update_event", { taskStatus: "TASK_FAILED", appId: "/a", host: "h", message: "exit status 1", taskId: "t" }), "m-1", ["/a"])!;
  assert.deepEqual([failed.tone, failed.title, failed.text], ["bad", "An instance of /a failed", "h: exit status 1"]);
  assert.equal(told(event("instance_changed_event"), "m-2", ["/a"]), null);
  assert.equal(told(event("app_changed_event"), "m-2", ["/a"]), null);
  assert.match(told(event("events_lost_event", { lost: null }), "x", [])!.text, /another scheduler/);
});

test("what is not well comes with what to do, and no list without end", () => {
  const model = new Model();
  const apps = Array.from({ length: 20 }, (_, index) => app(`/a${index}`, ["unhealthy"]));
  model.replace({ ...overview(apps), brake: { engaged: true, since: "", reason: "3 of 9 hosts were lost", lost: [], unknownTasks: [] } });
  const found = notices(model, [], [{ name: "b1", trouble: "its companion does not answer", services: [] }], "");
  assert.deepEqual(found.slice(0, 2).map((notice) => notice.key), ["brake", "balancer b1"]);
  assert.equal(found.length, 2 + 6 + 1);
  assert.ok(found.every((notice) => notice.fix && notice.text));
});

test("a drained host says who drained it, until when, and how to give it back", () => {
  const model = new Model();
  const drain = { since: "2026-01-01T00:00:00.000Z", by: "ann", deadline: "2026-01-01T01:00:00.000Z" };
  model.replace({ ...overview([]), agents: [{ ...agent("a1"), drain }] });
  const [found, ...others] = notices(model, [], [], "");
  assert.equal(others.length, 0);
  assert.match(found!.title, /is drained since .* by ann$/);
  assert.match(found!.text, /what is left is stopped at /);
  assert.match(found!.fix, /undrain/);
});
