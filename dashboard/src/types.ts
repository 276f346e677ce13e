/** What the API answers, as far as the dashboard reads it: docs/api.md and /openapi.json. */

export type Condition = "launching" | "unready" | "ready" | "unhealthy" | "stopping" | "unreachable";

export interface Task {
  id: string;
  agent: string;
  version: string;
  condition: Condition;
  since: string;
  ports: number[];
  note?: string;
}

export interface Failure {
  taskId: string;
  state: string;
  message: string;
  host: string;
  at: string;
}

export interface App {
  id: string;
  version: string;
  /** As many as are wanted. */
  instances: number;
  cpus: number;
  mem: number;
  labels: Record<string, string>;
  waiting: number;
  atRest: boolean;
  tasks: Task[];
  /** How many tasks there are, in place of these: they are on their way. */
  conditions?: Partial<Record<Condition, number>>;
  /** Of those, how many are of an earlier version. */
  old?: number;
  deployment?: string;
  why?: string;
  deploymentFailed?: string;
  notBalanced?: string;
  /** Nothing that was launched after its last failure has run yet. */
  failing?: boolean;
  /** One instance on each host: the hosts say how many. */
  perHost?: boolean;
  /** Its instances are pods: several containers each. */
  pod?: boolean;
  deleted?: boolean;
  lastFailure?: Failure;
}

export interface Amounts {
  cpus: number;
  /** MiB */
  mem: number;
  ports: number;
}

export interface Agent {
  id: string;
  host: string;
  region: string;
  zone: string;
  attributes?: Record<string, string>;
  used?: Amounts;
  /** null: it has offered nothing yet. */
  free?: Amounts | null;
  leftAlone?: { until: string; startsFailedOf: string[] };
  maintenance?: { begin: string };
  drain?: { since: string; by: string; deadline?: string };
  /** A dead executor may have left containers and services there. */
  sweep?: { since: string; launches: number; message: string };
}

export interface Brake {
  engaged: boolean;
  since: string | null;
  reason: string;
  lost: { host: string; since: string; tasks: number }[];
  unknownTasks: string[];
}

export interface Overview {
  position: string;
  earlier: string;
  scheduler: { frameworkId: string | null; master: string | null; connected: boolean; reason: string };
  brake?: Brake;
  agents: Agent[];
  apps: App[];
}

export interface Action {
  action: string;
  app?: string | null;
  pod?: string | null;
}

export interface Deployment {
  id: string;
  version: string;
  affectedApps: string[];
  affectedPods: string[];
  steps?: { actions: Action[] }[];
  currentActions?: Action[];
  currentStep?: number;
  totalSteps?: number;
  eratos: {
    begunAt: string;
    deadline?: string;
    instancesLeft?: Record<string, number>;
    waiting?: Record<string, string[]>;
    paused?: boolean;
    newInstancesAtMost?: Record<string, number>;
    atGateSince?: Record<string, string>;
    rollsBack?: string;
    endedAt?: string;
    outcome?: string;
    reason?: string;
  };
}

export interface Server {
  id: string;
  address?: string;
  status?: string;
  requests?: number;
  weight?: number;
  rate?: number;
  failed?: number;
  answer_ms?: number;
}

export interface Service {
  service: string;
  app: string | null;
  servers: Server[];
}

export interface Balancer {
  name: string;
  trouble: string;
  services: Service[];
  reloads?: number | null;
  updates?: number | null;
  refusals?: number | null;
  oldProcesses?: number | null;
  lastReason?: string;
  held?: string[];
  leftOut?: string[];
}

export interface Plan {
  steps: { actions: Action[] }[];
  eratos?: {
    apps: Record<string, { version: string | null; starts: number; stops: number; keeps: number }>;
    lockedBy?: Record<string, string>;
    /** App whose error budget is spent -> the sentence why. */
    heldBy?: Record<string, string>;
  };
}

export interface Reason {
  reason: string;
  count: number;
  message: string;
  instances: string[];
  until?: string;
}

export interface Explanation {
  app: string;
  atRest: boolean;
  wanted: number;
  ready: number;
  current: number;
  old: number;
  waiting: number;
  stopping: number;
  reasons: Reason[];
  definition: { path: string; verdict: string; message: string }[];
  balancers: string[];
}

export interface ErrorBudget {
  /** Percent. */
  objective: number;
  window: string;
  minRequests: number;
  requests: number;
  failed: number;
  allowed: number;
  /** Share that is left, below 0 beyond it; null: too few requests. */
  remaining: number | null;
  burnRate: number;
  spent: boolean;
  missing: string;
  until: string | null;
}

