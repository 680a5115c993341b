"""The attacks by names, paths, bodies, headers and floods: what is tried, and what must come of it."""

import gzip

from tests.security.attacks import (
    FORBIDDEN,
    INVALID,
    JSON,
    LISTED,
    MALFORMED,
    NO_KEY,
    NO_METHOD,
    NO_ROUTE,
    NOT_THERE,
    TOO_LARGE,
    Attack,
    asked,
)
from tests.security.stage import OTHER, OWN, Outcome, Stage, code_of

SEARCH = "/v1/memory/search"
FAILURES_PER_MINUTE = 300


def by_name(name: str, expected: Outcome, text: str) -> Attack:
    """An attempt to read under another spelling of a namespace."""
    return Attack(name, lambda on: on.ask("GET", "/v1/memory", "read", params={"namespace": text}), expected)


def sent(
    name: str, expected: Outcome, content: bytes, kind: str = "application/json", path: str = "/v1/memory"
) -> Attack:
    """An attempt with a body."""
    return asked(name, expected, "POST", path, "operator", headers={"content-type": kind}, content=content)


def as_is(name: str, expected: Outcome, line: str, key: str | None = "read") -> Attack:
    """An attempt with a request line that no client would send."""
    return Attack(name, lambda on: on.raw(f"{line} HTTP/1.1", key=key), expected)


def found_in(stage: Stage, body: bytes) -> Outcome:
    """Search by a body as it is; return the contents found."""
    answer = stage.send("POST", SEARCH, "read", headers=JSON, content=body)
    return answer.status_code, ",".join(hit["content"] for hit in answer.json().get("results", [])) or code_of(
        answer.content
    )


def names() -> list[Attack]:
    """Spellings that look like a namespace of the pattern `team-*`, and are none; the name checked is the name used."""
    own, other = f'"namespace":"{OWN}"', f'"namespace":"{OTHER}"'
    asks = '"query":"operator","mode":"text"'
    return [
        by_name("in other case", FORBIDDEN, "Team-a"),
        by_name("a space before", INVALID, f" {OWN}"),
        by_name("a Cyrillic letter", FORBIDDEN, "t\u0435am-a"),
        by_name("a wide letter", FORBIDDEN, "\uff54eam-a"),
        by_name("a soft hyphen", FORBIDDEN, "te\u00adam-a"),
        by_name("a NUL", INVALID, f"{OWN}\0"),
        by_name("a line break", INVALID, f"{OWN}\r\nx: y"),
        by_name("nothing", INVALID, ""),
        by_name("a pattern for a name", FORBIDDEN, "*"),
        by_name("a way out of the pattern", NOT_THERE, f"{OWN}/../{OTHER}"),
        asked("twice in the query", FORBIDDEN, "GET", f"{LISTED}&namespace={OTHER}", "read"),
        asked("in the path", FORBIDDEN, "PUT", f"/v1/namespaces/{OTHER}", "write"),
        asked("a way out in the path", NOT_THERE, "GET", f"/v1/namespaces/{OWN}%2F..%2F{OTHER}", "read"),
        asked("a way out, encoded twice", NOT_THERE, "GET", f"/v1/namespaces/{OWN}%252F..%252F{OTHER}", "read"),
        Attack(
            "twice in the body, the other last",
            lambda on: found_in(on, f"{{{own},{other},{asks}}}".encode()),
            FORBIDDEN,
        ),
        Attack(
            "twice in the body, the own last",
            lambda on: found_in(on, f"{{{other},{own},{asks}}}".encode()),
            (200, f"operator of {OWN}"),
        ),
        Attack(
            "several in one load",
            lambda on: on.ask(
                "POST", "/v1/memory/bulk", "write", json=[{"namespace": name, "content": "x"} for name in (OWN, OTHER)]
            ),
            INVALID,
        ),
    ]


def paths() -> list[Attack]:
    """Paths that mean another route to somebody."""
    return [
        as_is("dots up to another route", NO_ROUTE, "GET /v1/memory/../../admin/freeze"),
        as_is("encoded dots", NO_ROUTE, "GET /v1/%2e%2e/admin/freeze"),
        as_is("two slashes", NO_ROUTE, "GET //admin/freeze"),
        as_is("a slash behind", NO_ROUTE, "GET /admin/freeze/"),
        as_is("an encoded slash", NO_ROUTE, "GET /admin%2Ffreeze"),
        as_is("in capitals", NO_ROUTE, "GET /ADMIN/freeze"),
        as_is("a path parameter", NO_ROUTE, "GET /admin/freeze;x"),
        as_is("a whole URL", NO_KEY, "GET http://127.0.0.1/admin/freeze", key=None),
        as_is("a NUL in a memory's id", INVALID, f"GET /v1/memory/m%00?namespace={OWN}"),
        as_is("a line break in a memory's id", INVALID, f"GET /v1/memory/m%0d%0ax:y?namespace={OWN}"),
        as_is("a file's path for an id", NOT_THERE, f"GET /v1/memory/..%2f..%2fcontrol.db?namespace={OWN}"),
        as_is(
            "out of the pages' folder",
            (404, "no_such_route"),
            "GET /static-offline-docs/..%2f..%2fpyproject.toml",
            key=None,
        ),
        as_is(
            "out of the pages' folder, by dots",
            (404, "no_such_route"),
            "GET /static-offline-docs/../../pyproject.toml",
            key=None,
        ),
        as_is("an unknown route, without a key", NO_ROUTE, "GET /v1/secrets", key=None),
        as_is("an unknown method, without a key", NO_METHOD, "PROPFIND /v1/memory", key=None),
        as_is("TRACE", NO_METHOD, f"TRACE {LISTED}"),
        as_is("HEAD", (405, ""), f"HEAD {LISTED}"),
    ]


