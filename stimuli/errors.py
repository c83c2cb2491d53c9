"""The two exceptions that every room raises for things a user can put right."""

from __future__ import annotations

LONGEST = 8000
"""Characters of a message: what came may be a file of any length."""


class SnellenError(Exception):
    """Anything Snellen refuses to do; its message is one paragraph written for the user, at most ``LONGEST`` characters of it."""

    def __init__(self, message: str = "") -> None:
        if len(message) > LONGEST:  # what was expected and what to do stand at its end
            half = LONGEST // 2 - 30
            message = f"{message[:half]} … ({len(message) - 2 * half} characters) … {message[-half:]}"
        super().__init__(message)


class InputError(SnellenError, ValueError):
    """The user gave something that cannot be used: what came, what was expected, what to do."""
