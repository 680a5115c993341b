"""Parting a JSON list into its items without parsing them: each is judged, and bounded, by itself."""

import re
from collections.abc import Iterator
from typing import Final

from core import limits
from core.errors import Malformed, TooLarge

# What can part items: a whole string, so that nothing within it counts, or one sign of structure. A string that does
# not end runs to the end of the body, else each quote in it would be tried as the beginning of another.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)


def split_list(body: bytes) -> Iterator[bytes]:
    """Yield the text of each item of a JSON list, in order.

    An item may still be malformed: its own parser says so. Raises ``Malformed`` where the list itself is, ``TooLarge``
    when an item is larger than all that may be rejected.
    """
    tokens = _TOKEN.finditer(body)
    begin = next(tokens).end()  # the caller saw the bracket
    depth, empty = 0, True
    for token in tokens:
        place = token.start()
        if place - begin > limits.REJECTED_BYTES_MAX:
            raise TooLarge(f"an item of the list is larger than {limits.REJECTED_BYTES_MAX} bytes; split it")
        sign = body[place]
        if sign in b"[{":
            depth += 1
        elif depth and sign in b"]}":
            depth -= 1
        elif not depth and sign in b",]}":
            item = body[begin:place].strip()
            last = sign != ord(",")
            if item:
                yield item
            elif not (last and empty):
                break
            if last:
                if sign == ord("]") and not body[token.end() :].strip():
                    return
                break
            begin, empty = token.end(), False
    raise Malformed("the body is not a valid JSON list; correct it")
