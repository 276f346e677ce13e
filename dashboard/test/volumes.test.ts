import assert from "node:assert/strict";
import { test } from "node:test";

import { notices } from "../src/attention.ts";
import { last, measured } from "../src/autoscaling.ts";
import { read } from "../src/document.ts";
import { Failure, failure } from "../src/failure.ts";
import { Model } from "../src/model.ts";
import type { Autoscaling, Move, Overview, Volume } from "../src/types.ts";
import { fits, idle, moveOf, state } from "../src/volumes.ts";
import { told } from "../src/words.ts";

function volume(more: Partial<Volume> = {}): Volume {
  return { id: "v1", appId: "/shop/db", containerPath: "data", size: 10, host: "agent1", away: false, use: "used", taskId: "t", instanceId: "i", createdAt: "2026-01-01T00:00:00Z", unusedSince: null, copyOf: null, message: "", ...more };
}

test("a volume is as its use is, and bad while its host is away", () => {
  assert.deepEqual(state(volume()), ["fine", "in use"]);
  assert.deepEqual(state(volume({ use: "waiting" }))[0], "waits");
  assert.deepEqual(state(volume({ away: true })), ["bad", "host is away"]);
});

test("what nobody uses can be destroyed, and nothing else", () => {
  const idles = (["used", "waiting", "unused", "left", "copying", "deleting", "destroyed"] as const).filter((use) => idle(volume({ use })));
  assert.deepEqual(idles, ["unused", "left"]);
});

test("a move knows its volumes, and a search finds hosts and paths", () => {
  const move: Move = { app: "/shop/db", instance: "i", from: "agent1", to: "agent2", wipe: false, phase: "copy", since: "", volumes: ["v1"], message: "" };
  assert.equal(moveOf(volume(), [move]), move);
  assert.equal(moveOf(volume({ id: "v2" }), [move]), undefined);
  assert.ok(fits(volume(), ["agent1", "data"]) && fits(volume(), ["in use"]) && !fits(volume(), ["agent2"]));
});

test("what is not measured is no 0, and the last change is told as it was or would have been", () => {
  const found: Autoscaling = { mode: "act", min: 2, max: 9, instances: 3, wanted: 4, measured: { requestsPerSecond: { value: 90.04, target: 50 }, cpu: { value: null, target: 0.7 } }, missing: "", message: "", until: null, last: null };
  assert.deepEqual(measured(found), ["Requests a second: 90 in all, 50 wanted of each", "Shares of their CPU: ? in all, 0.7 wanted of each"]);
  assert.equal(last(found), "");
  const change = { at: "", from: 2, to: 3, message: "load", made: true };
  assert.equal(last({ ...found, last: change }), "changed 2 to 3: load");
  assert.equal(last({ ...found, last: { ...change, made: false } }), "would have changed 2 to 3: load");
});

test("what load has changed is a line of the timeline", () => {
  const event = { eventType: "autoscale_event", timestamp: "t", appId: "/a", from: 2, to: 3, reason: "load", made: true };
  assert.equal(told(event, "1", ["/a"])?.title, "/a was scaled from 2 to 3 by its load");
  assert.equal(told({ ...event, made: false }, "1", ["/a"])?.title, "/a would be scaled from 2 to 3 by its load");
});

test("Consul that does not answer, and what a dead executor left, are not well", () => {
  const overview: Overview = {
    position: "m-7",
    earlier: "m-1",
    scheduler: { frameworkId: "f", master: "m:5050", connected: true, reason: "" },
    agents: [{ id: "a1", host: "agent1", region: "", zone: "", sweep: { since: "", launches: 1, message: "its removal is under way" } }],
    apps: [],
  };
  const model = new Model();
  model.replace(overview);
  assert.deepEqual(
    notices(model, [], [], "connection refused").map(({ tone, text }) => [tone, text]),
    [
      ["bad", "connection refused"],
      ["warn", "its removal is under way"],
    ],
  );
  const failing = { id: "/a", version: "v", instances: 1, cpus: 0, mem: 0, labels: {}, waiting: 0, atRest: true, tasks: [], deploymentFailed: "too late" };
  model.replace({ ...overview, apps: [failing] });
  assert.deepEqual(notices(model, [], [], "").map(({ tone }) => tone), ["bad", "warn"], "the worst first");
  model.replace({ ...overview, agents: [] });
  assert.deepEqual([notices(model, [], [], ""), notices(model, [], [], null)], [[], []]);
});

test("an alias without its anchor is a complaint with its line", () => {
  const { value, complaints } = read("id: /a\ncontainer: *other\n");
  assert.equal(value, null);
  assert.deepEqual([complaints.length, complaints[0]!.line], [1, 2]);
  assert.match(complaints[0]!.text, /other/);
});

test("what the API says can be forced is offered so, and nothing else", () => {
  assert.ok(failure(409, '{"message": "locked", "deployments": [{"id": "d"}]}').yields);
  assert.ok(failure(409, JSON.stringify({ message: "the error budget is spent. A fix goes out with the option '?force=true'" })).yields);
  assert.ok(!new Failure(409, "it is in use").yields);
  assert.ok(!failure(422, JSON.stringify({ message: "add ?force=true" })).yields);
});
