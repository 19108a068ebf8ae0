// How fast subjects are that do the same: they take turns in short slices, in one process, and each one's best slice counts.

/** For how long all subjects together have turns, in milliseconds. */
const TOGETHER = 5000;

/**
 * Length of a slice in milliseconds. Results of a mebibyte and more are soon collected again, and who makes many in a row has only his own
 * to wait for: with a call each, one subject of two that do the same was seen to pay for both.
 */
const sliceOf = (length) => (length < 1 << 20 ? 20 : 100);

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
    // The other way round each time: what one leaves behind shall not always be the same one's burden.
    for (const name of names.reverse()) best[name] = Math.max(best[name], await slice(length, subjects[name]));
  }
  return best;
}

async function slice(length, work) {
  const start = performance.now();
  let [calls, milliseconds] = [0, 0];
  while (milliseconds < sliceOf(length)) {
    const result = work();
    // To wait for what is there already would be measured too.
    if (result instanceof Promise) await result;
    calls++;
    milliseconds = performance.now() - start;
  }
  return (calls * length) / milliseconds / 1e3;
}
