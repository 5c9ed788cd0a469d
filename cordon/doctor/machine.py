"""The machine: Python, limits, disk space, clock."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok, warn
from lineage.errors import LineageError
from lineage.reader import open_reader
from lineage.record import decode

LEAST_FREE = 200 * 1_048_576
LITTLE_FREE = 2 * 1_073_741_824
SKEW_SECONDS = 5.0
EARLIEST = 1_735_689_600  # 2025-01-01: a clock before that was never set


def python() -> Finding:
    """The interpreter that runs this."""
    version = platform.python_version()
    if sys.maxsize < 2**32:
        return fail("python", f"{version}, 32 bits", "use a 64-bit Python 3.11 or newer")
    return ok("python", f"{version} on {platform.system()} {platform.machine()}")


def limits(config: Config) -> Finding:
    """Whether the process limits allow the connections and buffers that are configured."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.gateway.limits.connections + config.gateway.limits.upstream_idle + 256
    if soft != resource.RLIM_INFINITY and soft < needed:
        return warn(
            "limits",
            f"{soft} open files a process, {needed} may be needed",
            "raise it (ulimit -n, LimitNOFILE=) or lower gateway.limits.connections",
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    buffers = config.gateway.limits.buffered * config.gateway.workers
    if buffers > memory / 2:
        return warn(
            "limits",
            f"bodies may take {_size(buffers)} of {_size(memory)} memory",
            "lower gateway.limits.buffered or gateway.workers",
        )
    return ok("limits", f"{soft} open files a process, at most {_size(buffers)} for bodies")


def disk(config: Config) -> Finding:
    """Free space where the log grows."""
    free = shutil.disk_usage(_existing(config.data_dir)).free
    if free < LEAST_FREE:
        return fail("disk", f"{_size(free)} free for {config.data_dir}", "make room: a full disk refuses every call")
    if free < LITTLE_FREE:
        return warn("disk", f"{_size(free)} free for {config.data_dir}", "make room before the log needs it")
    return ok("disk", f"{_size(free)} free for {config.data_dir}")


def clock(config: Config) -> Iterator[Finding]:
    """Records carry the machine's time; it must not run behind what was recorded."""
    now = time.time()
    if now < EARLIEST:
        yield fail("clock", f"it is {time.ctime(now)}", "set the clock: certificates and keys expire by it")
        return
    try:
        reader = open_reader(config.data_dir, config.database)
    except LineageError:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))
        return
    try:
        rows = reader.read(max(0, reader.size() - 1), 1)
    finally:
        reader.close()
    latest = decode(rows[0][1]).get("at") if rows else 0
    ahead = (latest if isinstance(latest, int) else 0) / 1000 - now
    if ahead > SKEW_SECONDS:
        yield warn("clock", f"the latest record is {ahead:.0f} s in the future", "synchronise the clock (NTP)")
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
