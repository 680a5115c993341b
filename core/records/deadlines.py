"""Deadlines of claims, leases and tries to come: when they hold, on a clock that may be set."""

from typing import Any, Final

from sqlalchemy import ColumnElement, and_

AHEAD_US_MAX: Final = 7_200_000_000  # twice as long as anything is ever leased for


def holds(until: ColumnElement[Any], now: int) -> ColumnElement[bool]:
    """Return the condition that a deadline lies ahead.

    One that lies further ahead than any was ever set was written by a clock that has been set back since: it must not
    be waited for.
    """
    return and_(until > now, until <= now + AHEAD_US_MAX)
