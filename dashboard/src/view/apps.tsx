/** Apps and groups: found by words, labels and how they are; as a tree of groups, or as a list. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import { get } from "../api.ts";
import { jobsOf } from "../jobs.ts";
import { Part } from "../live.ts";
import { STANDINGS, some, type Row } from "../model.ts";
import { keeper, share, told } from "../quotas.ts";
import { fits, parse } from "../search.ts";
import { store, usePart, useStore } from "../store.ts";
import { lines, type Node } from "../tree.ts";
import type { Happening, Quota } from "../types.ts";
import { cores, mebibytes } from "../words.ts";
import { AppLink, Badge, Clip, Empty, Health, link, LongList, NewOne, Sentence } from "./parts.tsx";

/** What is in use changes with what is wanted: with deployments, and with runs of jobs. Without a quota nothing is asked about that. */
const quotas = new Part<Quota[]>(
  async () => (await get<{ quotas: Quota[] }>("/v2/quotas")).quotas,
  (event: Happening, _apps, known) =>
    event.eventType === "quota_changed_event" ||
    (!!known?.length && (event.eventType.startsWith("deployment_") || event.eventType.startsWith("group_change_") || jobsOf(event).length > 0)),
);

const FILTERS = { bad: "need a look", waits: "wait", moves: "change", fine: "are fine", off: "are off" };

export function AppsPage({ values, set }: { values: URLSearchParams; set: (values: Record<string, string>) => void }): JSX.Element {
  useStore();
  const text = values.get("q") ?? "";
  const { value: bounds, error } = usePart(quotas);
  const flat = values.get("as") === "list";
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const search = useMemo(() => parse(text), [text]);
  const { version } = store;
  const found = useMemo(() => [...store.model.rows.values()].filter((row) => fits(row, search)), [version, search]);
  const shown = useMemo<Node[]>(
    // What is searched for are apps: a group that has none of them is no answer.
    () => (flat ? [...found].sort(byId).map((row) => ({ kind: "app", row, depth: 0 })) : lines(found, closed, bounds?.filter(({ group }) => !text || found.some(({ app }) => app.id.startsWith(`${group}/`))))),
    [found, closed, flat, bounds],
  );
  const ofApps = useMemo(() => new Map((bounds ?? []).map((quota) => [quota.group, quota])), [bounds]);
  const whole = ofApps.get("/");
  const totals = store.model.totals();
  const change = (more: Record<string, string>): void => set({ q: text, as: flat ? "list" : "", ...more });
  const toggle = (id: string): void => {
    const next = new Set(closed);
    if (!next.delete(id)) next.add(id);
    setClosed(next);
  };
  const filter = (name: string): void => {
    const word = `is:${name}`;
    const words = text.split(/\s+/).filter((found) => found && found !== word);
    change({ q: words.length === text.split(/\s+/).filter(Boolean).length ? [...words, word].join(" ") : words.join(" ") });
  };
  return (
    <>
      <div class="page-head">
        <h1>Apps</h1>
        <div class="actions">
          {store.operates && (
            <a class="button" href={link("edit", { kind: "quota" })}>
              New quota
            </a>
          )}
          {store.acts && <NewOne kind="app" />}
        </div>
      </div>
      <div class="toolbar">
        <input
          type="search"
          value={text}
          placeholder="Search: words, label:key=value, is:bad"
          aria-label="Search apps: words, label:key=value, is:bad"
          onInput={(event) => change({ q: event.currentTarget.value })}
        />
        <div class="chips" role="group" aria-label="How they are">
          {STANDINGS.map((name) => (
            <button key={name} type="button" class={`chip ${name}`} aria-pressed={search.standings.includes(name)} onClick={() => filter(name)}>
              <b>{totals.standings[name].toLocaleString("en")}</b> {FILTERS[name]}
            </button>
          ))}
        </div>
        <div class="switch" role="group" aria-label="Shown as">
          <button type="button" aria-pressed={!flat} onClick={() => change({ as: "" })}>
            Groups
          </button>
          <button type="button" aria-pressed={flat} onClick={() => change({ as: "list" })}>
            List
          </button>
        </div>
      </div>
      {search.unknown.length > 0 && (
        <p class="warn-text">
          {search.unknown.join(" ")}: use is: with {STANDINGS.join(", ")}.
        </p>
      )}
      {error && <Sentence tone="bad">Quotas: {error}</Sentence>}
      {whole && (
        <p class="quota-whole">
          <span class="dim">Of everything</span> <QuotaUse quota={whole} />
        </p>
      )}
      {store.model.rows.size === 0 && shown.length === 0 ? (
        <Empty title="There is no app yet">
          <p>{store.acts ? "Make one here, or with: eratos apply app.yaml" : "Or none that you may view."}</p>
        </Empty>
      ) : shown.length === 0 ? (
        <Empty title="Nothing fits">
          <button type="button" onClick={() => change({ q: "" })}>
            Show all
          </button>
        </Empty>
      ) : (
        <>
          <p class="unseen" role="status">
            {some(found.length, "app")} shown
          </p>
          <LongList
            items={shown}
            height={52}
            label="Apps"
            class="apps card"
            keyOf={(node) => (node.kind === "group" ? `group ${node.id}` : node.row.app.id)}
            columns={[
              ["App", "grow"],
              ["State", "state-column"],
              ["Instances", "health-column"],
              ["CPUs, memory", "size-column wide"],
            ]}
            draw={(node) => (node.kind === "group" ? <GroupRow node={node} toggle={toggle} /> : <AppRow row={node.row} depth={node.depth} flat={flat} quota={ofApps.get(node.row.app.id)} />)}
          />
        </>
      )}
    </>
  );
}

