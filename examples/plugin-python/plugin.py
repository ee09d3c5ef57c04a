"""`junit-report`: the stage. `describe` says what it is, `run` does its job; both are what the engine calls."""

import json

from componentize_py_types import Err
from wit_world.imports import artifacts, containers, log, workspace
from wit_world.imports.types import Description, Failure, FailureClass_Permanent, FailureClass_Transient

import report

# The artifact that people find the summary in.
ARTIFACT = "summary.md"

CONFIG = {
    "type": "object",
    "required": ["report", "image"],
    "additionalProperties": False,
    "properties": {
        "report": {"type": "string", "description": "The JUnit XML in the workspace."},
        "image": {"type": "string", "description": "The image of a container that looks at the report."},
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "default": [],
            "description": "Its command, the image's own when empty; finds the report at `$REPORT`.",
        },
        "summary": {
            "type": "string",
            "default": "summary.md",
            "description": "Where the summary is written in the workspace.",
        },
        "fail": {"type": "boolean", "default": False, "description": "Fail when a test of the report did."},
    },
}

OUTPUTS = {
    "type": "object",
    "required": ["tests", "failed", "skipped", "seconds", "summary"],
    "properties": {
        "tests": {"type": "integer", "description": "How many tests there are."},
        "failed": {"type": "integer", "description": "How many of them failed."},
        "skipped": {"type": "integer", "description": "How many of them were skipped."},
        "seconds": {"type": "number", "description": "How long they took together."},
        "summary": {"type": "string", "description": "Where the summary is in the workspace."},
    },
}


class WitWorld:
    def describe(self) -> Description:
        return Description(
            name="junit-report",
            version="0.1.0",
            summary="Sums up a JUnit report",
            config_schema=json.dumps(CONFIG),
            outputs_schema=json.dumps(OUTPUTS),
            secrets=[],
            capabilities=[
                ("workspace", "to read the report and write the summary"),
                ("containers", "to run the command that looks at it"),
                ("artifacts", "to keep the summary with the run"),
            ],
            details=[],
        )

    def run(self, config: str) -> str:
        try:
            return json.dumps(sum_up(json.loads(config)))
        except Err as error:
            raise Err(failure_of(error.value)) from None


def sum_up(config: dict) -> dict:
    path = config["report"]
    found = read(path)
    log.write(log.Level.INFO, f"{path}: {len(found.tests)} tests", [("failed", str(len(found.failed())))])
    exit_code = run_command(config)
    summary = config.get("summary", "summary.md")
    text = report.summary(found, exit_code).encode()
    workspace.write(summary, text)
    # Before anything fails: what is kept of a failed stage is what people look for.
    artifacts.put(ARTIFACT, "text/markdown", text)
    if exit_code != 0:
        # By this detail a workflow can say `retry: { exit_codes: [...] }`.
        details = [("exit-code", str(exit_code))]
        raise permanent("exit-code", f"the command ended with exit code {exit_code}", details)
    if config.get("fail", False) and found.failed():
        names = ", ".join(test.name for test in found.failed())
        raise permanent("tests-failed", f"{len(found.failed())} of {len(found.tests)} tests failed: {names}")
    return {
        "tests": len(found.tests),
        "failed": len(found.failed()),
        "skipped": len(found.skipped()),
        "seconds": found.seconds(),
        "summary": summary,
    }


def read(path: str) -> report.Report:
    try:
        return report.parse(workspace.read(path).decode())
    except ValueError as error:
        raise permanent("invalid-report", f"{path} cannot be read: {error}") from None


def run_command(config: dict) -> int:
    """Runs the command beside the workspace, which it cannot change, and gives its exit code."""
    container = containers.start(
        containers.Request(
            image=config["image"],
            command=config.get("command", []),
            entrypoint=None,
            environment=[("REPORT", f"/workspace/{config['report']}")],
            working_folder=None,
            user=None,
            workspace=containers.WorkspaceMount(target="/workspace", read_only=True),
            network=False,
            memory_bytes=None,
            cpu_millis=None,
            options=[],
        )
    )
    return container.wait().code


def permanent(kind: str, message: str, details: list[tuple[str, str]] | None = None) -> Err:
    return Err(Failure(FailureClass_Permanent(), kind, message, details or []))


def failure_of(error) -> Failure:
    """A failure as it is; an error of a capability as a failure, which may pass where trying again may help."""
    match error:
        case Failure():
            return error
        case containers.Error_Unreachable(message) | containers.Error_Engine(message):
            return Failure(FailureClass_Transient(), "containers", message, [])
        case artifacts.Error_Unavailable(message):
            return Failure(FailureClass_Transient(), "unavailable", message, [])
        case _:
            # `Error_NotFound`, `Error_Outside` and the others.
            kind = type(error).__name__.removeprefix("Error_")
            kind = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("-")
            return Failure(FailureClass_Permanent(), kind, error.value, [])
