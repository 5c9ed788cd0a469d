"""A stand-in upstream: speaks OpenAI's and Anthropic's protocols and a small plain JSON API, with canned text.

For `cordon demo`, for trying Cordon out without a vendor's key (`stand_in:` in cordon.yaml), and for tests. What it
says follows from words in the request (`script`), so that a call can ask for a tool, for personal data in the answer,
for a stream that breaks off, and so on. It keeps what it received last; `GET /standin/received` shows it.

    server      HTTP/1.1 on asyncio: one request after the other on a connection
    script      from a request's words to what is to be answered, and how it is to go wrong
    openai      chat completions, whole and streamed, and the list of models
    responses   OpenAI's responses, whole and streamed
    embeddings  short vectors
    anthropic   messages, whole and streamed
    connector   customers and transfers, the plain HTTP connector
    upstream    puts these together
"""

from cordon.standin.server import Received
from cordon.standin.upstream import StandIn, run_standin

__all__ = ["Received", "StandIn", "run_standin"]
