/** Simplified Chinese of what the page says, by its English. */
export const zh: Readonly<Record<string, string>> = {};
