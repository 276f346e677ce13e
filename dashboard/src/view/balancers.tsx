/** The balancers: what each serves, leaves out and counts. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { some } from "../model.ts";
import { useFigures } from "../store.ts";
import type { Balancer, Server, Service } from "../types.ts";
import { AppLink, Card, Clip, Empty, LongList, Sentence } from "./parts.tsx";

export function BalancersPage(): JSX.Element {
  const { balancers, error } = useFigures();
  const [text, setText] = useState("");
  return (
    <>
      <h1>Balancers</h1>
      {error && <Sentence tone="bad">{error}</Sentence>}
      {balancers && balancers.length > 0 && (
        <div class="toolbar">
          <input type="search" value={text} placeholder="Filter: a service, an app, a server" aria-label="Filter services" onInput={(event) => setText(event.currentTarget.value)} />
        </div>
      )}
      {!balancers && !error && <p class="dim">Asking the balancers …</p>}
      {balancers?.length === 0 && (
        <Empty title="No balancer is registered in Consul">
          <p>Each registers as the service eratos-balancer while its companion runs, which takes some seconds to be seen here.</p>
        </Empty>
      )}
      {balancers?.map((balancer) => (
        <One key={balancer.name} balancer={balancer} text={text.toLowerCase()} />
      ))}
    </>
  );
}

type Shown = { kind: "service"; service: Service } | { kind: "server"; service: Service; server: Server };

function One({ balancer, text }: { balancer: Balancer; text: string }): JSX.Element {
  const services = balancer.services.filter((service) => `${service.service} ${service.app ?? ""} ${service.servers.map((server) => `${server.id} ${server.address ?? ""}`).join(" ")}`.toLowerCase().includes(text));
  const items: Shown[] = services.flatMap((service): Shown[] => [{ kind: "service", service }, ...service.servers.map((server): Shown => ({ kind: "server", service, server }))]);
  const rate = balancer.services.reduce((sum, service) => sum + service.servers.reduce((each, server) => each + (server.rate ?? 0), 0), 0);
  return (
    <Card
      class="balancer"
      title={
        <>
          <bdi>{balancer.name}</bdi> {balancer.trouble ? <span class="badge bad">not well</span> : <span class="badge fine">serves</span>}
        </>
      }
      actions={
        <span class="dim small">
          {some(balancer.services.length, "service")}, {rate.toLocaleString("en")} requests / s
          {balancer.reloads != null && <>, {some(balancer.reloads, "reload")}</>}
          {balancer.oldProcesses ? <>, {some(balancer.oldProcesses, "old process")} finishing</> : null}
        </span>
      }
    >
      {balancer.trouble && <Sentence tone="bad">{balancer.trouble}</Sentence>}
      {balancer.lastReason && <Sentence tone="warn">The last change was refused: {balancer.lastReason}</Sentence>}
      {(balancer.held ?? []).length > 0 && (
        <Sentence tone="warn">Held back by the guard, as they vanished from Consul while they still accept: {balancer.held!.join(", ")}</Sentence>
      )}
      {(balancer.leftOut ?? []).length > 0 && (
        <div class="pad">
          <h3>Left out, and why</h3>
          <ul class="plain">
            {balancer.leftOut!.map((reason) => (
              <li key={reason}>
                <Clip text={reason} most={600} />
              </li>
            ))}
          </ul>
        </div>
      )}
      {items.length > 0 && (
        <LongList
          items={items}
          height={44}
          label={`Services of ${balancer.name}`}
          class="servers"
          keyOf={(item) => (item.kind === "service" ? item.service.service : `${item.service.service}/${item.server.id}`)}
          columns={[
            ["Service, server", "grow"],
            ["Status", "status-column"],
            ["Weight", "number wide"],
            ["Req / s", "number"],
            ["Open", "number wide"],
            ["ms", "number"],
            ["5xx", "number wide"],
          ]}
          draw={(item) => (item.kind === "service" ? <ServiceRow service={item.service} /> : <ServerRow server={item.server} />)}
        />
      )}
    </Card>
  );
}

function ServiceRow({ service }: { service: Service }): JSX.Element {
  return (
    <>
      <span role="cell" class="grow service-name">
        {service.app ? (
          <AppLink id={service.app}>
            <bdi>{service.service}</bdi>
          </AppLink>
        ) : (
          <bdi>{service.service}</bdi>
        )}
      </span>
      <span role="cell" class={service.servers.length ? "dim" : "warn-text"}>
        {service.servers.length ? some(service.servers.length, "server") : "no server: answers 503"}
      </span>
    </>
  );
}

function ServerRow({ server }: { server: Server }): JSX.Element {
  const status = server.status ?? "";
  const tone = status.startsWith("UP") || status.startsWith("no check") ? "ready" : status.startsWith("MAINT") ? "stopping" : "unhealthy";
  return (
    <>
      <span role="cell" class="grow indent">
        <bdi class="one-line mono" title={server.id}>
          {server.address ?? server.id}
        </bdi>
      </span>
      <span role="cell" class="status-column">
        <span class={`condition ${tone}`}>
          <i aria-hidden="true" />
          {status}
        </span>
      </span>
      <span role="cell" class="number wide">
        {server.weight ?? ""}
      </span>
      <span role="cell" class="number">
        {server.rate ?? ""}
      </span>
      <span role="cell" class="number wide">
        {server.requests ?? ""}
      </span>
      <span role="cell" class="number">
        {server.answer_ms ?? ""}
      </span>
      <span role="cell" class="number wide">
        {server.failed ?? ""}
      </span>
    </>
  );
}
