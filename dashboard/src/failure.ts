/** What an answer says that is no success, in words. Pure. */

export interface Detail {
  path: string;
  errors: string[];
}

/** An answer that is no success, or none at all (status 0). */
export class Failure extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: Detail[] = [],
    readonly deployments: string[] = [],
  ) {
    super(message);
  }

  /** Whether the API says that force would do it: a deployment holds an app, or its error budget is spent. */
  get yields(): boolean {
    return this.status === 409 && (this.deployments.length > 0 || this.message.includes("force=true"));
  }

  /** The message with what is wrong where, for one line. */
  get whole(): string {
    const parts = this.details.map((detail) => `${detail.path}: ${detail.errors.join("; ")}`);
    return parts.length ? `${this.message}: ${parts.join("; ")}` : this.message;
  }
}

export function failure(status: number, text: string): Failure {
  try {
    const found = JSON.parse(text) as { message?: string; details?: Detail[]; deployments?: { id: string }[] };
    const deployments = (found.deployments ?? []).map((each) => each.id);
    return new Failure(status, found.message ?? `the answer is ${status}`, found.details ?? [], deployments);
  } catch {
    return new Failure(status, `the answer is ${status}, and no JSON: is something else between here and the scheduler?`);
  }
}
