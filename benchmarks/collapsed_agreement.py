"""The collapsed sampler against long runs of NUTS, and both against quadrature.

    python benchmarks/collapsed_agreement.py

prints, per problem, the greatest |z| between the posterior means of the two samplers (counting both Monte Carlo errors)
over standard deviations, correlations, sigma, Intercept, beta and the first five groups' effects; the range of the
ratios of posterior standard deviations; the seconds of both; and how well NUTS itself converged. Then, for problems
with only a few standard deviations, the results of quadrature over a grid of them next to those of both samplers, and
the errors of the collapsed sampler over many seeds.
"""

from __future__ import annotations

import argparse
import time
import warnings
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
from problems import SMALL, Problem
from tables import save, show

import bayesmixed as bm
from bayesmixed._compat import dataset
from bayesmixed.errors import SamplerError
from bayesmixed.posterior.diagnostics import convergence

CASES = ["sleepstudy", "sleepstudy independent", "Dyestuff", "Penicillin", "Pastes", "J=6 q=4", "one-row groups"]
LONG = {
    "collapsed": {},
    "nuts": {"tune": 1500, "target_accept": 0.95, "nuts_backend": "nutpie"},
}
DRAWS = {"collapsed": (4000, 2000, 1000), "nuts": (2500,)}  # the first that the sampler does not refuse
GROUPS = 5


def fit(problem: Problem, sampler: str, seed: int) -> tuple[bm.MixedModelRegressor, float]:
    """A long run; returns the fit and its seconds. Its diagnostics are part of the table, so nothing warns."""
    for draws in DRAWS[sampler]:
        model = bm.MixedModelRegressor(
            problem.formula, sampler=sampler, draws=draws, random_state=seed, **problem.options, **LONG[sampler]
        )
        started = time.perf_counter()
        with warnings.catch_warnings(), suppress(SamplerError):
            warnings.simplefilter("ignore")
            return model.fit(problem.frame), time.perf_counter() - started
        print(f"refused with {draws} draws per chain", flush=True)
    raise RuntimeError("the sampler refuses the problem")


def quantities(model: bm.MixedModelRegressor) -> dict[str, np.ndarray]:
    """Draws of all parameters that are compared, each of shape (chain, draw)."""
    found = {}
    for name, variable in dataset(model.idata_, "posterior").data_vars.items():
        values = variable.values[:, :, :GROUPS] if name.startswith("b_") else variable.values
        for at in np.ndindex(values.shape[2:]):
            found[f"{name}{list(at) or ''}"] = values[:, :, *at]
    return found


def variance_of_mean(draws: np.ndarray) -> float:
    """Squared Monte Carlo error of a mean."""
    return draws.var() / float(convergence(draws).ess_bulk)


