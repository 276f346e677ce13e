/** An app is made or changed as JSON or YAML: what the API says is wrong stands beside its line. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { address, preview, putApp } from "../actions.tsx";
import { call, Failure, get } from "../api.ts";
import { ordered } from "../diff.ts";
import { placed, read, toJson, toYaml, type Complaint } from "../document.ts";
import { store, useAnswer } from "../store.ts";
import { clean } from "./app.tsx";
import { confirm } from "./dialog.tsx";
import { link, Sentence } from "./parts.tsx";

const SAMPLE = `id: /shop/cart
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
`;

/** The API is asked about what is typed after so long a rest. */
const REST_MS = 600;

export function EditorPage({ id }: { id: string }): JSX.Element {
  const found = useAnswer<Record<string, unknown>>(id, async (signal) => (await get<{ app: Record<string, unknown> }>(address(id), signal)).app);
  if (id && found.error) return <Sentence tone="bad">{found.error}</Sentence>;
  if (id && !found.value) return <p class="dim">Loading …</p>;
  return <Editor key={id} id={id} begin={id ? toYaml(ordered(clean(found.value!))) : SAMPLE} />;
}

function Editor({ id, begin }: { id: string; begin: string }): JSX.Element {
  const [text, setText] = useState(begin);
  const [complaints, setComplaints] = useState<Complaint[]>([]);
  const [other, setOther] = useState("");
  const [checked, setChecked] = useState<"typing" | "good" | "bad">("typing");
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const lines = useMemo(() => text.split("\n").length, [text]);
  const wanted = useMemo(() => read(text), [text]);
  const own = (wanted.value as { id?: unknown } | null)?.id;
  const name = typeof own === "string" ? (own.startsWith("/") ? own : `/${own}`) : "";
  const there = store.model.rows.has(name);
  const show = (failure: unknown): void => {
    if (!(failure instanceof Failure)) throw failure;
    setComplaints(placed(text, failure.details));
    setOther(failure.details.length ? "" : failure.whole);
    setChecked("bad");
  };
  useEffect(() => {
    setChecked("typing");
    if (wanted.complaints.length) {
      setComplaints(wanted.complaints);
      setOther("");
      setChecked("bad");
      return;
    }
    let over = false;
    const timer = setTimeout(() => {
      if (!name) {
        setComplaints([{ line: 1, text: "an app needs an id, such as /shop/cart" }]);
        setChecked("bad");
        return;
      }
      call("PUT", `${address(name)}?dryRun=true&partialUpdate=false`, wanted.value).then(
        () => !over && (setComplaints([]), setOther(""), setChecked("good")),
        (failure: unknown) => !over && show(failure),
      );
    }, REST_MS);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [text]);
  const byLine = new Map<number, string[]>();
  for (const complaint of complaints) byLine.set(complaint.line, [...(byLine.get(complaint.line) ?? []), complaint.text]);
  const go = (line: number): void => {
    const element = area.current!;
    const start = text.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    element.focus();
    element.setSelectionRange(start, start + (text.split("\n")[line - 1]?.length ?? 0));
    element.scrollTop = Math.max(0, (line - 5) * 20);
  };
  const save = (): void =>
    confirm({
      title: there ? `Change ${name}` : `Create ${name}`,
      meaning: preview(name, wanted.value),
      verb: there ? "Change it" : "Create it",
      forces: true,
      act: async (force) => {
        const said = await putApp(name, wanted.value, force);
        location.hash = link("app", { id: name });
        return said;
      },
    });
  const convert = (form: "yaml" | "json"): void => setText(form === "yaml" ? toYaml(wanted.value) : toJson(wanted.value));
  return (
    <>
      <div class="page-head">
        <h1>{id ? <bdi>Edit {id}</bdi> : "New app"}</h1>
        <div class="actions">
          <button type="button" disabled={wanted.value === null} onClick={() => convert("yaml")}>
            As YAML
          </button>
          <button type="button" disabled={wanted.value === null} onClick={() => convert("json")}>
            As JSON
          </button>
          <button type="button" class="primary" disabled={checked !== "good"} onClick={save}>
            {there ? "Change …" : "Create …"}
          </button>
        </div>
      </div>
      {name && name !== id && (id || there) && (
        <Sentence tone="warn">
          {there ? `There is an app ${name.slice(0, 300)}: all of its definition becomes what stands here` : `The id is another one: this makes the app ${name.slice(0, 300)}`}
          {id ? `, and ${id.slice(0, 300)} stays as it is.` : "."}
        </Sentence>
      )}
      <div class="editor card">
        <div class="gutter" ref={gutter} aria-hidden="true">
          {Array.from({ length: lines }, (_, index) => (
            <span key={index} class={byLine.has(index + 1) ? "wrong" : ""} title={byLine.get(index + 1)?.join("; ")}>
              {index + 1}
            </span>
          ))}
        </div>
        <div class="written">
          <textarea
            ref={area}
            value={text}
            spellcheck={false}
            autocomplete="off"
            wrap="off"
            aria-label="Definition, as YAML or JSON"
            aria-invalid={checked === "bad"}
            aria-describedby="complaints"
            onInput={(event) => setText(event.currentTarget.value)}
            onScroll={(event) => (gutter.current!.scrollTop = event.currentTarget.scrollTop)}
          />
        </div>
        <div class="complaints" id="complaints" role="status">
          {checked === "typing" && <p class="dim">Asking the API …</p>}
          {checked === "good" && <p class="good-text">The API takes this.</p>}
          {other && <p class="bad-text">{other}</p>}
          <ul>
            {[...byLine].map(([line, said]) => (
              <li key={line}>
                <button type="button" class="complaint" onClick={() => go(line)}>
                  <b>Line {line}</b> {said.join("; ")}
                </button>
              </li>
            ))}
          </ul>
        </div>
      </div>
    </>
  );
}
