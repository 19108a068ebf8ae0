import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const { version } = JSON.parse(readFileSync(at('package.json'), 'utf8'));

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

/** One file, which works from a disk as well: script and style inside, allowed by their hashes and by nothing else. */
function oneFile() {
  return {
    name: 'one-file',
    enforce: 'post',
    generateBundle(_, bundle) {
      const only = (suffix) => {
        const found = Object.keys(bundle).filter((name) => name.endsWith(suffix));
        if (found.length !== 1) throw new Error(`one ${suffix} was expected, not ${found.join(', ') || 'none'}`);
        const part = bundle[found[0]];
        delete bundle[found[0]];
        return part;
      };
      const { source: page } = only('.html');
      const script = only('.js').code.replace(/<(?=\/script|!--)/gi, '\\x3c');
      const style = String(only('.css').source);
      const hash = (text, form) => createHash('sha256').update(text).digest(form);
      const policy = [
        "default-src 'none'",
        `script-src 'sha256-${hash(script, 'base64')}' 'wasm-unsafe-eval'`,
        `style-src 'sha256-${hash(style, 'base64')}'`,
        'worker-src blob:',
        'img-src data:',
        "connect-src 'none'",
        "webrtc 'block'",
        "form-action 'none'",
        "base-uri 'none'",
      ].join('; ');
      const head = [
        `<meta http-equiv="Content-Security-Policy" content="${policy}" />`,
        `<meta name="version" content="${version}" />`,
        `<meta name="build" content="${hash(script, 'hex')}" />`,
        `<style>${style}</style>`,
      ].join('\n    ');
      const source = String(page)
        .replace(/\s*<(?:script|link)[^>]*(?:\.js|\.css)"[^>]*>(?:<\/script>)?/g, '')
        .replace('<!-- head -->', () => head)
        .replace('<!-- script -->', () => `<script type="module">${script}</script>`);
      this.emitFile({ type: 'asset', fileName: 'stillkey-inspector.html', source });
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [inlinedModules(), oneFile()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  resolve: {
    // The API without the browser's entry point, which would have the modules copied beside the page, to be fetched.
    alias: { stillkey: at('../npm/dist/esm/api.js') },
  },
  build: { target: 'es2022', modulePreload: false, chunkSizeWarningLimit: 1600, assetsInlineLimit: 0, cssCodeSplit: false },
});