function byId(a: Row, b: Row): number {
  return a.app.id < b.app.id ? -1 : 1;
}

/** How much of a quota is in use. */
function QuotaUse({ quota }: { quota: Quota }): JSX.Element {
  const part = share(quota);
  return (
    <span class={`quota small ${part > 1 ? "bad-text" : part === 1 ? "warn-text" : "dim"}`} title={told(quota)}>
      <span class="bar" aria-hidden="true">
        <i class={part > 1 ? "bad" : part === 1 ? "waits" : "use"} style={{ width: `${100 * Math.min(1, part)}%` }} />
      </span>
      <span class="one-line">
        quota: {told(quota)}
        {part > 1 && " (too much)"}
      </span>
      {store.may("operate", keeper(quota.group)) && (
        <a class="button quiet" href={link("edit", { kind: "quota", id: quota.group })} aria-label={`Edit the quota of ${quota.group}`}>
          Edit …
        </a>
      )}
    </span>
  );
}

function GroupRow({ node, toggle }: { node: Extract<Node, { kind: "group" }>; toggle: (id: string) => void }): JSX.Element {
  return (
    <>
      <span role="cell" class="grow two-lines" aria-colspan={node.open ? 2 : 1} style={{ paddingInlineStart: `${node.depth * 20}px` }}>
        <button type="button" class="group-toggle" aria-expanded={node.open} onClick={() => toggle(node.id)}>
          <i aria-hidden="true" class={node.open ? "open" : ""} />
          <bdi>{node.id.slice(node.id.lastIndexOf("/") + 1)}</bdi>
          <span class="dim">{some(node.apps, "app")}</span>
        </button>
        {node.quota && <QuotaUse quota={node.quota} />}
      </span>
      {!node.open && (
        <span role="cell" class="state-column">
          <Badge standing={node.standing} />
        </span>
      )}
      <span role="cell" class="health-column dim">
        <span class="figures">
          {node.ready} / {node.wanted}
        </span>
      </span>
      <span role="cell" class="size-column wide" />
    </>
  );
}

function AppRow({ row, depth, flat, quota }: { row: Row; depth: number; flat: boolean; quota: Quota | undefined }): JSX.Element {
  const { app } = row;
  return (
    <>
      <span role="cell" class="grow two-lines" style={{ paddingInlineStart: `${depth * 20}px` }}>
        <AppLink id={app.id}>
          <bdi>{flat ? app.id : app.id.slice(app.id.lastIndexOf("/") + 1)}</bdi>
        </AppLink>
        {quota && <QuotaUse quota={quota} />}
        {row.sentence && !quota && (
          <span class="dim small one-line">
            <Clip text={row.sentence} most={200} />
          </span>
        )}
      </span>
      <span role="cell" class="state-column">
        <Badge standing={row.standing} />
      </span>
      <span role="cell" class="health-column">
        <Health row={row} />
      </span>
      <span role="cell" class="size-column wide dim">
        {cores(app.cpus)}, {mebibytes(app.mem)}
      </span>
    </>
  );
}