def compare(name: str, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One problem: the line that is printed, and a row per parameter."""
    (collapsed, seconds), (nuts, seconds_nuts) = (fit(SMALL[name](), sampler, seed) for sampler in LONG)
    ours, theirs = quantities(collapsed), quantities(nuts)
    rows = []
    for key, draws in ours.items():
        other = theirs[key]
        z = (draws.mean() - other.mean()) / np.sqrt(variance_of_mean(draws) + variance_of_mean(other))
        row = {"mean": draws.mean(), "mean_nuts": other.mean(), "sd": draws.std(), "sd_nuts": other.std(), "z": z}
        rows.append({"problem": name, "parameter": key, **row})
    worst = max(rows, key=lambda row: abs(row["z"]))
    ratios = [row["sd"] / row["sd_nuts"] for row in rows]
    info = nuts.diagnostics_
    return {
        "problem": name,
        "parameters": len(rows),
        "max |z|": abs(worst["z"]),
        "of": worst["parameter"],
        "|z| > 2": sum(abs(row["z"]) > 2 for row in rows),
        "sd ratio": f"{min(ratios):.3f}-{max(ratios):.3f}",
        "draws": collapsed.draws,
        "seconds": seconds,
        "NUTS": seconds_nuts,
        "its R-hat": info["max_r_hat"],
        "bulk": info["min_ess_bulk"],
        "tail": info["min_ess_tail"],
        "divergences": info["divergences"],
    }, rows


class Grid:
    """The posterior of all standard deviations of a model with group intercepts only, on a grid of their logarithms.

    Parameters
    ----------
    problem : Problem
        Its common part is an intercept with a normal prior.
    priors : bm.Priors
    ranges : dict of str to (float, float)
        By factor, then ``"sigma"``: least and greatest standard deviation.
    step : float
        Of the logarithms. The densities are smooth and end near zero, so that sums converge fast.
    """

    def __init__(self, problem: Problem, priors: bm.Priors, ranges: dict[str, tuple[float, float]], step: float):
        # midpoints of intervals that end at a multiple of the step, as at log 1 = 0: P(sd > 1) is then as exact
        axes = [(np.arange(*np.floor(np.log(ends) / step)) + 0.5) * step for ends in ranges.values()]
        points = np.exp(np.array(list(product(*axes))))
        self.sds = dict(zip(ranges, points.T, strict=True))
        log_p = np.log(points).sum(axis=1)  # of the logarithms
        for factor, sd in self.sds.items():
            prior = priors.auxiliary["sigma"] if factor == "sigma" else priors.group_sd[factor]["Intercept"]
            log_p = log_p + prior.log_density(sd)
        y = problem.frame[problem.formula.split(" ~ ")[0]].to_numpy()
        same = [_same_level(problem, factor) for factor in ranges]
        constant = priors.intercept.sigma**2 * np.ones((len(y), len(y)))
        residual = y - priors.intercept.mu
        for start in range(0, len(points), 20_000):
            variances = np.square(points[start : start + 20_000])
            L = np.linalg.cholesky(constant + np.tensordot(variances, same, axes=1))
            z = np.linalg.solve(L, np.broadcast_to(residual[:, None], (len(L), len(y), 1)))
            log_det = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
            log_p[start : start + 20_000] -= log_det + 0.5 * np.square(z).sum(axis=(1, 2))
        self.p = np.exp(log_p - log_p.max())
        self.p /= self.p.sum()

    def mean(self, values: np.ndarray) -> float:
        """Posterior mean of a function at the grid's points."""
        return float(self.p @ values)


def _same_level(problem: Problem, factor: str) -> np.ndarray:
    """Z Z' of a factor; the identity for the residual."""
    if factor == "sigma":
        return np.eye(len(problem.frame))
    codes = problem.frame.groupby(factor.split(":")).ngroup().to_numpy()
    return (codes[:, None] == codes).astype(float)


GRIDS = {
    "Dyestuff2": ({"Batch": (1e-6, 1e3), "sigma": (0.5, 50)}, 0.1),
    "Penicillin": ({"plate": (0.3, 2.5), "sample": (0.3, 25), "sigma": (0.38, 0.82)}, 0.06),
    "bimodal": ({"batch": (1e-8, 1e5), "batch:cask": (1e-6, 1e5), "sigma": (0.2, 5)}, 0.15),
}


def over_seeds(name: str, seeds: int) -> list[dict[str, Any]]:
    """Means of the collapsed sampler against a grid, many times: their z scores should have mean 0 and variance 1."""
    problem = SMALL[name]()
    models = [fit(problem, "collapsed", seed)[0] for seed in range(seeds)]
    grid = Grid(problem, models[0].priors_, *GRIDS[name])
    rows = []
    for factor, sd in grid.sds.items():
        key = factor if factor == "sigma" else f"sd_{factor}[0]"
        draws = [quantities(model)[key] for model in models]
        z = np.array([(some.mean() - grid.mean(sd)) / np.sqrt(variance_of_mean(some)) for some in draws])
        numbers = {"z of their mean": z.mean() * np.sqrt(seeds), "mean z^2": np.square(z).mean()}
        rows.append({"problem": name, "parameter": key, "fits": seeds, **numbers, "max |z|": np.abs(z).max()})
    return rows


def against_quadrature(name: str, seed: int) -> list[dict[str, Any]]:
    """Both samplers against a grid: a row per number."""
    problem = SMALL[name]()
    models = {sampler: fit(problem, sampler, seed)[0] for sampler in LONG}
    posteriors = {sampler: quantities(model) for sampler, model in models.items()}
    grid = Grid(problem, models["nuts"].priors_, *GRIDS[name])
    rows = []
    for factor, sd in grid.sds.items():
        key = factor if factor == "sigma" else f"sd_{factor}[0]"
        exact = grid.mean(sd)
        numbers = {
            "mean": (lambda sd: sd, float),
            "sd": (lambda sd, mean=exact: np.square(sd - mean), np.sqrt),
            "P(. > 1)": (lambda sd: (sd > 1.0).astype(float), float),
        }
        for label, (function, root) in numbers.items():
            exact = grid.mean(function(sd))
            row: dict[str, Any] = {"problem": name, "parameter": key, "number": label, "quadrature": root(exact)}
            for sampler, posterior in posteriors.items():
                draws = function(posterior[key])
                error = np.sqrt(variance_of_mean(draws))
                row |= {sampler: root(draws.mean()), f"{sampler} z": (draws.mean() - exact) / error if error else 0.0}
            rows.append(row)
    nuts = models["nuts"].diagnostics_
    told = {key: nuts[key] for key in ("max_r_hat", "min_ess_bulk", "min_ess_tail", "divergences")}
    print(f"NUTS on {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in told.items()), flush=True)
    return rows


def main() -> None:
    """Compare all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quadrature-seeds", type=int, default=30)
    parser.add_argument("--only-quadrature", action="store_true")
    arguments = parser.parse_args()
    fit(SMALL["Dyestuff"](), "collapsed", 0)  # what is imported at the first fit is not timed
    lines, every = [], []
    for name in [] if arguments.only_quadrature else CASES:
        line, rows = compare(name, arguments.seed)
        lines.append(line)
        every += rows
        print(f"{name}: max |z| {line['max |z|']:.2f}", flush=True)
    if lines:
        show(save(lines, "agreement"))
        save(every, "agreement_parameters")
        z = np.array([row["z"] for row in every])
        print(f"{len(z)} parameters, mean square of z {np.square(z).mean():.2f}\n")
    show(save([row for name in GRIDS for row in against_quadrature(name, arguments.seed)], "agreement_quadrature"))
    print()
    show(save([row for name in GRIDS for row in over_seeds(name, arguments.quadrature_seeds)], "agreement_seeds"))


if __name__ == "__main__":
    main()