/** How an app is autoscaled, of GET /v2/balancers. */
export interface Autoscaling {
  mode: "act" | "advise";
  min: number;
  max: number;
  instances: number;
  wanted: number;
  /** By what the definition calls it: all of it, null: nothing is known; and how much there is to be of each instance. */
  measured: Record<string, { value: number | null; target: number }>;
  /** What is not measured, so that nothing is scaled down. */
  missing: string;
  message: string;
  until: string | null;
  last: { at: string; from: number; to: number; message: string; made: boolean } | null;
}

/** One persistent volume: GET /v2/volumes. */
export interface Volume {
  id: string;
  appId: string;
  containerPath: string;
  /** MiB */
  size: number;
  host: string;
  /** Its host is. */
  away: boolean;
  use: "used" | "waiting" | "unused" | "left" | "copying" | "deleting" | "destroyed";
  taskId: string | null;
  instanceId: string | null;
  createdAt: string;
  unusedSince: string | null;
  copyOf: string | null;
  message: string;
}

/** An instance that is moved with its volumes: GET /v2/moves. */
export interface Move {
  app: string;
  instance: string | null;
  from: string;
  /** null: whichever host has room. */
  to: string | null;
  wipe: boolean;
  phase: string;
  since: string;
  volumes: string[];
  message: string;
}

/** One instance of GET /v2/usage; null: not known. */
export interface TaskUsage {
  id: string;
  ageSeconds: number | null;
  cpus: number | null;
  cpusLimit: number | null;
  memBytes: number | null;
  memLimitBytes: number | null;
  /** Why something is not known. */
  missing: string;
}

export interface Caller {
  name: string;
  roles: string[];
}

/** One event of /v2/events. */
export interface Happening {
  eventType: string;
  timestamp: string;
  [field: string]: unknown;
}

/** One requirement of an app: GET /v2/needs. */
export interface Need {
  app: string;
  name: string;
  /** What is looked for, for people. */
  of: string;
  kind: "app" | "service" | "static" | "key";
  variable: string;
  atLeast: number;
  wait: boolean;
  onChange: string;
  /** Instances that do not go by what it is now. */
  outdated: number;
  /** Ready instances of the app that is required, null: there is none; missing: of no app, or of none that may be viewed. */
  ready?: number | null;
}

export interface RunTask {
  id: string;
  status: string;
  startedAt: string | null;
  completedAt: string | null;
  host: string;
  exitCode: number | null;
  message: string;
}

export interface ActiveRun {
  id: string;
  status: "INITIAL" | "STARTING" | "ACTIVE";
  createdAt: string;
  scheduledAt: string | null;
  tries: number;
  /** Why it waits. */
  message: string;
  tasks: RunTask[];
}

export interface EndedRun {
  id: string;
  createdAt: string;
  finishedAt: string;
  scheduledAt: string | null;
  message: string;
  tries: number;
  tasks: RunTask[];
}

export interface JobSummary {
  successCount: number;
  failureCount: number;
  lastSuccessAt: string | null;
  lastFailureAt: string | null;
  missedCount: number;
  lastMissedAt: string | null;
}

export interface JobHistory extends JobSummary {
  successfulFinishedRuns: EndedRun[];
  failedFinishedRuns: EndedRun[];
  missed: { scheduledAt: string; scheduleId: string; reason: string }[];
}

export interface Schedule {
  id: string;
  cron: string;
  timezone: string;
  concurrencyPolicy: string;
  startingDeadlineSeconds: number;
  enabled: boolean;
  nextRunAt?: string;
}

export interface Job {
  id: string;
  description?: string;
  labels?: Record<string, string>;
  run: { cmd?: string; cpus: number; mem: number; docker?: { image: string }; restart?: { policy: string } };
  activeRuns: ActiveRun[];
  schedules: Schedule[];
  historySummary: JobSummary;
  /** Of one job alone. */
  history?: JobHistory;
}

export interface PodContainer {
  name: string;
  image?: { kind: string; id: string };
  resources: { cpus: number; mem: number };
}

export interface PodInstance {
  id: string;
  status: string;
  statusSince: string;
  agentHostname?: string;
  message?: string;
  specReference?: string;
  networks: { name?: string; addresses: string[] }[];
  containers: {
    name: string;
    status: string;
    statusSince: string;
    containerId: string;
    endpoints: { name: string; allocatedHostPort?: number; healthy?: boolean }[];
    conditions: { name: string; value: string }[];
  }[];
}

export interface Pod {
  id: string;
  spec: { version?: string; scaling?: { instances: number }; containers: PodContainer[] };
  status: string;
  statusSince: string;
  message?: string;
  instances: PodInstance[];
}

export interface QuotaAmounts {
  /** null: any number. */
  instances: number | null;
  cpus: number | null;
  /** MiB */
  mem: number | null;
  /** MiB */
  disk: number | null;
}

export interface Quota extends QuotaAmounts {
  group: string;
  used: QuotaAmounts;
}
