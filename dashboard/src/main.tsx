/** Begins the dashboard: where what is, and how one gets there. */

import { Component, render, type ComponentChildren, type JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { signedIn } from "./api.ts";
import { store, useStore } from "./store.ts";
import { choose, chosen, follow, THEMES } from "./theme.ts";
import { AppPage } from "./view/app.tsx";
import { AppsPage } from "./view/apps.tsx";
import { BalancersPage } from "./view/balancers.tsx";
import { ClusterPage } from "./view/cluster.tsx";
import { DeploymentsPage } from "./view/deployments.tsx";
import { Confirmations } from "./view/dialog.tsx";
import { EditorPage } from "./view/editor.tsx";
import { Login } from "./view/login.tsx";
import { LogsPage } from "./view/logs.tsx";
import { JobPage, JobsPage } from "./view/jobs.tsx";
import { NeedsPage } from "./view/needs.tsx";
import { link } from "./view/parts.tsx";
import { PodsPage } from "./view/pods.tsx";
import { TimelinePage } from "./view/timeline.tsx";
import { VolumesPage } from "./view/volumes.tsx";

const PAGES: [string, string, string][] = [
  ["cluster", "Cluster", "g c"],
  ["apps", "Apps", "g a"],
  ["pods", "Pods", "g p"],
  ["jobs", "Jobs", "g j"],
  ["volumes", "Volumes", "g v"],
  ["needs", "Needs", "g n"],
  ["deployments", "Deployments", "g d"],
  ["timeline", "Timeline", "g t"],
  ["logs", "Logs", "g l"],
  ["balancers", "Balancers", "g b"],
];

interface Place {
  page: string;
  values: URLSearchParams;
}

function here(): Place {
  const [page, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { page: page || "cluster", values: new URLSearchParams(query) };
}

/** Changes what a page shows without another step in the browser's history, as while somebody types. */
function set(page: string, values: Record<string, string>): void {
  const kept = Object.fromEntries(Object.entries(values).filter(([, value]) => value));
  history.replaceState(null, "", link(page, kept));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

function Shell(): JSX.Element {
  const { connection, reason, model, deployments, caller, whole } = useStore();
  const [place, setPlace] = useState(here);
  const main = useRef<HTMLElement>(null);
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    let last = here().page;
    const look = (): void => {
      const found = here();
      setPlace(found);
      if (found.page !== last) {
        last = found.page;
        scrollTo(0, 0);
        main.current?.focus({ preventScroll: true });
      }
    };
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  useEffect(() => keys(), []);
  const title = PAGES.find(([name]) => name === place.page)?.[1] ?? place.values.get("id") ?? "eratos";
  useEffect(() => void (document.title = `${title} · eratos`), [title]);
  const edited = place.values.get("kind") ?? "app";
  const on = place.page === "edit" ? (edited === "quota" ? "apps" : `${edited}s`) : place.page === "app" || place.page === "job" ? `${place.page}s` : place.page;
  // On a small screen the pages are a row that is longer than the screen.
  useEffect(() => nav.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [on]);
  if (connection === "denied") return <Login reason={reason} />;
  const bad = [...model.rows.values()].filter((row) => row.standing === "bad").length;
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        To the content
      </a>
      <header class="side">
        <a class="brand" href={link("cluster")}>
          <img src="/ui/icon.svg" alt="" width="26" height="26" />
          eratos
        </a>
        <nav aria-label="Pages" ref={nav}>
          {PAGES.map(([name, label, key]) => (
            <a key={name} href={link(name)} aria-current={on === name ? "page" : undefined} title={`${label} (${key})`}>
              <Icon name={name} />
              <span>{label}</span>
              {name === "apps" && bad > 0 && <em class="count bad">{bad}</em>}
              {name === "deployments" && deployments.length > 0 && <em class="count">{deployments.length}</em>}
            </a>
          ))}
        </nav>
        <div class="side-foot">
          <span class={`live ${connection}`} role="status">
            <i aria-hidden="true" />
            {connection === "live" ? "live" : connection === "loading" ? "loading" : "reconnecting"}
          </span>
          <ThemeButton />
          {signedIn() && (
            <button type="button" class="quiet" onClick={() => store.signOut()} title={caller.name}>
              Sign out
            </button>
          )}
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {connection === "lost" && (
          <div class="sentence bad" role="alert">
            What is shown may be old: {reason || "the connection to the scheduler was lost"}. It is tried again by itself.
          </div>
        )}
        <Caught key={place.page}>{page(place, !whole && (place.page !== "apps" || model.rows.size === 0))}</Caught>
      </main>
      <Confirmations />
    </div>
  );
}

function page({ page, values }: Place, loading: boolean): JSX.Element {
  if (loading) return <p class="dim">Loading …</p>;
  switch (page) {
    case "cluster":
      return <ClusterPage />;
    case "apps":
      return <AppsPage values={values} set={(found) => set("apps", found)} />;
    case "app":
      return <AppPage id={values.get("id") ?? ""} />;
    case "edit":
      return <EditorPage kind={values.get("kind") ?? "app"} id={values.get("id") ?? ""} />;
    case "pods":
      return <PodsPage values={values} set={(found) => set("pods", found)} />;
    case "jobs":
      return <JobsPage values={values} set={(found) => set("jobs", found)} />;
    case "job":
      return <JobPage id={values.get("id") ?? ""} />;
    case "volumes":
      return <VolumesPage values={values} set={(found) => set("volumes", found)} />;
    case "needs":
      return <NeedsPage values={values} set={(found) => set("needs", found)} />;
    case "deployments":
      return <DeploymentsPage />;
    case "timeline":
      return <TimelinePage values={values} set={(found) => set("timeline", found)} />;
    case "logs":
      return <LogsPage values={values} set={(found) => set("logs", found)} />;
    case "balancers":
      return <BalancersPage />;
  }
  return (
    <div class="empty">
      <p class="empty-title">There is no such page</p>
      <a href={link("cluster")}>Cluster</a>
    </div>
  );
}

/** A page that breaks says so, and takes nothing else with it. */
class Caught extends Component<{ children: ComponentChildren }, { error: string }> {
  override state = { error: "" };

  override componentDidCatch(error: unknown): void {
    console.error(error);
    this.setState({ error: String(error) });
  }

  render(): ComponentChildren {
    if (!this.state.error) return this.props.children;
    return (
      <div class="sentence bad" role="alert">
        The dashboard itself broke here, please report it as a bug: {this.state.error}
      </div>
    );
  }
}

function ThemeButton(): JSX.Element {
  const [theme, setTheme] = useState(chosen);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
  return (
    <button type="button" class="quiet" onClick={() => (choose(next), setTheme(next))} aria-label={`Colours: ${theme}. Change to ${next}`} title={`Colours: ${theme}`}>
      {theme === "dark" ? "☾" : theme === "light" ? "☀" : "◐"}
    </button>
  );
}

const PATHS: Record<string, string> = {
  cluster: "M3 3h6v6H3zM11 3h6v6h-6zM3 11h6v6H3zM11 11h6v6h-6z",
  apps: "M3 5h14M3 10h14M3 15h9",
  pods: "M10 2.5 16.5 6v8L10 17.5 3.5 14V6zM3.5 6 10 9.5 16.5 6M10 9.5v8",
  jobs: "M4 4.5h12v12H4zM4 8.5h12M7.5 2.5v4M12.5 2.5v4M7.5 12.5l2 2 3.5-3.5",
  volumes: "M3.5 5.5c0-4 13-4 13 0s-13 4-13 0M3.5 5.5v9c0 4 13 4 13 0v-9M3.5 10c0 4 13 4 13 0",
  needs: "M2.5 7.5h5v5h-5zM12.5 3h5v5h-5zM12.5 12h5v5h-5zM7.5 9l5-3M7.5 11l5 3",
  deployments: "M10 17V4M5 9l5-5 5 5M4 17h12",
  timeline: "M10 3a7 7 0 1 1-7 7M10 6v4l3 2",
  logs: "M3 4h14v12H3zM6 8l2 2-2 2M10 13h4",
  balancers: "M10 3v5M10 8 4 13v4M10 8l6 5v4M10 8v9",
};

function Icon({ name }: { name: string }): JSX.Element {
  return (
    <svg viewBox="0 0 20 20" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round" stroke-linecap="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Two keys lead to a page, `/` to its search; neither while somebody types. */
function keys(): () => void {
  let before = "";
  const press = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      const search = document.querySelector<HTMLInputElement>("input[type=search]");
      if (search) {
        event.preventDefault();
        search.focus();
      }
      return;
    }
    const found = PAGES.find(([, , shortcut]) => shortcut === `${before} ${event.key}`);
    if (found) location.hash = link(found[0]);
    before = event.key;
  };
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}

follow();
render(<Shell />, document.getElementById("page")!);
void store.start();
