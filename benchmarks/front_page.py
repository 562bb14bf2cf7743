"""The figures of README, from the results of full runs that are kept in ``benchmarks/results``.

    python benchmarks/front_page.py

prints the tables as they stand in README; a test compares them. The files of ``results`` are those that
`sleepstudy_thread.py` and `peers.py` wrote into ``benchmarks/output``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from peer_report import CONTAINER, cell, markdown, number, read_runs

RESULTS = Path(__file__).parent / "results"
# libraries of the tables, from those that sample to those that only estimate
SAMPLERS = ("PyMC", "Bambi", "Bambi, nutpie", "rstanarm")
PEERS = (*SAMPLERS, "lme4", "GPBoost", "statsmodels")


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
    lines = [["", ours, *libraries]]
    for problem, here in runs.groupby("problem", sort=False):
        reference = here[here["library"] == CONTAINER]
        if reference[measure].notna().any():
            ratios = [cell(here[here["library"] == library], reference, measure)[1] or "-" for library in libraries]
            lines.append([str(problem), cell(reference, reference, measure)[0].partition(" ")[0], *ratios])
    return lines


def measured_on() -> str:
    """Day, machine and versions of the run of `peers.py`."""
    about = json.loads((RESULTS / "peers.json").read_text())
    versions = [f"{name} {about['versions'][name][name.lower()]}" for name in ("bayesmixed", *PEERS) if "," not in name]
    return f"{about['date']}; {about['machine']}; {', '.join(versions)}"


def main() -> None:
    """Print all."""
    tables = [
        thread_table(),
        ratio_table("fresh_container", PEERS, "bayesmixed, s"),
        ratio_table("refit_container", PEERS, "bayesmixed, s"),
        ratio_table("ess_bulk_per_s", SAMPLERS, "bayesmixed, per s"),
    ]
    print("\n\n".join([*map(markdown, tables), measured_on()]))


if __name__ == "__main__":
    main()
