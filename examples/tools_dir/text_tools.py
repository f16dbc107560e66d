"""A tool of your own is a function with a name. What it returns has to be JSON, and becomes the task's result."""

from highway_core.tools.decorators import tool


@tool("text.initials")
def initials(text: str, separator: str = "") -> dict[str, str | int]:
    """The first letters of the words in ``text``, each followed by ``separator``."""
    words = text.split()
    if not words:
        raise ValueError("text.initials needs at least one word")  # fails the task, with these words
    return {"initials": "".join(word[0].upper() + separator for word in words).strip(), "words": len(words)}
