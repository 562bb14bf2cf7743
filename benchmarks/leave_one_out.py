"""Leave-one-out from one fit, with effects integrated out or not, against fits without each row.

    python benchmarks/leave_one_out.py

For each data set: ``loo``, whose pointwise log likelihood has the effects integrated out; ArviZ's estimate from the
conditional log likelihood, which other packages use; and the truth, one fit without each row (same priors), whose
draws give the row's density. Prints elpd, its standard error, the number of Pareto k-hat above 0.7, and the root mean
square and sum of the pointwise differences from the truth.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from problems import SMALL, Problem
from scipy import stats
from scipy.special import logsumexp
from tables import save, show

import bayesmixed as bm
from bayesmixed import _compat
from bayesmixed.estimators import after_fit
from bayesmixed.estimators.inputs import fitted_rows

DATA = ("sleepstudy", "one-row groups", "Dyestuff", "Penicillin")


def fit(problem: Problem, frame: pd.DataFrame, **options: Any) -> bm.MixedModelRegressor:
    """Fit with the collapsed sampler."""
    return bm.MixedModelRegressor(problem.formula, sampler="collapsed", random_state=0, **options).fit(frame)


def conditional(est: bm.MixedModelRegressor, frame: pd.DataFrame) -> Any:
    """ArviZ's estimate from the densities given each draw's effects."""
    import xarray as xr  # noqa: PLC0415

    design, obs = fitted_rows(est, frame, None, None)
    chains, draws = est._posterior.draws.shape
    values = after_fit.conditional_log_density(est._posterior, design, np.arange(chains * draws))
    data = xr.Dataset({"y": (("chain", "draw", "obs"), values.reshape(chains, draws, -1))}, {"obs": obs})
    return _compat.loo(data, 1.0)


def exact(problem: Problem, frame: pd.DataFrame, est: bm.MixedModelRegressor) -> np.ndarray:
    """Log density of each row under the fit without it."""
    response = problem.formula.split("~")[0].strip()
    found = []
    for i in range(len(frame)):
        without = fit(problem, frame.drop(frame.index[i]), priors=est.priors_)
        mu = without.predict_draws(frame.iloc[[i]], kind="mean").values.ravel()
        sigma = without.idata_["posterior"]["sigma"].values.ravel()
        found.append(logsumexp(stats.norm.logpdf(frame[response].iloc[i], mu, sigma)) - np.log(len(mu)))
    return np.array(found)


def pointwise(result: Any) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Elpd, standard error, pointwise values and k-hat of ArviZ's result, 0.x or 1.x."""
    values = result.loo_i if hasattr(result, "loo_i") else result.elpd_i
    elpd = result.elpd_loo if hasattr(result, "elpd_loo") else result.elpd
    return float(elpd), float(result.se), np.asarray(values), np.asarray(result.pareto_k)


def compare(name: str) -> list[dict[str, Any]]:
    """The three versions on one data set."""
    problem = SMALL[name]()
    frame = problem.frame.reset_index(drop=True)
    est = fit(problem, frame)
    truth = exact(problem, frame, est)
    se = np.sqrt(len(truth) * truth.var())
    rows = [{"data": name, "rows": len(frame), "version": "fits without each row", "elpd": truth.sum(), "se": se}]
    for version, result in (("loo", est.loo(frame)), ("conditional", conditional(est, frame))):
        elpd, se, values, k_hat = pointwise(result)
        off = values - truth
        own = {"k > 0.7": int((k_hat > 0.7).sum()), "rms off": np.sqrt(np.mean(off**2)), "sum off": off.sum()}
        rows.append({"data": name, "rows": len(frame), "version": version, "elpd": elpd, "se": se, **own})
    return rows


def main() -> None:
    """All data sets."""
    warnings.filterwarnings(
        "ignore", message="Estimated shape parameter", category=UserWarning
    )  # k-hat is in the table
    warnings.filterwarnings("ignore", message="grouping factor .* has as many levels", category=UserWarning)
    table = save([row for name in DATA for row in compare(name)], "leave_one_out")
    show(table)


if __name__ == "__main__":
    main()
