/** Logs of several instances at once, both streams, followed as they are written. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { podAddress } from "../actions.tsx";
import { follow, get } from "../api.ts";
import { hue } from "../colour.ts";
import { shortName, some } from "../model.ts";
import { useAnswer, useStore } from "../store.ts";
import type { PodContainer, Task } from "../types.ts";
import { AppLink, Empty, link, LongList, Sentence } from "./parts.tsx";

interface Line {
  key: number;
  task: string;
  stream: string;
  text: string;
}

const LINES_MOST = 20_000;
/** As many as the API follows for one reader. */
const TASKS_MOST = 20;
/** An executor serves 16 streams at a time, and each instance has two. */
const TASKS_OF_HOST_MOST = 7;
/** So many instances whose log cannot be read are named, so that the lines of others are still seen. */
const TROUBLES_MOST = 3;
/** After a line that was cut it is asked again so much later. */
const AGAIN_MS = 2000;

/** Returns as many instances as may be followed together. */
function followed(tasks: Task[]): string[] {
  const hosts = new Map<string, number>();
  const found: string[] = [];
  for (const task of tasks) {
    const count = hosts.get(task.agent) ?? 0;
    if (count < TASKS_OF_HOST_MOST && found.length < TASKS_MOST) found.push(task.id);
    hosts.set(task.agent, count + 1);
  }
  return found;
}

