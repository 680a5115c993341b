"""The attacks: what is tried, and what must come of it."""

from collections.abc import Callable
from typing import NamedTuple

from tests.security.stage import OTHER, OWN, Outcome, Stage, keys_listed, patterns_listed

JSON = {"content-type": "application/json"}
NO_KEY, FORBIDDEN, NOT_THERE = (401, "unauthenticated"), (403, "namespace_forbidden"), (404, "not_found")
NO_SCOPE, NO_ROUTE, EXCEEDS = (403, "scope_missing"), (404, "no_such_route"), (403, "exceeds_key")
OPERATOR, INVALID, MALFORMED = (403, "operator_only"), (422, "invalid_input"), (400, "malformed_json")
TOO_LARGE, NO_METHOD = (413, "too_large"), (405, "method_not_allowed")
LISTED = f"/v1/memory?namespace={OWN}"


class Attack(NamedTuple):
    """One attempt."""

    name: str
    attempt: Callable[[Stage], Outcome]
    expected: Outcome


def asked(name: str, expected: Outcome, method: str, path: str, key: str | None = None, **more) -> Attack:
    """An attempt that is one request."""
    return Attack(name, lambda stage: stage.ask(method, path, key, **more), expected)


def with_key(name: str, make: Callable[[str, Stage], str]) -> Attack:
    """An attempt with what is made of the operator's key."""
    return Attack(name, lambda stage: stage.ask("GET", LISTED, make(stage.keys["operator"], stage)), NO_KEY)


def minted(name: str, expected: Outcome, key: str = "minter", **asked_for) -> Attack:
    """An attempt to make a key."""
    body = {"scopes": ["read"], "namespaces": ["team-*"], "expires_in_s": 60, "requests_per_s": 10} | asked_for
    return asked(name, expected, "POST", "/admin/keys", key, json=body)


def of_home(name: str, kind: str, method: str, path: str) -> Attack:
    """An attempt of the rival on something of the default company."""
    return Attack(
        name, lambda stage: stage.ask(method, path.format(stage.ids[f"operator {OTHER}"][kind]), "rival"), NOT_THERE
    )


def without_keys() -> list[Attack]:
    """On a loopback server that never had a key: what a foreign page in a browser of this machine can do."""
    body = {"headers": JSON, "content": b'{"namespace":"x","content":"y"}'}
    search = "/v1/memory/search?namespace=x&query=y"
    return [
        asked("a page under a name that it made point here", NO_KEY, "GET", search, headers={"host": "evil.example"}),
        asked("… on our port", NO_KEY, "GET", search, headers={"host": "evil.example:3300"}),
        asked("… that begins as ours", NO_KEY, "GET", search, headers={"host": "127.0.0.1.evil.example"}),
        asked("a page of another origin reads", NO_KEY, "GET", search, headers={"origin": "https://evil.example"}),
        asked("a page of no origin reads", NO_KEY, "GET", search, headers={"origin": "null"}),
        asked("a page of another port reads", NO_KEY, "GET", search, headers={"origin": "http://127.0.0.1:1"}),
        asked(
            "another origin writes", NO_KEY, "POST", "/v1/memory", **body | {"headers": JSON | {"origin": "http://e"}}
        ),
        asked(
            "a form's text is no JSON",
            INVALID,
            "POST",
            "/v1/memory",
            headers={"content-type": "text/plain"},
            content=b"{}",
        ),
        asked(
            "… nor under a parameter",
            INVALID,
            "POST",
            "/v1/memory",
            headers={"content-type": "text/plain;a=json"},
            content=b"{}",
        ),
        asked("a wrong key is not no key", NO_KEY, "GET", search, "ostraka_key_x.y"),
        asked("an empty key neither", NO_KEY, "GET", search, headers={"authorization": ""}),
    ]


