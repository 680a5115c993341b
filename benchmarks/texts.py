"""Memories and questions of our own: what an agent may note in its work, made from templates by a seed.

Sentences of about 35 tokens, like turns of a conversation, with names, places, dates, amounts and identifiers that
recur, so that both arms of a search have something to tell apart.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core.text.dates import with_date


@dataclass(frozen=True)
class Text:
    """A memory to write."""

    content: str
    id: str | None = None
    session: str | None = None
    occurred_at: datetime | None = None

    def as_item(self, namespace: str) -> dict[str, Any]:
        """Return the body that the API takes."""
        item: dict[str, Any] = {"namespace": namespace, "content": self.content}
        if self.id is not None:
            item["id"] = self.id
        if self.session is not None:
            item["session"] = self.session
        if self.occurred_at is not None:
            item["occurred_at"] = self.occurred_at.isoformat()
        return item

    @property
    def embedded(self) -> str:
        """The text that the server embeds for it."""
        return with_date(self.content, self.occurred_at)


_PEOPLE: Final = (
    "Ada",
    "Bram",
    "Chidi",
    "Dalia",
    "Emre",
    "Fatou",
    "Goran",
    "Hana",
    "Ines",
    "Jonas",
    "Kavya",
    "Leif",
    "Mina",
    "Nadia",
    "Omar",
    "Petra",
    "Quentin",
    "Rosa",
    "Samir",
    "Tove",
    "Ulla",
    "Viktor",
    "Wanda",
    "Xenia",
    "Yusuf",
    "Zofia",
)
_PLACES: Final = (
    "Porto",
    "Leeds",
    "Graz",
    "Tampere",
    "Lyon",
    "Split",
    "Ghent",
    "Cork",
    "Bari",
    "Turku",
    "Krakow",
    "Malmo",
    "Bergen",
    "Basel",
    "Varna",
    "Sines",
    "Utrecht",
    "Aveiro",
)
_THINGS: Final = (
    "the invoice export",
    "the greenhouse sensors",
    "the marathon training plan",
    "the tenancy contract",
    "the night ferry booking",
    "the bread starter",
    "the payroll migration",
    "the piano lessons",
    "the warehouse scanner",
    "the allergy tests",
    "the solar panels",
    "the translation memory",
    "the bicycle repair",
    "the exhibition catalogue",
    "the backup rotation",
    "the parents' evening",
    "the water filter",
    "the grant proposal",
    "the checkout page",
    "the choir rehearsal",
)
_REASONS: Final = (
    "because the supplier changed the terms without telling anybody",
    "after the second outage in the same week",
    "since the weather is going to turn and nobody wants to wait longer",
    "although the budget for this quarter is nearly used up",
    "so that the new colleagues can start without asking around",
    "because the doctor advised against doing it before the summer",
    "while the landlord is still willing to pay half of it",
    "as soon as the permit arrives from the city",
    "even though the old way had worked for eleven years",
    "because a customer noticed the wrong totals first",
)
_PREFERENCES: Final = (
    "prefers short answers in the evening",
    "would rather have a call than another long message",
    "wants every figure with its source beside it",
    "does not eat anything with sesame or hazelnuts",
    "asks for metric units and the 24-hour clock",
    "likes to see the plan before anything is changed",
    "keeps Fridays free for the children",
    "reads the summary only and trusts the rest",
)
_TEMPLATES: Final = (
    "{a} told {b} that {thing} in {place} has to be finished by {day} {month}, {reason}.",
    "{a}: I looked at {thing} again with {b}; we settled on {amount} euros and ticket {code}, {reason}.",
    "When {a} moved from {place} to {other}, {b} took over {thing} and {preference}.",
    "{a} {preference}, and asked {b} to bring up {thing} on {day} {month} in {place}.",
    "The error {code} came back on host {host} while {a} was working on {thing}; {b} restarted it {reason}.",
    "{a}: we drove to {place} with {b} last weekend, paid {amount} for the rooms and talked about {thing} all evening.",
    "{b} promised {a} to send the notes on {thing} by {day} {month}, {reason}; the reference is {code}.",
    "For {thing} {a} compared {place} and {other}, chose the second, and noted that {b} {preference}.",
)
_QUESTIONS: Final = (
    "What did {a} and {b} decide about {thing}?",
    "When must {thing} in {place} be finished?",
    "What does {a} prefer?",
    "Who took over {thing} after the move to {other}?",
    "Which error came back on {host}?",
    "How much did {a} pay in {place}?",
    "Why did {b} change {thing}?",
    "What is the reference for {thing} with {a}?",
)
_MONTHS: Final = ("March", "April", "May", "June", "September", "October")
_BEGIN: Final = datetime(2025, 1, 6, 8, tzinfo=UTC)
_SESSION_TEXTS: Final = 20


def generate_texts(count: int, seed: int) -> list[Text]:
    """Return texts; the same seed gives the same ones, and fewer are the beginning of more."""
    return list(itertools.islice(stream_texts(seed), count))


def stream_texts(seed: int) -> Iterator[Text]:
    """Yield such texts without end."""
    rng = random.Random(seed)
    for index in itertools.count():
        content = rng.choice(_TEMPLATES).format(**_slots(rng))
        session = f"generated-{index // _SESSION_TEXTS}"
        yield Text(content, session=session, occurred_at=_BEGIN + timedelta(minutes=7 * index))


def generate_questions(count: int, seed: int) -> list[str]:
    """Return questions about such texts."""
    rng = random.Random(f"questions {seed}")
    return [rng.choice(_QUESTIONS).format(**_slots(rng)) for _ in range(count)]


def _slots(rng: random.Random) -> dict[str, object]:
    a, b = rng.sample(_PEOPLE, 2)
    place, other = rng.sample(_PLACES, 2)
    return {
        "a": a,
        "b": b,
        "place": place,
        "other": other,
        "thing": rng.choice(_THINGS),
        "reason": rng.choice(_REASONS),
        "preference": rng.choice(_PREFERENCES),
        "day": rng.randint(1, 28),
        "month": rng.choice(_MONTHS),
        "amount": rng.randint(20, 4_000),
        "code": f"ERR_{rng.randint(1_000, 9_999)}",
        "host": f"worker-{rng.randint(1, 400)}",
    }
