// `plugin-name`: counts the words of text files in the workspace. Put here what your plugin does.
//
// `describe` says what it is, `run` does its job; both are what the engine calls. `wit/guest.wit` says what it may call.

import { progress, write as log } from "yuanli:log/log@0.1.0";
import { glob, read } from "yuanli:workspace/workspace@0.1.0";

import { decode } from "./text.js";
import { count } from "./words.js";

// What `with:` holds. The descriptions are what the author of a workflow is shown.
const CONFIG = {
  type: "object",
  required: ["files"],
  additionalProperties: false,
  properties: {
    files: { type: "string", description: "Which files of the workspace, such as `docs/**/*.txt`." },
  },
};

// What later stages see as `stages.NAME.outputs`.
const OUTPUTS = {
  type: "object",
  required: ["files", "words"],
  properties: {
    files: { type: "integer", description: "How many files there are." },
    words: { type: "integer", description: "How many words are in them." },
  },
};

export function describe() {
  return {
    name: "plugin-name",
    version: "0.1.0",
    summary: "Counts the words of text files",
    configSchema: JSON.stringify(CONFIG),
    outputsSchema: JSON.stringify(OUTPUTS),
    secrets: [],
    capabilities: [["workspace", "to read the files"]],
    details: [],
  };
}

export function run(config) {
  try {
    return JSON.stringify(countAll(JSON.parse(config)));
  } catch (error) {
    throw failureOf(error);
  }
}

function countAll({ files: pattern }) {
  const found = glob(pattern);
  if (found.length === 0) throw permanent("no-files", `no file of the workspace matches \`${pattern}\``);
  let words = 0;
  found.forEach(({ path }, done) => {
    const here = count(decode(read(path)));
    log("info", `${path}: ${here} words`, []);
    words += here;
    progress(done + 1, found.length, "files");
  });
  return { files: found.length, words };
}

/** A failure that trying again will not mend. The other classes are in `wit/deps/stage/types.wit`. */
function permanent(kind, message) {
  return { class: { tag: "permanent" }, kind, message, details: [] };
}

/** What `run` throws: a failure as it is, or what a capability threw, or a mistake in here. */
function failureOf(thrown) {
  if (!(thrown instanceof Error)) return thrown;
  if (thrown.payload === undefined) return permanent("exception", `${thrown}\n${thrown.stack}`);
  return permanent(thrown.payload.tag, thrown.payload.val);
}
