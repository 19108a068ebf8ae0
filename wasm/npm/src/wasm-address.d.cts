/** Where the module is, as bundlers answer an import of it: esbuild with its `file` loader, Vite with `?url`, Bun. */
declare const address: string;
export = address;
