"""Tags that keep a parser busy, which compares each attribute with all others."""

import re

# More attributes, or blanks in a tag, than any author writes.
_OVERLOADED = re.compile(
    r"<([a-zA-Z][a-zA-Z0-9:]*)\b(?=(?:[^<>\s/\"']*[\s/\"']){250})[^<>]*"
)


def without_overload(source):
    """Return ``source`` without the attributes of tags that have too many."""
    return _OVERLOADED.sub(r"<\1", source)
