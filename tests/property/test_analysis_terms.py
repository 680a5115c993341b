from hypothesis import given
from hypothesis import strategies as st

from core.text.analysis import QUERY_TERMS_MAX, TERM_CHARS_MAX, index_terms, normalise, query_clauses

# Plain text is made of far stranger characters than tests think of; joints make compounds likely.
texts = st.one_of(
    st.text(),
    st.text(alphabet="ab1-_./@:+# ,\u00e9\u732b\u304c\ud55c\u0e41"),
)


@given(texts)
def test_terms_fit_an_index_split_at_spaces(text: str) -> None:
    for term in index_terms(text):
        assert 0 < len(term) <= TERM_CHARS_MAX
        assert term.split() == [term]
        term.encode()


@given(texts)
def test_normalising_twice_changes_nothing_in_the_terms(text: str) -> None:
    assert index_terms(normalise(text)) == index_terms(text)


@given(texts)
def test_a_text_finds_itself(text: str) -> None:
    terms = index_terms(text)
    adjacent = " " + " ".join(terms) + " "
    clauses = query_clauses(text)
    assert bool(clauses) == bool(terms)
    assert len(clauses) <= QUERY_TERMS_MAX
    for clause in clauses:
        assert any(" " + " ".join(form) + " " in adjacent for form in clause.alternatives)


@given(texts, texts)
def test_a_line_break_separates(left: str, right: str) -> None:
    assert index_terms(f"{left}\n{right}") == index_terms(left) + index_terms(right)
