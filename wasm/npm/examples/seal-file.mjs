// Seals and opens files on the disk, in constant memory, in Node.js, Bun and Deno alike.
//
// usage: node seal-file.mjs seal|open MASTER-KEY-FILE FROM TO
//        bun seal-file.mjs …
//        deno run --allow-read --allow-write seal-file.mjs …
import { open, readFile, rename, rm } from 'node:fs/promises';
import process from 'node:process';

import { MasterKey, openStream, sealStream } from 'stillkey';

const PIECE = 1 << 20;

/** A file's bytes, read as they are asked for. */
function contentOf(file) {
  return new ReadableStream({
    async pull(controller) {
      const { bytesRead, buffer } = await file.read(new Uint8Array(PIECE), 0, PIECE, null);
      if (bytesRead) controller.enqueue(buffer.subarray(0, bytesRead));
      else controller.close();
    },
  });
}

/** What is written goes to the file's end. */
function endOf(file) {
  return new WritableStream({
    async write(bytes) {
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at, null)).bytesWritten;
    },
  });
}

/** Sends a file through `transform` into another one, which appears only when it is whole and on the disk. */
export async function transformFile(from, to, transform) {
  const partial = `${to}.partial`;
  const source = await open(from, 'r');
  try {
    const target = await open(partial, 'wx', 0o600);
    try {
      await contentOf(source).pipeThrough(transform).pipeTo(endOf(target));
      await target.sync();
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    } finally {
      await target.close();
    }
    await rename(partial, to);
  } finally {
    await source.close();
  }
}

async function main([what, keyFile, from, to]) {
  const transforms = { seal: sealStream, open: openStream };
  if (!Object.hasOwn(transforms, what) || !to) throw new Error('usage: seal-file.mjs seal|open MASTER-KEY-FILE FROM TO');
  const key = MasterKey.fromHex(await readFile(keyFile, 'utf8'));
  try {
    await transformFile(from, to, transforms[what](key));
  } finally {
    key.free();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`seal-file: ${error.message}`);
  process.exitCode = 1;
});
