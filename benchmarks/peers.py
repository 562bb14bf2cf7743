r"""Problems x libraries, in one run: seconds, effective sample sizes, memory, estimates, and ratios to ours.

    python benchmarks/peers.py --python bambi=path/to/python --python statsmodels=path/to/python \
        --python gpboost=path/to/python --python glmm=path/to/python --python R=path/to/Rscript

runs every library in processes of its own, by a script in ``benchmarks/adapters/`` that says how its priors and
settings were matched to ours, and what is timed (``stages.py``). Interpreters are given by ``--python``, or by
environment variables (BAYESMIXED_PEER_BAMBI, ...); otherwise they are this one and the Rscript on the path. What is not
installed is named as such in the tables; InstEval needs a file that is not in this repository (`problems.insteval`).

The libraries take turns, so that other load on the machine falls on all. A library that was over the limit, ran out of
memory or failed gets no second run; one that did not finish a smaller problem of the same kind in time is not given the
larger one, unless ``--all`` is given, and the tables say so. Written to ``benchmarks/output/``: ``peers.csv`` (a line
per run), ``peers_estimates.csv``, ``peers.json`` (machine and versions), ``peers.md`` and ``peers.png``; the last two
can be made again from the others with ``--report``. A long run can be made in parts: ``--problems ... --append``; one
that was stopped goes on with ``--resume``, which leaves out the problems that are in the files.

    python benchmarks/peers.py --quick

is for continuous integration: three small problems, what this interpreter has of bayesmixed and PyMC, one run,
into ``peers_quick.csv`` and its kin; fails if a library fails, an output is missing or the estimates disagree.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from peer_problems import PROBLEMS, PeerProblem, describe
from peer_report import OURS, check_agreement, describe_machine, write_report
from tables import OUTPUT, save

from bayesmixed.posterior.diagnostics import convergence

HERE = Path(__file__).parent
SLOW = 10.0  # seconds of a fit that is made twice in a process in the first run only


class Peer(NamedTuple):
    """A library, or one of its samplers."""

    name: str
    environment: str  # of the options --python
    script: str
    variant: str = ""
    needs: tuple[str, ...] = ()  # packages
    families: tuple[str, ...] = ("gaussian",)


OF_R = ("gaussian", "bernoulli", "binomial", "poisson")
ALL = (*OF_R, "t")
PEERS = [
    Peer(OURS, "bayesmixed", "run_bayesmixed.py", "auto", ("bayesmixed",), ALL),
    Peer("bayesmixed, NUTS", "bayesmixed", "run_bayesmixed.py", "nuts-pymc", ("bayesmixed", "pymc"), ALL),
    Peer("bayesmixed, nutpie", "bayesmixed", "run_bayesmixed.py", "nuts-nutpie", ("bayesmixed", "nutpie"), ALL),
    Peer("PyMC", "pymc", "run_pymc.py", "", ("pymc",)),
    Peer("Bambi", "bambi", "run_bambi.py", "pymc", ("bambi",), ALL),
    Peer("Bambi, nutpie", "bambi", "run_bambi.py", "nutpie", ("bambi", "nutpie"), ALL),
    Peer("rstanarm", "R", "run_rstanarm.R", "", ("rstanarm", "jsonlite", "data.table"), OF_R),
    Peer("statsmodels", "statsmodels", "run_statsmodels.py", "", ("statsmodels",)),
    Peer("GPBoost", "gpboost", "run_gpboost.py", "", ("gpboost",), ALL),
    Peer("glmm", "glmm", "run_glmm.py", "", ("glmm",), OF_R),
    Peer("glmmTMB", "R", "run_glmmTMB.R", "", ("glmmTMB", "jsonlite", "data.table"), OF_R),
    Peer("lme4", "R", "run_lme4.R", "", ("lme4", "jsonlite", "data.table"), OF_R),
]
QUICK = ("sleepstudy independent", "cbpp"), (OURS, "PyMC")


@dataclass
class Benchmark:
    """Options, interpreters, and the runs so far."""

    options: argparse.Namespace
    interpreters: dict[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    estimates: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, problem: PeerProblem, peers: list[Peer]) -> None:
        """All runs of one problem, the libraries in turn."""
        if problem.missing:
            self.rows += [self._row(problem, peer, 0, status=f"not run: {problem.missing}") for peer in peers]
            return
        with tempfile.TemporaryDirectory() as folder:
            made = problem.make()
            if problem.made is None:
                made.frame.to_csv(Path(folder) / "problem.csv", index=False)
            spec = describe(made, problem.folds and not self.options.quick) | {
                "draws": 1000,
                "tune": 1000,
                "chains": 4,
                "cores": min(4, os.cpu_count() or 1),
                "fold_seconds": self.options.fold_seconds,
                "made": problem.made,
            }

            for run in range(self.options.runs):
                for peer in peers:
                    self._turn(problem, peer, run, spec, Path(folder))

    def _turn(self, problem: PeerProblem, peer: Peer, run: int, spec: dict[str, Any], folder: Path) -> None:
        before = self.rows_of(problem.name, peer)
        status, limits = self.refused(problem, peer, spec["family"])
        if status and run == 0:
            self.rows.append(self._row(problem, peer, run, status=status, **limits))
        spent = sum(row["wall"] for row in before if "wall" in row)
        if status or any(row["status"] != "ok" for row in before) or spent > self.options.patience:
            return
        once_more = spec | {"variant": peer.variant, "seed": run} | self.stages(problem, peer)
        self.rows.append(self._row(problem, peer, run, **self._measure(problem, peer, once_more, folder)))
        row = self.rows[-1]
        seconds = f"{row['fresh_container']:.1f} s" if row["status"] == "ok" else ""
        print(f"{problem.name} | {peer.name} | run {run}: {row['status']} {seconds}", flush=True)

    def stages(self, problem: PeerProblem, peer: Peer) -> dict[str, Any]:
        """What the next run leaves out beside its fit: what was slow in the first."""
        before = self.rows_of(problem.name, peer)
        left_out = {"folds": None} if before and before[0].get("folds", 0) < 10 else {}
        again = before[0]["fit"] <= SLOW if before else peer.name == OURS or not self.options.quick
        return {"refit": again, **left_out}

    def refused(self, problem: PeerProblem, peer: Peer, family: str) -> tuple[str, dict[str, float]]:
        """Why a library is not run on a problem, empty if it is; and the limits of time that this is about."""
        if family not in peer.families:
            return f"not offered: family {family!r}", {}
        if not is_installed(self.interpreters[peer.environment], peer):
            return "not installed", {}
        for name in () if self.options.all else problem.smaller:
            for row in self.rows_of(name, peer):
                if row["status"] in ("over the limit", "out of memory"):
                    limits = {key: row.get(key, math.nan) for key in ("limit", "cpu_process")}
                    return f"not run: {row['status']} on {name}", limits
        if problem.only and peer.name not in problem.only:
            held = [row.get("peak_fit_mb") for row in self.rows_of(problem.sample, peer)]
            needed = f", {held[0]:,.0f} MB of {problem.sample}" if held and held[0] == held[0] and held[0] else ""
            return f"not tried: needs all rows in memory{needed}", {}
        return "", {}

    def rows_of(self, problem: str, peer: Peer) -> list[dict[str, Any]]:
        """The runs so far of one library on one problem."""
        return [row for row in self.rows if (row["problem"], row["library"]) == (problem, peer.name)]

    def _row(self, problem: PeerProblem, peer: Peer, run: int, **values: Any) -> dict[str, Any]:
        return {"problem": problem.name, "library": peer.name, "run": run, **values}

    def keep_others(self, problems: list[PeerProblem]) -> None:
        """Take over what the files have of other problems."""
        chosen_names = {problem.name for problem in problems}
        stem = self.options.stem
        for lines, name in ((self.rows, stem), (self.estimates, f"{stem}_estimates")):
            table = pd.read_csv(OUTPUT / f"{name}.csv")
            lines.extend(table[~table["problem"].isin(chosen_names)].to_dict("records"))
        self.versions = json.loads((OUTPUT / f"{stem}.json").read_text())["versions"]

    def _measure(self, problem: PeerProblem, peer: Peer, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        """One process; what it has recorded, and what is computed from its draws."""
        result, options = folder / "result.json", self.options
        for old in (result, result.with_suffix(".npy")):
            old.unlink(missing_ok=True)
        (folder / "spec.json").write_text(json.dumps(spec))
        limits = [options.limit, 2 * options.limit + options.fold_seconds, options.memory, result]
        command = [self.interpreters[peer.environment], HERE / "adapters" / peer.script]
        command += [folder / "problem.csv", folder / "spec.json", result]
        launcher = [sys.executable, "-S", HERE / "timed_process.py", *limits, *command]
        done = subprocess.run(list(map(str, launcher)), capture_output=True, text=True, check=True)
        process = json.loads(done.stdout)
        log = Path(f"{result}.log").read_text(errors="replace")
        row = {"status": status_of(process, result.exists(), log, options.limit), "wall": process["wall"]}
        row["limit"], row["peak_process_mb"] = options.limit, process["peak_mb"]
        row["cpu_process"] = process["cpu"]
        if not result.exists():
            return row
        values = json.loads(result.read_text())
        self.versions[peer.name] = values.pop("versions", {})
        for name, found in values.pop("estimates", {}).items():
            mean, sd = [*found, np.nan][:2]
            self.estimates.append(
                self._row(problem, peer, spec["seed"], parameter=name, mean=float(mean), sd=float(sd))
            )
        row |= {key: value for key, value in values.items() if not key.endswith("_at")}
        row["fresh"] = values["usable_at"] - process["started_at"]
        row["fresh_container"] = values.get("container_at", values["usable_at"]) - process["started_at"]
        if process["code"]:
            row["rest"] = last_line(log) if process["code"] > 0 else "stopped before the end"
        seconds = row["fit"] + row.get("container", 0.0)
        return row | sample_sizes(
            result.with_suffix(".npy"), seconds, row["cpu_fit_container"], values.get("population")
        )


def status_of(process: dict[str, Any], has_result: bool, log: str, limit: float) -> str:
    """How a process ended, as the tables have it."""
    if has_result:
        return "ok"
    if process["wall"] >= limit:
        return "over the limit"
    signs = ("memoryerror", "bad_alloc", "cannot allocate", "unable to allocate", "memory allocation of")
    if process["code"] == -9 or any(sign in log.lower() for sign in signs):
        return "out of memory"
    return f"failed: {last_line(log)}"


def last_line(log: str) -> str:
    """What a process said last, shortened."""
    lines = [line.strip() for line in log.splitlines()]
    lines = [line for line in lines if line and line != "Execution halted" and not line.startswith("note: ")]
    return (lines or ["no message"])[-1][:110]


def sample_sizes(path: Path, seconds: float, cpu: float, population: int | None) -> dict[str, float]:
    """Worst R-hat and effective sample sizes of an array (chain, draw, parameter).

    Of the first `population` parameters, the others being group effects, also alone.
    """
    if not path.exists():
        return {}
    found = convergence(np.load(path))
    bulk, tail = float(np.nanmin(found.ess_bulk)), float(np.nanmin(found.ess_tail))
    return {
        "parameters": found.r_hat.size,
        "max_r_hat": float(np.nanmax(found.r_hat)),
        "ess_bulk": bulk,
        "ess_tail": tail,
        "ess_bulk_per_s": bulk / seconds,
        "ess_tail_per_s": tail / seconds,
        "ess_bulk_per_cpu_s": bulk / cpu,
        "ess_bulk_population": float(np.nanmin(found.ess_bulk[:population])),
    }


def is_installed(interpreter: str, peer: Peer, known: dict[tuple[str, str], bool] = {}) -> bool:  # noqa: B006
    """Whether an interpreter is there and has what an adapter needs; asked once."""
    key = (interpreter, peer.name)
    if key not in known:
        names = ", ".join(f"'{name}'" for name in peer.needs)
        code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ({names},))))"
        if peer.environment == "R":
            code = f"quit(status = !all(sapply(c({names}), requireNamespace, quietly = TRUE)))"
        command = [interpreter, "-e" if peer.environment == "R" else "-c", code]
        found = shutil.which(interpreter) is not None
        known[key] = found and subprocess.run(command, capture_output=True, check=False).returncode == 0
    return known[key]


def find_interpreters(given: list[str]) -> dict[str, str]:
    """By environment: an option, else a variable, else what runs this."""
    options = dict(option.split("=", 1) for option in given)
    names = dict.fromkeys(peer.environment for peer in PEERS)
    if unknown := set(options) - set(names):
        raise SystemExit(f"--python {sorted(unknown)}: the names are {', '.join(names)}.")
    default = dict.fromkeys(names, sys.executable) | {"R": "Rscript"}
    return {
        name: options.get(name) or os.environ.get(f"BAYESMIXED_PEER_{name.upper()}") or default[name] for name in names
    }


def chosen(given: list[str] | None, items: list[Any]) -> list[Any]:
    """Items by name; all if none is given."""
    if unknown := set(given or ()) - {item.name for item in items}:
        raise SystemExit(f"unknown: {sorted(unknown)}; there are {[item.name for item in items]}.")
    return [item for item in items if given is None or item.name in given]


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of a file by problem, whatever the parts that they were made in."""
    names = [problem.name for problem in PROBLEMS]
    return sorted(rows, key=lambda row: names.index(row["problem"]))


