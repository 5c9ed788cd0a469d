"""OpenAI's embeddings, as the official SDKs read them: short vectors that follow from the text alone.

Follows https://platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Any

from cordon.standin import openai
from cordon.standin.script import Plan, tokens

DIMENSIONS = 16

Json = dict[str, Any]
error = openai.error


def whole(request: Mapping[str, Any], answer: Plan, number: int) -> Json:
    """A list of embeddings, one for each text of the input, or each list of token numbers."""
    asked = request.get("input")
    texts = asked if isinstance(asked, list) and asked and not isinstance(asked[0], int) else [asked]
    packed = request.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(map(_vector, texts))
    ]
    used = sum(tokens(str(text)) for text in texts)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return {"object": "list", "data": data, "model": request.get("model"), "usage": usage}


def _vector(text: object) -> list[float]:
    digest = hashlib.sha256(str(text).encode()).digest()
    return [(byte - 127.5) / 128 for byte in digest[:DIMENSIONS]]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
