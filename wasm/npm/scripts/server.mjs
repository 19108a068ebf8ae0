// Serves a folder to a browser, under the strictest policy that the package promises to work with.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's own folder. */
const own = resolve(fileURLToPath(import.meta.url), '../..');
const types = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json', '.wasm': 'application/wasm',
};

/** No inline script, no `eval`, nothing from elsewhere. Of images there are none, but Firefox asks for an icon. */
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; img-src 'self'";

/** Starts serving; returns the address, and what ends it. `strict`: under the policy. */
export async function serve(strict, root = own) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/favicon.ico') return response.writeHead(204).end();
    try {
      // Packages import each other without endings.
      const path = extname(pathname) ? pathname : `${pathname}.js`;
      const body = await readFile(join(root, normalize(path)));
      response.writeHead(200, {
        'content-type': types[extname(path)] ?? 'application/octet-stream',
        ...(strict && { 'content-security-policy': policy }),
        // Timers of full resolution, as benchmarks need them.
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return { address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
