"""What a process writes to its standard error: one line an event, JSON for machines or text for people.

Modules call `structlog.get_logger()` or `logging.getLogger()`; both end here. Each line names the process, and the
call where one is bound (`structlog.contextvars`). A flood is cut: lines over the rate are counted, a later line tells
the count. Tracebacks carry no values of variables, so that no secret can come with them.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

from cordon.config import Log

NOISY = ("asyncio", "uvicorn.access", "uvicorn.error", "httpx")


def configure(process: str, settings: Log, stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (standard error). May be called again with other settings."""
    stream = stream or sys.stderr
    people = settings.format == "text" or (settings.format == "auto" and stream.isatty())

    def name_process(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        name_process,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    ending: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, colors=stream.isatty())]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    )
    handler = logging.StreamHandler(stream)
    handler.addFilter(Rate(settings.lines_per_second))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


class Rate(logging.Filter):
    """Lets `most` lines pass in each second; says with the next one how many were left out."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > self._most:
            self._left_out += 1
            return False
        if self._left_out and isinstance(record.msg, dict):
            record.msg["lines_left_out"] = self._left_out
            self._left_out = 0
        return True


def _json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
