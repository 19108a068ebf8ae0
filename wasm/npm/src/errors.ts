/** The one error of this package, and how everything else that can be thrown becomes one. */

/**
 * What a caller can do about an error:
 *
 * - `wrong-master-key`: give the master key that the data was sealed under;
 * - `damaged`: the bytes are not what was once written; restore them from a backup;
 * - `unsupported`: well-formed, but of a version or kind that this release doesn't know;
 * - `usage`: a call that can't be right; `reason` says more.
 */
export type ErrorCode = 'wrong-master-key' | 'damaged' | 'unsupported' | 'usage';

/**
 * A finer distinction than {@link ErrorCode}, for programs that react to it:
 *
 * - `other-kind`: the data names another kind of master key, such as a key service, than the one given;
 * - `wrong-context`: a sealed object was sealed with another encryption context;
 * - `not-found`: there is no such data key or file;
 * - `typo`: a master key in hexadecimal with a character or a length that can't be right; `offset` says which character;
 * - `freed`: a handle was used after its `free()`;
 * - `not-ready`: `init()` has not been awaited;
 * - `unavailable`: the random number generator, or reading a `Blob`, failed;
 * - `out-of-memory`: WebAssembly could not get the memory that it needed;
 * - `misuse`: any other call that can't be right.
 */
export type ErrorReason =
  | ErrorCode | 'other-kind' | 'wrong-context' | 'not-found' | 'typo' | 'freed' | 'not-ready' | 'unavailable'
  | 'out-of-memory' | 'misuse';

const codes: readonly string[] = ['wrong-master-key', 'damaged', 'unsupported', 'usage'] satisfies ErrorCode[];

/** Everything that this package throws, but for the reason of an `AbortSignal`, which is thrown as it is. */
export class StillkeyError extends Error {
  override readonly name = 'StillkeyError';

  /** What a caller can do about it. */
  readonly code: ErrorCode;

  /** A finer distinction. */
  readonly reason: ErrorReason;

  /**
   * Where the damaged item starts, in bytes from the start of the file; for a master key with a typo, which character, counted from 0.
   * `undefined` where no place is to blame.
   */
  readonly offset: number | undefined;

  /** Of damage: the part and what is wrong with it, such as `header checksum` or `chunk tag`. */
  readonly finding: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { reason?: ErrorReason; offset?: number | undefined; finding?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.reason = options.reason ?? (code === 'usage' ? 'misuse' : code);
    this.offset = options.offset;
    this.finding = options.finding;
  }
}

/** @internal A call that can't be right. */
export function usage(message: string, reason: ErrorReason = 'misuse', cause?: unknown): StillkeyError {
  return new StillkeyError('usage', message, cause === undefined ? { reason } : { reason, cause });
}

/** @internal Runs `work` so that nothing but a {@link StillkeyError} comes out of it. */
export function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asStillkeyError(error);
  }
}

/** @internal The error that stands for `error`. */
export function asStillkeyError(error: unknown): StillkeyError {
  if (error instanceof StillkeyError) return error;
  if (error instanceof Error) {
    const { code, reason, offset, finding } = error as { code?: unknown; reason?: unknown; offset?: unknown; finding?: unknown };
    // The module's errors carry a code; errors of Node.js do too, but none of these.
    if (typeof code === 'string' && codes.includes(code)) {
      return new StillkeyError(code as ErrorCode, error.message, {
        reason: reason as ErrorReason,
        offset: typeof offset === 'number' ? offset : undefined,
        finding: typeof finding === 'string' ? finding : undefined,
      });
    }
    if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
      return new StillkeyError('unsupported', `this needs more memory than WebAssembly can get here (${error.message}); work on smaller pieces`, {
        reason: 'out-of-memory',
        cause: error,
      });
    }
    return usage(`${error.message}; check the arguments`, 'misuse', error);
  }
  return usage(String(error), 'misuse', error);
}
