"""The name of everything that shapes a vector: only vectors of equal fingerprint may be compared."""

import hashlib
import json
from typing import Final

from core.embedding.manifest import TOKENIZER_FILE, Manifest, Precision
from core.embedding.windows import OVERLAP_TOKENS

_SCHEME: Final = 1  # raise when the way from text to vector changes other than through the fields below


def fingerprint_of(manifest: Manifest, precision: Precision) -> str:
    """Return ``name:precision:16 hexadecimal digits``, without loading the model.

    Raises ``ConfigurationError`` when the folder does not hold that precision.
    """
    parts = {
        "scheme": _SCHEME,
        "overlap": OVERLAP_TOKENS,
        "precision": precision,
        "graph": manifest.files[manifest.graph(precision)],
        "tokenizer": manifest.files[TOKENIZER_FILE],
        **manifest.spec.identity(),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{manifest.spec.name}:{precision}:{digest[:16]}"
