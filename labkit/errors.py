"""The one kind of error that a user is meant to read."""

import difflib


class LabkitError(Exception):
    """Something the user can put right. The message is one line: the file or the knob, what is wrong, what to do."""


def meant(word: str, known: list[str]) -> str:
    """' (did you mean ...?)' where a known name is close to the word, otherwise ''."""
    close = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
