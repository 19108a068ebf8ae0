// The API behind a layer that gives it copies of all bytes, in a form that the test chooses. The suite
// shows that the form makes no difference; the layer shows that no function changes its input.

/** What may write into the bytes that it is given. Nothing else may. */
const inPlace = new Set(['CtrStream.applyAt']);

/** What keeps the bytes that it is given: a message belongs to the thread that receives it. */
const takesOver = new Set(['FileDictionary.fromMessage']);

/** How bytes are given. `overwrite`: as soon as the call has returned, they are something else. */
export const forms = {
  'arrays of their own': { give: (bytes) => new Uint8Array(bytes) },
  'Buffers from the pool': { give: (bytes) => Buffer.from(bytes) },
  'DataViews with an offset': {
    give(bytes) {
      const { buffer, byteOffset, length } = copyInto(new ArrayBuffer(bytes.length + 5), bytes);
      return new DataView(buffer, byteOffset, length);
    },
  },
  'views of shared memory': {
    give: (bytes) => copyInto(new SharedArrayBuffer(bytes.length + 5), bytes),
  },
  'views of resizable memory': {
    give: (bytes) =>
      copyInto(new ArrayBuffer(bytes.length + 5, { maxByteLength: bytes.length + 64 }), bytes),
  },
  'Buffers that are overwritten after the call': {
    give: (bytes) => Buffer.from(bytes),
    overwrite: true,
  },
};

/** Long inputs come from the pool too. */
if (globalThis.Buffer) Buffer.poolSize = 8 << 20;

let form = forms['arrays of their own'];
/** What was given since the test began. */
let given = [];

/** Runs a test with its inputs in one form, and fails if any of them has changed. */
export async function withInputs(name, work) {
  form = forms[name];
  given = [];
  await work();
  const changed = given.filter(({ copy, before }) => !sameBytes(bytesOf(copy), before));
  if (changed.length)
    throw new Error(
      `changed their input: ${[...new Set(changed.map(({ call }) => call))].join(', ')}`,
    );
  return given.length;
}

/** The API; every function, constructor and method is given its bytes in the current form. */
export function watched(stillkey) {
  const api = {};
  for (const [name, value] of Object.entries(stillkey)) {
    const isClass =
      typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
    api[name] = isClass
      ? watchedClass(name, value)
      : typeof value === 'function'
        ? watchedFunction(name, value)
        : value;
  }
  return api;
}

function watchedClass(name, type) {
  // Errors are values of callers, and handles have nothing but free().
  if (name === 'StillkeyError' || name === 'Handle') return type;
  for (const owner of [type, type.prototype]) {
    for (const [key, { value, writable }] of Object.entries(
      Object.getOwnPropertyDescriptors(owner),
    )) {
      if (typeof value !== 'function' || !writable || key === 'constructor' || key === 'free')
        continue;
      owner[key] = watchedFunction(`${name}.${key}`, value);
    }
  }
  return new Proxy(type, {
    construct(target, args, newTarget) {
      return call(`new ${name}`, args, (given) =>
        Reflect.construct(target, given, newTarget === type ? target : newTarget),
      );
    },
  });
}

function watchedFunction(name, work) {
  return function (...args) {
    const result = call(name, args, (given) => work.apply(this, given));
    return result instanceof TransformStream ? watchedStream(name, result) : result;
  };
}

function call(name, args, work) {
  if (takesOver.has(name)) return work(args);
  const copies = [];
  const result = work(args.map((arg) => copyOf(arg, copies)));
  for (const copied of copies) handedOver(name, copied);
  return result;
}

/** `value` with copies in the place of its bytes, which are added to `copies`. */
function copyOf(value, copies) {
  if (isBytes(value)) {
    const copy = form.give(bytesOf(value));
    copies.push({ original: value, copy, before: bytesOf(copy).slice() });
    return copy;
  }
  if (Array.isArray(value)) return value.map((part) => copyOf(part, copies));
  // Options, entries, messages; and nothing with a life of its own.
  const isPlain =
    typeof value === 'object' &&
    value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain || !Object.values(value).some((part) => typeof part === 'object')) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, copyOf(part, copies)]),
  );
}

function handedOver(name, { original, copy, before }) {
  if (inPlace.has(name)) return bytesOf(original).set(bytesOf(copy));
  if (form.overwrite) return bytesOf(copy).fill(0xa5);
  given.push({ call: name, copy, before });
}

/** A stream whose chunks are given in the current form. */
function watchedStream(name, { readable, writable }) {
  const writer = writable.getWriter();
  const chunks = new WritableStream({
    start(controller) {
      writer.closed.catch((error) => controller.error(error));
    },
    async write(chunk) {
      const copies = [];
      await writer.write(copyOf(chunk, copies));
      for (const copied of copies) handedOver(name, copied);
    },
    close: () => writer.close(),
    abort: (reason) => writer.abort(reason),
  });
  return { readable, writable: chunks };
}

/** Bytes of any form; views of longer numbers are for the tests of bad input, and stay as they are. */
function isBytes(value) {
  if (value instanceof ArrayBuffer) return value.byteLength > 0;
  return (
    ArrayBuffer.isView(value) &&
    value.byteLength > 0 &&
    !/^(Float|Big|Int|Uint(16|32))/.test(value.constructor.name)
  );
}

function bytesOf(value) {
  if (!ArrayBuffer.isView(value)) return new Uint8Array(value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

function copyInto(buffer, bytes) {
  const view = new Uint8Array(buffer, 3, bytes.length);
  view.set(bytes);
  return view;
}

function sameBytes(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
