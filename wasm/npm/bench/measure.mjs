// How fast subjects are that do the same: they take turns in short slices, in one process, and each one's median slice counts. The best ones
// of two that are the same differ by a tenth where results are long, by whose memory happens to be at hand.

/** For how long all subjects together have turns, in milliseconds. */
const TOGETHER = 5000;

/** Length of a slice in milliseconds: of long data, enough for some calls, so that each subject has its own results to collect. */
const sliceOf = (length) => Math.max(20, length / 2 ** 18);

/**
 * Megabytes per second of each subject, a function from nothing to its result or a promise of it. Results are compared once, before
 * anything is timed, by what `shown` makes of them.
 */
export async function measure(length, subjects, shown = (result) => result) {
  const names = Object.keys(subjects);
  const [first, ...others] = names;
  const expected = await shown(await subjects[first](), first);
  for (const name of others) {
    const found = await shown(await subjects[name](), name);
    const isSame = found.length === expected.length && found.every((byte, i) => byte === expected[i]);
    if (!isSame || found.length < Math.min(length, 1 << 20)) throw new Error(`${name} and ${first} differ`);
  }
  const slices = Object.fromEntries(names.map((name) => [name, []]));
  for (const end = performance.now() + TOGETHER; performance.now() < end; ) {
    // The other way round each time: what one leaves behind shall not always be the same one's burden.
    for (const name of names.reverse()) slices[name].push(await slice(length, subjects[name]));
  }
  return Object.fromEntries(Object.entries(slices).map(([name, speeds]) => [name, median(speeds)]));
}

async function slice(length, work) {
  // Where the host can be told so, it is nobody's.
  globalThis.gc?.();
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

function median(numbers) {
  return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
