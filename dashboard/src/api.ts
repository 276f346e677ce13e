/** Requests to the API, and who makes them. */

import { Failure, failure } from "./failure.ts";
import { backoff, Frames, type Frame } from "./stream.ts";

export { Failure, type Detail } from "./failure.ts";

const KEPT = "eratos.authorization";
let authorization = sessionStorage.getItem(KEPT) ?? "";

/** Takes over who asks, until the tab is closed; with an empty text nobody says who they are. */
export function signIn(header: string): void {
  authorization = header;
  if (header) sessionStorage.setItem(KEPT, header);
  else sessionStorage.removeItem(KEPT);
}

export function signedIn(): boolean {
  return authorization !== "";
}

/** The header of a user with a password; any character in UTF-8, as the API says it reads them. */
export function basic(user: string, password: string): string {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

function ask(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (authorization) headers.set("Authorization", authorization);
  // Without the browser's own credentials it asks for none in a window of its own.
  return fetch(path, { ...init, headers, credentials: "omit", redirect: "error" }).catch((error: unknown) => {
    if (init.signal?.aborted) throw error;
    throw new Failure(0, "this scheduler does not answer: is it running, and can this machine reach it?");
  });
}

export interface Answer<T> {
  body: T;
  notice: string;
  deployment: string;
}

export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Answer<T>> {
  const init: RequestInit = { method, headers: { Accept: "application/json" }, signal: signal ?? null };
  if (body !== undefined) {
    init.body = typeof body === "string" ? body : JSON.stringify(body);
    init.headers = { Accept: "application/json", "Content-Type": "application/json" };
  }
  const answer = await ask(path, init);
  const text = await answer.text();
  if (!answer.ok) throw failure(answer.status, text);
  return {
    body: (text ? JSON.parse(text) : null) as T,
    notice: answer.headers.get("Eratos-Notice") ?? "",
    deployment: answer.headers.get("Marathon-Deployment-Id") ?? "",
  };
}

/** A reading that got no answer is made once more after so long: a connection may have broken, and no event has it asked again. */
const ONCE_MORE_MS = 500;

async function twice<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof Failure) || error.status !== 0) throw error;
    await new Promise((resolve) => setTimeout(resolve, ONCE_MORE_MS));
    return read();
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await twice(() => call<T>("GET", path, undefined, signal))).body;
}

export async function getText(path: string): Promise<string> {
  const answer = await twice(() => ask(path, { headers: { Accept: "text/plain" } }));
  const text = await answer.text();
  if (!answer.ok) throw failure(answer.status, text);
  return text;
}

export interface Following {
  stop(): void;
}

export interface Followed {
  frame(frame: Frame): void;
  /** "live" once the stream is open, "lost" with the reason while it is not. */
  state(live: boolean, reason: Failure | null): void;
}

/** Nothing for so long, not even the empty line that comes every 10 s, means that the connection is dead. */
const SILENCE_MS = 30_000;

/** Reads a stream until stopped; a broken one is begun anew, from the last id on where there is one. */
export function follow(path: string, lastId: string, followed: Followed, again = true): Following {
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    for (let attempt = 0; !stopping.signal.aborted; attempt++) {
      const cut = new AbortController();
      const stop = (): void => cut.abort();
      stopping.signal.addEventListener("abort", stop);
      let watch = 0;
      const alive = (): void => {
        clearTimeout(watch);
        watch = window.setTimeout(stop, SILENCE_MS);
      };
      let reason: Failure | null = null;
      try {
        const headers: Record<string, string> = { Accept: "text/event-stream" };
        if (lastId) headers["Last-Event-ID"] = lastId;
        const answer = await ask(path, { headers, signal: cut.signal });
        if (!answer.ok || !answer.body) throw failure(answer.status, await answer.text());
        followed.state(true, null);
        attempt = 0;
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        const frames = new Frames();
        alive();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          alive();
          for (const frame of frames.feed(value)) {
            if (frame.id) lastId = frame.id;
            followed.frame(frame);
          }
        }
      } catch (error) {
        reason = error instanceof Failure ? error : new Failure(0, "the connection to the scheduler was lost");
      } finally {
        clearTimeout(watch);
        stopping.signal.removeEventListener("abort", stop);
      }
      if (stopping.signal.aborted) return;
      followed.state(false, reason);
      if (!again) return;
      await new Promise((resolve) => setTimeout(resolve, backoff(attempt, Math.random())));
    }
  };
  void run();
  return { stop: () => stopping.abort() };
}
