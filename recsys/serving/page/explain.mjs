/** Why an item is recommended, computed with an engine on this device as `recsys.serving.explain` does it. */

const THRESHOLD = 0.5;
const REFERENCE = 300;
const TRIED = 100;

/**
 * For each item {item, because, drop}: the item of the history without which it is least likely, null below the
 * threshold. Undefined once `isStale()`: nobody waits for the reasons any more.
 */
export async function explain(engine, items, { history, context }, isStale) {
  const newcomer = await engine.recommend({ k: REFERENCE });
  const allow = [...new Set([...items, ...newcomer.items])];
  const likely = async (left) => {
    const stays = history.map((item) => item !== left);
    const without = (cells) => (Array.isArray(cells) ? cells.filter((_, place) => stays[place]) : cells);
    const aligned = Object.fromEntries(Object.entries(context).map(([name, cells]) => [name, without(cells)]));
    const question = { history: without(history), context: aligned, allow, k: allow.length, exclude_seen: false };
    return logarithms(await engine.recommend(question));
  };
  const whole = await likely(undefined);
  const best = new Map(items.map((item) => [item, { item, because: null, drop: -Infinity }]));
  for (const left of [...new Set([...history].reverse())].slice(0, TRIED)) {
    if (isStale()) return undefined;
    const without = await likely(left);
    for (const found of best.values()) {
      const drop = whole.get(found.item) - without.get(found.item);
      if (drop > found.drop) Object.assign(found, { drop, because: drop >= THRESHOLD ? left : null });
    }
  }
  return [...best.values()];
}

/** The logarithm of each item's probability among those of the list. */
function logarithms({ items, scores }) {
  const most = Math.max(...scores);
  const total = most + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - most), 0));
  return new Map(items.map((item, place) => [item, scores[place] - total]));
}
