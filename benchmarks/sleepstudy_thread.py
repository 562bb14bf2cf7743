"""The question that started this project: correlated effects of sleepstudy, slow and divergent; what helps.

- thread, independent: the model of the thread with independent effects, on the data's own scale, PyMC's defaults;
- thread, correlated: the same with ``pm.LKJCholeskyCov``;
- standardised: ``pm.LKJCholeskyCov`` on standardised data, our settings; as Days is centred there, the group
  covariance and its prior are those at the mean day;
- bayesmixed, NUTS: partial correlations (C-vine) separate from standard deviations, as in `build_model`;
- bayesmixed: the collapsed sampler.

    python benchmarks/sleepstudy_thread.py --seeds 10

prints one line per fit: divergences, worst R-hat and effective sample sizes over the parameters that the naming
contract keeps, seconds from data to draws and ArviZ's container, compilation included (PyTensor keeps compiled code on
disk: a first run ever is slower); then the spread over seeds. Written to ``benchmarks/output/sleepstudy_thread.csv``.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from tables import save

import bayesmixed as bm
from bayesmixed._compat import dataset, import_pymc, run_nuts
from bayesmixed.posterior.diagnostics import convergence

DATA = bm.datasets.load_sleepstudy()
PYMC_DEFAULT, OUR_DEFAULT = 0.8, 0.9  # target_accept
CODES, SUBJECTS = pd.factorize(DATA["Subject"])


def thread_model(correlated):
    """Models 1 and 2 of the thread: priors as its author wrote them."""
    pm = import_pymc()
    with pm.Model() as model:
        intercept = pm.HalfNormal("Intercept", 100)
        slope = pm.Normal("beta", 0, 100)
        z = pm.Normal("z", 0, 1, shape=(len(SUBJECTS), 2))
        if correlated:
            chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=1.0, sd_dist=pm.HalfNormal.dist(100.0, shape=2))
            b = pm.Deterministic("b", z @ chol.T)
        else:
            b = pm.Deterministic("b", z * pm.HalfNormal("sds", 100.0, shape=2))
        days = DATA["Days"].to_numpy()
        mu = intercept + slope * days + b[CODES, 0] + b[CODES, 1] * days
        pm.Normal("y", mu, pm.HalfNormal("sigma", 100), observed=DATA["Reaction"].to_numpy())
    return model


def standardised_cholesky_model():
    """The packed Cholesky factor on standardised data, with the scales of our default priors."""
    pm = import_pymc()
    y, x = DATA["Reaction"].to_numpy(), DATA["Days"].to_numpy(dtype=float)
    z_y, z_x = (y - y.mean()) / y.std(), (x - x.mean()) / x.std()
    with pm.Model() as model:
        intercept = pm.Normal("Intercept", 0, 2.5)
        slope = pm.Normal("beta", 0, 2.5)
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2.0, sd_dist=pm.HalfNormal.dist(2.5, shape=2))
        z = pm.Normal("z", 0, 1, shape=(len(SUBJECTS), 2))
        b = pm.Deterministic("b", z @ chol.T)
        mu = intercept + slope * z_x + b[CODES, 0] + b[CODES, 1] * z_x
        pm.Normal("y", mu, pm.HalfStudentT("sigma", nu=4, sigma=1), observed=z_y)
    return model


def measure(values, divergences):
    """Divergences, worst R-hat, worst bulk and tail effective sample size."""
    results = [convergence(draws) for draws in values.values()]
    return {
        "divergences": divergences,
        "max_r_hat": max(result.r_hat.max() for result in results),
        "min_ess_bulk": min(result.ess_bulk.min() for result in results),
        "min_ess_tail": min(result.ess_tail.min() for result in results),
    }


def run_plain(model, seed, backend, target_accept):
    """Fit a hand-written PyMC model."""
    settings = {"draws": 1000, "tune": 1000, "chains": 4, "cores": 2, "progressbar": False}
    trace = run_nuts(model, backend=backend, target_accept=target_accept, random_seed=seed, **settings)
    posterior = dataset(trace, "posterior")
    values = {name: posterior[name].values for name in ("Intercept", "beta", "sigma", "b")}
    values["sds"] = posterior["sds" if "sds" in posterior else "chol_stds"].values
    if "chol_corr" in posterior:
        values["corr"] = posterior["chol_corr"].values[..., 1, 0]
    return measure(values, int(dataset(trace, "sample_stats")["diverging"].sum()))


def run_ours(seed, **options):
    """Fit with our defaults; convergence warnings are part of the table."""
    est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=seed, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.ConvergenceWarning)
        est.fit(DATA, DATA["Reaction"])
    posterior = dataset(est.idata_, "posterior")
    assert not any(np.isnan(values).any() for values in posterior.data_vars.values())
    return measure({name: draws.values for name, draws in posterior.items()}, est.diagnostics_["divergences"])


def main():
    """Run the comparison and print it as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--backend", default="pymc", choices=["pymc", "nutpie"])
    arguments = parser.parse_args()
    backend = arguments.backend
    runs = {
        "thread, independent": lambda seed: run_plain(thread_model(False), seed, backend, PYMC_DEFAULT),
        "thread, correlated": lambda seed: run_plain(thread_model(True), seed, backend, PYMC_DEFAULT),
        "standardised": lambda seed: run_plain(standardised_cholesky_model(), seed, backend, OUR_DEFAULT),
        "bayesmixed, NUTS": lambda seed: run_ours(seed, sampler="nuts", nuts_backend=backend),
        "bayesmixed": run_ours,
    }
    rows = []
    for seed in range(arguments.seeds):
        for name, run in runs.items():
            started = time.perf_counter()
            row = {"model": name, "seed": seed, **run(seed), "seconds": time.perf_counter() - started}
            rows.append(row)
            print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
    table = save(rows, "sleepstudy_thread").drop(columns="seed").groupby("model", sort=False)
    print(table.agg(["min", "median", "max"]).T.unstack().round(4).to_string())


if __name__ == "__main__":
    main()
