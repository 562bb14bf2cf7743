"""Tables of README and of ``benchmarks/README.md``, from the results of full runs that ``benchmarks/results`` keeps.

    python benchmarks/front_page.py

prints the tables as they stand in README, and with ``--long`` those of ``benchmarks/README.md``; tests compare them.
``--write FILE`` puts them into a file, between its lines ``<!-- tables -->`` and ``<!-- end of tables -->``.
The files of ``results`` are those that `sleepstudy_thread.py`, `peers.py` and `scoreboard.py` wrote into
``benchmarks/output``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from peer_report import CONTAINER, cell, label, markdown, number, read_runs, stack
from scoreboard_report import shares_of

RESULTS = Path(__file__).parent / "results"
# libraries of the tables, from those that sample to those that only estimate
SAMPLERS = ("PyMC", "Bambi", "Bambi, nutpie", "rstanarm")
PEERS = (*SAMPLERS, "lme4", "glmmTMB", "glmm", "GPBoost", "statsmodels")
# of processors, all threads and processes together: the machine of the runs has other work, too
FRESH, AGAIN, RATE = "cpu_fresh_container", "cpu_refit_container", "ess_bulk_per_cpu_s"
HEADLINE = ("sleepstudy", "InstEval", "1e6 rows, 1e4 slopes", "VerbAgg", "1e8 rows, in chunks")
MARKS = "<!-- tables -->", "<!-- end of tables -->"
ESTIMATORS = ("lme4", "GPBoost", "glmm")


def versions() -> dict[str, dict[str, str]]:
    """Of every library of the run of `peers.py`."""
    return json.loads((RESULTS / "peers.json").read_text())["versions"]


def headline_table() -> list[list[str]]:
    """A few problems; the library that is named was the fastest that has draws."""
    runs = read_runs(RESULTS / "peers.csv")
    lines = [["CPU seconds of a fresh process", "bayesmixed", "fastest other posterior", *ESTIMATORS]]
    for problem in (name for name in HEADLINE if name in set(runs["problem"])):
        here = runs[runs["problem"] == problem]
        finished = here[here["library"].isin(SAMPLERS) & here[FRESH].notna()]
        fastest = "none in time" if here["library"].isin(SAMPLERS).any() else "not tried"
        if len(finished):
            name = finished.groupby("library")[FRESH].median().idxmin()
            fastest = f"{seconds_of(here, name)} ({name})"
        others = [seconds_of(here, name) for name in ESTIMATORS]
        lines.append([problem, seconds_of(here, CONTAINER), fastest, *others])
    return lines


def seconds_of(here: pd.DataFrame, library: str) -> str:
    """Median of the runs, or why there is none."""
    mine = here[here["library"] == library]
    told = mine["status"].str.startswith(("not tried", "out of memory", "not offered"))
    if mine.empty or told.any():
        return mine["status"].iloc[0].partition(":")[0] if len(mine) else "-"
    return cell(mine, mine, FRESH)[0].partition(" (")[0]


def thread_table() -> list[list[str]]:
    """The models of `sleepstudy_thread.py`: medians over seeds, and the range of divergences."""
    runs = pd.read_csv(RESULTS / "sleepstudy_thread.csv")
    lines = [["sleepstudy", "seconds", "divergences", "largest R-hat", "smallest bulk ESS", "bulk ESS per second"]]
    for model, mine in runs.groupby("model", sort=False):
        diverged, ess = mine["divergences"], mine["min_ess_bulk"]
        divergences = number(diverged.max()) if diverged.max() == 0 else f"{diverged.min():,} to {diverged.max():,}"
        r_hat, rate = mine["max_r_hat"].median(), (ess / mine["seconds"]).median()
        numbers = number(mine["seconds"].median()), divergences, f"{r_hat:.3f}", number(ess.median()), number(rate)
        lines.append([str(model), *numbers])
    return lines


def ratio_table(measure: str, libraries: tuple[str, ...], ours: str) -> list[list[str]]:
    """A line per problem: ours as measured, then how many times that the libraries take (of ESS: have less)."""
    runs = read_runs(RESULTS / "peers.csv")
    has_run = set(runs.loc[runs["status"] == "ok", "library"])
    libraries = tuple(library for library in libraries if library in has_run)
    lines = [["", ours, *(label(library, versions()) for library in libraries)]]
    for problem, here in runs.groupby("problem", sort=False):
        reference = here[here["library"] == CONTAINER]
        if reference[measure].notna().any():
            ratios = [cell(here[here["library"] == library], reference, measure)[1] or "-" for library in libraries]
            lines.append([str(problem), cell(reference, reference, measure)[0].partition(" ")[0], *ratios])
    return lines


def measured_on() -> str:
    """Day, machine and versions of the run of `peers.py`."""
    about, known = json.loads((RESULTS / "peers.json").read_text()), versions()
    packages = {name: name.partition(",")[0].lower() for name in ("bayesmixed", *PEERS) if "," not in name}
    packages["glmmTMB"] = "glmmTMB"
    named = {name: f"{name} {known[name][package]}" for name, package in packages.items() if name in known}
    named["Bambi"] = stack("Bambi, nutpie", known).replace(", ", " with ", 1)
    return f"{about['date']}; {about['machine']}; {'; '.join(named.values())}"


def scoreboard_table() -> str:
    """What became of the models that other people documented."""
    return shares_of(RESULTS / "scoreboard.csv")


def tables(long: bool) -> str:
    """Those of README, or the long ones."""
    if not long:
        return "\n\n".join([markdown(headline_table()), measured_on()])
    parts = [
        "In a *fresh process*, from the start of Python or R to the posterior, imports and compilation included:",
        markdown(ratio_table(FRESH, PEERS, "bayesmixed, s")),
        "*Once more in the same process*, as in a cross-validation or behind an app:",
        markdown(ratio_table(AGAIN, PEERS, "bayesmixed, s")),
        "*Effective draws per second*, how many times fewer: the smallest bulk effective sample size over all\n"
        "parameters, by the seconds of the first fit in a process:",
        markdown(ratio_table(RATE, SAMPLERS, "bayesmixed, per s")),
        measured_on(),
        "Models that other people documented:",
        scoreboard_table(),
        "The forum thread that started the project, medians of ten seeds:",
        markdown(thread_table()),
    ]
    return "\n\n".join(parts)


def main() -> None:
    """Print the tables, or put them into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="those of benchmarks/README.md")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace what it has between its marks")
    arguments = parser.parse_args()
    found = tables(arguments.long)
    if arguments.write is None:
        print(found)
        return
    before, rest = arguments.write.read_text().split(f"{MARKS[0]}\n")
    _, after = rest.split(MARKS[1])
    arguments.write.write_text(f"{before}{MARKS[0]}\n\n{found}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
