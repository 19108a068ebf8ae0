/** Types that a program's libraries may lack: those of hosts, and those of newer compilers. */

/** Bytes in an array that is new and the caller's: `Uint8Array<ArrayBuffer>`, before TypeScript 5.7 `Uint8Array`. */
export type NewBytes = ReturnType<typeof Uint8Array.of>;

// Where the DOM library or the types of Node.js are, these add nothing to them; elsewhere the declarations of this package
// still compile, and what a program can't have, it can't use.
declare global {
  interface AbortSignal {}
  interface Blob {}
  interface ReadableStream<R = any> {}
  interface TransformStream<I = any, O = any> {}
  interface URL {}
  namespace WebAssembly {
    interface Module {}
  }
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
  interface Disposable {
    [Symbol.dispose](): void;
  }
}
