"""English words that carry structure, not subject.

They are dropped from queries only. The index keeps them, so a query made of nothing else ("the who")
still finds its text. Kept on purpose, because they change what is asked: negations (no, not, nor),
comparisons (more, most, same, other), words of place and order (before, after, between, under), and
"may", which is also a month: dates are indexed in words.
"""

from typing import Final

_PRONOUNS: Final = """
    i me my myself you your yours yourself yourselves he him his himself she her hers herself it its itself
    we us our ours ourselves they them their theirs themselves this that these those
"""
_VERBS: Final = """
    am is are was were be been being do does did doing have has had having
    can could might must shall should will would
"""
_QUESTIONS: Final = "what which who whom whose when where why how"
_GLUE: Final = """
    a an the and or but if so as than then there here of at by for from in into on to with about because
    also any some such just very upon out
"""
_CLITICS: Final = "s t d m ll re ve don"  # what remains of 's, n't, 'd, 'm, 'll, 're, 've

STOP_WORDS: Final[frozenset[str]] = frozenset(" ".join((_PRONOUNS, _VERBS, _QUESTIONS, _GLUE, _CLITICS)).split())
