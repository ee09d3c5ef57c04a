// Does nothing, in JavaScript: what is left is the cost of the interpreter and of the host.

const SCHEMA = '{"type":"object","additionalProperties":false}';

export function describe() {
  return {
    name: "noop-javascript",
    version: "0.1.0",
    summary: "Does nothing",
    configSchema: SCHEMA,
    outputsSchema: SCHEMA,
    secrets: [],
    capabilities: [],
    details: [],
  };
}

export function run(_config) {
  return "{}";
}