def with_credentials() -> list[Attack]:
    """With no key, with what is none, and with one that is over."""
    return [
        asked("no key", NO_KEY, "GET", LISTED),
        asked("no key, writing", NO_KEY, "POST", "/v1/memory", headers=JSON, content=b"not even JSON"),
        asked("no key, a loopback Host", NO_KEY, "GET", LISTED, headers={"host": "localhost"}),
        asked("no key, said to come from loopback", NO_KEY, "GET", LISTED, headers={"x-forwarded-for": "127.0.0.1"}),
        asked("another scheme", NO_KEY, "GET", LISTED, headers={"authorization": "Basic YTpi"}),
        asked("a scheme without key", NO_KEY, "GET", LISTED, headers={"authorization": "Bearer"}),
        asked("an empty key", NO_KEY, "GET", LISTED, ""),
        asked("a key of 8 kB", NO_KEY, "GET", LISTED, "ostraka_key_" + "a" * 8_000),
        asked("bytes that are no text", NO_KEY, "GET", LISTED, headers={"x-api-key": b"\xff\xfe"}),
        with_key("a truncated key", lambda key, _: key[:-1]),
        with_key("a key with more behind it", lambda key, _: key + "a"),
        with_key("one character changed", lambda key, _: key[:-1] + ("a" if key[-1] != "a" else "b")),
        with_key("in capitals", lambda key, _: key.upper()),
        with_key("without its prefix", lambda key, _: key.removeprefix("ostraka_")),
        with_key("its id alone", lambda key, _: key.partition(".")[0]),
        with_key("its id with an empty secret", lambda key, _: key.partition(".")[0] + "."),
        with_key(
            "its id with another's secret",
            lambda key, on: key.partition(".")[0] + "." + on.keys["rival"].partition(".")[2],
        ),
        with_key("its secret with an id that is not there", lambda key, _: "ostraka_key_0." + key.partition(".")[2]),
        with_key("two keys in one header", lambda key, on: f"{key},{on.keys['rival']}"),
        Attack(
            "two headers with keys",
            lambda on: on.ask("GET", LISTED, "operator", headers={"authorization": "Bearer " + on.keys["read"]}),
            NO_KEY,
        ),
        Attack(
            "in the query",
            lambda on: on.ask("GET", f"{LISTED}&api_key={on.keys['operator']}&x-api-key={on.keys['operator']}"),
            NO_KEY,
        ),
        Attack(
            "in a cookie",
            lambda on: on.ask("GET", LISTED, headers={"cookie": f"x-api-key={on.keys['operator']}"}),
            NO_KEY,
        ),
        asked("an expired key", NO_KEY, "GET", LISTED, "expired"),
        asked("a revoked key", NO_KEY, "GET", LISTED, "revoked"),
        asked("a key that was rotated out", NO_KEY, "GET", LISTED, "rotated"),
    ]


def beyond_scopes() -> list[Attack]:
    """With a key of the wrong scope, on each class of routes; the body is not even read."""
    return [
        asked("read: add", NO_SCOPE, "POST", "/v1/memory", "read", headers=JSON, content=b"{"),
        asked("read: load", NO_SCOPE, "POST", "/v1/memory/bulk", "read", headers=JSON, content=b"{"),
        asked("read: change", NO_SCOPE, "PATCH", f"/v1/memory/m?namespace={OWN}", "read", json={}),
        asked("read: delete", NO_SCOPE, "DELETE", f"/v1/memory/m?namespace={OWN}", "read"),
        asked("read: delete what matches", NO_SCOPE, "DELETE", f"{LISTED}&session=s", "read"),
        asked("read: create a namespace", NO_SCOPE, "PUT", "/v1/namespaces/team-new", "read"),
        asked("read: retry failures", NO_SCOPE, "POST", "/v1/failures/retry", "read", json={"namespace": OWN}),
        asked("write: search", NO_SCOPE, "POST", "/v1/memory/search", "write", json={"namespace": OWN, "query": "x"}),
        asked("write: list", NO_SCOPE, "GET", LISTED, "write"),
        asked("write: list jobs", NO_SCOPE, "GET", "/v1/jobs", "write"),
        asked("write: metrics", NO_SCOPE, "GET", "/metrics", "write"),
        asked("write: destroy a namespace", NO_SCOPE, "DELETE", f"/v1/namespaces/{OWN}", "write"),
        asked("admin: read", NO_SCOPE, "GET", LISTED, "admin"),
        asked("admin: destroy a namespace", NO_SCOPE, "DELETE", f"/v1/namespaces/{OWN}", "admin"),
        asked("read: list keys", NO_SCOPE, "GET", "/admin/keys", "read"),
        asked(
            "write: make a key",
            NO_SCOPE,
            "POST",
            "/admin/keys",
            "write",
            json={"scopes": ["admin"], "namespaces": ["*"]},
        ),
        asked("read: back up", NO_SCOPE, "POST", "/admin/backup", "read", json={}),
        asked("admin of some namespaces: back up", OPERATOR, "POST", "/admin/backup", "admin", json={}),
        asked("admin of another company: freeze", OPERATOR, "POST", "/admin/freeze", "rival", json={}),
        asked("admin of another company: end a freeze", OPERATOR, "POST", "/admin/unfreeze", "rival", json={}),
        asked("metrics of every namespace", FORBIDDEN, "GET", "/metrics", "read"),
    ]