export function LogsPage({ values, set }: { values: URLSearchParams; set: (values: Record<string, string>) => void }): JSX.Element {
  const store = useStore();
  const app = values.get("app") ?? "";
  const only = values.get("task") ?? "";
  const container = values.get("container") ?? "";
  const text = values.get("q") ?? "";
  const row = store.model.rows.get(app);
  const begun = (row?.app.tasks ?? []).filter((task) => task.condition !== "launching").sort((a, b) => (a.id < b.id ? -1 : 1));
  const running = begun.map((task) => task.id);
  const together = followed(begun);
  const tasks = only ? [only] : together;
  const [lines, setLines] = useState<Line[]>([]);
  const [trouble, setTrouble] = useState<Record<string, string>>({});
  const [error, setError] = useState("");
  const [following, setFollowing] = useState(true);
  const [wrong, setWrong] = useState(false);
  /** How often a line was cut, and is to be taken up again. */
  const [cuts, setCuts] = useState(0);
  const count = useRef(0);
  const known = useRef(new Set<string>());
  // Before what follows them, which notes what is known: or that were forgotten at once, and come twice.
  useEffect(() => {
    known.current.clear();
    setLines([]);
    setTrouble({});
    setError("");
    setCuts(0);
  }, [app, only, container]);
  useEffect(() => {
    if (!tasks.length) return;
    // What was written while the line was cut does not come any more.
    let waiting: Line[] = cuts && known.current.size ? [{ key: count.current++, task: "", stream: "cut", text: "The connection was cut here: lines may be missing." }] : [];
    let drawn = 0;
    let again = 0;
    // What is known of an instance is not shown twice when the set of instances changes.
    const fresh = tasks.filter((task) => !known.current.has(task));
    const query = [...tasks.map((task) => `task=${encodeURIComponent(task)}`), ...tasks.map((task) => (fresh.includes(task) ? "tail=100" : "tail=0")), "follow=true", ...(container ? [`container=${encodeURIComponent(container)}`] : [])].join("&");
    const reading = follow(
      `/v2/logs?${query}`,
      "",
      {
        frame: ({ event, data }) => {
          const found = JSON.parse(data) as { task: string; stream: string; text?: string; reason?: string };
          if (event === "end") {
            if (found.reason) setTrouble((old) => ({ ...old, [found.task]: found.reason! }));
            return;
          }
          waiting.push({ key: count.current++, task: found.task, stream: found.stream, text: found.text ?? "" });
          drawn ||= window.setTimeout(() => {
            drawn = 0;
            const come = waiting;
            waiting = [];
            setLines((old) => [...old, ...come].slice(-LINES_MOST));
          }, 100);
        },
        state: (live, reason) => {
          if (live) for (const task of fresh) known.current.add(task);
          setError(live ? "" : (reason?.whole ?? ""));
          // What is refused stays so; what nobody answers, or what breaks off, comes back.
          if (!live && reason && (reason.status === 0 || reason.status >= 500)) again = window.setTimeout(() => setCuts((times) => times + 1), AGAIN_MS);
        },
      },
      false,
    );
    return () => {
      reading.stop();
      clearTimeout(drawn);
      clearTimeout(again);
    };
  }, [tasks.join(), container, cuts]);
  const shown = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return lines.filter((line) => (!wrong || line.stream === "stderr") && words.every((word) => line.text.toLowerCase().includes(word)));
  }, [lines, text, wrong]);
  const apps = [...store.model.rows.values()].filter((found) => found.app.tasks.length).map((found) => found.app.id).sort();
  return (
    <>
      <div class="page-head">
        <h1>Logs</h1>
        {app ? (
          <span>
            of <AppLink id={app} />
          </span>
        ) : (
          only && (
            <span class="one-line">
              of <bdi class="mono">{only.slice(0, 300)}</bdi>
            </span>
          )
        )}
      </div>
      <div class="toolbar">
        <label class="field">
          <span class="unseen">App</span>
          <input list="apps-with-logs" value={app} placeholder="Choose an app: /shop/cart" onChange={(event) => set({ app: event.currentTarget.value })} />
        </label>
        <datalist id="apps-with-logs">
          {apps.slice(0, 500).map((id) => (
            <option key={id} value={id} />
          ))}
        </datalist>
        {row && (
          <select aria-label="Instance" value={only} onChange={(event) => set({ app, q: text, container, task: event.currentTarget.value })}>
            <option value="">{running.length > together.length ? `${together.length} of ${running.length} instances` : `All ${some(running.length, "instance")}`}</option>
            {running.map((task) => (
              <option key={task} value={task}>
                {shortName(task)} on {store.model.agents.get(row.app.tasks.find((found) => found.id === task)!.agent)?.host}
              </option>
            ))}
          </select>
        )}
        {row?.app.pod && <Containers id={app} chosen={container} choose={(name) => set({ app, task: only, q: text, container: name })} />}
        <input type="search" value={text} placeholder="Filter lines" aria-label="Filter lines" onInput={(event) => set({ app, task: only, container, q: event.currentTarget.value })} />
        <button type="button" aria-pressed={wrong} onClick={() => setWrong(!wrong)}>
          stderr only
        </button>
        <button type="button" aria-pressed={following} onClick={() => setFollowing(!following)}>
          {following ? "Follows" : "Follow"}
        </button>
      </div>
      {error && <Sentence tone="bad">{error}</Sentence>}
      {Object.entries(trouble).slice(0, TROUBLES_MOST).map(([task, reason]) => (
        <Sentence key={task} tone="warn">
          {shortName(task)}: {reason}
        </Sentence>
      ))}
      {Object.keys(trouble).length > TROUBLES_MOST && <p class="warn-text">and {some(Object.keys(trouble).length - TROUBLES_MOST, "more instance")} without a log</p>}
      {!tasks.length ? (
        <Empty title={app ? `${app} has no instance that runs` : "Choose an app"}>
          <p>The logs of up to {TASKS_MOST} of its instances are followed together, both streams.</p>
        </Empty>
      ) : shown.length === 0 ? (
        <Empty title={lines.length ? "No line fits" : "No line yet"} />
      ) : (
        <LongList
          items={shown}
          height={22}
          label="Log lines"
          class="log card"
          follow={following}
          keyOf={(line) => String(line.key)}
          draw={(line) => (
            <>
              <span role="cell" class="log-task mono">
                {line.task && (
                  <a style={{ color: `hsl(${hue(line.task)} 60% var(--cell-text))` }} href={link("logs", { app, task: line.task, ...(container && { container }) })} title={line.task}>
                    {shortName(line.task)}
                  </a>
                )}
              </span>
              <span role="cell" class={`log-text mono ${line.stream}`} title={line.text.length > 200 ? line.text.slice(0, 5000) : undefined}>
                {line.stream === "stderr" && <span class="unseen">stderr: </span>}
                <bdi>{line.text.slice(0, 2000)}</bdi>
              </span>
            </>
          )}
        />
      )}
    </>
  );
}

/** Which container of a pod is read: its first one, unless somebody chose. */
function Containers({ id, chosen, choose }: { id: string; chosen: string; choose: (name: string) => void }): JSX.Element | null {
  const found = useAnswer<{ containers: PodContainer[] }>(id, (signal) => get(podAddress(id), signal));
  if (!found.value) return null;
  return (
    <select aria-label="Container" value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
      {found.value.containers.map(({ name }, index) => (
        <option key={name} value={index ? name : ""}>
          {name.slice(0, 100)}
        </option>
      ))}
    </select>
  );
}
