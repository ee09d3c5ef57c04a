"""The part that knows nothing of the engine, so that plain Python can test it."""


def count(text: str) -> int:
    """How many words a text has."""
    return len(text.split())
