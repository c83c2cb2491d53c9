"""The two exceptions that every room raises for things a user can put right."""

from __future__ import annotations


class SnellenError(Exception):
    """Anything Snellen refuses to do; its message is one paragraph written for the user."""


class InputError(SnellenError, ValueError):
    """The user gave something that cannot be used: what came, what was expected, what to do."""
