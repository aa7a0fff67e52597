"""Errors that a user can put right, told in one line."""

import contextlib


class UserError(Exception):
    """Something to be told in one line: a wrong name, type or value, a missing file."""


class AuditFailed(Exception):
    """More was flagged than `--fail-above` allows, to be told by the exit code."""


@contextlib.contextmanager
def checking(*others: type[Exception]):
    """Turns what the checks raise before any work starts into a one-line message, and `others`; errors of the work stay whole."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, ModuleNotFoundError, *others) as error:
        raise UserError(str(error)) from error
