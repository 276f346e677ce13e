/** Persistent volumes: where each lies, whose it is, and whether it is on its way to another host. */

import type { JSX } from "preact";

import { destroy, move as moveAway, stay } from "../actions.tsx";
import { get } from "../api.ts";
import { Part } from "../live.ts";
import { shortName } from "../model.ts";
import { store, useClock, usePart } from "../store.ts";
import type { Move, Volume } from "../types.ts";
import { fits, idle, moveOf, state } from "../volumes.ts";
import { mebibytes, span } from "../words.ts";
import { AppLink, Badge, Card, Clip, link } from "./parts.tsx";
import { Searched } from "./searched.tsx";

interface Placed {
  volume: Volume;
  move: Move | undefined;
}

/** What its app does says who uses it, and agents that come and go whether its host is away. */
const volumes = new Part<Placed[]>(
  async () => {
    const [found, moving] = await Promise.all([get<{ volumes: Volume[] }>("/v2/volumes"), get<{ moves: Move[] }>("/v2/moves")]);
    return found.volumes.map((volume) => ({ volume, move: moveOf(volume, moving.moves) }));
  },
  (event, apps, known) =>
    event.eventType === "volume_changed_event" || (known ?? []).some(({ volume }) => event.eventType === "cluster_changed_event" || apps.includes(volume.appId)),
);

export function VolumesPage({ values, set }: { values: URLSearchParams; set: (values: Record<string, string>) => void }): JSX.Element {
  const now = useClock(5000);
  return (
    <Searched
      title="Volumes"
      part={volumes}
      values={values}
      set={set}
      words="an app, a path, a host"
      fits={({ volume }, words) => fits(volume, words)}
      none="There is no persistent volume"
      advice={
        <>
          An app states one under <code>container.volumes</code>, with <code>persistent</code> and its size.
        </>
      }
      one="volume"
      height={60}
      class="volumes"
      keyOf={({ volume }) => volume.id}
      columns={[
        ["App, path", "grow"],
        ["State", "state-column"],
        ["Host", "host-column"],
        ["Size, age", "size-column wide"],
        ["Actions", "do-column"],
      ]}
      draw={(placed) => <VolumeRow placed={placed} now={now} />}
    />
  );
}

/** Where it lies, and where it goes. */
function Host({ placed: { volume, move } }: { placed: Placed }): JSX.Element {
  return (
    <>
      <bdi class="one-line">{volume.host}</bdi>
      {move && (
        <span class="small one-line">
          to <bdi>{move.to ?? "a host with room"}</bdi>
        </span>
      )}
    </>
  );
}

function VolumeRow({ placed, now }: { placed: Placed; now: Date }): JSX.Element {
  const { volume, move } = placed;
  const [tone, word] = state(volume);
  const acts = store.may("deploy", volume.appId);
  return (
    <>
      <span role="cell" class="grow two-lines">
        <AppLink id={volume.appId} />
        <span class="dim small one-line" title={volume.id}>
          <span class="narrow">{move ? "is moved" : word}: </span>
          <Clip text={volume.containerPath} most={120} />
          {volume.message && (
            <>
              : <Clip text={volume.message} most={200} />
            </>
          )}
        </span>
      </span>
      <span role="cell" class="state-column two-lines">
        <span>
          <Badge standing={move ? "moves" : tone} word={move ? "is moved" : word} />
        </span>
        {volume.taskId && <span class="dim small mono one-line">{shortName(volume.taskId)}</span>}
        {volume.unusedSince && <span class="dim small one-line">for {span(now.getTime() - Date.parse(volume.unusedSince))}</span>}
      </span>
      <span role="cell" class="host-column two-lines">
        <Host placed={placed} />
      </span>
      <span role="cell" class="size-column wide two-lines">
        <span>{mebibytes(volume.size)}</span>
        <span class="dim small">{span(now.getTime() - Date.parse(volume.createdAt))}</span>
      </span>
      <span role="cell" class="do-column">
        {acts && move && (
          <button type="button" class="quiet" onClick={() => stay(move)} aria-label={`Cancel the move of ${volume.appId}`}>
            Cancel …
          </button>
        )}
        {acts && !move && volume.instanceId && volume.use === "used" && (
          <button type="button" class="quiet" onClick={() => moveAway(volume)} aria-label={`Move the instance of ${volume.appId} with ${volume.id}`}>
            Move …
          </button>
        )}
        {acts && !move && idle(volume) && (
          <button type="button" class="quiet" onClick={() => destroy(volume)} aria-label={`Destroy ${volume.id}`}>
            Destroy …
          </button>
        )}
      </span>
    </>
  );
}

/** The volumes of one app, and where they lie: part of its page. */
export function VolumesOf({ app }: { app: string }): JSX.Element | null {
  const { value } = usePart(volumes);
  const own = (value ?? []).filter(({ volume }) => volume.appId === app);
  if (!own.length) return null;
  return (
    <Card
      title="Volumes"
      actions={
        <a class="button" href={link("volumes", { q: app })}>
          As a list
        </a>
      }
    >
      <ul class="reasons">
        {own.slice(0, SHOWN_MOST).map((placed) => (
          <li key={placed.volume.id}>
            <Badge standing={placed.move ? "moves" : state(placed.volume)[0]} word={placed.move ? "is moved" : state(placed.volume)[1]} />
            <div class="grow two-lines">
              <span>
                <code>
                  <Clip text={placed.volume.containerPath} most={120} />
                </code>
                , {mebibytes(placed.volume.size)}
                {placed.volume.taskId && (
                  <>
                    , of <span class="mono">{shortName(placed.volume.taskId)}</span>
                  </>
                )}
              </span>
              {placed.volume.message && (
                <span class="dim small">
                  <Clip text={placed.volume.message} most={400} />
                </span>
              )}
            </div>
            <span class="two-lines">
              <Host placed={placed} />
            </span>
          </li>
        ))}
      </ul>
      {own.length > SHOWN_MOST && <p class="dim pad">and {own.length - SHOWN_MOST} more</p>}
    </Card>
  );
}

const SHOWN_MOST = 50;
