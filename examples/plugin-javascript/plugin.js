// `junit-report`: the stage. `describe` says what it is, `run` does its job; both are what the engine calls.

import { put } from "yuanli:artifacts/artifacts@0.1.0";
import { start } from "yuanli:containers/containers@0.1.3";
import { write as log } from "yuanli:log/log@0.1.0";
import { read, write } from "yuanli:workspace/workspace@0.1.0";

import { parse, summary } from "./report.js";
import { decode, encode } from "./text.js";

// The artifact that people find the summary in.
const ARTIFACT = "summary.md";

const CONFIG = {
  type: "object",
  required: ["report", "image"],
  additionalProperties: false,
  properties: {
    report: { type: "string", description: "The JUnit XML in the workspace." },
    image: { type: "string", description: "The image of a container that looks at the report." },
    command: {
      type: "array",
      items: { type: "string" },
      default: [],
      description: "Its command, the image's own when empty; finds the report at `$REPORT`.",
    },
    summary: {
      type: "string",
      default: "summary.md",
      description: "Where the summary is written in the workspace.",
    },
    fail: { type: "boolean", default: false, description: "Fail when a test of the report did." },
  },
};

const OUTPUTS = {
  type: "object",
  required: ["tests", "failed", "skipped", "seconds", "summary"],
  properties: {
    tests: { type: "integer", description: "How many tests there are." },
    failed: { type: "integer", description: "How many of them failed." },
    skipped: { type: "integer", description: "How many of them were skipped." },
    seconds: { type: "number", description: "How long they took together." },
    summary: { type: "string", description: "Where the summary is in the workspace." },
  },
};

export function describe() {
  return {
    name: "junit-report",
    version: "0.1.0",
    summary: "Sums up a JUnit report",
    configSchema: JSON.stringify(CONFIG),
    outputsSchema: JSON.stringify(OUTPUTS),
    secrets: [],
    capabilities: [
      ["workspace", "to read the report and write the summary"],
      ["containers", "to run the command that looks at it"],
      ["artifacts", "to keep the summary with the run"],
    ],
    details: [],
  };
}

export function run(config) {
  try {
    return JSON.stringify(sumUp(JSON.parse(config)));
  } catch (error) {
    throw failureOf(error);
  }
}

function sumUp({ report: path, image, command = [], summary: target = "summary.md", fail = false }) {
  const report = readReport(path);
  const { tests, failed, skipped, seconds } = report;
  log("info", `${path}: ${tests.length} tests`, [["failed", `${failed.length}`]]);
  const exitCode = runCommand(image, command, path);
  const text = encode(summary(report, exitCode));
  write(target, text);
  // Before anything fails: what is kept of a failed stage is what people look for.
  put(ARTIFACT, "text/markdown", text);
  if (exitCode !== 0) {
    // By this detail a workflow can say `retry: { exit_codes: [...] }`.
    const details = [["exit-code", `${exitCode}`]];
    throw permanent("exit-code", `the command ended with exit code ${exitCode}`, details);
  }
  if (fail && failed.length > 0) {
    const names = failed.map((test) => test.name).join(", ");
    throw permanent("tests-failed", `${failed.length} of ${tests.length} tests failed: ${names}`);
  }
  return {
    tests: tests.length,
    failed: failed.length,
    skipped: skipped.length,
    seconds,
    summary: target,
  };
}

function readReport(path) {
  const content = read(path);
  try {
    return parse(decode(content));
  } catch (error) {
    throw permanent("invalid-report", `${path} cannot be read: ${error.message}`);
  }
}

/** Runs the command beside the workspace, which it cannot change, and gives its exit code. */
function runCommand(image, command, path) {
  const container = start({
    image,
    command,
    entrypoint: undefined,
    environment: [["REPORT", `/workspace/${path}`]],
    workingFolder: undefined,
    user: undefined,
    workspace: { target: "/workspace", readOnly: true },
    network: false,
    memoryBytes: undefined,
    cpuMillis: undefined,
    options: [],
  });
  return Number(container.wait().code);
}

function permanent(kind, message, details = []) {
  return { class: { tag: "permanent" }, kind, message, details };
}

/** What `run` throws: a failure as it is, or what a capability threw, which may pass where trying again may help. */
function failureOf(thrown) {
  if (thrown.payload === undefined) return thrown;
  const { tag, val } = thrown.payload;
  const mayPass = tag === "unreachable" || tag === "engine" || tag === "unavailable";
  return { class: { tag: mayPass ? "transient" : "permanent" }, kind: tag, message: val, details: [] };
}
