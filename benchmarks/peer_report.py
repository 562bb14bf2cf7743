"""Table and figure of `peers.py`, and whether the libraries agree: all from its files in ``benchmarks/output``."""

from __future__ import annotations

import json
import math
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tables import OUTPUT

OURS = "bayesmixed"
CONTAINER = "bayesmixed, with `idata_`"
# column of peers.csv -> heading, factor, whether more is better
MEASURES: dict[str, tuple[str, float, bool]] = {
    "fresh_container": ("fresh process, s", 1, False),
    "fit_container": ("fit, s", 1, False),
    "refit_container": ("refit, s", 1, False),
    "cpu_fresh_container": ("fresh process, CPU s", 1, False),
    "cpu_refit_container": ("refit, CPU s", 1, False),
    "cv": ("10 folds, s", 1, False),
    "ess_bulk_per_s": ("bulk ESS per s", 1, True),
    "ess_bulk_per_cpu_s": ("bulk ESS per CPU s", 1, True),
    "peak_container_mb": ("memory, MB", 1, False),
    "predict_1": ("1 row, ms", 1000, False),
    "predict_1000": ("1,000 rows, ms", 1000, False),
}
OTHERS = (
    "cpu_process",
    "cpu_fresh",
    "cpu_fit",
    "cpu_refit",
    "fresh",
    "fit",
    "refit",
    "container",
    "recontainer",
    "peak_fit_mb",
    "folds",
    "note",
    "rest",
    "limit",
)
LIMITED = {"fresh_container": "limit", "cpu_fresh_container": "cpu_process"}  # of what was stopped, what is known
PLAIN = {"ess_bulk": "bulk ESS", "ess_tail": "tail ESS", "max_r_hat": "R-hat"}
PLAIN_FORMATS = {"ess_bulk": "{:.0f}", "ess_tail": "{:.0f}", "max_r_hat": "{:.3f}"}

HOW_TO_READ = f"""\
Medians of the runs, with the least and the greatest in brackets, and in the columns "x" the ratio to ours in the line
"{CONTAINER}" (of ESS per second: how many times less). Seconds of a *fresh process* count from its start, so imports,
reading the file, compilation and all, until there is a posterior (of libraries without draws: estimates); *fit* is
the call alone in that process, *refit* the same call once more in it, *10 folds* a fit and a prediction for each of
ten sets of groups (≈: scaled up from those folds that fitted into the time given to them). ESS, effective sample
size, is the least over all parameters: common effects, standard deviations, correlations, sigma and group effects (of
3,000 levels of a factor at most), R-hat the greatest, computed by one code for all; per second of the fit. CPU
seconds are those of processors, of all threads and processes together: they depend less on what else the machine
does, but of libraries whose chains run side by side they are more than the seconds on an idle one. Memory is the peak
until then, of the largest process; chains of PyMC, Bambi and rstanarm run in several. Predictions are means. metabeta
has no line: it downloads the weights of its networks at its first use, and without these it ends in
`LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub and we cannot find the
requested files in the local cache`. "> 120" was stopped after 120 seconds, or not run because a smaller problem had
been.
"""


def describe_machine(options: dict[str, Any]) -> dict[str, Any]:
    """Processor, memory, system; the options without paths."""
    cpu, memory = platform.processor(), ""
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = lines[0] if lines else cpu
    if hasattr(os, "sysconf"):
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"
    kept = {key: value for key, value in options.items() if key not in ("python", "report")}
    return {
        "machine": f"{cpu or platform.machine()}, {os.cpu_count()} processors, {memory} of memory",
        "system": f"{platform.system()}, Python {platform.python_version()} for the runner",
        "date": pd.Timestamp.now().strftime("%Y-%m-%d"),
        "options": kept,
    }


