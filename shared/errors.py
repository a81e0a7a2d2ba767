"""Define the errors that a user may see, one class for each exit code."""


class TagsweepError(Exception):
    """Report a failure that the user can act on; the command line exits with 1."""

    exit_code = 1


class InputError(TagsweepError):
    """Report bad input: a file, an option or a configuration; the command line exits with 2."""

    exit_code = 2
