"""The one error a user sees: what is wrong, where, and how to mend it."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend.

    The command line prints it without a traceback and exits with 2. The message names the file, the field, the value
    and the fix.
    """
