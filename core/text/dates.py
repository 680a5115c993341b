"""How a memory's date enters its text, for both arms.

Measured on half of LoCoMo (997 questions, default int8 model, R@10):

    form                     dense  BM25   fused with neighbours (MRR)
    no date                  .479   .638   .764 (.504)
    2023-05-08 …             .466   .640   not run
    8 May 2023: …            .453   .660   .766 (.518)
    (8 May 2023) …           .482   .660   .775 (.521)
    … (8 May 2023)           .466   .660   .776 (.518)
    On 8 May 2023, …         .502   .660   .774 (.531)

People ask with the month's name, so the words must be there for BM25; a date that reads as part of the
sentence disturbs the vector least.
"""

from datetime import datetime
from typing import Final

_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)  # not strftime("%B"): that follows the process's locale, and an index may not depend on it


def with_date(content: str, occurred_at: datetime | None) -> str:
    """Return the text that is embedded and indexed for a memory.

    ``content`` unchanged when there is no date, else ``"On 8 May 2023, <content>"``. The date is read in
    the zone that ``occurred_at`` carries, because that is the day its author would name.
    """
    if occurred_at is None:
        return content
    month = _MONTHS[occurred_at.month - 1]
    return f"On {occurred_at.day} {month} {occurred_at.year}, {content}"
