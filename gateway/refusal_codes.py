"""Every code that a refusal can carry: at which stage and with which status it is told, what it means, what to do.

The reference and each code's page (`gateway.refusal_pages`) are written from this table, and a test holds it against
the code of this package. What policy refuses has its own words beside the code, in the refusal's `reasons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.peer import FAULTS


class Known(NamedTuple):
    """One code at one stage: the HTTP statuses that it comes with, its meaning, and what the caller can do.

    `operator`: what whoever runs Cordon can do, `fault`: who is at fault, both where they are not what holds for the
    whole stage.
    """

    statuses: tuple[int, ...]
    meaning: str
    caller: str
    operator: str = ""
    fault: str = ""


class Stage(NamedTuple):
    """A step of a call: what a refusal there means, who is at fault as a rule, and what an operator can do."""

    meaning: str
    fault: str
    operator: str


CALLER: Final = "The caller."
OPERATOR: Final = "Whoever runs Cordon, not the caller."
UPSTREAM: Final = "The upstream, not the caller."
CORDON: Final = "Cordon itself, not the caller."
POLICY: Final = "The policy bundle, not the caller."

STAGES: Final[Mapping[str, Stage]] = {
    "framing": Stage(
        "The bytes are not one request that every reader reads alike. It never becomes a call: it is counted in "
        "`cordon_malformed_requests_total` and not recorded.",
        "The caller, or a proxy between it and Cordon.",
        "As a rule nothing. `cordon_malformed_requests_total` counts them by code; many at once are a broken client or "
        "somebody who tries what passes.",
    ),
    "identity": Stage(
        "Who calls is not known. Recorded in sums by source and code, so that a flood cannot fill the log.",
        CALLER,
        "Look for `call.refused` with this `rule` in the log; it names the sources. `cordon key list` shows the keys.",
    ),
    "routing": Stage(
        "The address belongs to nobody.",
        "The caller, or whoever configured the routes.",
        "Compare `routes` in the configuration with what the client calls.",
    ),
    "containment": Stage(
        "The caller or the endpoint is isolated.",
        "Whoever or whatever is isolated: an operator or a playbook had a reason, and the containment names it.",
        "`cordon contain` and the console's page of containments tell why and until when; `cordon release` ends it.",
    ),
    "inspection": Stage(
        "What cannot be read exactly does not pass. 400, 413 and 415 mean the request's body, 502 the upstream's "
        "answer.",
        "The caller where the status is 4xx, the upstream where it is 502.",
        "Look at what the client or the upstream sends: what policy cannot read, it cannot decide on.",
    ),
    "decision": Stage(
        "Policy said no, or could not say yes.",
        "The caller asked for what the policy does not allow.",
        "`cordon policy eval` shows what the bundle says of an input, `cordon policy test` whether it keeps its cases.",
    ),
    "lineage": Stage(
        "A call that cannot be recorded is not sent, and an answer that cannot be is not given.",
        OPERATOR,
        "`cordon doctor` says why: a full or failing disk, a log writer that does not start, a database out of reach.",
    ),
    "upstream": Stage(
        "The upstream is at fault; the call is recorded with the verdict `failed` or `blocked`.",
        UPSTREAM,
        "`cordon doctor` tries to connect to each endpoint and tells what is in the way.",
    ),
    "limits": Stage(
        "A bound of `gateway.limits` is reached.",
        "The caller, or whoever set the limit too low for what is asked of it.",
        "Compare the limit with what the metrics show; raise it, or add workers.",
    ),
    "client": Stage(
        "Only recorded: there is nobody left to tell.",
        CALLER,
        "As a rule nothing; many at once mean that clients wait less long than upstreams take.",
    ),
    "internal": Stage(
        "Cordon itself is at fault, or stops.",
        CORDON,
        "Look for the call's id in the process's own log.",
    ),
    "gateway": Stage(
        "Cordon itself is at fault, before the call began.",
        CORDON,
        "Look into the process's own log.",
    ),
}

_RESEND = "Send one well-formed HTTP/1.1 message; ordinary clients and proxies do."
_RETRY = "Try again after a second."

_CERTIFICATES: Final[Mapping[str, tuple[str, ...]]] = {
    "no_certificate": ("Connect with a certificate of one of the authorities in `gateway.tls.client_ca`.",),
    "unreadable_certificate": ("Have one issued with few and plain names.",),
    "resumed_session": ("Let the client connect anew, without a session of before.",),
    "untrusted_certificate": (
        "Have one issued by an authority that is configured.",
        "Put the authority into `gateway.tls.client_ca` if its certificates are to be taken.",
    ),
    "authority_certificate": ("Have one issued to the client.",),
    "wrong_purpose": ("Have one issued with the extended key usage clientAuth.",),
    "expired_certificate": ("Renew it.",),
    "revoked_certificate": ("Have another one issued.",),
    "no_crl": (
        "Nothing; tell whoever runs Cordon.",
        "Put the issuer's revocation list where `gateway.tls.crl` says.",
        OPERATOR,
    ),
    "crl_expired": (
        "Nothing; tell whoever runs Cordon.",
        "Renew the issuer's revocation list; `cordon doctor` and the console name the file.",
        OPERATOR,
    ),
    "ambiguous_certificate": (
        "Have one issued with one of the names.",
        "Mend `gateway.tls.identities`: the names of one certificate may stand for one principal.",
    ),
    "changed_identity": (
        "Send the call again; it is decided by what the certificate stands for now.",
        "As a rule nothing: the configuration or a bundle of authorities has changed while the call was on its way.",
        OPERATOR,
    ),
}
"""What the caller and the operator can do about each fault of a client certificate, and whose fault it is."""

CODES: Final[Mapping[tuple[str, str], Known]] = {
    # Framing
    ("framing", "bare_cr"): Known((400,), "A carriage return in the head has no line feed behind it.", _RESEND),
    ("framing", "bare_lf"): Known((400,), "A line of the head ends in a line feed alone.", _RESEND),
    ("framing", "body"): Known(
        (413,), "The body is longer than its route takes.", "Send less.", "Raise `body_limit` of the route.", CALLER
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
        (431,), "The head is too long.", "Send fewer or shorter headers.",
        "Raise `gateway.limits.headers`.",
    ),
    ("framing", "header_count"): Known(
        (431,), "There are too many headers.", "Send fewer.", "Raise `gateway.limits.header_count`."
    ),
    ("framing", "header_line"): Known(
        (431,), "A header is too long.", "Send a shorter one.", "Raise `gateway.limits.header_line`."
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
        "Send a shorter target.", "Raise `gateway.limits.request_line`.",
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
        "Use a key of `cordon key create`; a vendor's own key and a reader token are no caller's keys.",
        "Look it up with `cordon key list`; the log counts the sources of such calls.",
    ),
    ("identity", "expired_key"): Known(
        (401,), "The key's time is over; before the call began, the client is told the same as for an unknown one.",
        "Ask for a new one.", "Make a new one with `cordon key create`.",
    ),
    ("identity", "unknown_tenant"): Known(
        (401,), "The tenant of the key or the client certificate is not configured.",
        "Use a key of another tenant.", "Put the tenant into `tenants`.", OPERATOR,
    ),
    ("identity", "tenant_erased"): Known(
        (403,), "The tenant was erased (`cordon tenant erase`) while the call was on its way, or its certificate is "
        "still configured.", "Nothing; tell whoever runs Cordon.",
        "Give the tenant another id, and take the erased one out of the configuration.", OPERATOR,
    ),
    ("identity", "revoked_key"): Known(
        (401,), "The key was revoked while the call was on its way.", "Ask for a new one.",
        "Make a new one with `cordon key create`, where the caller is to go on.",
    ),
    ("identity", "two_identities"): Known(
        (401,), "The key and the client certificate stand for different principals.", "Use one of the two."
    ),
    **{("identity", code): Known((401,), meaning, *_CERTIFICATES[code]) for code, meaning in FAULTS.items()},
    # Routing and containment
    ("routing", "no_route"): Known(
        (404,), "No route has this host or path prefix.", "Check the client's base URL."
    ),
    ("containment", "contained"): Known(
        (403, 503), "The caller or the endpoint is isolated (403), or every endpoint of the route is (503).",
        "Wait, or ask whoever runs Cordon why; the answer does not say it, as it may concern others.",
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
        (502,), "The answer was inspected out of turn, which is a fault of Cordon.", "Report it with the call's id.",
        "Look for the call's id in the process's own log, and report it.", CORDON,
    ),
    ("inspection", "not_enforced"): Known(
        (502,), "Policy demands of the answer what cannot be enforced on it.",
        "Nothing; tell whoever writes the policy.",
        "Change the pattern, the schema or the transform; `cordon policy check` names what it can.", POLICY,
    ),
    ("inspection", "number"): Known(
        (400, 502), "A number of the JSON is beyond what all readers read alike.",
        "Send integers beyond 2^53 as strings.",
    ),
    ("inspection", "too_deep"): Known((400, 502), "The JSON is nested too deep.", "Send a flatter value."),
    ("inspection", "too_large"): Known(
        (413, 502), "The body is over its limit once decoded, or has too many parts.",
        "Send less, or ask for less.", "Raise `body_limit` of the route, `gateway.limits.answer` or `decoded_ratio`.",
    ),
    ("inspection", "truncated"): Known(
        (400, 502), "The compressed or multipart body ends early.", "Send it whole."
    ),
    # Decision
    ("decision", "refused"): Known(
        (403,), "Policy refused the call; `reasons` name the bundle's rules.", "Do what the `fix` of each reason says."
    ),
    ("decision", "answer_refused"): Known(
        (403,), "Policy refused the answer; `reasons` name the bundle's rules or what of its plan was broken.",
        "Ask for something else.", "Change what the bundle lets through, if the answer was a good one.",
    ),
    ("decision", "policy_failed"): Known(
        (403,), "Policy came to no decision, or asked for what can no longer be done.",
        "Nothing; tell whoever writes the policy.",
        "Try the input with `cordon policy eval`, and add its case to the bundle's tests.", POLICY,
    ),
    ("decision", "bundle_unavailable"): Known(
        (503,), "The bundle of a roll-out that decides this call is missing, altered or not taken up yet.",
        "Try again after a few seconds.",
        "The log says why (policy.rejected); propose the bundle again, or go back with `cordon policy back`.", OPERATOR,
    ),
    ("decision", "policy_unavailable"): Known(
        (503,), "The OPA server that decides is lost, slow, without its bundle, or answers what nobody can decide by.",
        "Try again after a second.",
        "See the alert, `/readyz` and `cordon doctor`; calls are served again as soon as it answers.", OPERATOR,
    ),
    ("decision", "no_endpoint"): Known(
        (403,), "Policy named only endpoints that the route does not have now.",
        "Nothing; tell whoever writes the policy.", "Name candidates of `input.candidates` in `endpoints`.", POLICY,
    ),
    ("decision", "finding_in_address"): Known(
        (403,), "The path or query holds what policy redacts, and an address cannot be rewritten.",
        "Send it in the body.",
    ),
    # The rest
    ("lineage", "log_unavailable"): Known(
        (503,), "The log writer does not answer, or the disk takes nothing.",
        "Try again after a second.",
    ),
    ("lineage", "tokens_unavailable"): Known(
        (503,), "The table of tokens cannot be read or written, so that a tokenised value could not be restored.",
        "Try again after a second.", "Where it lasts, look at the disk of the data directory, or at the database.",
    ),
    ("lineage", "keys_unavailable"): Known(
        (503,), "The tenant's key, under which a call's content is digested, cannot be read or unwrapped.",
        "Try again after a second.",
        "Where it lasts, look at the disk of the data directory, or at the database; the worker's messages say why.",
    ),
    ("lineage", "tenant_erased"): Known(
        (403,), "The tenant's key was destroyed: what was recorded for it is unreadable, and nothing more is recorded.",
        "Nothing; tell whoever runs Cordon.", "Give the tenant another id.", OPERATOR,
    ),
    ("upstream", "upstream_failed"): Known(
        (502,), "No upstream answered: it could not be reached, or spoke no proper TLS or HTTP, in time.",
        "Try again later.", "Check the endpoint's `url` and `ca`; `cordon doctor` tries to connect.",
    ),
    ("upstream", "upstream_broke_off"): Known(
        (502,), "The upstream's answer stopped before its end.", "Try again where the call may be repeated."
    ),
    ("upstream", "redirect"): Known(
        (502,), "The upstream of a model route points elsewhere; SDKs would show the caller's key there.",
        "Nothing; tell whoever runs Cordon.", "Set the endpoint's `url` to where it points.", OPERATOR,
    ),
    ("limits", "connections"): Known(
        (503,), "The worker has as many clients as `gateway.limits.connections`.", _RETRY
    ),
    ("limits", "memory"): Known((503,), "The worker holds as many bytes as `gateway.limits.buffered`.", _RETRY),
    ("limits", "too_many_tokens"): Known(
        (429,), "The caller has more live tokens than may be kept, or than can be looked for.",
        "Name conversations in `x-cordon-conversation`.", "Raise `gateway.tokens.per_principal`.",
    ),
    ("limits", "slow_request"): Known(
        (408,), "The request did not come within `head_time` and `body_time`.", "Send it faster, or in smaller calls."
    ),
    ("limits", "total_time"): Known(
        (504,), "The call took longer than `gateway.limits.total_time`.", "Ask for less.", "Raise the limit."
    ),
    ("client", "client_gone"): Known(
        (499,), "The client left before the answer's end, or did not take it.", "Raise the client's timeout."
    ),
    ("internal", "stopping"): Known(
        (503,), "The worker stops.", "Try again; another takes its place.", "Nothing: it was told to stop.", OPERATOR
    ),
    ("internal", "internal"): Known(
        (500,), "Cordon failed on this call and refused it.", "Try again; where it lasts, report it with the call's id."
    ),
    ("gateway", "internal"): Known(
        (500,), "Cordon failed on this request and refused it.", "Try again; where it lasts, report it."
    ),
}  # fmt: skip
