/** What a page asks for beside the overview: once it is shown, and anew after each event that it is about. */

import type { Happening } from "./types.ts";

/** Changes are gathered for so long before the API is asked about them. */
const GATHER_MS = 250;

/** Parts that a page shows now. */
const shown = new Set<Part<unknown>>();

/** An answer of the API that is kept true while somebody reads it: one question at a time, and none that nothing calls for. */
export class Part<T> {
  value: T | null = null;
  error = "";
  loading = true;
  #readers = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #again = false;
  #failed = false;

  constructor(
    readonly ask: () => Promise<T>,
    /** Whether the answer may be another one after an event, which names these apps. */
    readonly concerns: (event: Happening, apps: string[], known: T | null) => boolean,
  ) {}

  /** Tells a reader of each answer; returns how it leaves. For who comes first it is asked anew: somebody else may be signed in now. */
  join(reader: () => void): () => void {
    this.#readers.add(reader);
    if (this.#readers.size === 1) {
      shown.add(this as Part<unknown>);
      this.value = null;
      this.error = "";
      this.loading = true;
      this.renew(0);
    }
    return () => {
      this.#readers.delete(reader);
      if (this.#readers.size) return;
      shown.delete(this as Part<unknown>);
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#again = false;
    };
  }

  heed(event: Happening, apps: string[]): void {
    if (this.concerns(event, apps, this.value)) this.renew();
  }

  /** Asks again where the last question failed. */
  retry(): void {
    if (this.#failed) this.renew();
  }

  renew(after = GATHER_MS): void {
    if (this.#asking) this.#again = true;
    else this.#timer ??= setTimeout(() => void this.#ask(), after);
  }

  async #ask(): Promise<void> {
    this.#timer = undefined;
    this.#asking = true;
    try {
      this.value = await this.ask();
      this.error = "";
      this.#failed = false;
    } catch (failure) {
      // What was known stays: the next event, or the stream once it is back, has it asked again. That no scheduler answers
      // stands above every page already.
      const { status, whole } = failure as { status?: number; whole?: string };
      this.error = status === 0 && this.value !== null ? "" : (whole ?? String(failure));
      this.#failed = true;
    }
    this.#asking = this.loading = false;
    for (const reader of this.#readers) reader();
    if (this.#again && this.#readers.size) this.renew();
    this.#again = false;
  }
}

/** Has whatever is shown of an event's subject asked anew. */
export function heed(event: Happening, apps: string[]): void {
  for (const part of shown) part.heed(event, apps);
}

/** Has asked again what got no answer while the line was cut. */
export function retry(): void {
  for (const part of shown) part.retry();
}

/** Has all that is shown asked anew, where nobody knows what happened meanwhile. */
export function renew(): void {
  for (const part of shown) part.renew();
}
