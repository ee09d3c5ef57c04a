// The part that knows nothing of the engine, so that plain Node can test it.

/**
 * How many words a text has.
 * @param {string} text
 */
export function count(text) {
  return text.split(/\s+/).filter(Boolean).length;
}