def parse() -> argparse.Namespace:
    """Options, those that --quick stands for filled in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add: Callable[..., Any] = parser.add_argument
    add("--quick", action="store_true", help="the smallest problems, for continuous integration")
    add("--report", action="store_true", help="only write table and figure again, from the files of the last run")
    add("--python", action="append", default=[], metavar="NAME=PATH", help="interpreter of a library, or R=Rscript")
    add("--runs", type=int, default=3, help="of each library on each problem, at most")
    add("--limit", type=float, default=120, help="seconds from the start of a process until it has a posterior")
    add("--patience", type=float, default=240, help="seconds of a library on a problem after which no run is added")
    add("--fold-seconds", type=float, default=30, help="after which no further fold of a cross-validation starts")
    add("--memory", type=float, default=16, help="gigabytes of address space of a process; 0: no bound")
    add("--problems", nargs="+", help="by name; default: all")
    add("--libraries", nargs="+", help="by name; default: all")
    add("--append", action="store_true", help="keep what the files have of other problems: a long run in parts")
    add("--resume", action="store_true", help="as --append, and leave out problems that the files have")
    add("--all", action="store_true", help="try large problems also where a smaller one was over the limit")
    options = parser.parse_args()
    options.stem = "peers_quick" if options.quick else "peers"
    if options.quick:
        options.runs, options.problems, options.libraries = 1, *map(list, QUICK)
    return options


def main() -> None:
    """Run, save after each problem, report."""
    options = parse()
    if not options.report:
        benchmark = Benchmark(options, find_interpreters(options.python))
        peers = chosen(options.libraries, PEERS)
        problems = chosen(options.problems, PROBLEMS)
        if options.resume and (OUTPUT / f"{options.stem}.csv").exists():
            done = set(pd.read_csv(OUTPUT / f"{options.stem}.csv")["problem"])
            problems = [problem for problem in problems if problem.name not in done]
            options.append = True
        if options.append:
            benchmark.keep_others(problems)
        for problem in problems:
            benchmark.run(problem, peers)
            save(in_order(benchmark.rows), options.stem)
            save(in_order(benchmark.estimates), f"{options.stem}_estimates")
            about = describe_machine(vars(options)) | {"versions": benchmark.versions}
            (OUTPUT / f"{options.stem}.json").write_text(json.dumps(about, indent=1))
    write_report(options.stem)
    if options.quick:
        check_agreement(options.stem)


if __name__ == "__main__":
    main()
