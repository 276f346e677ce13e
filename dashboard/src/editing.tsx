/** What is made and changed as text: of each kind how it is read, what the API says of it before anything is done, and how it is put. */

import type { ComponentChildren } from "preact";

import { address, podAddress, preview, putApp, putJob, putPod, putQuota, jobAddress, quotaAddress } from "./actions.tsx";
import { call, Failure, get } from "./api.ts";
import { defined, planned as plannedJob } from "./jobs.ts";
import { planned as plannedQuota, stated } from "./quotas.ts";
import { store } from "./store.ts";
import type { Job, Quota } from "./types.ts";
import { clean } from "./view/app.tsx";
import { link } from "./view/parts.tsx";

export interface Answer {
  /** Whether there is one of this name already. */
  there: boolean;
  meaning: ComponentChildren;
}

type Fields = Record<string, unknown>;

export interface Kind {
  /** What one is called. */
  one: string;
  sample: string;
  /** What is wrong where none has a name. */
  nameless: string;
  /** The name that a definition gives itself; empty: none. */
  name: (value: Fields) => string;
  load: (name: string, signal: AbortSignal) => Promise<Fields>;
  /** What the API would make of it. Rejects with what it refuses. */
  ask: (name: string, value: Fields) => Promise<Answer>;
  put: (name: string, value: Fields, force: boolean, there: boolean) => Promise<string>;
  /** Where it is shown. */
  shown: (name: string) => string;
  /** Whether the API does with force what it refuses without. */
  forces: boolean;
}

function path(value: unknown): string {
  return typeof value !== "string" || !value ? "" : value.startsWith("/") ? value : `/${value}`;
}

function sentences(told: string[]): ComponentChildren {
  return (
    <ul>
      {told.map((sentence) => (
        <li key={sentence}>{sentence}</li>
      ))}
    </ul>
  );
}

const app: Kind = {
  one: "app",
  sample: `id: /shop/cart
instances: 2
cpus: 0.1
mem: 64
container:
  docker:
    image: eratos/hello
  portMappings:
    - containerPort: 8080
networks:
  - mode: container/bridge
healthChecks:
  - protocol: HTTP
    path: /health
labels:
  HAPROXY_GROUP: external
  HAPROXY_0_VHOST: cart.localhost
`,
  nameless: "an app needs an id, such as /shop/cart",
  name: (value) => path(value.id),
  load: async (name, signal) => clean((await get<{ app: Fields }>(address(name), signal)).app),
  ask: async (name, value) => ({ there: store.model.rows.has(name), meaning: await preview(name, value, address(name), "&partialUpdate=false") }),
  put: putApp,
  shown: (name) => link("app", { id: name }),
  forces: true,
};

const pod: Kind = {
  one: "pod",
  sample: `id: /shop/both
scaling:
  kind: fixed
  instances: 2
networks:
  - mode: container/bridge
containers:
  - name: web
    image:
      kind: DOCKER
      id: eratos/hello
    resources:
      cpus: 0.1
      mem: 64
    endpoints:
      - name: http
        containerPort: 8080
        hostPort: 0
    healthCheck:
      http:
        endpoint: http
        path: /health
`,
  nameless: "a pod needs an id, such as /shop/both",
  name: (value) => path(value.id),
  load: async (name, signal) => clean(await get<Fields>(podAddress(name), signal)),
  ask: async (name, value) => ({ there: store.model.rows.has(name), meaning: await preview(name, value, podAddress(name)) }),
  put: putPod,
  shown: (name) => link("app", { id: name }),
  forces: true,
};

const job: Kind = {
  one: "job",
  sample: `id: shop.backup
description: copies the database every night
run:
  cmd: pg_dump shop > /backup/shop.sql
  cpus: 0.1
  mem: 64
  docker:
    image: postgres:17
  restart:
    policy: ON_FAILURE
schedules:
  - id: nightly
    cron: 0 3 * * *
    timezone: Europe/Berlin
    concurrencyPolicy: FORBID
`,
  nameless: "a job needs an id, such as shop.backup",
  name: (value) => (typeof value.id === "string" ? value.id : ""),
  load: async (name, signal) => defined(await get<Job>(`${jobAddress(name)}?embed=schedules`, signal)),
  ask: async (name, value) => {
    const asked = async (method: string, at: string): Promise<ComponentChildren> =>
      sentences(plannedJob((await call<Job>(method, `${at}?dryRun=true`, whole(value))).body, new Date()));
    try {
      return { there: true, meaning: await asked("PUT", jobAddress(name)) };
    } catch (failure) {
      if (!(failure instanceof Failure) || failure.status !== 404) throw failure;
      return { there: false, meaning: await asked("POST", "/v1/jobs") };
    }
  },
  put: (name, value, _force, there) => putJob(name, whole(value), there),
  shown: (name) => link("job", { id: name }),
  forces: false,
};

/** A job of which no schedule is left has none: without the field the API would leave them as they are. */
function whole(value: Fields): Fields {
  return { schedules: [], ...value };
}

const quota: Kind = {
  one: "quota",
  sample: `group: /shop
instances: 20
cpus: 4
mem: 8192
`,
  nameless: "a quota needs a group, such as /shop, or / for everything",
  name: (value) => path(value.group),
  load: async (name, signal) => stated(await get<Quota>(quotaAddress(name), signal)),
  ask: async (name, value) => {
    const found = (await call<Quota>("PUT", `${quotaAddress(name)}?dryRun=true`, { ...value, group: name })).body;
    const there = (await get<{ quotas: Quota[] }>("/v2/quotas")).quotas.some((each) => each.group === name);
    return { there, meaning: sentences(plannedQuota(found)) };
  },
  put: (name, value) => putQuota(name, { ...value, group: name }),
  shown: () => link("apps"),
  forces: false,
};

export const KINDS: Record<string, Kind> = { app, pod, job, quota };
