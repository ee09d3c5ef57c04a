import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "./text.js";
import { count } from "./words.js";

test("words are counted", () => {
  assert.equal(count(""), 0);
  assert.equal(count(" one\ttwo\n three "), 3);
});

test("texts and bytes are each other's", () => {
  const text = "a/é 原力 %41 \n";
  assert.deepEqual(encode(text), new TextEncoder().encode(text));
  assert.equal(decode(encode(text)), text);
});
