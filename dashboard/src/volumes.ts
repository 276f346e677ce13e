/** Persistent volumes and their moves: how each is, and who may do without it. Pure. */

import type { Standing } from "./model.ts";
import type { Move, Volume } from "./types.ts";

const USES: Record<Volume["use"], [Standing, string]> = {
  used: ["fine", "in use"],
  waiting: ["waits", "is waited with"],
  unused: ["off", "unused"],
  left: ["off", "left"],
  copying: ["moves", "copied into"],
  deleting: ["moves", "to be destroyed"],
  destroyed: ["moves", "destroyed"],
};

export function state(volume: Volume): [Standing, string] {
  return volume.away ? ["bad", "host is away"] : USES[volume.use];
}

/** Whether nobody uses it, so that it can be destroyed. */
export function idle(volume: Volume): boolean {
  return volume.use === "unused" || volume.use === "left";
}

/** The move that a volume is part of; undefined: of none. */
export function moveOf(volume: Volume, moves: Move[]): Move | undefined {
  return moves.find((move) => move.volumes.includes(volume.id));
}

export function fits(volume: Volume, words: string[]): boolean {
  const text = [volume.appId, volume.id, volume.containerPath, volume.host, state(volume)[1]].join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}
