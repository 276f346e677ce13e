/** The picture of the cluster: agents by region and zone, each with what it has, what is taken, and its instances. */

import { Component, type JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { drain, releaseBrake, undrain } from "../actions.tsx";
import { notices, type Notice } from "../attention.ts";
import { hue } from "../colour.ts";
import { restarts, shortName, some } from "../model.ts";
import { store, useClock, useFigures, useStore } from "../store.ts";
import type { Agent, App, Task } from "../types.ts";
import { cores, mebibytes, span } from "../words.ts";
import { AppLink, Card, Clip, ConditionBadge, Empty, link, LongList, Meter } from "./parts.tsx";

type On = { app: App; task: Task };

export function ClusterPage(): JSX.Element {
  const { model, deployments } = useStore();
  const figures = useFigures();
  const [chosen, choose] = useState("");
  const totals = model.totals();
  const found = notices(model, deployments, figures.balancers, figures.consul);
  const agents = [...model.agents.values()];
  const room = agents.reduce(
    (sum, agent) => ({
      cpus: sum.cpus + (agent.used?.cpus ?? 0) + (agent.free?.cpus ?? 0),
      used: sum.used + (agent.used?.cpus ?? 0),
      mem: sum.mem + (agent.used?.mem ?? 0) + (agent.free?.mem ?? 0),
      usedMem: sum.usedMem + (agent.used?.mem ?? 0),
    }),
    { cpus: 0, used: 0, mem: 0, usedMem: 0 },
  );
  const whole = store.may("view", "/");
  const agent = model.agents.get(chosen);
  return (
    <>
      <h1>Cluster</h1>
      <div class="tiles">
        <Figure label="Instances ready" value={totals.counts.ready} of={totals.wanted} />
        <Figure label="Apps" value={totals.apps} note={totals.standings.bad ? `${totals.standings.bad} need a look` : totals.standings.moves ? `${totals.standings.moves} change` : "all at rest"} bad={totals.standings.bad > 0} />
        <Figure label="Waiting" value={totals.waiting} note={totals.waiting ? some(totals.standings.waits, "app") : "nothing waits"} bad={false} />
        <Figure label="Agents" value={agents.length} note={whole ? `${cores(room.used)} of ${cores(room.cpus)} CPUs, ${mebibytes(room.usedMem)} of ${mebibytes(room.mem)}` : "those of your apps"} />
        <Figure label="Deployments" value={deployments.length} note={deployments.length ? "under way" : "none under way"} href={link("deployments")} />
      </div>
      <Parts />
      {found.length > 0 && (
        <Card title="Not well" class="attention">
          <ul class="notices">
            {found.map((notice) => (
              <NoticeLine key={notice.key} notice={notice} />
            ))}
          </ul>
        </Card>
      )}
      <Places agents={agents} chosen={chosen} choose={choose} />
      {agent && <AgentCard agent={agent} close={() => choose("")} />}
    </>
  );
}

function Figure({ label, value, of, note, bad, href }: { label: string; value: number; of?: number; note?: string; bad?: boolean; href?: string }): JSX.Element {
  const body = (
    <>
      <span class="figure-label">{label}</span>
      <span class="figure-value">
        {value.toLocaleString("en")}
        {of !== undefined && <small> / {of.toLocaleString("en")}</small>}
      </span>
      {note && <span class={`figure-note ${bad ? "bad-text" : ""}`}>{note}</span>}
      {of !== undefined && (
        <span class="bar" aria-hidden="true">
          <i class={value >= of ? "ready" : "waits"} style={{ width: `${of ? (100 * Math.min(value, of)) / of : 100}%` }} />
        </span>
      )}
    </>
  );
  return href ? (
    <a class="figure" href={href}>
      {body}
    </a>
  ) : (
    <div class="figure">{body}</div>
  );
}

/** The parts beside the agents: who leads, and the balancers. */
function Parts(): JSX.Element {
  const { model, caller, leader } = useStore();
  const { balancers, consul } = useFigures();
  const ill = (balancers ?? []).filter((balancer) => balancer.trouble).length;
  return (
    <p class="parts">
      <Part name="Mesos master" good={model.scheduler.connected} text={model.scheduler.master ?? "none"} />
      <Part name="Leading scheduler" good={leader !== ""} text={leader || "none"} />
      {consul !== null && <Part name="Consul" good={!consul} text={consul ? "does not answer" : "answers"} />}
      <Part
        name="Balancers in Consul"
        good={balancers === null || (balancers.length > 0 && ill === 0)}
        text={balancers === null ? "…" : balancers.length === 0 ? "none is registered" : ill ? `${ill} of ${balancers.length} not well` : `${balancers.length} serving`}
      />
      {model.brake && <Part name="Disaster brake" good={!model.brake.engaged} text={model.brake.engaged ? "engaged" : "released"} />}
      {caller.name !== "-" && <Part name="You" good text={`${caller.name} (${caller.roles.join(", ")})`} />}
    </p>
  );
}

function Part({ name, good, text }: { name: string; good: boolean; text: string }): JSX.Element {
  return (
    <span class={`part ${good ? "good" : "bad"}`}>
      <i aria-hidden="true" />
      <span class="dim">{name}</span> <bdi>{text}</bdi>
    </span>
  );
}

function NoticeLine({ notice }: { notice: Notice }): JSX.Element {
  return (
    <li class={notice.tone}>
      <div>
        <strong>{notice.app ? <AppLink id={notice.app}>{notice.title === notice.app ? undefined : notice.title}</AppLink> : notice.title}</strong>
        <p>
          <Clip text={notice.text} />
        </p>
        <p class="fix">{notice.fix}</p>
      </div>
      {notice.brake && store.may("operate", "/") && (
        <button type="button" onClick={() => releaseBrake(notice.text)}>
          Release …
        </button>
      )}
    </li>
  );
}

function Places({ agents, chosen, choose }: { agents: Agent[]; chosen: string; choose: (id: string) => void }): JSX.Element {
  const places = useMemo(() => {
    const found = new Map<string, Agent[]>();
    for (const agent of agents) {
      const key = [agent.region, agent.zone.replace(`${agent.region}/`, "")].filter(Boolean).join(" / ") || "No zone";
      const there = found.get(key);
      if (there) there.push(agent);
      else found.set(key, [agent]);
    }
    for (const there of found.values()) there.sort((a, b) => a.host.localeCompare(b.host, "en", { numeric: true }));
    return [...found].sort(([a], [b]) => a.localeCompare(b));
  }, [agents.map((agent) => `${agent.id} ${agent.host} ${agent.zone}`).join()]);
  const { model } = store;
  if (!agents.length)
    return (
      <Empty title="No agent is known yet">
        <p>Agents show up once they have offered something, which takes some seconds. If none comes: are agents registered with the master?</p>
      </Empty>
    );
  return (
    <>
      {places.map(([name, there]) => (
        <section key={name} class="zone">
          <h2>
            <bdi>{name}</bdi> <span class="dim">{some(there.length, "agent")}</span>
          </h2>
          <div class="agents">
            {there.map(({ id }) => (
              <Tile key={id} agent={model.agents.get(id)!} stamp={model.stamps.get(id) ?? 0} chosen={chosen === id} choose={choose} />
            ))}
          </div>
        </section>
      ))}
      <Legend />
    </>
  );
}

function Legend(): JSX.Element {
  return (
    <ul class="legend" aria-label="What the cells mean">
      {(
        [
          ["ready", "ready, in the colour of its app"],
          ["launching", "starts, or is not ready yet"],
          ["stopping", "being drained and stopped"],
          ["bad", "unhealthy, or out of reach"],
        ] as const
      ).map(([name, text]) => (
        <li key={name}>
          <i class={`cell ${name}`} aria-hidden="true" />
          {text}
        </li>
      ))}
    </ul>
  );
}

interface TileProps {
  agent: Agent;
  stamp: number;
  chosen: boolean;
  choose: (id: string) => void;
}

/** Drawn anew only when something on the agent has changed. */
class Tile extends Component<TileProps> {
  override shouldComponentUpdate(next: TileProps): boolean {
    return next.stamp !== this.props.stamp || next.chosen !== this.props.chosen || next.agent !== this.props.agent;
  }

  render(): JSX.Element {
    const { agent, chosen, choose } = this.props;
    const on = [...store.model.onAgent(agent.id)].sort((a, b) => (a.app.id < b.app.id ? -1 : a.app.id > b.app.id ? 1 : a.task.id < b.task.id ? -1 : 1));
    const ready = on.filter(({ task }) => task.condition === "ready").length;
    const ill = on.filter(({ task }) => task.condition === "unhealthy" || task.condition === "unreachable").length;
    const { used, free } = agent;
    const state = agent.leftAlone ? "left alone" : agent.drain ? "drained" : agent.maintenance ? "maintenance" : ill ? `${ill} not well` : "";
    const says = `${agent.host}: ${some(on.length, "instance")}, ${ready} ready${ill ? `, ${ill} not well` : ""}${used && free ? `; CPU ${cores(used.cpus)} of ${cores(used.cpus + free.cpus)}` : ""}`;
    return (
      <article class={`tile ${chosen ? "chosen" : ""} ${ill ? "ill" : ""}`}>
        <button type="button" class="tile-head" aria-expanded={chosen} aria-label={says} onClick={() => choose(chosen ? "" : agent.id)}>
          <bdi class="host">{agent.host}</bdi>
          {state ? <span class={`badge ${ill ? "bad" : "waits"}`}>{state}</span> : <span class="dim">{on.length}</span>}
        </button>
        <Cells on={on} />
        {used && (
          <div class="meters">
            <Meter label="CPU" used={used.cpus} whole={free ? used.cpus + free.cpus : null} text={free ? `${cores(used.cpus)} / ${cores(used.cpus + free.cpus)}` : cores(used.cpus)} />
            <Meter label="Mem" used={used.mem} whole={free ? used.mem + free.mem : null} text={free ? `${mebibytes(used.mem)} / ${mebibytes(used.mem + free.mem)}` : mebibytes(used.mem)} />
            <Meter label="Ports" used={used.ports} whole={free ? used.ports + free.ports : null} text={free ? `${used.ports} / ${used.ports + free.ports}` : String(used.ports)} />
          </div>
        )}
      </article>
    );
  }
}

/** The instances as cells, on a canvas: there may be hundreds on an agent. What they are is read from the tile and its list. */
function Cells({ on }: { on: On[] }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = on.length <= 48 ? 16 : on.length <= 200 ? 10 : 6;
  const gap = size > 8 ? 3 : 2;
  const columns = useRef(1);
  const width = useRef(0);
  useEffect(() => {
    const element = canvas.current!;
    const draw = (): void => {
      if (!width.current) return;
      columns.current = Math.max(1, Math.floor((width.current + gap) / (size + gap)));
      const rows = Math.max(1, Math.ceil(on.length / columns.current));
      const height = rows * (size + gap) - gap;
      const scale = window.devicePixelRatio || 1;
      element.width = width.current * scale;
      element.height = height * scale;
      element.style.height = `${height}px`;
      paint(element, on, size, gap, columns.current, scale);
    };
    draw();
    // The observer tells the width, at first as well: to ask for it would have the page laid out anew for each of the tiles.
    const observer = new ResizeObserver(([entry]) => {
      if (entry!.contentRect.width === width.current) return;
      width.current = entry!.contentRect.width;
      draw();
    });
    observer.observe(element.parentElement!);
    const theme = new MutationObserver(draw);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => (observer.disconnect(), theme.disconnect());
  }, [on]);
  const at = (event: MouseEvent): On | undefined => {
    const column = Math.floor(event.offsetX / (size + gap));
    return column < columns.current ? on[Math.floor(event.offsetY / (size + gap)) * columns.current + column] : undefined;
  };
  return (
    <div class="cells">
      <canvas
        ref={canvas}
        aria-hidden="true"
        onMouseMove={(event) => {
          const found = at(event);
          event.currentTarget.title = found ? `${found.app.id}  ${shortName(found.task.id)}: ${found.task.condition}` : "";
        }}
        onClick={(event) => {
          const found = at(event);
          if (found) location.hash = link("app", { id: found.app.id });
        }}
      />
    </div>
  );
}

let known: { bad: string; light: string } | null = null;

/** The colours of the page, read once for all that is drawn for one picture. */
function colours(): { bad: string; light: string } {
  if (!known) {
    const style = getComputedStyle(document.documentElement);
    known = { bad: style.getPropertyValue("--bad"), light: style.getPropertyValue("--cell-light") };
    requestAnimationFrame(() => (known = null));
  }
  return known;
}

function paint(canvas: HTMLCanvasElement, on: On[], size: number, gap: number, columns: number, scale: number): void {
  const context = canvas.getContext("2d")!;
  const { bad, light } = colours();
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  on.forEach(({ app, task }, index) => {
    const x = (index % columns) * (size + gap);
    const y = Math.floor(index / columns) * (size + gap);
    const colour = `hsl(${hue(app.id)} 62% ${light})`;
    const ill = task.condition === "unhealthy" || task.condition === "unreachable";
    context.globalAlpha = task.condition === "stopping" ? 0.3 : 1;
    context.beginPath();
    context.roundRect(x + 0.5, y + 0.5, size - 1, size - 1, size / 4);
    if (task.condition === "launching" || task.condition === "unready") {
      context.strokeStyle = colour;
      context.lineWidth = size > 8 ? 2 : 1;
      context.stroke();
    } else {
      context.fillStyle = ill ? bad : colour;
      context.fill();
    }
    if (ill && size > 8) {
      context.strokeStyle = "#fff";
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x + size * 0.3, y + size * 0.3);
      context.lineTo(x + size * 0.7, y + size * 0.7);
      context.moveTo(x + size * 0.7, y + size * 0.3);
      context.lineTo(x + size * 0.3, y + size * 0.7);
      context.stroke();
    }
  });
  context.globalAlpha = 1;
}

