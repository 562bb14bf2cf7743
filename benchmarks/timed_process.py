"""Run a command with limits; print how long it took and how much memory it needed, as one line of JSON.

    python benchmarks/timed_process.py SECONDS EXTRA_SECONDS GIGABYTES RESULT COMMAND ...

It is stopped after SECONDS, unless the file RESULT is there by then, which says that its main work is done: then it has
EXTRA_SECONDS for the rest. GIGABYTES bound the address space of each of its processes (Linux; 0: no bound).

A small process of its own, because on Linux the peak memory of a child includes what its parent held when it was
started: that of a parent with pandas would hide what R needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def kill(pid: int) -> None:
    """End a process and those it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def watch(pid: int, result: Path, seconds: float, extra: float, ended: threading.Event) -> None:
    """Kill what is late."""
    if not ended.wait(seconds) and (not result.exists() or not ended.wait(extra)):
        kill(pid)


def main() -> None:
    """Start, wait, report."""
    seconds, extra, gigabytes = map(float, sys.argv[1:4])
    result, command = Path(sys.argv[4]), sys.argv[5:]
    if gigabytes:
        limit = int(gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))  # inherited by the child
    with Path(f"{result}.log").open("wb") as log:
        started_at, started = time.time(), time.perf_counter()
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        ended = threading.Event()
        watcher = threading.Thread(target=watch, args=(child.pid, result, seconds, extra, ended))
        watcher.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
    ended.set()
    watcher.join()
    kill(child.pid)  # workers that outlive it
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"started_at": started_at, "wall": wall, "code": code, "peak_mb": usage.ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
