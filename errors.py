"""`SkelbenchError`: the base class of all errors that a user can cause and fix."""


class SkelbenchError(Exception):
    """An error the user can fix; its message is one sentence that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
