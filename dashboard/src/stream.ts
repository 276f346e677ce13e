/** Server-sent events over fetch: EventSource can neither send credentials nor a position to begin from. */

export interface Frame {
  id: string;
  event: string;
  data: string;
}

/** Splits what comes into frames (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export class Frames {
  #rest = "";
  #id = "";
  #event = "";
  #data: string[] = [];

  feed(text: string): Frame[] {
    const found: Frame[] = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) found.push({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
        this.#event = "";
        this.#data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "id") this.#id = value;
      else if (field === "event") this.#event = value;
      else if (field === "data") this.#data.push(value);
    }
    return found;
  }
}

/** Milliseconds to wait before the attempt with a number, from 0: longer each time, and never all pages at once. */
export function backoff(attempt: number, chance: number): number {
  return Math.min(10_000, 500 * 2 ** Math.min(attempt, 10)) * (0.5 + chance / 2);
}
