"""What is wrong with a row, in words that repeat nothing of it: not even the names of fields that it made up."""

from pydantic import ValidationError

from core import limits

_FAULTS_TOLD = 5


def said_of(error: ValidationError) -> str:
    """Return the first faults of a validation."""
    if error.error_count() > limits.FAULTS_MAX:
        return f"has {error.error_count()} faults; correct it"
    said = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False)[:_FAULTS_TOLD]:
        place, what = fault["loc"], fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            place, what = place[:-1], "has a field that is not known"
        named = ".".join(map(str, place))
        said.append(f"{named}: {what}" if named else what)
    return "; ".join(said)
