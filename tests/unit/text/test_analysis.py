import pytest

from core.text.analysis import (
    QUERY_TERMS_MAX,
    TERM_CHARS_MAX,
    Clause,
    index_terms,
    normalise,
    query_clauses,
)
from core.text.stopwords import STOP_WORDS


def words(*terms: str) -> list[Clause]:
    return [Clause(((term,),)) for term in terms]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello, world!"),
        ("\uff28\uff45\uff4c\uff4c\uff4f", "hello"),  # full width
        ("Stra\u00dfe", "strasse"),
        ("caf\u00e9 cafe\u0301", "cafe cafe"),
        ("\u0439", "\u0439"),  # Cyrillic short i is a letter of its own, not an accented one
        ("\u304c", "\u304c"),  # likewise kana with a voicing mark
        ("1,000 and 1,000,000 but 1,2", "1000 and 1000000 but 1,2"),
        ("covid\u201119", "covid-19"),
        ("in\u00advisible", "invisible"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("... !? \U0001f600", []),
        ("The cat's 2 toys", ["the", "cat", "s", "2", "toys"]),
        ("us-east-1", ["useast1", "us", "east", "1"]),
        ("ERR_4821", ["err_4821=", "err", "4821"]),
        ("user@example.com", ["user@example.com=", "user", "example", "com"]),
        ("/etc/ssh/sshd.conf", ["etc/ssh/sshd.conf=", "etc", "ssh", "sshd", "conf"]),
        ("1.2.3", ["1.2.3=", "1", "2", "3"]),
        ("2024-04-16", ["2024-04-16=", "2024", "04", "16"]),
        ("C++ or C#, not C", ["c++=", "c", "or", "c#=", "c", "not", "c"]),
        ("so...then", ["so", "then"]),
        ("snake__case", ["snake__case=", "snake", "case"]),
        ("\u732b", ["\u732b"]),
        ("\u732b\u304c\u597d\u304d\u3002", ["\u732b\u304c", "\u304c\u597d", "\u597d\u304d", "\u304d"]),
        ("\u534e\u4e3aMate60", ["\u534e\u4e3a", "\u4e3a", "mate60"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),  # one Hindi word
    ],
)
def test_index_terms(text: str, expected: list[str]) -> None:
    assert index_terms(text) == expected


def test_stop_words_leave_the_query_but_not_the_index() -> None:
    assert query_clauses("When did the cat sleep?") == words("cat", "sleep")
    assert "the" in index_terms("the cat")


def test_a_query_of_stop_words_keeps_them() -> None:
    assert query_clauses("The Who") == words("the", "who")


def test_the_month_of_may_is_no_stop_word() -> None:
    assert query_clauses("in May") == words("may")


def test_a_repeated_word_weighs_twice() -> None:
    assert query_clauses("cat dog Cat") == [Clause((("cat",),), weight=2), Clause((("dog",),))]


@pytest.mark.parametrize(
    ("identifier", "whole", "parts"),
    [
        ("us-east-1", "useast1", ("us", "east", "1")),
        ("covid-19", "covid19", ("covid", "19")),
        ("user@example.com", "user@example.com=", ("user", "example", "com")),
        ("max_retry_count", "max_retry_count=", ("max", "retry", "count")),
        ("1.2.3", "1.2.3=", ("1", "2", "3")),
    ],
)
def test_an_identifier_is_asked_for_as_one(identifier: str, whole: str, parts: tuple[str, ...]) -> None:
    assert query_clauses(identifier) == [Clause(((whole,), parts))]


def test_a_hyphenated_word_also_asks_for_its_parts() -> None:
    assert query_clauses("well-known") == words("wellknown", "well", "known")


def test_numbers_never_merge_across_a_hyphen() -> None:
    assert index_terms("1-23")[0] != index_terms("12-3")[0]


def test_one_unspaced_character_is_asked_for_by_prefix() -> None:
    assert query_clauses("\u732b") == [Clause((("\u732b",),), prefix=True)]
    assert not query_clauses("\u732b\u304c")[0].prefix


def test_long_runs_are_cut_alike_on_both_sides() -> None:
    blob = "a1" * 5_000
    assert index_terms(blob) == [blob[:TERM_CHARS_MAX]]
    assert query_clauses(blob) == words(blob[:TERM_CHARS_MAX])


def test_long_queries_are_bounded() -> None:
    assert len(query_clauses(" ".join(f"w{i}" for i in range(5_000)))) == QUERY_TERMS_MAX


def test_stop_words_are_terms_the_analyzer_can_produce() -> None:
    assert all(index_terms(word) == [word] for word in STOP_WORDS)
