/** Explains recommendations with an engine on this device, as `recsys.serving.explain` does. */

const THRESHOLD = 0.5;
const REFERENCE_SIZE = 300;
const MAX_LEFT_OUT = 100;

/**
 * Returns {item, because, drop} for each item: `because` is the item of the history without which it is least likely,
 * or null if the drop is below the threshold. Returns undefined once `isStale()`, when nobody waits for the reasons.
 */
export async function explain(engine, items, { history, context }, isStale) {
  const newcomer = await engine.recommend({ k: REFERENCE_SIZE });
  const allow = [...new Set([...items, ...newcomer.items])];
  const logProbabilitiesWithout = async (leftOut) => {
    const stays = history.map((item) => item !== leftOut);
    const filtered = (cells) => (Array.isArray(cells) ? cells.filter((_, index) => stays[index]) : cells);
    const aligned = Object.fromEntries(Object.entries(context).map(([name, cells]) => [name, filtered(cells)]));
    const request = { history: filtered(history), context: aligned, allow, k: allow.length, exclude_seen: false };
    return logProbabilities(await engine.recommend(request));
  };
  const full = await logProbabilitiesWithout(undefined);
  const reasons = new Map(items.map((item) => [item, { item, because: null, drop: -Infinity }]));
  for (const leftOut of [...new Set([...history].reverse())].slice(0, MAX_LEFT_OUT)) {
    if (isStale()) return undefined;
    const reduced = await logProbabilitiesWithout(leftOut);
    for (const reason of reasons.values()) {
      const drop = full.get(reason.item) - reduced.get(reason.item);
      if (drop > reason.drop) Object.assign(reason, { drop, because: drop >= THRESHOLD ? leftOut : null });
    }
  }
  return [...reasons.values()];
}

/** Returns the logarithm of each item's probability among the items of the list. */
function logProbabilities({ items, scores }) {
  const highest = Math.max(...scores);
  const total = highest + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - highest), 0));
  return new Map(items.map((item, index) => [item, scores[index] - total]));
}
