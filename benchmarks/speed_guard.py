"""Ten fits by this version and the previous one, in turn: fails if one of them takes 1.5 times the CPU seconds.

    python benchmarks/speed_guard.py [--repository FOLDER] [--base CHECKOUT]

The previous version is the commit at which this branch left main; on main itself, the last commit if files have
changed since, otherwise the one before it. It is taken from the history of the repository, by default the one that
contains this file; `--base` names a folder instead. Without either, nothing is compared, and that is a failure.

Both versions run in separate processes, one after the other, for a few rounds; their minimum CPU seconds are compared,
which other work on the machine hardly changes. A case that is slower is timed again before it counts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from speed_cases import QUICK

HERE = Path(__file__).resolve().parents[1]
LIMIT = 1.5
ROUNDS, AGAIN = 3, 4  # of all cases; of those that are slower
FITS = 2  # per case and process


def git(repository: Path, *command: str) -> bytes:
    """What git says; ends the run with its words where it refuses."""
    done = subprocess.run(["git", "-C", str(repository), *command], capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"nothing to compare with: 'git {' '.join(command)}' says {done.stderr.decode().strip()!r}. Fetch the "
            "history, name a repository that has it (--repository), or the other version (--base)."
        )
    return done.stdout


def version_before(repository: Path) -> str:
    """The commit to compare with."""
    head = git(repository, "rev-parse", "HEAD").decode().strip()
    names = git(repository, "for-each-ref", "--format=%(refname)", "refs/heads/main", "refs/remotes/origin/main")
    main = names.decode().split()
    base = git(repository, "merge-base", "HEAD", main[0]).decode().strip() if main else head
    if base != head:
        return base
    changed = git(repository, "status", "--porcelain", "--untracked-files=no").strip()
    return head if changed else git(repository, "rev-parse", "HEAD~1").decode().strip()


def take_out(repository: Path, commit: str, folder: Path) -> None:
    """Write the package as it was at a commit into a folder."""
    with tarfile.open(fileobj=io.BytesIO(git(repository, "archive", commit, "bayesmixed"))) as files:
        files.extractall(folder, filter="data")


def measure(checkout: Path, names: list[str]) -> dict[str, float]:
    """Least CPU seconds of each case by one version, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    worker = Path(__file__).with_name("speed_worker.py")
    command = [sys.executable, str(worker), str(checkout), str(FITS), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the version in {checkout} does not fit the cases:\n{done.stderr}")
    return {name: min(seconds) for name, seconds in json.loads(done.stdout).items()}


def compare(base: Path, head: Path) -> dict[str, tuple[float, float]]:
    """Least CPU seconds of both versions, by case."""
    least: dict[str, tuple[float, float]] = dict.fromkeys(QUICK, (float("inf"), float("inf")))
    for round_of in range(ROUNDS + AGAIN):
        names = [name for name in QUICK if round_of < ROUNDS or least[name][1] > LIMIT * least[name][0]]
        if not names:
            break
        before, after = measure(base, names), measure(head, names)
        least |= {name: (min(least[name][0], before[name]), min(least[name][1], after[name])) for name in names}
    return least


def main() -> None:
    """Compare, print, and fail where a case is slower."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=HERE, help="whose history has the version before")
    parser.add_argument("--base", type=Path, help="a folder with the other version, instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = arguments.base
        if base is None:
            commit = version_before(arguments.repository)
            print(f"compared with {git(arguments.repository, 'log', '-1', '--format=%h %s', commit).decode().strip()}")
            base = Path(folder)
            take_out(arguments.repository, commit, base)
        least = compare(base, HERE)
    for name, (before, after) in least.items():
        print(f"{name:26s} {before:7.3f} s {after:7.3f} s  {after / before:5.2f}")
    if slower := [name for name, (before, after) in least.items() if after > LIMIT * before]:
        raise SystemExit(f"more than {LIMIT} times slower than before: {', '.join(slower)}")


if __name__ == "__main__":
    main()
