"""Every bound of the server in one place: value, unit, and why it is what it is."""

from typing import Final

# --- what a caller may send ---------------------------------------------------------------------------
CONTENT_BYTES_MAX: Final = 100_000  # UTF-8 bytes of one memory; larger texts are documents: split them
BODY_BYTES_MAX: Final = 1_000_000  # one JSON request that is not a bulk load
BULK_BODY_BYTES_MAX: Final = 64 * 1024 * 1024  # 10,000 memories of 6 kB on average
BULK_ITEMS_MAX: Final = 10_000  # memories in one bulk call: one transaction stays under a second
BULK_LINES_MAX: Final = 100_000  # lines of a bulk call, blank ones included: blanks cost time and say nothing
REJECTED_BYTES_MAX: Final = 8_000_000  # faulty lines of a bulk call before it is refused: a fault takes 0.5 s per MB
FAULTS_MAX: Final = 100  # told apart in one body, and fields in one: each fault takes 5 µs of everybody's time
NAME_CHARS_MAX: Final = 200  # namespace, session, memory id
TAG_CHARS_MAX: Final = 100
TAGS_MAX: Final = 50
METADATA_BYTES_MAX: Final = 16_384  # as compact JSON
METADATA_DEPTH_MAX: Final = 5
METADATA_VALUES_MAX: Final = 200  # leaves after flattening: each is a row in the shard's attributes
INTEGER_ABS_MAX: Final = 2**53 - 1  # RFC 7493: integers beyond do not survive every JSON reader
QUERY_CHARS_MAX: Final = 10_000
SEARCH_LIMIT_MAX: Final = 100
PAGE_LIMIT_MAX: Final = 500
FILTER_NODES_MAX: Final = 100  # operators in one filter
FILTER_DEPTH_MAX: Final = 8
FILTER_LIST_MAX: Final = 1_000  # values of one "in"
TTL_SECONDS_MAX: Final = 100 * 365 * 86_400
WAIT_MS_MAX: Final = 30_000  # how long a search may wait for its writer's job
IDEMPOTENCY_KEY_CHARS_MAX: Final = 200
QUOTA_MAX: Final = 2**53 - 1  # memories, bytes or requests a second: beyond it every JSON reader rounds

# --- API keys -----------------------------------------------------------------------------------------
API_KEYS_MAX: Final = 1_000  # of a company: its roll covers them all, and a change reads them all
API_KEY_PATTERNS_MAX: Final = 100  # of one key: each is tried at each request
API_KEY_ENDED_S: Final = 30 * 86_400  # how long one that has ended is still listed
ADDRESSES_MAX: Final = 100_000  # whose failures are counted at a time: about 20 MB

# --- connections --------------------------------------------------------------------------------------
CONNECTIONS_MAX: Final = 1_000  # of one process, idle ones included; each costs about 20 kB and a descriptor
HEADERS_MAX: Final = 100  # fields in one request
HEADERS_BYTES_MAX: Final = 65_536  # names and values of a request's fields
URL_BYTES_MAX: Final = 65_000  # the parser reads 65,535; a search in a URL may be long
PARAMETERS_MAX: Final = 200  # in one URL
HEAD_S_MAX: Final = 20  # for a request's first line and fields to arrive
BODY_S_MAX: Final = 60  # for a body to arrive: 1 MB at 140 kbit/s
BULK_BODY_S_MAX: Final = 600  # 64 MB at 0.9 Mbit/s

# --- the pipeline -------------------------------------------------------------------------------------
GROUP_COMMIT_ROWS_MAX: Final = 12_000  # rows one shared transaction may carry: a full bulk call and some singles
EMBED_CLAIM_BYTES: Final = 500_000  # of one claim: long texts take 0.1 s per 5 kB, and a lease must outlast them
FREEZE_S_MAX: Final = 7 * 86_400  # a longer one is no time limit

# --- shards -------------------------------------------------------------------------------------------
TAIL_ROWS_MAX: Final = 2_048  # a tail is rewritten at each flush; beyond this it becomes a tier-1 shard
BULK_SHARD_ROWS: Final = 8_192  # a backlog this long is built into a shard of its own
TIER_FACTOR: Final = 4  # shards of one tier before they are merged: three of 8,192 rows are scanned in 2 ms
SHARD_ROWS_MAX: Final = 262_144  # building holds its vectors in memory twice: 0.8 GB at 384 dimensions
FLAT_ROWS_MAX: Final = 20_000  # above this a graph answers faster than a scan

# --- search -------------------------------------------------------------------------------------------
ARM_DEPTH: Final = 100  # candidates each arm hands to fusion; scores are normalised over these
