"""Run a command with limits; print the time, processor time and memory that it needed, as one line of JSON.

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


def processor_seconds(group: int) -> float:
    """Of the processes of a group that live, and of those that they have seen end (Linux; elsewhere 0)."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def watch(pid: int, result: Path, limits: tuple[float, float], ended: threading.Event, used: list[float]) -> None:
    """Kill what is late; keep what it has used until then."""
    seconds, extra = limits
    if not ended.wait(seconds) and (not result.exists() or not ended.wait(extra)):
        used.append(processor_seconds(pid))
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
        ended, used = threading.Event(), []
        watcher = threading.Thread(target=watch, args=(child.pid, result, (seconds, extra), ended, used))
        watcher.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
    ended.set()
    watcher.join()
    kill(child.pid)  # workers that outlive it
    code = os.waitstatus_to_exitcode(status)
    found = {"started_at": started_at, "wall": wall, "code": code, "peak_mb": usage.ru_maxrss / 1024}
    print(json.dumps(found | {"cpu": used[0] if used else usage.ru_utime + usage.ru_stime}))


if __name__ == "__main__":
    main()
