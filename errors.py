"""One family of errors: everything a user can cause and mend is a `SkelbenchError`."""


class SkelbenchError(Exception):
    """A mistake the user can mend: one sentence that names the thing, the place and the way out.

    The command line prints it without a traceback and exits with code 2.
    """
