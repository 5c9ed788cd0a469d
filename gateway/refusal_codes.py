"""Every code that a refusal can carry: at which stage and with which status it is told, what it means, what to do.

`docs/reference/refusals.md` is written from this table, and a test holds it against the code of this package. What
policy refuses has its own words beside the code, in the refusal's `reasons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.peer import FAULTS


class Known(NamedTuple):
    """One code at one stage: the HTTP statuses that it comes with, its meaning, and the remedy."""

    statuses: tuple[int, ...]
    meaning: str
    remedy: str


STAGES: Final[Mapping[str, str]] = {
    "framing": "The bytes are not one request that every reader reads alike. It never becomes a call: it is counted in "
    "`cordon_malformed_requests_total` and not recorded.",
    "identity": "Who calls is not known. Recorded in sums by source and code, so that a flood cannot fill the log.",
    "routing": "The address belongs to nobody.",
    "containment": "The caller or the endpoint is isolated.",
    "inspection": "What cannot be read exactly does not pass. 400, 413 and 415 mean the request's body, 502 the "
    "upstream's answer.",
    "decision": "Policy said no, or could not say yes.",
    "lineage": "A call that cannot be recorded is not sent, and an answer that cannot be is not given.",
    "upstream": "The upstream is at fault; the call is recorded with the verdict `failed` or `blocked`.",
    "limits": "A bound of `gateway.limits` is reached.",
    "client": "Only recorded: there is nobody left to tell.",
    "internal": "Cordon itself is at fault, or stops.",
    "gateway": "Cordon itself is at fault, before the call began.",
}

_RESEND = "Send one well-formed HTTP/1.1 message; ordinary clients and proxies do."
_RETRY = "Try again; where it lasts, raise the limit or the number of workers."

_REMEDIES: Final[Mapping[str, str]] = {
    "no_certificate": "Connect with a certificate of one of the authorities in `gateway.tls.client_ca`.",
    "unreadable_certificate": "Have one issued with few and plain names.",
    "resumed_session": "Let the client connect anew.",
    "untrusted_certificate": "Have one issued by an authority that is configured, or configure its authority.",
    "authority_certificate": "Have one issued to the client.",
    "wrong_purpose": "Have one issued with the extended key usage clientAuth.",
    "expired_certificate": "Renew it.",
    "revoked_certificate": "Have another one issued.",
    "no_crl": "Put the issuer's revocation list where `gateway.tls.crl` says.",
    "crl_expired": "Renew the issuer's revocation list.",
    "ambiguous_certificate": "Have one issued with one of the names, or mend the mapping.",
    "changed_identity": "Send the call again; it is decided by what the certificate stands for now.",
}
"""What is to be done about each fault of a client certificate."""

CODES: Final[Mapping[tuple[str, str], Known]] = {
    # Framing
    ("framing", "bare_cr"): Known((400,), "A carriage return in the head has no line feed behind it.", _RESEND),
    ("framing", "bare_lf"): Known((400,), "A line of the head ends in a line feed alone.", _RESEND),
    ("framing", "body"): Known(
        (413,), "The body is longer than its route takes.", "Send less, or raise `body_limit` of the route."
    ),
    ("framing", "chunk_end"): Known((400,), "A chunk of the body is longer or shorter than its size says.", _RESEND),
    ("framing", "chunk_size"): Known((400,), "The size line of a chunk is malformed or too long.", _RESEND),
    ("framing", "content_length"): Known((400,), "Content-Length is no number, or is there twice.", _RESEND),
    ("framing", "control_byte"): Known((400,), "The head has a control byte.", _RESEND),
    ("framing", "dot_segments"): Known(
        (400,), "The path climbs above its root, or hides a dot segment.", "Send the path that is meant, resolved."
    ),
    ("framing", "double_encoding"): Known(
        (400,), "The path is percent-encoded twice.", "Encode each segment of the path once."
    ),
    ("framing", "duplicate"): Known(
        (400,), "A header that has one value, such as Authorization, is there twice.", "Send it once."
    ),
    ("framing", "empty_segment"): Known(
        (400,), "The path has an empty segment (`//`).", "Take the slash off the end of the client's base URL."
    ),
    ("framing", "encoded_slash"): Known(
        (400,), "The path has an encoded slash or backslash.", "Put such a value into the query or the body."
    ),
    ("framing", "expect"): Known((417,), "Expect asks for something other than 100-continue.", "Leave it out."),
    ("framing", "field_line"): Known((400,), "A header line has no colon.", _RESEND),
    ("framing", "field_name"): Known(
        (400,), "A header's name is no token, has an underscore, or a blank before the colon.",
        "Write hyphens instead of underscores.",
    ),
    ("framing", "framing"): Known(
        (400,), "There are both a Content-Length and a Transfer-Encoding (request smuggling).", "Send one of the two."
    ),
    ("framing", "head"): Known(
        (431,), "The head is too long.", "Send fewer or shorter headers, or raise `gateway.limits.headers`."
    ),
    ("framing", "header_count"): Known(
        (431,), "There are too many headers.", "Send fewer, or raise `gateway.limits.header_count`."
    ),
    ("framing", "header_line"): Known(
        (431,), "A header is too long.", "Send a shorter one, or raise `gateway.limits.header_line`."
    ),
    ("framing", "host"): Known(
        (400,), "The Host header is missing, doubled or no host, or the target names another one.", _RESEND
    ),
    ("framing", "method"): Known(
        (400, 405), "The method is no upper-case token, or is CONNECT or TRACE.", "Use the API's own methods."
    ),
    ("framing", "obs_fold"): Known((400,), "A header is folded over several lines.", "Write it on one line."),
    ("framing", "override"): Known(
        (400,), "A header such as X-HTTP-Method-Override asks for another method or path than policy sees.",
        "Send the method and the path that are meant.",
    ),
    ("framing", "path"): Known(
        (400,), "The path has bytes or characters that readers take differently.", "Percent-encode UTF-8 text."
    ),
    ("framing", "percent_encoding"): Known((400,), "A `%` has no two hexadecimal digits behind it.", "Write `%25`."),
    ("framing", "query"): Known((400,), "The query has a character that must be encoded.", "Percent-encode it."),
    ("framing", "request_line"): Known(
        (400, 414), "The request line is malformed or too long.",
        "Send a shorter target, or raise `gateway.limits.request_line`.",
    ),
    ("framing", "target"): Known(
        (400,), "The request target is no path, or carries a user name.", "Send the path, beginning with a slash."
    ),
    ("framing", "trailers"): Known((400,), "Fields follow a chunked body.", "Send them as headers."),
    ("framing", "transfer_encoding"): Known((400,), "Transfer-Encoding is not `chunked`, alone and once.", _RESEND),
    ("framing", "truncated"): Known((400,), "The connection ended within a request.", "Send the whole request."),
    ("framing", "version"): Known((505,), "The request is not HTTP/1.1.", "Speak HTTP/1.1."),
    # Identity
    ("identity", "conversation"): Known(
        (400,), "x-cordon-conversation is there twice, or is no name.", "Send it once, 1 to 128 printable characters."
    ),
    ("identity", "no_key"): Known(
        (401,), "The request carries no Cordon key.",
        "Put a key of `cordon key create` where the client has the vendor's; "
        "on a route with `key_header: x-cordon-key`, into that header.",
    ),
    ("identity", "two_credentials"): Known(
        (401,), "The request carries two different credentials.", "Send the Cordon key alone."
    ),
    ("identity", "wrong_scheme"): Known(
        (401,), "Authorization is not of the form `Bearer KEY`.", "Send `Authorization: Bearer KEY`."
    ),
    ("identity", "unknown_key"): Known(
        (401,), "The key is not one of this Cordon's callers.",
        "Look it up with `cordon key list`; a vendor's own key and a reader token are no caller's keys.",
    ),
    ("identity", "expired_key"): Known(
        (401,), "The key's time is over; before the call began, the client is told the same as for an unknown one.",
        "Make a new one with `cordon key create`.",
    ),
    ("identity", "unknown_tenant"): Known(
        (401,), "The tenant of the key or the client certificate is not configured.",
        "Put the tenant into `tenants`, or make a key of another.",
    ),
    ("identity", "tenant_erased"): Known(
        (403,), "The tenant was erased (`cordon tenant erase`) while the call was on its way, or its certificate is "
        "still configured.", "Give the tenant another id, and take the erased one out of the configuration.",
    ),
    ("identity", "revoked_key"): Known(
        (401,), "The key was revoked while the call was on its way.", "Make a new one with `cordon key create`."
    ),
    ("identity", "two_identities"): Known(
        (401,), "The key and the client certificate stand for different principals.", "Use one of the two."
    ),
    **{("identity", code): Known((401,), meaning, _REMEDIES[code]) for code, meaning in FAULTS.items()},
    # Routing and containment
    ("routing", "no_route"): Known(
        (404,), "No route has this host or path prefix.", "Check the client's base URL against `routes`."
    ),
    ("containment", "contained"): Known(
        (403, 503), "The caller or the endpoint is isolated (403), or every endpoint of the route is (503).",
        "`cordon contain` lists why and until when; `cordon release` ends it.",
    ),
    # Inspection
    ("inspection", "duplicate_key"): Known(
        (400, 502), "An object of the JSON has a key twice, or two that differ in letter case only.", "Send each once."
    ),
    ("inspection", "encoding"): Known(
        (415, 502), "The body's compression or charset is not one that is read, or is broken.",
        "Send UTF-8, compressed with gzip, deflate, br or zstd or not at all.",
    ),
    ("inspection", "malformed"): Known(
        (400, 502), "The body is not what its Content-Type, or the route's dialect, says it is.",
        "Send a JSON object to a model; send forms with their boundary and plain names.",
    ),
    ("inspection", "misuse"): Known(
        (502,), "The answer was inspected out of turn, which is a fault of Cordon.", "Report it with the call's id."
    ),
    ("inspection", "not_enforced"): Known(
        (502,), "Policy demands of the answer what cannot be enforced on it.",
        "Change the pattern, the schema or the transform; `cordon policy check` names what it can.",
    ),
    ("inspection", "number"): Known(
        (400, 502), "A number of the JSON is beyond what all readers read alike.",
        "Send integers beyond 2^53 as strings.",
    ),
    ("inspection", "too_deep"): Known((400, 502), "The JSON is nested too deep.", "Send a flatter value."),
    ("inspection", "too_large"): Known(
        (413, 502), "The body is over its limit once decoded, or has too many parts.",
        "Send less, or raise `body_limit` of the route, `gateway.limits.answer` or `decoded_ratio`.",
    ),
    ("inspection", "truncated"): Known(
        (400, 502), "The compressed or multipart body ends early.", "Send it whole."
    ),
    # Decision
    ("decision", "refused"): Known(
        (403,), "Policy refused the call; `reasons` name the bundle's rules.", "Each reason has its own `fix`."
    ),
    ("decision", "answer_refused"): Known(
        (403,), "Policy refused the answer; `reasons` name the bundle's rules or what of its plan was broken.",
        "Ask for something else, or change what the bundle lets through.",
    ),
    ("decision", "policy_failed"): Known(
        (403,), "Policy came to no decision, or asked for what can no longer be done.",
        "Try the input with `cordon policy eval`, and add its case to the bundle's tests.",
    ),
    ("decision", "policy_unavailable"): Known(
        (503,), "The OPA server that decides is lost, slow, without its bundle, or answers what nobody can decide by.",
        "See the alert, `/readyz` and `cordon doctor`; calls are served again as soon as it answers.",
    ),
    ("decision", "no_endpoint"): Known(
        (403,), "Policy named only endpoints that the route does not have now.",
        "Name candidates of `input.candidates` in `endpoints`.",
    ),
    ("decision", "finding_in_address"): Known(
        (403,), "The path or query holds what policy redacts, and an address cannot be rewritten.",
        "Send it in the body.",
    ),
    # The rest
    ("lineage", "log_unavailable"): Known(
        (503,), "The log writer does not answer, or the disk takes nothing.",
        "Try again after a second; where it lasts, `cordon doctor` says why.",
    ),
    ("lineage", "tokens_unavailable"): Known(
        (503,), "The table of tokens cannot be read or written, so that a tokenised value could not be restored.",
        "Try again after a second; where it lasts, look at the disk of the data directory, or at the database.",
    ),
    ("lineage", "keys_unavailable"): Known(
        (503,), "The tenant's key, under which a call's content is digested, cannot be read or unwrapped.",
        "Try again after a second; where it lasts, look at the disk of the data directory, or at the database.",
    ),
    ("lineage", "tenant_erased"): Known(
        (403,), "The tenant's key was destroyed: what was recorded for it is unreadable, and nothing more is recorded.",
        "Give the tenant another id.",
    ),
    ("upstream", "upstream_failed"): Known(
        (502,), "No upstream answered: it could not be reached, or spoke no proper TLS or HTTP, in time.",
        "Check the endpoint's `url` and `ca`; `cordon doctor` tries to connect.",
    ),
    ("upstream", "upstream_broke_off"): Known(
        (502,), "The upstream's answer stopped before its end.", "Try again where the call may be repeated."
    ),
    ("upstream", "redirect"): Known(
        (502,), "The upstream of a model route points elsewhere; SDKs would show the caller's key there.",
        "Set the endpoint's `url` to where it points.",
    ),
    ("limits", "connections"): Known(
        (503,), "The worker has as many clients as `gateway.limits.connections`.", _RETRY
    ),
    ("limits", "memory"): Known((503,), "The worker holds as many bytes as `gateway.limits.buffered`.", _RETRY),
    ("limits", "too_many_tokens"): Known(
        (429,), "The caller has more live tokens than may be kept, or than can be looked for.",
        "Name conversations in `x-cordon-conversation`, or raise `gateway.tokens.per_principal`.",
    ),
    ("limits", "slow_request"): Known(
        (408,), "The request did not come within `head_time` and `body_time`.", "Send it faster, or in smaller calls."
    ),
    ("limits", "total_time"): Known(
        (504,), "The call took longer than `gateway.limits.total_time`.", "Ask for less, or raise the limit."
    ),
    ("client", "client_gone"): Known(
        (499,), "The client left before the answer's end, or did not take it.", "Raise the client's timeout."
    ),
    ("internal", "stopping"): Known((503,), "The worker stops.", "Try again; another takes its place."),
    ("internal", "internal"): Known(
        (500,), "Cordon failed on this call and refused it.", "Look for the call's id in the process's own log."
    ),
    ("gateway", "internal"): Known(
        (500,), "Cordon failed on this request and refused it.", "Look into the process's own log."
    ),
}  # fmt: skip
