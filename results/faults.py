"""What is wrong with a file that does not have the shape it should have, in a few words."""

from pydantic import ValidationError


def first_fault(error: ValidationError) -> str:
    """The first fault: where it is, and what pydantic says of it."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
