/** Handles: objects whose content lives in the module's memory until it is freed. */
import { guarded, usage } from './errors.js';
import type {} from './types.js';

interface Raw {
  free(): void;
}

/** Apart from the objects, so that no key is reached by looking into one. */
const contents = new WeakMap<Handle, Raw>();

/**
 * Something in the module's memory. `free()` gives it back and overwrites keys in it with zeros; so does `using`. A handle that is
 * forgotten is freed some time after it has become garbage, which may be never.
 */
export abstract class Handle {
  /** Gives the memory back; keys in it are overwritten with zeros. Using the handle afterwards is an error; freeing it again is not. */
  free(): void {
    const raw = contents.get(this);
    contents.delete(this);
    if (raw) guarded(() => raw.free());
  }

  /** Whether it has been freed. */
  get isFreed(): boolean {
    return !contents.has(this);
  }
}

/** What `using` calls: the same as `free()`. */
export interface Handle {
  [Symbol.dispose](): void;
}

// Browsers without it have no `using` either.
if (Symbol.dispose) {
  Object.defineProperty(Handle.prototype, Symbol.dispose, {
    configurable: true,
    writable: true,
    value(this: Handle) {
      this.free();
    },
  });
}

/** @internal Makes `raw` the content of `handle`. */
export function hold(handle: Handle, raw: Raw): void {
  contents.set(handle, raw);
}

/** @internal An object of `type` with this content, without its constructor's doing. */
export function wrap<T extends Handle>(type: { prototype: T }, raw: Raw): T {
  const handle = Object.create(type.prototype) as T;
  hold(handle, raw);
  return handle;
}

/** @internal The content of a handle, which has to be of this type and alive. */
export function rawOf<R>(handle: Handle, type: { readonly name: string; readonly prototype: Handle }): R {
  if (!Object.prototype.isPrototypeOf.call(type.prototype, handle)) throw usage(`a ${type.name} is needed, not ${describe(handle)}`);
  const raw = contents.get(handle);
  if (!raw) throw usage(`this ${type.name} was freed`, 'freed');
  return raw as R;
}

/** @internal What a wrong argument is, without showing what is in it. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  return `an object of type ${(Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor?.name ?? 'Object'}`;
}
