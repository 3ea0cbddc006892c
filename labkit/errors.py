"""The one kind of error that a user is meant to read."""


class LabkitError(Exception):
    """Something the user can put right. The message is one line: the file or the knob, what is wrong, what to do."""
