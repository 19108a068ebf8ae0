/** Which build this is. The hash stands beside the script, whose own hash it is: the policy names it too, and the browser checks it. */
export const build = {
  version: document.querySelector<HTMLMetaElement>('meta[name=version]')?.content ?? '?',
  /** The beginning of the script's SHA-256. */
  hash: document.querySelector<HTMLMetaElement>('meta[name=build]')?.content.slice(0, 16) ?? '?',
};
