"""What single settings must be, and what is said of those that are not."""

from typing import Annotated, Any

from pydantic import AfterValidator, IPvAnyNetwork, StringConstraints, ValidationError

from core.databaseurl import is_database_url


def fixed(value: float) -> Any:
    """Accept only the one value that the text index is built with."""

    def check(given: float) -> float:
        if given != value:
            raise ValueError(f"must be {value}: the text index fixes it; remove the setting")
        return given

    return AfterValidator(check)


Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.\-\[\]:]+$", max_length=200)]


def some(network: IPvAnyNetwork) -> IPvAnyNetwork:
    """Accept a network that is not every address."""
    if network.prefixlen == 0:
        raise ValueError(f"{network} is every address; name the proxies")
    return network


def of_postgres(url: str) -> str:
    """Accept an address of PostgreSQL, or none."""
    if url and not is_database_url(url):
        raise ValueError("is no address of PostgreSQL; write postgresql://user@host/database")
    return url


def explain(error: ValidationError) -> str:
    """One line per fault: section, name, what is wrong, and the remedy."""
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        section, *rest = [str(part) for part in fault["loc"]]
        where = f"[{section}] {'.'.join(rest)}".strip()
        what = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            what = "there is no such setting; correct the name or remove it"
        lines.append(f"{where}: {what}")
    return "; ".join(lines)
