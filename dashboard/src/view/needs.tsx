/** Who requires whom: a picture for those who see it, and the same as a list for everybody. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import { get } from "../api.ts";
import { Part } from "../live.ts";
import { some } from "../model.ts";
import { fits, met, picture, provider, told, type Edge, type Met, type Place, type Node } from "../needs.ts";
import { usePart } from "../store.ts";
import type { Need } from "../types.ts";
import { AppLink, Badge, Card, Clip, link } from "./parts.tsx";
import { Searched } from "./searched.tsx";

/** Definitions change with deployments; how an app stands matters where it is part of a requirement. */
const needs = new Part<Need[]>(
  async () => (await get<{ needs: Need[] }>("/v2/needs")).needs,
  (event, apps, known) => event.eventType.startsWith("deployment_") || (known ?? []).some((need) => apps.includes(need.app) || apps.includes(provider(need))),
);

/** More than these are no picture any more. */
const NODES_MOST = 150;
const WIDE = 216;
const HIGH = 34;
const ACROSS = 300;
const DOWN = 50;
const EDGE = 12;
const BACK = 44;

const WORDS: Record<Met, string> = { met: "met", unmet: "not met", outdated: "outdated", unknown: "unknown" };
const TONES = { met: "fine", unmet: "bad", outdated: "waits", unknown: "off" } as const;

export function NeedsPage({ values, set }: { values: URLSearchParams; set: (values: Record<string, string>) => void }): JSX.Element {
  return (
    <Searched
      title="Needs"
      part={needs}
      values={values}
      set={set}
      words="an app, or what is required"
      fits={fits}
      none="No app requires anything"
      advice={
        <>
          An app states what it requires under <code>eratos.requires</code>: another app, a service in Consul, addresses or a key.
        </>
      }
      one="requirement"
      above={(found) => <Drawn found={found} />}
      height={56}
      class="needs"
      keyOf={(need) => `${need.app} ${need.name}`}
      columns={[
        ["App", "grow"],
        ["Requires", "grow"],
        ["State", "state-column"],
        ["On a change", "size-column wide"],
      ]}
      draw={(need) => <NeedRow need={need} />}
    />
  );
}

function Drawn({ found }: { found: Need[] }): JSX.Element {
  const drawn = useMemo(() => picture(found), [found]);
  return (
    <Card title={<>Who requires whom <span class="dim">{some(found.length, "requirement")}</span></>}>
      {drawn.nodes.length > NODES_MOST ? (
        <p class="dim pad">{some(drawn.nodes.length, "part")} are too many for a picture: a search leaves fewer. The list has them all.</p>
      ) : (
        <Graph picture={drawn} />
      )}
    </Card>
  );
}

function Of({ need }: { need: Need }): JSX.Element {
  const app = provider(need);
  if (app) return <AppLink id={app}>{<bdi>{need.of}</bdi>}</AppLink>;
  return (
    <span class="one-line">
      {need.kind !== "key" && <span class="dim">{need.kind} </span>}
      <Clip text={need.of} most={120} />
    </span>
  );
}

function NeedRow({ need }: { need: Need }): JSX.Element {
  return (
    <>
      <span role="cell" class="grow two-lines">
        <AppLink id={need.app} />
        <span class="dim small one-line">
          as <bdi>{need.name}</bdi>
        </span>
      </span>
      <span role="cell" class="grow two-lines">
        <Of need={need} />
        <span class="dim small one-line">{told(need)}</span>
      </span>
      <span role="cell" class="state-column">
        <Badge standing={TONES[met(need)]} word={WORDS[met(need)]} />
      </span>
      <span role="cell" class="size-column wide dim two-lines">
        <span>{need.onChange}</span>
        <span class="small">{need.wait ? "waits to start" : "starts without"}</span>
      </span>
    </>
  );
}

function x(node: Place): number {
  return EDGE + node.column * ACROSS;
}

function y(node: Place): number {
  return EDGE + node.line * DOWN;
}

function path({ from, to, via }: Edge): string {
  // One that leads back, or to itself, as in a circle, goes below.
  if (to.column <= from.column) {
    // The end of one that leads to itself is beside its begin.
    const [start, end] = [x(from) + WIDE / 2 + 14, x(to) + WIDE / 2 - 14];
    return `M${start} ${y(from) + HIGH} C${start} ${y(from) + HIGH + BACK} ${end} ${y(to) + HIGH + BACK} ${end} ${y(to) + HIGH + 7}`;
  }
  const middle = (place: Place): number => y(place) + HIGH / 2;
  const half = (ACROSS - WIDE) / 2;
  let way = `M${x(from) + WIDE} ${middle(from)}`;
  let last: Place = from;
  for (const next of [...via, to]) {
    way += ` C${x(last) + WIDE + half} ${middle(last)} ${x(next) - half} ${middle(next)} ${x(next) - (next === to ? 7 : 0)} ${middle(next)}`;
    if (next !== to) way += ` h${WIDE}`;
    last = next;
  }
  return way;
}