def across_companies() -> list[Attack]:
    """The rival company on what is not its own: it looks the same as what is not there."""
    after = {"namespace": OWN, "query": "x"}
    return [
        asked("another company's namespace", NOT_THERE, "GET", f"/v1/memory?namespace={OTHER}", "rival"),
        asked("another company's memory", NOT_THERE, "GET", f"/v1/memory/operator-{OWN}?namespace={OWN}", "rival"),
        asked(
            "delete another company's memory",
            NOT_THERE,
            "DELETE",
            f"/v1/memory/operator-{OWN}?namespace={OWN}",
            "rival",
        ),
        asked("destroy another company's namespace", NOT_THERE, "DELETE", f"/v1/namespaces/{OTHER}", "rival"),
        of_home("another company's job", "job", "GET", "/v1/jobs/{}"),
        of_home("retry another company's job", "job", "POST", "/v1/jobs/{}/retry"),
        of_home("another company's deletion", "deletion", "GET", "/v1/deletions/{}"),
        Attack(
            "wait for another company's job",
            lambda on: on.ask(
                "POST", "/v1/memory/search", "rival", json=after | {"after_job": on.ids[f"operator {OTHER}"]["job"]}
            ),
            NOT_THERE,
        ),
        Attack(
            "another company's key: revoke",
            lambda on: on.ask("DELETE", f"/admin/keys/{on.id_of('operator')}", "rival"),
            NOT_THERE,
        ),
        Attack(
            "another company's key: rotate",
            lambda on: on.ask("POST", f"/admin/keys/{on.id_of('read')}/rotate", "rival", json={}),
            NOT_THERE,
        ),
        asked(
            "a key of another company: make",
            OPERATOR,
            "POST",
            "/admin/keys",
            "rival",
            json={"company": "default", "scopes": ["read"], "namespaces": ["*"]},
        ),
        asked("a company that is not there looks the same", OPERATOR, "GET", "/admin/keys?company=nobody", "rival"),
        asked("another company's keys: list", OPERATOR, "GET", "/admin/keys?company=default", "rival"),
        Attack("all keys: list", lambda on: (len(keys_listed(on, "rival")), ""), (1, "")),
    ]


def handed_on() -> list[Attack]:
    """An administrator makes a key that can do more than itself."""
    return [
        minted("within what it holds", (201, "")),
        minted("another scope", EXCEEDS, scopes=["read", "write"]),
        minted("every namespace", EXCEEDS, namespaces=["*"]),
        minted("another pattern", EXCEEDS, namespaces=["team-*", OTHER]),
        minted("a pattern that only looks narrower", EXCEEDS, namespaces=["team-[!x]*"]),
        minted("a later end", EXCEEDS, expires_in_s=86_400),
        minted("no end", EXCEEDS, expires_in_s=None),
        minted("a higher rate", EXCEEDS, requests_per_s=51),
        minted("no rate", EXCEEDS, requests_per_s=None),
        minted("no scope", INVALID, scopes=[]),
        minted("a scope that is none", INVALID, scopes=["root"]),
        minted("no pattern", INVALID, namespaces=[]),
        minted("an empty pattern", INVALID, namespaces=[""]),
        Attack(
            "a wider key, by rotation",
            lambda on: on.ask("POST", f"/admin/keys/{on.id_of('operator')}/rotate", "minter", json={}),
            NOT_THERE,
        ),
        Attack(
            "a wider key: revoke",
            lambda on: on.ask("DELETE", f"/admin/keys/{on.id_of('operator')}", "minter"),
            NOT_THERE,
        ),
        Attack("wider keys: list", lambda on: (len(patterns_listed(on, "minter") - {"team-*"}), ""), (0, "")),
    ]
