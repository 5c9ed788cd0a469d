"""The bundle server as one more upstream: strict parsing, TLS against an authority of the operator's, one address.

It has connections of its own, since a request that the server holds open for news outlasts any call's answer.
"""

from __future__ import annotations

import asyncio

from gateway.credentials import CredentialError
from gateway.errors import GatewayError, UpstreamError
from gateway.service import Service, TooLong
from gateway.settings import Endpoint, Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from policies.download import DownloadError, Fetched
from policies.settings import Policy


class BundleServer:
    """Requests to the configured URL (`policies.download.Fetcher`)."""

    def __init__(self, settings: Policy, limits: Limits, sweep: Sweep) -> None:
        download = self._download = settings.download
        longest = download.wait_seconds + download.timeout_seconds
        times = {"first_byte_time": longest, "connect_time": min(limits.connect_time, download.timeout_seconds)}
        self._pool = UpstreamPool(limits.model_copy(update=times), sweep)
        self._endpoint = Endpoint(id="bundle", url=str(settings.bundle), ca=download.ca, credential=download.credential)

    async def fetch(self, etag: str, wait: int, limit: int) -> Fetched:
        """One GET, within the time that the settings give it. The token is read each time: files may be renewed."""
        seconds = wait + self._download.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                server = Service(self._endpoint, self._pool, "the bundle server")
                reply = await server.send("GET", b"", b"", limit, _headers(etag, wait))
        except TimeoutError:
            raise DownloadError(f"the server gave no whole answer within {seconds:g} s") from None
        except UpstreamError as error:
            raise DownloadError(error.detail.replace("endpoint bundle", "the server")) from None
        except TooLong:
            raise DownloadError(f"the server's answer is longer than {limit} bytes") from None
        except (CredentialError, GatewayError) as error:
            raise DownloadError(str(error)) from None
        found = {name: value.decode("latin-1") for name, value in reply.headers}
        if found.get(b"content-encoding", "identity").lower() != "identity":
            raise DownloadError("the server's answer is compressed on the way, which was not asked for")
        body = reply.body if reply.status == 200 else b""
        return Fetched(reply.status, found.get(b"etag", ""), found.get(b"content-type", ""), body)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()


def _headers(etag: str, wait: int) -> list[tuple[bytes, bytes]]:
    prefer = b"modes=snapshot" + (b";wait=%d" % wait if wait else b"")
    headers = [(b"accept", b"application/vnd.openpolicyagent.bundles, application/gzip"), (b"prefer", prefer)]
    if etag:
        headers.append((b"if-none-match", etag.encode("ascii")))
    return headers
