import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, summary } from "./report.js";
import { decode, encode } from "./text.js";

const REPORT = `<?xml version="1.0"?>
<!-- <testcase name="not one"/> -->
<testsuite name="cart">
  <testcase classname="cart" name="a &amp; b" time="0.25"/>
  <testcase classname="cart" name="c" time="1.5"><failure message="2 &#60; 3"><![CDATA[</x>]]></failure></testcase>
  <testcase name="d" time="-"><skipped/></testcase>
  <testcase name="e"><error/></testcase>
</testsuite>`;

test("a report is counted", () => {
  const report = parse(REPORT);
  assert.deepEqual(report.tests.map((test) => test.name), ["cart.a & b", "cart.c", "d", "e"]);
  assert.deepEqual(report.failed.map((test) => test.problem), ["2 < 3", "no message"]);
  assert.deepEqual(report.skipped.map((test) => test.name), ["d"]);
  assert.deepEqual(report.slowest.map((test) => test.milliseconds), [1500, 250]);
  assert.equal(report.seconds, 1.75);
});

test("a summary names what failed and what was slow", () => {
  const text = summary(parse(REPORT), 3);
  for (const line of [
    "# 2 of 4 tests failed",
    "| 4 | 2 | 1 | 1.750 |",
    "- cart.c: 2 < 3",
    "- 1.500 s: cart.c",
    "The command ended with exit code 3.",
  ]) {
    assert.ok(text.split("\n").includes(line), `${line} is not in\n${text}`);
  }
});

test("what is no report is told", () => {
  for (const [text, why] of [
    ["", /no XML/],
    ["<html></html>", /begins with <html>/],
    ["<testsuite><testcase></testsuite>", /ends what was not begun/],
    ["<testsuite>", /<testsuite> does not end/],
  ]) {
    assert.throws(() => parse(text), why);
  }
});

test("texts and bytes are each other's", () => {
  const text = "a/é 原力 %41 \n";
  assert.deepEqual(encode(text), new TextEncoder().encode(text));
  assert.equal(decode(encode(text)), text);
  assert.throws(() => decode(Uint8Array.of(0xff)), /no UTF-8/);
});
