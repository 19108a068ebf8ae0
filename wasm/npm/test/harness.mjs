// What the suite needs of a test runner and of assertions, so that the same files run in Node.js and in a browser.

/** Bytes of hexadecimal digits. */
export function fromHex(digits) {
  return Uint8Array.from(digits.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** Lower-case hexadecimal digits. */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** SHA-256 as hexadecimal digits. */
export async function sha256(bytes) {
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));
}

/** Byte i of every plaintext in cases.json. */
export function plaintext(length) {
  return Uint8Array.from({ length }, (_, i) => 7 * i + Math.floor(i / 251));
}

/** SplitMix32: the same numbers for the same seed. */
export function seeded(seed) {
  return (below) => {
    seed = (seed + 0x9e3779b9) | 0;
    let z = seed;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) % below;
  };
}

/** All bytes of a stream. Not by way of a Response, which in browsers has errors of its own for those of the stream. */
export async function collect(stream) {
  const parts = [];
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) parts.push(next.value);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** A stream of these chunks. */
export function streamOf(chunks) {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

/** Fails unless both show alike; arrays of bytes show their type, their length and their bytes. */
export function equal(found, expected, what = '') {
  // Long ones take a while to show.
  if (found instanceof Uint8Array && expected instanceof Uint8Array && sameBytes(found, expected)) return;
  const [a, b] = [show(found), show(expected)];
  if (a !== b) throw new Error(`${what}: found ${shorten(a)}, expected ${shorten(b)}`);
}

/** Fails unless the condition holds. */
export function ok(condition, what) {
  if (!condition) throw new Error(what);
}

/** What `work` throws or rejects with. */
export async function thrownBy(work) {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

function sameBytes(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function show(value) {
  return JSON.stringify(value, (_, part) => {
    if (typeof part === 'bigint') return `${part}n`;
    if (part === undefined) return 'undefined';
    if (ArrayBuffer.isView(part)) return `${part.length} bytes: ${toHex(new Uint8Array(part.buffer, part.byteOffset, part.byteLength))}`;
    // The order of properties is nobody's business.
    if (part && typeof part === 'object' && !Array.isArray(part)) return Object.fromEntries(Object.entries(part).sort());
    return part;
  });
}

function shorten(text) {
  return text.length > 1000 ? `${text.slice(0, 1000)}… (${text.length} characters)` : text;
}
