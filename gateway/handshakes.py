"""TLS handshakes that fail: why, in one of a few words, for counting.

The event loop tells nobody of them: the connection ends before there is a protocol to tell. So the object beneath,
which `ssl.SSLContext.sslobject_class` names, says it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Final

REASONS: Final = (
    "no_certificate",
    "expired_certificate",
    "untrusted_certificate",
    "wrong_purpose",
    "bad_certificate",
    "plain_http",
    "no_tls",
    "version",
    "cipher",
    "refused_by_client",
    "broken_off",
    "other",
)
"""Every word that is said of one."""

_OF_OPENSSL: Final[Mapping[str, str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "UNSUPPORTED_PROTOCOL": "version",
    "WRONG_VERSION_NUMBER": "no_tls",
    "WRONG_SSL_VERSION": "version",
    "VERSION_TOO_LOW": "version",
    "BAD_PROTOCOL_VERSION_NUMBER": "version",
    "UNKNOWN_PROTOCOL": "version",
    "NO_SHARED_CIPHER": "cipher",
    "NO_SUITABLE_KEY_SHARE": "cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "cipher",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "cipher",
}
# Of X509_verify_cert (openssl-verification-options(1)): X509_V_ERR_…
_OF_VERIFICATION: Final[Mapping[int, str]] = {
    10: "expired_certificate",
    **dict.fromkeys((2, 18, 19, 20, 21), "untrusted_certificate"),
    26: "wrong_purpose",
}


def reason_of(error: ssl.SSLError) -> str:
    """The word for a failure, one of REASONS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_VERIFICATION.get(error.verify_code, "bad_certificate")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "broken_off"
    reason = getattr(error, "reason", None) or ""
    return _OF_OPENSSL.get(reason) or ("refused_by_client" if "_ALERT_" in reason else "other")


def telling(failed: Callable[[str], None]) -> type[ssl.SSLObject]:
    """The class of a context's connections, whose failed handshakes `failed` is told of, each once."""

    class Handshake(ssl.SSLObject):
        """One connection; `_open` until its handshake has succeeded or failed."""

        _open = True

        def do_handshake(self) -> None:
            """As before, and tell of what fails."""
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                self._end(reason_of(error))
                raise
            self._open = False

        def _end(self, reason: str) -> None:
            if self._open:
                self._open = False
                failed(reason)

        def __del__(self) -> None:
            # Whoever goes away or takes too long in the middle is seen by the event loop only, which drops the object.
            self._end("broken_off")

    return Handshake
