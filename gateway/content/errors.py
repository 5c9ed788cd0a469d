"""What goes wrong while content is read, inspected or changed."""

from __future__ import annotations

from typing import Literal

Code = Literal[
    "encoding",
    "too_large",
    "malformed",
    "duplicate_key",
    "number",
    "too_deep",
    "not_enforced",
    "truncated",
    "misuse",
]


class ContentError(Exception):
    """Content that Cordon cannot read exactly, and that therefore must not pass.

    `code` is one of a closed set, for records and metrics; `detail` says what, where and what to do. Neither
    ever quotes the content itself, because it may be a secret.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code: Code = code
        self.detail = detail
