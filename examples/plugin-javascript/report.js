// Reads JUnit XML and writes what it says as Markdown. Knows nothing of the engine, so that plain Node can test it.

/** More of them are no summary any more. */
const MAX_SLOWEST = 3;

/**
 * A test as the report has it; `problem` says why it failed.
 * @typedef {{ name: string, milliseconds: number, isSkipped: boolean, problem: string | null }} Test
 */

/** All tests of a report, in its order. */
export class Report {
  /** @param {Test[]} tests */
  constructor(tests) {
    this.tests = tests;
    this.failed = tests.filter((test) => test.problem !== null);
    this.skipped = tests.filter((test) => test.isSkipped);
    this.slowest = tests
      .filter((test) => test.milliseconds > 0)
      .sort((one, other) => other.milliseconds - one.milliseconds)
      .slice(0, MAX_SLOWEST);
    this.seconds = tests.reduce((sum, test) => sum + test.milliseconds, 0) / 1000;
  }
}

/**
 * The report of a JUnit XML; an `Error` says what is wrong with it.
 * @param {string} text
 */
export function parse(text) {
  const tests = [];
  const open = [];
  let test = null;
  for (const { name, attributes, isEnd, isEmpty } of tags(text)) {
    if (isEnd) {
      if (open.pop() !== name) throw new Error(`it is no XML: </${name}> ends what was not begun`);
      continue;
    }
    if (open.length === 0 && name !== "testsuites" && name !== "testsuite") {
      throw new Error(`it begins with <${name}>, not with <testsuites> or <testsuite>`);
    }
    if (name === "testcase") {
      test = testOf(attributes);
      tests.push(test);
    } else if (open.at(-1) === "testcase" && (name === "failure" || name === "error")) {
      test.problem ??= attributes.message || "no message";
    } else if (open.at(-1) === "testcase" && name === "skipped") {
      test.isSkipped = true;
    }
    if (!isEmpty) open.push(name);
  }
  if (open.length > 0) throw new Error(`it is no XML: <${open.at(-1)}> does not end`);
  return new Report(tests);
}

/** @returns {Test} */
function testOf({ classname, name, time }) {
  return {
    name: [classname, name].filter(Boolean).join("."),
    // Zero for what is no number, as some tools write nothing there.
    milliseconds: Math.round((Number(time) || 0) * 1000),
    isSkipped: false,
    problem: null,
  };
}

// A comment, a section of plain text or an instruction, all to be passed over; or a tag with its attributes.
const MARKUP =
  /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<!\w[^>]*>|<(\/?)([\w:.-]+)((?:[^"'<>]|"[^"]*"|'[^']*')*?)(\/?)>/g;
const ATTRIBUTE = /([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** The tags of a text, in its order: as much of XML as a JUnit report has. */
function* tags(text) {
  let isAny = false;
  for (const [, slash, name, attributes, end] of text.matchAll(MARKUP)) {
    if (name === undefined) continue;
    isAny = true;
    const pairs = [...attributes.matchAll(ATTRIBUTE)];
    yield {
      name,
      attributes: Object.fromEntries(pairs.map(([, key, one, other]) => [key, plain(one ?? other)])),
      isEnd: slash === "/",
      isEmpty: end === "/",
    };
  }
  if (!isAny) throw new Error("it is no XML: there is no tag in it");
}

/** A value with what stands for characters replaced by them. */
function plain(value) {
  return value.replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex === undefined ? parseInt(decimal, 10) : parseInt(hex, 16));
  });
}

/**
 * The report for a person, with how the container ended that looked at it.
 * @param {Report} report
 * @param {number} exitCode
 */
export function summary(report, exitCode) {
  const { tests, failed, skipped, slowest, seconds } = report;
  const lines = [
    `# ${failed.length} of ${tests.length} tests failed`,
    "",
    "| tests | failed | skipped | seconds |",
    "|---|---|---|---|",
    `| ${tests.length} | ${failed.length} | ${skipped.length} | ${seconds.toFixed(3)} |`,
  ];
  if (failed.length > 0) {
    lines.push("", "Failed:", "", ...failed.map((test) => `- ${test.name}: ${test.problem}`));
  }
  if (slowest.length > 0) {
    const line = (test) => `- ${(test.milliseconds / 1000).toFixed(3)} s: ${test.name}`;
    lines.push("", "Slowest:", "", ...slowest.map(line));
  }
  lines.push("", `The command ended with exit code ${exitCode}.`);
  return `${lines.join("\n")}\n`;
}