function AgentCard({ agent, close }: { agent: Agent; close: () => void }): JSX.Element {
  const now = useClock(5000);
  const on = [...store.model.onAgent(agent.id)].sort((a, b) => (a.app.id < b.app.id ? -1 : 1));
  const attributes = Object.entries(agent.attributes ?? {});
  return (
    <Card
      title={<bdi>{agent.host}</bdi>}
      class="drawer"
      actions={
        <span class="actions">
          {store.may("operate", "/") &&
            (agent.drain ? (
              <button type="button" onClick={() => undrain(agent)}>
                Give back …
              </button>
            ) : (
              <button type="button" onClick={() => drain(agent, [...new Set(on.map(({ app }) => app.id))])}>
                Drain …
              </button>
            ))}
          <button type="button" class="quiet" onClick={close} aria-label="Close">
            ✕
          </button>
        </span>
      }
    >
      {attributes.length > 0 && (
        <p class="chips">
          {attributes.map(([key, value]) => (
            <span key={key} class="chip">
              {key}={value}
            </span>
          ))}
        </p>
      )}
      <p class="dim small">{agent.id}</p>
      {on.length === 0 ? (
        <p class="dim">Nothing of eratos runs there.</p>
      ) : (
        <LongList
          items={on}
          height={44}
          label={`Instances on ${agent.host}`}
          class="on-agent"
          keyOf={({ task }) => task.id}
          draw={({ app, task }) => (
            <>
              <span role="cell" class="grow">
                <AppLink id={app.id} />
              </span>
              <span role="cell">
                <ConditionBadge condition={task.condition} />
              </span>
              <span role="cell" class="dim wide">
                {task.ports.map((port) => `:${port}`).join(" ")}
              </span>
              <span role="cell" class="dim wide">
                {span(now.getTime() - Date.parse(task.since))}
                {restarts(task.id) > 0 && `, ${restarts(task.id)} restarts`}
              </span>
            </>
          )}
        />
      )}
    </Card>
  );
}
