/** A page that lists one part of what there is, and searches in it: with what it says while there is nothing to list. */

import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";

import type { Part } from "../live.ts";
import { some } from "../model.ts";
import { usePart } from "../store.ts";
import { Empty, LongList, Sentence, type ListProps } from "./parts.tsx";

interface SearchedProps<T> extends Pick<ListProps<T>, "height" | "columns" | "keyOf" | "draw" | "class"> {
  title: string;
  part: Part<T[]>;
  values: URLSearchParams;
  set: (values: Record<string, string>) => void;
  /** What can be searched for. */
  words: string;
  fits: (item: T, words: string[]) => boolean;
  /** What there is none of, and how to come to one. */
  none: string;
  advice: ComponentChildren;
  /** What one item is called. */
  one: string;
  /** What stands above the list. */
  above?: (found: T[]) => ComponentChildren;
  /** What stands beside the title. */
  actions?: ComponentChildren;
}

export function Searched<T>({ title, part, values, set, words, fits, none, advice, one, above, actions, class: name, ...list }: SearchedProps<T>): JSX.Element {
  const { value, error, loading } = usePart(part);
  const text = values.get("q") ?? "";
  const found = useMemo(() => {
    const asked = text.toLowerCase().split(/\s+/).filter(Boolean);
    return (value ?? []).filter((item) => fits(item, asked));
  }, [value, text]);
  return (
    <>
      <div class="page-head">
        <h1>{title}</h1>
        {actions}
      </div>
      <div class="toolbar">
        <input
          type="search"
          value={text}
          placeholder={`Search: ${words}`}
          aria-label={`Search ${title.toLowerCase()}: ${words}`}
          onInput={(event) => set({ q: event.currentTarget.value })}
        />
      </div>
      {error && <Sentence tone="bad">{error}</Sentence>}
      {loading && !value ? (
        <p class="dim">Loading …</p>
      ) : !value?.length ? (
        !error && (
          <Empty title={none}>
            <p>{advice}</p>
          </Empty>
        )
      ) : !found.length ? (
        <Empty title="Nothing fits">
          <button type="button" onClick={() => set({ q: "" })}>
            Show all
          </button>
        </Empty>
      ) : (
        <>
          {above?.(found)}
          <p class="unseen" role="status">
            {some(found.length, one)} shown
          </p>
          <LongList items={found} label={title} class={`${name} card`} {...list} />
        </>
      )}
    </>
  );
}
