"""A slope on an uncentred year (2000 to 2020) against the same slope centred.

    python benchmarks/uncentred_slope.py

prints, for each seed and both origins of the year, the posterior mean of the slope's group sd, worst R-hat
and effective sample size, and the relative difference of the two sds. The data have a true sd of 0.31. Default priors
are stated at the mean of the year, so the model is the same, and only Monte Carlo noise differs.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd

import bayesmixed as bm


def simulate(n_groups=20, seed=1):
    """Linear trends of groups over 21 years, intercepts of sd 5 in 2010, slopes of sd 0.31, residual sd 2."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), 21)
    year = np.tile(np.arange(2000, 2021), n_groups)
    b = rng.normal(size=(n_groups, 2)) * [5, 0.31]
    y = 10 + b[group, 0] + (0.5 + b[group, 1]) * (year - 2010) + rng.normal(size=len(group)) * 2
    return pd.DataFrame({"year": year, "group": group, "y": y})


def slope_sd(frame, seed, backend):
    """Fit, and report the slope's sd with the warnings and diagnostics of the fit."""
    est = bm.MixedModelRegressor("y ~ year + (year | group)", sampler="nuts", random_state=seed, nuts_backend=backend)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est.fit(frame)
    sd = float(est.idata_["posterior"]["sd_group"].sel(group_effect="year").mean())
    told = sorted({w.category.__name__ for w in caught if issubclass(w.category, UserWarning)})
    return sd, est.diagnostics_, told


def main():
    """Compare the two placements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--backend", default="pymc", choices=["pymc", "nutpie"])
    arguments = parser.parse_args()
    data = simulate(arguments.groups)
    for seed in range(arguments.seeds):
        sds = {}
        for name, frame in {"centred": data.assign(year=data["year"] - 2010), "uncentred": data}.items():
            sds[name], found, told = slope_sd(frame, seed, arguments.backend)
            print(
                f"seed={seed} {name}: sd={sds[name]:.4f} divergences={found['divergences']} "
                f"max_r_hat={found['max_r_hat']:.3f} min_ess_bulk={found['min_ess_bulk']:.0f} "
                f"seconds={found['seconds']['sample']:.0f} warnings={told}",
                flush=True,
            )
        print(f"seed={seed} difference: {sds['uncentred'] / sds['centred'] - 1:+.1%}")


if __name__ == "__main__":
    main()
