"""Does nothing, in Python: what is left is the cost of the interpreter and of the host."""

from wit_world.imports.types import Description

SCHEMA = '{"type":"object","additionalProperties":false}'


class WitWorld:
    def describe(self) -> Description:
        return Description(
            name="noop-python",
            version="0.1.0",
            summary="Does nothing",
            config_schema=SCHEMA,
            outputs_schema=SCHEMA,
            secrets=[],
            capabilities=[],
            details=[],
        )

    def run(self, config: str) -> str:
        return "{}"
