"""Binomial and count models here and in Bambi with nutpie, in one run: seconds, effective sample sizes, estimates.

    python benchmarks/glmm_peers.py --python bambi=path/to/python

Each fit is in a process of its own, by the adapters of `peers.py`, with the same priors and 4 chains of 1,000 draws
(nutpie: after 1,000). glmer's point estimates are in ``glmm_peers_glmer.json``, which ``glmm_peers.R`` has written.

Written to ``benchmarks/output/``: ``glmm_peers.csv`` (a line per run), ``glmm_peers_estimates.csv``,
``glmm_peers.json`` (machine and versions), and ``glmm_peers.md``, which ``--report`` makes again from the others.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pandas as pd
from peer_problems import PeerProblem
from peer_report import OURS, describe_machine
from peers import Benchmark, Peer, chosen, find_interpreters
from problems import Problem
from tables import OUTPUT, markdown, save

import bayesmixed as bm

HERE = Path(__file__).parent
BAMBI = "Bambi, nutpie"
STEM = "glmm_peers"
AGREE = 1.05  # R-hat above which the number of effective draws means nothing
PEERS = [
    Peer(OURS, "bayesmixed", "run_bayesmixed.py", "transport", ("bayesmixed",)),
    Peer(BAMBI, "bambi", "run_bambi.py", "nutpie", ("bambi", "nutpie")),
]
HOW_TO_READ = """\
Seconds of a *fresh process* count from its start until there is ArviZ's container: imports, reading the file,
compilation and all; *fit* is the call in that process, *refit* the same call once more in it,
*sampling* the part of the refit in which nutpie draws, warm-up included and compilation not, and all of our refit,
which compiles nothing; *CPU* is that of the sampling (nutpie's chains run in parallel, ours in one thread). ESS is the
least bulk ESS of common effects and standard deviations, R-hat the greatest of all parameters, computed by one code for
both. In brackets: how many times Bambi's ESS per second ours is, where the chains of both agree.
"""


def _categories(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Numbers that are categories as text, which every library reads alike from a file."""
    return frame.assign(**{name: name[0].lower() + frame[name].astype(str) for name in names})


def cbpp() -> Problem:
    """Serological incidents of cattle, herds."""
    frame = _categories(bm.datasets.load_cbpp(), "period")
    return Problem("p(incidence, size) ~ period + (1 | herd)", frame, {"family": "binomial"})


def grouseticks() -> Problem:
    """Ticks on chicks, of broods at locations, and an effect of each row."""
    frame = _categories(bm.datasets.load_grouseticks(), "YEAR")
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)"
    return Problem(formula, frame, {"family": "poisson"})


def verbagg() -> Problem:
    """Answers of persons to items, crossed."""
    frame = bm.datasets.load_verbagg()
    frame = frame.assign(yes=(frame["r2"] == "Y").astype(int), one=1)
    formula = "p(yes, one) ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)"
    return Problem(formula, frame, {"family": "binomial"})


PROBLEMS = [PeerProblem("cbpp", cbpp), PeerProblem("grouseticks", grouseticks), PeerProblem("VerbAgg", verbagg)]


# ---- report


def speed(runs: pd.DataFrame) -> pd.DataFrame:
    """A line per run; ESS per second of ours with how many times that of Bambi's run it is."""
    for name in ("sampling", "sampling_cpu"):
        runs[name] = pd.to_numeric(runs.get(name), errors="coerce")
    ess = runs["ess_bulk_population"]
    seconds = {
        "fresh": runs["fresh_container"],
        "fit": runs["fit"],
        "refit": runs["refit"],
        "sampling": runs["sampling"].fillna(runs["refit"]),
        "CPU": runs["sampling_cpu"].fillna(runs["recpu"]),
    }
    table = runs[["problem", "run", "library"]].assign(**{f"{name}, s": of for name, of in seconds.items()})
    table = table.assign(**{"R-hat": runs["max_r_hat"], "ESS": ess}).sort_values(
        ["run", "library"], ascending=[True, False]
    )
    table = table.sort_values("problem", key=lambda names: names.map([p.name for p in PROBLEMS].index), kind="stable")
    of_run = table.groupby(["problem", "run"])
    agree = of_run["R-hat"].transform("max") < AGREE
    for name in ("fresh", "fit", "sampling", "CPU"):
        speeds = ess.loc[table.index] / seconds[name].loc[table.index]
        bambi = speeds.where(table["library"] == BAMBI).groupby([table["problem"], table["run"]]).transform("max")
        times = (speeds / bambi).where(agree & (table["library"] == OURS))
        table[f"ESS/s, {name}"] = [
            ("" if pd.isna(one) else f"{one:.1f}") + (f" ({ratio:.1f})" if pd.notna(ratio) else "")
            for one, ratio in zip(speeds, times, strict=True)
        ]
    return table


