// Runs the suite and leaves what happened in `results`. `?plain` asks for the module without vector instructions.
import * as stillkey from '../../dist/esm/browser.js';
import { define } from '../suite/index.mjs';

const plain = location.search === '?plain';
// Safari's engine alone may have none.
const byteStreams = !/Version\/[^ ]+ Safari/.test(navigator.userAgent) || hasByteStreams();

async function run() {
  const early = [];
  try {
    stillkey.MasterKey.random();
  } catch (error) {
    early.push(error.reason);
  }
  const results = [{ name: 'a call before init() says what to do', error: early[0] === 'not-ready' ? null : `found ${early[0]}` }];
  await stillkey.init({ preferSimd: !plain });
  const cases = await (await fetch('../cases.json')).json();
  const tests = [];
  define(stillkey, { test: (name, work) => tests.push({ name, work }), cases, kernel: plain ? 'portable' : 'simd128', byteStreams });
  for (const { name, work } of tests) {
    try {
      await work();
      results.push({ name, error: null });
    } catch (error) {
      results.push({ name, error: String(error?.stack ?? error) });
    }
  }
  return results;
}

function hasByteStreams() {
  try {
    return Boolean(new ReadableStream({ type: 'bytes' }));
  } catch {
    return false;
  }
}

globalThis.results = run();
globalThis.stillkey = stillkey;
