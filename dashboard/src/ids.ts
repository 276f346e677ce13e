/** What ids and paths say. Pure. */

/** A job's place among groups, by which roles go. */
export function pathOf(job: string): string {
  return `/${job.replaceAll(".", "/")}`;
}

/** The job whose run has this path; empty: it is of no run. */
export function jobOf(path: string): string {
  const found = /^\/(.+)\/\d{8}T\d{6}Z[^/]*$/.exec(path)?.[1];
  return found ? found.replaceAll("/", ".") : "";
}

/** The instance that a task belongs to. */
export function instanceOf(task: string): string {
  return task.replace(/\._app\.\d+$/, "");
}
