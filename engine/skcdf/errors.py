"""The one exception that a user is meant to read."""

from __future__ import annotations


class SkcdfError(Exception):
    """A failure the user can do something about.

    Args:
        message: one line that names the file or setting and says what is wrong with it.
        hint: one line that says what to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)  # both, so that the exception survives pickling
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class Cancelled(Exception):  # noqa: N818  (an event the user asked for, not an error)
    """The user asked to stop; whatever was running has put its things in order."""