def read_runs(path: Path) -> pd.DataFrame:
    """The runs, with fit and container together; ours once without the container and once with it."""
    runs = pd.read_csv(path)
    for column in [*MEASURES, *PLAIN, *OTHERS]:
        if column not in runs:
            runs[column] = math.nan
    runs["fit_container"] = runs["fit"] + runs["container"].fillna(0)
    runs["refit_container"] = runs["refit"] + runs["recontainer"].fillna(0)
    of_fit = {"fresh_container": "fresh", "fit_container": "fit", "refit_container": "refit"}
    of_fit |= {"peak_container_mb": "peak_fit_mb", "cpu_fresh_container": "cpu_fresh"}
    of_fit["cpu_refit_container"] = "cpu_refit"
    ours = runs[runs["library"] == OURS]
    alone = ours.assign(**{with_it: ours[without] for with_it, without in of_fit.items()})
    for rate, seconds in (("ess_bulk_per_s", "fit"), ("ess_bulk_per_cpu_s", "cpu_fit")):
        alone[rate] = alone["ess_bulk"] / alone[seconds]
    runs.loc[runs["library"] == OURS, "library"] = CONTAINER
    return pd.concat([alone, runs], ignore_index=True)


BAYESIAN = (
    "bambi",
    "nutpie",
    "pymc",
    "arviz",
    "rstanarm",
    "bayesmixed",
)  # packages whose versions stand in every table


def stack(library: str, versions: dict[str, dict[str, str]]) -> str:
    """Versions of what samples in a Bayesian library, and of what holds the draws."""
    named = {"pymc": "PyMC", "arviz": "ArviZ", "bambi": "Bambi"}
    mine = versions.get(library, {})
    return ", ".join(f"{named.get(name, name)} {mine[name]}" for name in BAYESIAN if name in mine)


def label(library: str, versions: dict[str, dict[str, str]]) -> str:
    """A library's name, of another Bayesian one than ours with its stack."""
    said = "" if library.startswith(OURS) else stack(library, versions)
    return f"{library} ({said})" if said else library


