// How fast subjects are that do the same: they take turns in short slices, in one process, and each one's best slice counts.

/** Length of a slice in milliseconds, and for how long all subjects together have turns. */
const SLICE = 20;
const TOGETHER = 5000;
/** From this length on, in bytes, a slice is one call: the clock is fine enough, and other work on the machine hits fewer of them. */
const ONE_CALL_FROM = 1 << 20;

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
  for (const end = performance.now() + TOGETHER; performance.now() < end; ) {
    // The other way round each time: what one leaves to be collected shall not always be the same one's burden.
    for (const name of names.reverse()) best[name] = Math.max(best[name], await slice(length, subjects[name]));
  }
  return best;
}

async function slice(length, work) {
  const start = performance.now();
  const least = length < ONE_CALL_FROM ? SLICE : 0;
  let [calls, milliseconds] = [0, 0];
  while (calls === 0 || milliseconds < least) {
    const result = work();
    // To wait for what is there already would be measured too.
    if (result instanceof Promise) await result;
    calls++;
    milliseconds = performance.now() - start;
  }
  return (calls * length) / milliseconds / 1e3;
}
