/** The last lines that a task wrote, both streams, for where its whole log is not followed. */

import type { JSX } from "preact";

import { getText } from "../api.ts";
import { useAnswer } from "../store.ts";

const TAIL = 15;

/** `container`: of a pod. `stamp`: asked anew when that changes. */
export function TaskLog({ task, container = "", stamp = "" }: { task: string; container?: string; stamp?: string }): JSX.Element {
  const log = useAnswer<string>(
    `${task} ${container} ${stamp}`,
    async () => {
      const more = container && `&container=${encodeURIComponent(container)}`;
      const of = (stream: string): Promise<string> => getText(`/v2/tasks/${encodeURIComponent(task)}/logs?stream=${stream}&tail=${TAIL}${more}`);
      const [out, err] = await Promise.all([of("stdout"), of("stderr")]);
      return [out, err].filter(Boolean).join("\n");
    },
    `${task} ${container}`,
  );
  if (log.value) return <pre class="log-lines" tabIndex={0} aria-label="Last lines of the log">{log.value}</pre>;
  return <p class="dim">{log.loading ? "Looking for its last lines …" : log.error || "It wrote nothing."}</p>;
}