/** For the eye and the mouse alone: the list below has the same words and links. */
function Graph({ picture: { nodes, edges, columns, lines } }: { picture: ReturnType<typeof picture> }): JSX.Element {
  const [over, setOver] = useState("");
  const width = 2 * EDGE + (columns - 1) * ACROSS + WIDE;
  const height = 2 * EDGE + (lines - 1) * DOWN + HIGH + (edges.some(({ from, to }) => to.column <= from.column) ? BACK : 0);
  const near = new Set(edges.flatMap(({ from, to }) => (from.key === over || to.key === over ? [from.key, to.key] : [])));
  return (
    <div class="graph" tabIndex={0} role="group" aria-label="A picture of what the list below says in words">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true" class={near.size ? "chosen" : ""}>
        <defs>
          {(["met", "unmet", "outdated", "unknown"] as const).map((name) => (
            <marker key={name} id={`arrow-${name}`} viewBox="0 0 8 8" refX="1" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">
              <path d="M0 0 8 4 0 8z" class={name} />
            </marker>
          ))}
        </defs>
        {edges.map((edge) => (
          <path key={`${edge.from.key} ${edge.name}`} d={path(edge)} class={`edge ${edge.met} ${edge.from.key === over || edge.to.key === over ? "near" : ""}`} marker-end={`url(#arrow-${edge.met})`}>
            <title>{`${edge.from.label.slice(0, 200)} requires ${edge.to.label.slice(0, 200)} as ${edge.name}: ${WORDS[edge.met]}`}</title>
          </path>
        ))}
        {nodes.map((node) => (
          <g key={node.key} class={`node ${near.has(node.key) ? "near" : ""}`} onMouseEnter={() => setOver(node.key)} onMouseLeave={() => setOver("")}>
            <Box node={node} ill={edges.some((edge) => edge.to === node && edge.met === "unmet")} />
          </g>
        ))}
      </svg>
    </div>
  );
}

function Box({ node, ill }: { node: Node; ill: boolean }): JSX.Element {
  const most = node.app ? 27 : 24;
  const shown = node.label.length > most ? `…${node.label.slice(1 - most)}` : node.label;
  const body = (
    <>
      <title>{node.label.slice(0, 2000)}</title>
      <rect x={x(node)} y={y(node)} width={WIDE} height={HIGH} rx={node.app ? 9 : HIGH / 2} class={ill ? "ill" : node.app ? "" : "other"} />
      <text x={x(node) + (node.app ? 12 : 16)} y={y(node) + HIGH / 2 + 4.5}>
        {shown}
      </text>
    </>
  );
  return node.app ? (
    <a href={link("app", { id: node.app })} tabindex={-1}>
      {body}
    </a>
  ) : (
    body
  );
}

/** What an app requires, and who requires it: part of its page. */
export function NeedsOf({ app }: { app: string }): JSX.Element | null {
  const { value } = usePart(needs);
  const own = (value ?? []).filter((need) => need.app === app);
  const others = (value ?? []).filter((need) => provider(need) === app && need.app !== app);
  if (!own.length && !others.length) return null;
  return (
    <Card
      title="Needs"
      actions={
        <a class="button" href={link("needs", { q: app })}>
          As a picture
        </a>
      }
    >
      <ul class="reasons">
        {own.map((need) => (
          <li key={need.name}>
            <span class="chip">requires</span>
            <div class="grow two-lines">
              <span>
                <Of need={need} /> <span class="dim">as {need.name}</span>
              </span>
              <span class="dim small">{told(need)}</span>
            </div>
            <Badge standing={TONES[met(need)]} word={WORDS[met(need)]} />
          </li>
        ))}
        {others.map((need) => (
          <li key={`${need.app} ${need.name}`}>
            <span class="chip">required by</span>
            <div class="grow two-lines">
              <AppLink id={need.app} />
              <span class="dim small">{told(need)}</span>
            </div>
            <Badge standing={TONES[met(need)]} word={WORDS[met(need)]} />
          </li>
        ))}
      </ul>
    </Card>
  );
}
