"""Token states to one unit vector per text."""

from typing import Any

import numpy as np
import numpy.typing as npt

from core.embedding.catalogue import Pooling


def pool(states: npt.NDArray[Any], mask: npt.NDArray[np.int64], how: Pooling) -> npt.NDArray[np.float32]:
    """Return float32 (rows, dim) with rows of length 1 from states (rows, tokens, dim).

    ``mask`` (rows, tokens) is 1 for real tokens and 0 for padding, which takes no part; the first token of
    a row is always real. Raises ``FloatingPointError`` when the states of a row are not numbers.
    """
    states = states.astype(np.float32, copy=False)
    # For the mean a sum will do: dividing by the tokens would only scale what is scaled again below.
    kept = mask.astype(np.float32)
    vectors = states[:, 0] if how == "cls" else np.einsum("rtd,rt->rd", states, kept)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise FloatingPointError("the model's states are not numbers")
    unit: npt.NDArray[np.float32] = vectors / lengths
    return unit