def number(value: float) -> str:
    """Three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def spread(values: pd.Series) -> str:
    """Median, least and greatest."""
    text = number(values.median())
    return text if len(values) < 2 else f"{text} ({number(values.min())} to {number(values.max())})"


def cell(mine: pd.DataFrame, reference: pd.DataFrame, measure: str) -> tuple[str, str]:
    """A measure of one library on one problem, and its ratio to ours."""
    _, factor, more_is_better = MEASURES[measure]
    values, ours = mine[measure].dropna() * factor, reference[measure].dropna() * factor
    cut = mine["status"].str.contains("over the limit").any()
    if values.empty and cut and measure in LIMITED:
        limit = mine[LIMITED[measure]].iloc[0]
        return f"> {number(limit)}", f"> {number(limit / ours.median())}" if len(ours) else ""
    if values.empty:
        return "-", ""
    about = "≈ " if measure == "cv" and mine["folds"].min() < 10 else ""
    ratio = ""
    if len(ours):
        pair = (ours.median(), values.median()) if more_is_better else (values.median(), ours.median())
        ratio = about + number(pair[0] / pair[1])
    return about + spread(values), ratio


def table_of(problem: str, runs: pd.DataFrame, versions: dict[str, dict[str, str]]) -> list[list[str]]:
    """Heading and a line per library."""
    here = runs[runs["problem"] == problem]
    reference = here[here["library"] == CONTAINER]
    shown = [measure for measure in MEASURES if here[measure].notna().any()]
    heading = ["library"]
    for measure in shown:
        heading += [MEASURES[measure][0], "x"]
    lines = [[*heading, *PLAIN.values(), "runs", "remarks"]]
    for library, mine in here.groupby("library", sort=False):
        line = [label(str(library), versions)]
        for measure in shown:
            line += cell(mine, reference, measure)
        line += [
            number(mine[column].median()) if mine[column].notna().any() else "-" for column in ("ess_bulk", "ess_tail")
        ]
        line.append(f"{mine['max_r_hat'].median():.3f}" if mine["max_r_hat"].notna().any() else "-")
        lines.append([*line, str(mine["status"].eq("ok").sum()), remarks(mine)])
    return lines


def remarks(mine: pd.DataFrame) -> str:
    """What went wrong, how the model differs, what was cut."""
    said = [status for status in mine["status"] if status != "ok"]
    said += [str(note) for note in mine["note"].dropna().unique() if note]
    said += [f"later: {rest}" for rest in mine["rest"].dropna().unique()]
    few = mine["folds"].min()
    if few < 10:
        said.append(f"{few:.0f} of 10 folds")
    return "; ".join(dict.fromkeys(said)).replace("|", "\\|")


def estimates_of(problem: str, estimates: pd.DataFrame) -> list[list[str]]:
    """Posterior means, or estimates, side by side; the largest distance from ours in our posterior sds."""
    here = estimates[estimates["problem"] == problem]
    if here.empty:
        return []
    means = here.pivot_table(index="library", columns="parameter", values="mean", aggfunc="mean", sort=False)
    ours = here[here["library"] == OURS].groupby("parameter")["sd"].mean()
    lines = [["library", *means.columns, "farthest from ours, posterior sds"]]
    for library, mine in means.iterrows():
        far = "" if ours.empty else f"{((mine - means.loc[OURS]).abs() / ours).max():.2f}"
        lines.append([str(library), *("" if math.isnan(x) else f"{x:.4g}" for x in mine), far])
    return lines


def markdown(lines: list[list[str]]) -> str:
    """A table; the first line is its heading."""
    heading, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([heading, "|" + "---|" * len(lines[0]), *rest])


def write_report(stem: str) -> None:
    """Write ``<stem>.md`` and, where matplotlib is installed, ``<stem>.png``."""
    runs, estimates = read_runs(OUTPUT / f"{stem}.csv"), pd.read_csv(OUTPUT / f"{stem}_estimates.csv")
    about = json.loads((OUTPUT / f"{stem}.json").read_text())
    parts = ["# bayesmixed and its peers", HOW_TO_READ]
    parts.append(f"{about['date']}: {about['machine']}; {about['system']}.")
    for library, versions in about["versions"].items():
        parts.append(f"- {library}: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    for problem in runs["problem"].unique():
        parts += [f"## {problem}", markdown(table_of(problem, runs, about["versions"]))]
        if lines := estimates_of(problem, estimates):
            parts += ["Posterior means, or estimates:", markdown(lines)]
    text = "\n\n".join(parts).replace("\n\n- ", "\n- ")
    (OUTPUT / f"{stem}.md").write_text(text + "\n")
    if find_spec("matplotlib"):
        from peer_figure import draw  # noqa: PLC0415  (matplotlib is optional)

        draw(runs, OUTPUT / f"{stem}.png")
    print(f"written: {OUTPUT / stem}.md")


def check_agreement(stem: str) -> None:
    """Fail if a library failed, an output is missing, or two samplers of one posterior disagree."""
    runs, estimates = (pd.read_csv(OUTPUT / f"{name}.csv") for name in (stem, f"{stem}_estimates"))
    runs = runs[~runs["status"].str.startswith("not offered")]
    assert (runs["status"] == "ok").all(), runs[["problem", "library", "status"]].to_string()
    for extension in ["json", "md", *(["png"] if find_spec("matplotlib") else [])]:
        assert (OUTPUT / f"{stem}.{extension}").stat().st_size > 0, extension
    of = ["problem", "parameter"]
    ours = estimates[estimates["library"] == OURS].set_index(of)
    theirs = estimates.set_index(of).join(ours[["mean", "sd"]], rsuffix="_ours")
    distance = (theirs["mean"] - theirs["mean_ours"]).abs() / theirs["sd_ours"]
    assert distance.notna().all(), "a parameter is missing"
    # four Monte Carlo standard errors of the least well mixed parameter, and a little
    mixing = runs.set_index(["problem", "library"])["ess_bulk"].rename("ess").to_frame()
    tolerance = 0.1 + 4 / np.sqrt(theirs.reset_index().join(mixing, on=["problem", "library"])["ess"].to_numpy())
    assert (distance < tolerance).all(), theirs[distance >= tolerance].to_string()
    print(f"the libraries agree: farthest apart by {distance.max():.2f} posterior standard deviations")
