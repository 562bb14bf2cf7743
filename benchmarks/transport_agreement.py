"""The transport sampler against long runs of NUTS on nine problems: means and standard deviations of everything.

    python benchmarks/transport_agreement.py

fits the problems ``AGREEMENT`` of `transport_cases.py` with both samplers, 4 x 4000 draws, and compares every common
effect, standard deviation, correlation, auxiliary parameter and group effect: the difference of the means in Monte
Carlo errors (counting both), and the ratio of the standard deviations. A fit's summaries are kept in
``benchmarks/output/transport_agreement/``, and a second call computes only what is missing, unless ``--again`` names a
sampler. The exit status is 1 if a mean differs by 4 errors or more, or a standard deviation by a tenth or more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from tables import OUTPUT, save
from transport_cases import AGREEMENT, ALL

from bayesmixed._compat import dataset
from bayesmixed.posterior.diagnostics import convergence

SETTINGS: dict[str, dict[str, Any]] = {
    "transport": {},
    "nuts": {"tune": 1500, "target_accept": 0.95, "nuts_backend": "nutpie", "cores": 1},
}
Z_LIMIT, RATIO_LIMIT = 4.0, 0.1


def fit(name: str, sampler: str, draws: int, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A long run: mean, standard deviation and errors of every parameter, and how far it converged."""
    problem = ALL[name]()
    model = problem.estimator(sampler=sampler, draws=draws, random_state=seed, **SETTINGS[sampler])
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the diagnostics are part of the table
        model.fit(problem.frame)
    told = {key: model.diagnostics_[key] for key in ("max_r_hat", "min_ess_bulk", "min_ess_tail", "divergences")}
    return summaries(model), told | {"seconds": time.process_time() - started}


def summaries(model: Any) -> pd.DataFrame:
    """A row per parameter; `error` is the mean's, `sd_error` the standard deviation's, as a share of it."""
    rows = []
    for variable, values in dataset(model.idata_, "posterior").data_vars.items():
        for at in np.ndindex(values.shape[2:]):
            draws = values.values[:, :, *at]
            sd, squares = draws.std(), np.square(draws - draws.mean())
            error = sd / np.sqrt(float(convergence(draws).ess_bulk))
            sd_error = squares.std() / np.sqrt(float(convergence(squares).ess_bulk)) / (2 * sd**2)
            row = {"parameter": f"{variable}{list(at) or ''}", "mean": draws.mean(), "sd": sd}
            rows.append(row | {"error": error, "sd_error": sd_error})
    return pd.DataFrame(rows)


def kept(name: str, sampler: str, draws: int, seed: int, again: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The same, from the folder where it is there."""
    folder = OUTPUT / "transport_agreement"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace(' ', '_')}_{sampler}_{draws}_{seed}"
    told, table = folder / f"{stem}.json", folder / f"{stem}.csv"
    if again or not told.exists():
        found, diagnostics = fit(name, sampler, draws, seed)
        found.to_csv(table, index=False)
        told.write_text(json.dumps(diagnostics))
    return pd.read_csv(table), json.loads(told.read_text())


def compare(name: str, draws: int, seed: int, again: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """One problem: a line of the table, and a row per parameter."""
    (ours, told), (theirs, nuts) = (kept(name, sampler, draws, seed, again == sampler) for sampler in SETTINGS)
    both = ours.merge(theirs, on="parameter", suffixes=("", "_nuts"), validate="1:1")
    if len(both) != len(ours) or len(both) != len(theirs):
        raise RuntimeError(f"the samplers report different parameters of {name}")
    both["z"] = (both["mean"] - both["mean_nuts"]) / np.hypot(both["error"], both["error_nuts"])
    both["ratio"] = both["sd"] / both["sd_nuts"]
    both["ratio_z"] = np.log(both["ratio"]) / np.hypot(both["sd_error"], both["sd_error_nuts"])
    worst, spread = both.loc[both["z"].abs().idxmax()], both.loc[np.log(both["ratio"]).abs().idxmax()]
    line = {
        "case": name,
        "parameters": len(both),
        "max abs z": f"{abs(worst['z']):.2f} ({worst['parameter']})",
        "rms z": f"{np.sqrt(np.square(both['z']).mean()):.2f}",
        "sd ratios": f"{both['ratio'].min():.3f} to {both['ratio'].max():.3f} ({spread['parameter']})",
        "its z": f"{spread['ratio_z']:.1f}",
        "transport R-hat, ESS, CPU s": converged(told),
        "NUTS R-hat, ESS, CPU s": converged(nuts),
        "NUTS divergences": str(nuts["divergences"]),
    }
    return line, both.assign(case=name)


def converged(told: dict[str, Any]) -> str:
    """R-hat, bulk/tail, seconds of the processor."""
    sizes = f"{told['min_ess_bulk']:.0f}/{told['min_ess_tail']:.0f}"
    return f"{told['max_r_hat']:.4f}, {sizes}, {told['seconds']:.0f}"


def main() -> None:
    """Compare all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(ALL), help="these problems, of all in the module")
    parser.add_argument("--again", choices=list(SETTINGS), default="", help="fit by this sampler again")
    arguments = parser.parse_args()
    lines, every = [], []
    for name in arguments.only or AGREEMENT:
        line, both = compare(name, arguments.draws, arguments.seed, arguments.again)
        if not lines:
            print("| " + " | ".join(line) + " |\n|" + "---|" * len(line))
        print("| " + " | ".join(map(str, line.values())) + " |", flush=True)
        lines.append(line)
        every.append(both)
    table = save(pd.concat(every).to_dict("records"), "transport_agreement")
    wrong = (table["z"].abs() >= Z_LIMIT) | ((table["ratio"] - 1).abs() >= RATIO_LIMIT)
    print(f"\n{len(table)} parameters, {wrong.sum()} off, mean square of z {np.square(table['z']).mean():.2f}")
    sys.exit(int(wrong.any()))


if __name__ == "__main__":
    main()