def estimates_table(estimates: pd.DataFrame) -> pd.DataFrame:
    """Posterior means and sds of the first runs, glmer's estimates, the distance of ours from these in our sds."""
    fits = json.loads((HERE / f"{STEM}_glmer.json").read_text())["fits"]
    lines = []
    first = estimates[estimates["run"] == 0]
    means = first.groupby(["problem", "parameter", "library"], sort=False)[["mean", "sd"]].mean()
    for problem, parameter in dict.fromkeys((row[0], row[1]) for row in means.index):
        fit = fits[problem]
        plain = re.sub(r"[\[\]]", "", parameter)
        theirs = dict(zip(fit["names"], fit["estimates"], strict=True))
        theirs |= {f"sd_{factor}Intercept": sd for factor, sd in fit["sds"].items()}
        found = {name: means.loc[(problem, parameter, name)] for name in (OURS, BAMBI) if
                 (problem, parameter, name) in means.index}  # fmt: skip
        point, ours = theirs.get(r_name(plain, problem)), found.get(OURS)
        line = {"problem": problem, "parameter": parameter}
        line |= {name: f"{of['mean']:.3f} ({of['sd']:.3f})" for name, of in found.items()}
        line["glmer"] = point
        line["distance, our sds"] = (ours["mean"] - point) / ours["sd"] if point is not None else None
        lines.append(line)
    return pd.DataFrame(lines)


def r_name(plain: str, problem: str) -> str:
    """The name of a common effect of R's, whose categories of cbpp and grouseticks are numbers."""
    return re.sub(r"^(period)p|^(YEAR)y", lambda found: found[1] or found[2], plain) if problem != "VerbAgg" else plain


def write_report() -> None:
    """Print the tables, and write them."""
    runs, estimates = (pd.read_csv(OUTPUT / f"{name}.csv") for name in (STEM, f"{STEM}_estimates"))
    about = json.loads((OUTPUT / f"{STEM}.json").read_text())
    speeds = speed(runs[runs["status"] == "ok"].copy())
    digits = {name: ".1f" for name in speeds if name.endswith(", s")} | {"R-hat": ".3f", "ESS": ".0f"}
    parts = [f"{about['machine']}. {about['system']}.", HOW_TO_READ, markdown(speeds, digits)]
    parts += [f"{row.problem}, {row.library}: {row.status}" for row in runs[runs["status"] != "ok"].itertuples()]
    parts.append("Posterior means (sds), and glmer's estimates:")
    parts.append(markdown(estimates_table(estimates), {"glmer": ".3f", "distance, our sds": "+.2f"}))
    text = "\n\n".join(part.strip() for part in parts) + "\n"
    print(text)
    (OUTPUT / f"{STEM}.md").write_text(text)


def parse() -> argparse.Namespace:
    """Options, and those of `peers.Benchmark` that are not for this comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="only write the tables again")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH", help="interpreter of a library")
    parser.add_argument("--runs", type=int, default=1, help="of each library on each problem")
    parser.add_argument("--limit", type=float, default=300, help="seconds of a process until it has a posterior")
    parser.add_argument("--memory", type=float, default=16, help="gigabytes of address space of a process; 0: no bound")
    parser.add_argument("--problems", nargs="+", help="by name; default: all")
    parser.add_argument("--append", action="store_true", help="keep what the files have of other problems")
    options = parser.parse_args()
    options.stem, options.quick, options.all = STEM, False, True
    options.patience, options.fold_seconds = float("inf"), 0.0
    return options


def main() -> None:
    """Run, save after each problem, report."""
    options = parse()
    if not options.report:
        benchmark = Benchmark(options, find_interpreters(options.python))
        problems = chosen(options.problems, PROBLEMS)
        if options.append:
            benchmark.keep_others(problems)
        for problem in problems:
            benchmark.run(problem, PEERS)
            save(benchmark.rows, STEM)
            save(benchmark.estimates, f"{STEM}_estimates")
            about = describe_machine(vars(options)) | {"versions": benchmark.versions}
            (OUTPUT / f"{STEM}.json").write_text(json.dumps(about, indent=1))
    write_report()


if __name__ == "__main__":
    main()
