/** An app, a pod, a job or a quota is made or changed as JSON or YAML: what the API says is wrong stands beside its line. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { removeQuota } from "../actions.tsx";
import { Failure } from "../api.ts";
import { ordered } from "../diff.ts";
import { placed, read, toJson, toYaml, type Complaint } from "../document.ts";
import { KINDS, type Kind } from "../editing.tsx";
import { useAnswer } from "../store.ts";
import { confirm } from "./dialog.tsx";
import { Sentence } from "./parts.tsx";

/** The API is asked about what is typed after so long a rest. */
const REST_MS = 600;

export function EditorPage({ kind, id }: { kind: string; id: string }): JSX.Element {
  const of = KINDS[kind] ?? KINDS.app!;
  const found = useAnswer<Record<string, unknown>>(id && `${kind} ${id}`, (signal) => of.load(id, signal));
  if (id && found.error) return <Sentence tone="bad">{found.error}</Sentence>;
  if (id && !found.value) return <p class="dim">Loading …</p>;
  return <Editor key={`${kind} ${id}`} kind={of} id={id} begin={id ? toYaml(ordered(found.value!)) : of.sample} />;
}

function Editor({ kind, id, begin }: { kind: Kind; id: string; begin: string }): JSX.Element {
  const [text, setText] = useState(begin);
  const [complaints, setComplaints] = useState<Complaint[]>([]);
  const [other, setOther] = useState("");
  const [checked, setChecked] = useState<"typing" | "good" | "bad">("typing");
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const lines = useMemo(() => text.split("\n").length, [text]);
  const wanted = useMemo(() => read(text), [text]);
  const value = wanted.value as Record<string, unknown> | null;
  const name = value ? kind.name(value) : "";
  /** The name of which it is known whether there is one, and whether there is. */
  const [known, setKnown] = useState({ name: id, there: id !== "" });
  const there = known.name === name && known.there;
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
        setComplaints([{ line: 1, text: kind.nameless }]);
        setChecked("bad");
        return;
      }
      kind.ask(name, value!).then(
        (answer) => !over && (setKnown({ name, there: answer.there }), setComplaints([]), setOther(""), setChecked("good")),
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
      title: `${there ? "Change" : "Create"} ${kind.one === "quota" ? "the quota of " : ""}${name}`,
      meaning: kind.ask(name, value!).then((answer) => answer.meaning),
      verb: there ? "Change it" : "Create it",
      forces: kind.forces,
      act: async (force) => {
        const said = await kind.put(name, value!, force, there);
        location.hash = kind.shown(name);
        return said;
      },
    });
  const convert = (form: "yaml" | "json"): void => setText(form === "yaml" ? toYaml(wanted.value) : toJson(wanted.value));
  return (
    <>
      <div class="page-head">
        <h1>{id ? <bdi>Edit {kind.one === "quota" ? `the quota of ${id}` : id}</bdi> : `New ${kind.one}`}</h1>
        <div class="actions">
          {kind.one === "quota" && id && (
            <button type="button" class="danger-quiet" onClick={() => removeQuota(id)}>
              Delete …
            </button>
          )}
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
          {there ? `There is one already, ${name.slice(0, 300)}: all of its definition becomes what stands here` : `The id is another one: this makes the ${kind.one} ${name.slice(0, 300)}`}
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
