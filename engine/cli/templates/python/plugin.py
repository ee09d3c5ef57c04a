"""`plugin-name`: counts the words of text files in the workspace. Put here what your plugin does.

`describe` says what it is, `run` does its job; both are what the engine calls. `wit/guest.wit` says what it may call.
"""

import json

from componentize_py_types import Err
from wit_world.imports import log, workspace
from wit_world.imports.types import Description, Failure, FailureClass_Permanent

import words

# What `with:` holds. The descriptions are what the author of a workflow is shown.
CONFIG = {
    "type": "object",
    "required": ["files"],
    "additionalProperties": False,
    "properties": {
        "files": {"type": "string", "description": "Which files of the workspace, such as `docs/**/*.txt`."},
    },
}

# What later stages see as `stages.NAME.outputs`.
OUTPUTS = {
    "type": "object",
    "required": ["files", "words"],
    "properties": {
        "files": {"type": "integer", "description": "How many files there are."},
        "words": {"type": "integer", "description": "How many words are in them."},
    },
}


class WitWorld:
    def describe(self) -> Description:
        return Description(
            name="plugin-name",
            version="0.1.0",
            summary="Counts the words of text files",
            config_schema=json.dumps(CONFIG),
            outputs_schema=json.dumps(OUTPUTS),
            secrets=[],
            capabilities=[("workspace", "to read the files")],
            details=[],
        )

    def run(self, config: str) -> str:
        try:
            return json.dumps(count(json.loads(config)))
        except Err as error:
            raise Err(failure_of(error.value)) from None


def count(config: dict) -> dict:
    found = workspace.glob(config["files"])
    if not found:
        raise Err(permanent("no-files", f"no file of the workspace matches `{config['files']}`"))
    total = 0
    for done, entry in enumerate(found, start=1):
        here = words.count(workspace.read(entry.path).decode(errors="replace"))
        log.write(log.Level.INFO, f"{entry.path}: {here} words", [])
        total += here
        log.progress(done, len(found), "files")
    return {"files": len(found), "words": total}


def permanent(kind: str, message: str) -> Failure:
    """A failure that trying again will not mend. The other classes are in `wit/deps/stage/types.wit`."""
    return Failure(FailureClass_Permanent(), kind, message, [])


def failure_of(error) -> Failure:
    """A failure as it is; an error of the workspace, such as `Error_NotFound`, as a failure."""
    if isinstance(error, Failure):
        return error
    return permanent("workspace", error.value)
