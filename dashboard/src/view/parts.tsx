/** Small things that several pages are made of. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Row, Standing } from "../model.ts";
import type { Condition } from "../types.ts";

const STANDING_WORDS: Record<Standing, string> = {
  bad: "needs a look",
  waits: "waits",
  moves: "changes",
  fine: "fine",
  off: "off",
};

export function Badge({ standing, word }: { standing: Standing; word?: string }): JSX.Element {
  return <span class={`badge ${standing}`}>{word ?? STANDING_WORDS[standing]}</span>;
}

export function ConditionBadge({ condition }: { condition: Condition }): JSX.Element {
  return (
    <span class={`condition ${condition}`}>
      <i aria-hidden="true" />
      {condition === "unready" ? "not ready" : condition}
    </span>
  );
}

/** How many of the wanted instances there are, as a bar of their conditions and in figures. */
export function Health({ row }: { row: Row }): JSX.Element {
  const { counts, app } = row;
  const whole = Math.max(app.instances, row.there + app.waiting, 1);
  const parts: [string, number][] = [
    ["ready", counts.ready],
    ["moves", counts.launching + counts.unready + counts.stopping],
    ["bad", counts.unhealthy + counts.unreachable],
    ["waits", app.waiting],
  ];
  return (
    <span class="health">
      <span class="bar" aria-hidden="true">
        {parts.map(([name, count]) => count > 0 && <i key={name} class={name} style={{ width: `${(100 * count) / whole}%` }} />)}
      </span>
      <span class="figures">
        {counts.ready}
        <span class="dim"> / {app.instances}</span>
        {app.perHost ? <span class="dim"> hosts</span> : <span class="unseen"> instances ready</span>}
      </span>
    </span>
  );
}

export function Meter({ label, used, whole, text }: { label: string; used: number; whole: number | null; text: string }): JSX.Element {
  const share = whole ? Math.min(1, used / whole) : 0;
  return (
    <span class="meter">
      <span class="meter-label">{label}</span>
      <span class="bar" aria-hidden="true">
        <i class={share > 0.9 ? "waits" : "use"} style={{ width: `${100 * share}%` }} />
      </span>
      <span class="meter-text">{text}</span>
    </span>
  );
}

export function Card({ title, actions, children, class: name }: { title?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren; class?: string }): JSX.Element {
  return (
    <section class={`card ${name ?? ""}`}>
      {(title || actions) && (
        <header>
          <h2>{title}</h2>
          {actions && <div class="actions">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Sentence({ tone, children }: { tone: "bad" | "warn" | "plain" | "good"; children: ComponentChildren }): JSX.Element {
  return (
    <div class={`sentence ${tone}`} role={tone === "bad" ? "alert" : undefined}>
      {children}
    </div>
  );
}

/** What stands above a column, and the classes by which it has its width; that of the buttons is only read aloud. */
export type Column = readonly [name: string, classes: string];

export interface ListProps<T> {
  items: readonly T[];
  /** Pixels of each. */
  height: number;
  draw: (item: T, index: number) => ComponentChildren;
  keyOf: (item: T) => string;
  label: string;
  columns?: readonly Column[];
  class?: string;
  /** Follow the end, as of a log. */
  follow?: boolean;
}

/** A list of which only the lines that can be seen are in the page. Rows say which of how many they are. */
export function LongList<T>({ items, height, draw, keyOf, label, columns, class: name, follow }: ListProps<T>): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  useLayoutEffect(() => {
    const element = box.current!;
    const look = (): void => setView((old) => (old.height === element.clientHeight ? old : { top: element.scrollTop, height: element.clientHeight }));
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [follow, items.length, items[items.length - 1]]);
  const first = Math.max(0, Math.floor(view.top / height) - 8);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / height) + 8);
  return (
    <div class={`list ${name ?? ""}`} role="table" aria-label={label} aria-rowcount={items.length + (columns ? 1 : 0)}>
      {columns && (
        <div class="list-head" role="rowgroup">
          <div role="row" class="list-row" aria-rowindex={1}>
            {columns.map(([heading, classes]) => (
              <span key={heading} role="columnheader" class={classes}>
                {classes === "do-column" ? <span class="unseen">{heading}</span> : heading}
              </span>
            ))}
          </div>
        </div>
      )}
      <div
        class="list-body"
        role="rowgroup"
        ref={box}
        tabIndex={0}
        aria-label={label}
        onScroll={(event) => setView({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}
      >
        <div role="presentation" class="list-whole" style={{ height: `${items.length * height}px` }}>
          {items.slice(first, last).map((item, index) => (
            <div
              key={keyOf(item)}
              role="row"
              aria-rowindex={first + index + (columns ? 2 : 1)}
              class="list-row"
              style={{ top: `${(first + index) * height}px`, height: `${height}px` }}
            >
              {draw(item, first + index)}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

/** A small chart: the last value in words beside it, for those who do not see it. */
export function Spark({ values, label, unit, tone }: { values: number[]; label: string; unit: string; tone?: string }): JSX.Element {
  const width = 240;
  const height = 56;
  const most = Math.max(1, ...values);
  const step = width / Math.max(1, 89);
  const from = width - (values.length - 1) * step;
  const points = values.map((value, index) => `${(from + index * step).toFixed(1)},${(height - 3 - (value / most) * (height - 8)).toFixed(1)}`);
  const now = values[values.length - 1] ?? 0;
  return (
    <figure class="spark">
      <figcaption>
        <span>{label}</span>
        <strong>
          {now >= 100 ? Math.round(now).toLocaleString("en") : now.toFixed(now >= 10 || now === 0 ? 0 : 1)} <small>{unit}</small>
        </strong>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true" class={tone}>
        {points.length > 1 && <polygon points={`${from.toFixed(1)},${height} ${points.join(" ")} ${width},${height}`} />}
        {points.length > 1 && <polyline points={points.join(" ")} />}
      </svg>
    </figure>
  );
}

/** Text that somebody else wrote, cut where it would fill the page; all of it stands in the title. */
export function Clip({ text, most = 300 }: { text: string; most?: number }): JSX.Element {
  return text.length <= most ? (
    <bdi>{text}</bdi>
  ) : (
    <bdi title={text.slice(0, 4000)}>{text.slice(0, most)}…</bdi>
  );
}

export function link(page: string, values: Record<string, string> = {}): string {
  const query = new URLSearchParams(values).toString();
  return `#/${page}${query ? `?${query}` : ""}`;
}

export function AppLink({ id, children }: { id: string; children?: ComponentChildren }): JSX.Element {
  return (
    <a href={link("app", { id })} class="app-link" title={id}>
      {children ?? <bdi>{id}</bdi>}
    </a>
  );
}

/** Leads to where another one is made. */
export function NewOne({ kind }: { kind: string }): JSX.Element {
  return (
    <a class="button primary" href={link("edit", { kind })}>
      New {kind}
    </a>
  );
}