def bodies() -> list[Attack]:
    """Bodies that are too large, too deep, too strange."""
    add = b'{"namespace":"team-a","content":"x","metadata":%s}'
    return [
        sent("more than a megabyte", TOO_LARGE, b"x" * 1_000_001),
        Attack(
            "… in chunks, undeclared",
            lambda on: on.ask("POST", "/v1/memory", "operator", headers=JSON, content=iter([b"x" * 600_000] * 2)),
            TOO_LARGE,
        ),
        Attack(
            "a declared terabyte",
            lambda on: on.raw("POST /v1/memory HTTP/1.1\r\ncontent-length: 1000000000000", key="operator"),
            TOO_LARGE,
        ),
        Attack(
            "a length below nothing",
            lambda on: on.raw("POST /v1/memory HTTP/1.1\r\ncontent-length: -1", key="operator"),
            (400, "malformed_request"),
        ),
        sent("100,000 brackets", MALFORMED, b"[" * 100_000),
        sent("metadata 5,000 deep", MALFORMED, add % (b'{"a":' * 5_000 + b"1" + b"}" * 5_000)),
        sent("a number beyond all numbers", INVALID, add % b'{"a":1e999}'),
        sent("an integer that not all can read", INVALID, add % b'{"a":9007199254740993}'),
        sent("a number of 100,000 digits", MALFORMED, add % (b'{"a":' + b"9" * 100_000 + b"}")),
        sent("bytes that are no UTF-8", MALFORMED, add % b'{"a":"\xff\xfe"}'),
        sent("half a surrogate", MALFORMED, add % rb'{"a":"\ud800"}'),
        sent("a zip bomb", MALFORMED, gzip.compress(bytes(50_000_000))),
        asked(
            "a body that says it is compressed",
            (415, "encoded_body"),
            "POST",
            "/v1/memory",
            "operator",
            headers=JSON | {"content-encoding": "gzip"},
            content=gzip.compress(b"{}"),
        ),
        asked(
            "200 fields in the head",
            (431, "head_too_large"),
            "GET",
            LISTED,
            "read",
            headers={f"x-{number}": "x" for number in range(200)},
        ),
        asked("300 parameters", (414, "url_too_long"), "GET", LISTED + "&x=y" * 300, "read"),
        sent("text", INVALID, b'{"namespace":"team-a","content":"x"}', "text/plain"),
        sent("text that says json", INVALID, b'{"namespace":"team-a","content":"x"}', "text/plain; a=json"),
        sent("a form", INVALID, b"namespace=team-a&content=x", "application/x-www-form-urlencoded"),
        sent("no type", INVALID, b'{"namespace":"team-a","content":"x"}', ""),
        sent("a form for a search", INVALID, b'{"namespace":"team-a","query":"x"}', "text/plain", SEARCH),
        sent("a field that is not there", INVALID, b'{"namespace":"team-a","content":"x","company":"rival"}'),
        sent(
            "a load of nothing but faults",
            (422, "nothing_accepted"),
            b"{\n[\n",
            "application/x-ndjson",
            "/v1/memory/bulk",
        ),
        sent(
            "a filter 100 deep",
            INVALID,
            b'{"namespace":"team-a","query":"x","filter":' + b'{"not":' * 100 + b"{}" + b"}" * 101,
            path=SEARCH,
        ),
    ]


def browsers() -> list[Attack]:
    """A page of another origin, on a server with keys and no `cors_origins`."""
    page = {"origin": "https://evil.example", "access-control-request-method": "POST"}

    def headers_of_an_answer(stage: Stage) -> Outcome:
        answer = stage.send("GET", LISTED, "read", headers=page)
        return answer.status_code, ",".join(name for name in answer.headers if name.startswith("access-control"))

    return [
        asked("a preflight", NO_METHOD, "OPTIONS", "/v1/memory", headers=page),
        asked("a preflight with a key", NO_METHOD, "OPTIONS", "/v1/memory", "operator", headers=page),
        Attack("no answer lets another origin read it", headers_of_an_answer, (200, "")),
        asked("another Host, with a key", (200, ""), "GET", LISTED, "read", headers={"host": "evil.example"}),
    ]


def floods() -> list[Attack]:
    """Too many wrong keys; they come last, because the address stays limited."""

    def many(stage: Stage, **headers: str) -> Outcome:
        key = stage.keys["read"].partition(".")[0] + ".wrong"
        for _ in range(FAILURES_PER_MINUTE * 2):
            last = stage.ask("GET", LISTED, key, headers=headers)
            if last[0] == 429:
                break
        return last

    def elsewhere(stage: Stage) -> Outcome:
        """Each time with another address in the headers."""
        key = stage.keys["read"].partition(".")[0] + ".wrong"
        tried = [stage.ask("GET", LISTED, key, headers={"x-forwarded-for": f"10.0.0.{each}"}) for each in range(20)]
        return max(tried)

    limited = (429, "too_many_failures")
    return [
        Attack("wrong keys without end", many, limited),
        Attack("… that say they come from elsewhere", elsewhere, limited),
        asked("the right key from that address", (200, ""), "GET", LISTED, "read"),
        asked("no key from that address", NO_KEY, "GET", LISTED),
    ]
