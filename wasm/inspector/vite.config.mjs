import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The page's policy forbids every connection, its own server's too, so the modules travel inside the script. */
function inlinedModules() {
  const id = 'virtual:stillkey-modules';
  return {
    name: 'inlined-modules',
    resolveId: (source) => (source === id ? `\0${id}` : null),
    load(loaded) {
      if (loaded !== `\0${id}`) return null;
      const base64 = (name) => JSON.stringify(readFileSync(at(`../npm/dist/${name}.wasm`)).toString('base64'));
      return `export const simd = ${base64('simd')};\nexport const plain = ${base64('plain')};\n`;
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [inlinedModules()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  resolve: {
    // The API without the browser's entry point, which would have the modules copied beside the page, to be fetched.
    alias: { stillkey: at('../npm/dist/esm/api.js') },
  },
  build: { target: 'es2022', modulePreload: false, chunkSizeWarningLimit: 1200, assetsInlineLimit: 0 },
});
