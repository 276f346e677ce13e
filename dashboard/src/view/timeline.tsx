/** What happened, the latest first: with what was kept from before the page was opened. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import { some } from "../model.ts";
import { useStore } from "../store.ts";
import { clock, type Line, type Tone } from "../words.ts";
import { JobLink } from "./jobs.tsx";
import { AppLink, Clip, Empty, LongList } from "./parts.tsx";

const TONES: [Tone, string][] = [
  ["bad", "went wrong"],
  ["warn", "to note"],
  ["good", "went well"],
  ["plain", "other"],
];

export function TimelinePage({ values, set }: { values: URLSearchParams; set: (values: Record<string, string>) => void }): JSX.Element {
  const { lines } = useStore();
  const text = values.get("q") ?? "";
  const tones = (values.get("tone") ?? "").split(",").filter(Boolean);
  const [held, setHeld] = useState<Line[] | null>(null);
  const source = held ?? lines;
  const shown = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return source.filter((line) => {
      if (tones.length && !tones.includes(line.tone)) return false;
      const whole = `${line.title} ${line.text} ${line.task}`.toLowerCase();
      return words.every((word) => whole.includes(word));
    });
  }, [source, text, tones.join()]);
  const now = new Date();
  const toggle = (tone: Tone): void => set({ q: text, tone: (tones.includes(tone) ? tones.filter((each) => each !== tone) : [...tones, tone]).join() });
  return (
    <>
      <h1>Timeline</h1>
      <div class="toolbar">
        <input type="search" value={text} placeholder="Filter: an app, a host, a word" aria-label="Filter events" onInput={(event) => set({ q: event.currentTarget.value, tone: tones.join() })} />
        <div class="chips" role="group" aria-label="Kinds">
          {TONES.map(([tone, name]) => (
            <button key={tone} type="button" class={`chip tone-${tone}`} aria-pressed={tones.includes(tone)} onClick={() => toggle(tone)}>
              {name}
            </button>
          ))}
        </div>
        <button type="button" aria-pressed={held !== null} onClick={() => setHeld(held ? null : lines)}>
          {held ? `Go on (${lines.length - held.length} new)` : "Hold still"}
        </button>
      </div>
      <p class="unseen" role="status">
        {some(shown.length, "event")} shown
      </p>
      {shown.length === 0 ? (
        <Empty title={lines.length ? "Nothing fits" : "Nothing has happened yet"} />
      ) : (
        <LongList
          items={shown}
          height={56}
          label="Events"
          class="timeline card"
          keyOf={(line) => line.key}
          draw={(line) => (
            <>
              <time role="cell" class="dim mono" dateTime={line.at}>
                {clock(line.at, now)}
              </time>
              <span role="cell" class={`dot tone-${line.tone}`}>
                <span class="unseen">{TONES.find(([tone]) => tone === line.tone)![1]}</span>
              </span>
              <span role="cell" class="grow two-lines">
                <span class="one-line">{line.job ? <JobLink id={line.job}>{line.title}</JobLink> : line.apps.length === 1 ? <AppLink id={line.apps[0]!}>{line.title}</AppLink> : <Clip text={line.title} />}</span>
                {line.text && (
                  <span class="dim small one-line">
                    <Clip text={line.text} />
                  </span>
                )}
              </span>
            </>
          )}
        />
      )}
    </>
  );
}
