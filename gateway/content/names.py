"""Names of fields with a meaning of their own, in the bodies of models' APIs."""

from __future__ import annotations

ARGUMENTS = frozenset({"arguments", "partial_json"})
"""Fields whose string is itself JSON text: what replaces a finding there must leave it JSON."""

SEALED = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout", "thought_signature"})
"""Fields that carry encrypted or signed reasoning."""

MEDIA = frozenset({"data", "file_data", "b64_json", "partial_image_b64", "blob"})
"""Fields that carry images, sound and documents in base64, if they do not carry text."""

PICTURE = "result"
"""Field that carries a generated picture in base64 in OpenAI's responses, and anything at all elsewhere."""

VECTOR = "embedding"
"""Field that carries an embedding, in base64 where it is a string: numbers, which are not looked at."""

ENCODED = SEALED | MEDIA | {"url", PICTURE, VECTOR}
PLAIN = frozenset({"url", VECTOR})
"""Of these, the fields that carry no media: a web address, and an embedding that is a plausible one."""

KNOWN = frozenset(
    {"role", "content", "messages", "model", "stream", "temperature", "tools", "tool_choice", "type", "text"}
    | {"function", "name", "description", "parameters", "properties", "required", "system", "max_tokens"}
    | {"max_completion_tokens", "top_p", "stop", "n", "user", "metadata", "id", "object", "created", "choices"}
    | {"index", "message", "delta", "finish_reason", "logprobs", "usage", "prompt_tokens", "completion_tokens"}
    | {"total_tokens", "refusal", "input", "output_tokens", "input_tokens", "stop_reason", "stop_sequence"}
    | {"tool_calls", "arguments", "tool_call_id", "content_block", "annotations", "system_fingerprint"}
    | {"service_tier", "prompt_tokens_details", "completion_tokens_details", "items", "enum"}
)
"""Names of fields that vendors' bodies are made of: they are not looked at as text."""

OF_ANSWERS = frozenset(
    {"call_id", "citations", "code", "command", "completion", "container_id"}
    | {"data", "detail", "effort", "encrypted_content", "file_id", "item_id"}
    | {"media_type", "native_finish_reason", "obfuscation", "output_text", "partial_json", "phase"}
    | {"provider", "reasoning", "reasoning_content", "response", "signature", "source"}
    | {"status", "summary", "thinking", "title", "transcript", "url"}
    | {"verbosity"}
)
"""Names of a vendor's that an answer is made of, beside the known ones: no pattern is looked for in them."""
