// How fast subjects are that do the same: they take turns in short slices, in one process, and each one's best slice counts.

/** Length of a slice in milliseconds, and how often each subject has one. The first rounds are those before the host has optimised it. */
const SLICE = 60;
const ROUNDS = 14;

/**
 * Megabytes per second of each subject, a function from nothing to its result or a promise of it. Results are compared once, before
 * anything is timed.
 */
export async function measure(length, subjects) {
  const names = Object.keys(subjects);
  const [first, ...others] = names;
  const expected = await subjects[first]();
  for (const name of others) {
    const found = await subjects[name]();
    if (found.length !== length || found.some((byte, i) => byte !== expected[i])) throw new Error(`${name} and ${first} differ`);
  }
  const best = Object.fromEntries(names.map((name) => [name, 0]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of names) best[name] = Math.max(best[name], await slice(length, subjects[name]));
  }
  return best;
}

async function slice(length, work) {
  const start = performance.now();
  let [calls, milliseconds] = [0, 0];
  while (milliseconds < SLICE) {
    const result = work();
    // To wait for what is there already would be measured too.
    if (result instanceof Promise) await result;
    calls++;
    milliseconds = performance.now() - start;
  }
  return (calls * length) / milliseconds / 1e3;
}
