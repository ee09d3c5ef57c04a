// UTF-8. The engine that runs this code, QuickJS, is the language alone: it has no TextEncoder and no TextDecoder.

/**
 * The text of bytes; an `Error` when they are no UTF-8.
 * @param {Uint8Array} bytes
 */
export function decode(bytes) {
  const escaped = Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`);
  try {
    return decodeURIComponent(escaped.join(""));
  } catch {
    throw new Error("it is no UTF-8");
  }
}

/**
 * The bytes of a text.
 * @param {string} text
 */
export function encode(text) {
  const parts = encodeURIComponent(text).matchAll(/%(..)|(.)/g);
  return Uint8Array.from(parts, ([, hex, character]) =>
    hex === undefined ? character.charCodeAt(0) : parseInt(hex, 16),
  );
}
