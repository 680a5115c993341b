import calendar
from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.text.dates import with_date


def test_without_a_date_the_text_is_unchanged() -> None:
    assert with_date("We met.", None) == "We met."


@pytest.mark.parametrize(("month", "name"), list(enumerate(calendar.month_name))[1:])
def test_the_date_stands_in_front_in_words(month: int, name: str) -> None:
    assert with_date("We met.", datetime(2023, month, 8, tzinfo=UTC)) == f"On 8 {name} 2023, We met."


def test_the_day_is_the_authors_day() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert with_date("x", datetime(2023, 5, 9, 1, 0, tzinfo=tokyo)) == "On 9 May 2023, x"
