/** A colour for each app: the same in every picture, and near in hue for no two apps that begin alike. Pure. */

export function hue(id: string): number {
  let hash = 2166136261;
  for (let index = 0; index < id.length; index++) hash = Math.imul(hash ^ id.charCodeAt(index), 16777619);
  // The golden angle spreads neighbours; reds are left to what is not well.
  return 40 + (((hash >>> 0) * 0.618033988749895) % 1) * 280;
}
