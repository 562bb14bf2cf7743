"""Simulation-based calibration of the collapsed sampler: ranks of true parameters among posterior draws.

    python benchmarks/collapsed_sbc.py --replications 400

draws parameters from explicit priors, then data for a fixed design, and fits them with the same priors. Among 99
thinned draws the rank of each true parameter is uniform on 0 to 99 (Talts et al., 2018, Validating Bayesian inference
algorithms with simulation-based calibration, arXiv:1804.06788). Prints for every parameter the p-value of a
chi-square test of the ranks in 20 bins and the z score of the mean rank, and per design how many data sets the
sampler rejected. These are left out: given the data, true and drawn parameters have the same distribution, so ranks
stay uniform.

The log likelihood of all rows is ranked like a parameter: it sees what single parameters do not, such as draws that
ignore the data or each other (Modrák et al., 2025, Simulation-based calibration checking for Bayesian computation:
the choice of test quantities shapes sensitivity, arXiv:2211.02383).

`calibration.py` does the same for both samplers and both group priors in one of these designs, with a figure.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from calibration_bands import histogram
from scipy import stats
from tables import save, show

import bayesmixed as bm
from bayesmixed._compat import dataset
from bayesmixed.errors import SamplerError
from bayesmixed.posterior.diagnostics import convergence

RANKS, BINS = 100, 20
LONGER = 3  # times that a fit is made again with twice the draws, where these are too dependent
ETA = 2.0
PRIORS = {"Intercept": bm.Normal(1, 2), "beta": bm.Normal(0.5, 1), "sigma": bm.HalfStudentT(5, 1)}


class Case(NamedTuple):
    """A design: `slopes` are the columns of Z beside the intercept, by factor; levels in sorted order."""

    formula: str
    frame: pd.DataFrame
    slopes: dict[str, tuple[str, ...]]
    sd_prior: bm.HalfNormal | bm.Exponential = bm.HalfNormal(1)
    group_prior: str = "lkj"

    @property
    def priors(self) -> bm.Priors:
        """The prior of every parameter; nothing is left to the defaults, which depend on the data."""
        correlated = self.slopes if self.group_prior == "lkj" else {}
        return bm.Priors(
            intercept=PRIORS["Intercept"],
            common={"x": PRIORS["beta"]},
            group_sd={f: dict.fromkeys(("Intercept", *slopes), self.sd_prior) for f, slopes in self.slopes.items()},
            lkj_eta={factor: ETA for factor, slopes in correlated.items() if slopes},
            auxiliary={"sigma": PRIORS["sigma"]},
        )  # not swept: all are priors of the parameters as written

    def codes(self, factor: str) -> np.ndarray:
        """Level of every row, numbered in sorted order."""
        return self.frame.groupby(factor.split(":")).ngroup().to_numpy()

    def effects(self, factor: str, b: np.ndarray) -> np.ndarray:
        """What effects (..., level, effect) of a factor add to the mean of every row, (..., row)."""
        Z = np.column_stack([np.ones(len(self.frame)), self.frame[list(self.slopes[factor])]])
        return np.einsum("...ij,ij->...i", b[..., self.codes(factor), :], Z)

    def simulate(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Draw parameters from their priors, and a response; returns it and the quantities that are ranked."""
        x = self.frame["x"].to_numpy()
        truth = {name: draw_prior(prior, rng) for name, prior in PRIORS.items()}
        mean = truth["Intercept"] + truth["beta"] * x
        noise = truth["sigma"] * rng.normal(size=len(x))
        added, drawn = self.draw_effects(rng)
        return mean + added + noise, truth | drawn | {"log_likelihood": log_likelihood(noise, truth["sigma"])}

    def draw_effects(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Draw group effects with their sds and correlations; returns what they add to the mean, and what is ranked."""
        added, truth = np.zeros(len(self.frame)), {}
        for factor, slopes in self.slopes.items():
            sds = np.array([draw_prior(self.sd_prior, rng) for _ in ("Intercept", *slopes)])
            R = draw_lkj(len(sds), rng) if self.group_prior == "lkj" else np.eye(len(sds))
            b = rng.normal(size=(self.codes(factor).max() + 1, len(sds))) @ np.linalg.cholesky(np.outer(sds, sds) * R).T
            added += self.effects(factor, b)
            pairs = R[np.triu_indices(len(sds), 1)] if self.group_prior == "lkj" else np.empty(0)
            truth |= numbered(f"sd_{factor}", sds) | numbered(f"corr_{factor}", pairs) | numbered(f"b_{factor}", b[0])
        return added, truth

    def linear_predictor(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Of every row at draws of the posterior, (chain, draw, row)."""
        mean = values["Intercept"][..., None] + values["beta"] * self.frame["x"].to_numpy()
        return mean + sum(self.effects(factor, values[f"b_{factor}"]) for factor in self.slopes)

    def quantities(self, y: np.ndarray, posterior: Any) -> dict[str, np.ndarray]:
        """Draws (chain, draw) of what is ranked; of group effects, the first level's."""
        values = {name: variable.values for name, variable in posterior.data_vars.items()}
        residuals = y - self.linear_predictor(values)
        return {"log_likelihood": log_likelihood(residuals, values["sigma"]), **scalars(values)}


def scalars(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draws (chain, draw) of single parameters, from those of the variables; of group effects, the first level's."""
    draws: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if name == "beta":
            draws[name] = value[..., 0]
        elif value.ndim == 2:
            draws[name] = value
        else:
            draws |= numbered(name, value[:, :, 0] if value.ndim == 4 else value)
    return draws


def one_effect() -> Case:
    """6 groups of 4 rows."""
    frame = pd.DataFrame({"g": np.repeat(np.arange(6), 4), "x": np.random.default_rng(1).normal(size=24)})
    return Case("y ~ x + (1 | g)", frame, {"g": ()}, bm.Exponential(1))


def two_effects() -> Case:
    """8 groups of 5 rows, correlated intercepts and slopes."""
    frame = pd.DataFrame({"g": np.repeat(np.arange(8), 5), "x": np.random.default_rng(2).normal(size=40)})
    return Case("y ~ x + (x | g)", frame, {"g": ("x",)})


def crossed() -> Case:
    """5 x 4, once each."""
    g, h = np.divmod(np.arange(20), 4)
    frame = pd.DataFrame({"g": g, "h": h, "x": np.random.default_rng(3).normal(size=20)})
    return Case("y ~ x + (1 | g) + (1 | h)", frame, {"g": (), "h": ()})


def nested() -> Case:
    """3 groups of 3 subgroups of 3 rows."""
    g, h = np.divmod(np.repeat(np.arange(9), 3), 3)
    frame = pd.DataFrame({"g": g, "h": h, "x": np.random.default_rng(4).normal(size=27)})
    return Case("y ~ x + (1 | g/h)", frame, {"g": (), "g:h": ()})


def far_slope() -> Case:
    """8 groups of 5 rows, the slope's column far from zero: the sampler works at its mean, the priors hold at zero."""
    x = 4 + np.random.default_rng(5).normal(size=40)
    return Case("y ~ x + (x | g)", pd.DataFrame({"g": np.repeat(np.arange(8), 5), "x": x}), {"g": ("x",)})


def three_effects() -> Case:
    """10 groups of 6 rows, three correlated effects."""
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 6), "x": rng.normal(size=60), "z": rng.normal(size=60)})
    return Case("y ~ x + (x + z | g)", frame, {"g": ("x", "z")})


CASES = {
    "a: one effect": one_effect,
    "b: two effects": two_effects,
    "c: crossed": crossed,
    "d: nested": nested,
    "e: far slope": far_slope,
    "f: three effects": three_effects,
}


def draw_prior(prior: Any, rng: np.random.Generator) -> float:
    """One draw of a prior."""
    match prior:
        case bm.Normal(mu=mu, sigma=sigma):
            return rng.normal(mu, sigma)
        case bm.HalfNormal(sigma=sigma):
            return abs(rng.normal(0, sigma))
        case bm.HalfStudentT(nu=nu, sigma=sigma):
            return abs(rng.standard_t(nu)) * sigma
        case bm.Exponential(rate=rate):
            return rng.exponential(1 / rate)
        case bm.LogNormal(mu=mu, sigma=sigma):
            return rng.lognormal(mu, sigma)
        case bm.Gamma(alpha=alpha, beta=beta):
            return rng.gamma(alpha) / beta
    raise TypeError(prior)


def draw_lkj(q: int, rng: np.random.Generator) -> np.ndarray:
    """A correlation matrix with density proportional to det(R)^(ETA - 1), by rejection from the cube."""
    while True:
        R = np.eye(q)
        R[np.triu_indices(q, 1)] = rng.uniform(-1, 1, q * (q - 1) // 2)
        R = np.triu(R) + np.triu(R, 1).T
        if np.linalg.eigvalsh(R)[0] > 0 and rng.random() < np.linalg.det(R) ** (ETA - 1):
            return R


def numbered(name: str, values: np.ndarray) -> dict[str, Any]:
    """Names of the entries of the last axis."""
    return {f"{name}[{i}]": values[..., i] for i in range(values.shape[-1])}


def log_likelihood(residuals: np.ndarray, sigma: Any) -> Any:
    """Joint log density of the rows (..., row), but for a constant."""
    return -np.square(residuals).sum(axis=-1) / (2 * sigma**2) - residuals.shape[-1] * np.log(sigma)


class Simulated(Protocol):
    """What `ranks` asks of a design."""

    formula: str
    group_prior: str

    @property
    def frame(self) -> pd.DataFrame: ...

    @property
    def priors(self) -> bm.Priors: ...

    def simulate(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]: ...

    def quantities(self, y: np.ndarray, posterior: Any) -> dict[str, np.ndarray]: ...


def draw(case: Simulated, y: np.ndarray, seed: int, events: Counter[str], settings: dict[str, Any]) -> Any:
    """Fit and count what the fit says; returns the posterior, None if the sampler refuses the data."""
    make = bm.MixedModelClassifier if "classes" in settings else bm.MixedModelRegressor
    model = make(case.formula, group_prior=case.group_prior, priors=case.priors, random_state=seed, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", bm.ConvergenceWarning)
        try:
            posterior = dataset(model.fit(case.frame.assign(y=y)).idata_, "posterior")
        except SamplerError as error:
            events[f"refused: {error}"] += 1
            return None
    events["ConvergenceWarning"] += len(caught)
    events["divergences"] += model.diagnostics_["divergences"]
    return posterior


def ranks(
    case: Simulated, seed: int, n_ranks: int = RANKS, settings: dict[str, Any] | None = None
) -> tuple[dict[str, int] | None, Counter[str]]:
    """Simulate, fit, and rank among `n_ranks - 1` draws; a fit whose draws are worth fewer is made again, longer.

    Returns
    -------
    ranks : dict of str to int, or None
        None if the sampler refuses the data.
    events : Counter
        How often the sampler refused (and why), warned, diverged, was run again, and ended with draws that are too
        dependent.
    """
    y, truth = case.simulate(np.random.default_rng([seed, 1]))
    settings = {"sampler": "collapsed", "draws": 1000} | (settings or {})
    events: Counter[str] = Counter()
    for longer in range(LONGER + 1):
        more = {"draws": settings["draws"] * 2**longer}
        posterior = draw(case, y, seed + 1_000_000 * longer, events, settings | more)
        if posterior is None:
            return None, events
        draws = case.quantities(y, posterior)
        assert draws.keys() == truth.keys()
        found = convergence(np.stack(list(draws.values()), axis=-1))
        if min(found.ess_bulk.min(), found.ess_tail.min()) >= n_ranks - 1:
            break
        events["run again" if longer < LONGER else "dependent"] += 1
    step = draws["log_likelihood"].size // n_ranks
    thinned = {name: values.ravel()[::step][: n_ranks - 1] for name, values in draws.items()}
    return {name: int((thinned[name] < true).sum()) for name, true in truth.items()}, events


def test(found: pd.Series, n_ranks: int, bins: int) -> dict[str, float]:
    """Test ranks for uniformity."""
    counts = histogram(found.to_numpy(), n_ranks, bins)
    z = (found.mean() - (n_ranks - 1) / 2) / np.sqrt((n_ranks**2 - 1) / 12 / len(found))
    return {"p": stats.chisquare(counts).pvalue, "z of mean": z}


def main() -> None:
    """Calibrate all designs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--first-seed", type=int, default=0, help="other seeds are other replications")
    parser.add_argument("--case", choices=list(CASES), help="default: all")
    arguments = parser.parse_args()
    suffix = f"_{arguments.case[0]}" if arguments.case else ""
    results, every = [], []
    for name in [arguments.case] if arguments.case else CASES:
        case, started = CASES[name](), time.perf_counter()
        first = arguments.first_seed
        found = [ranks(case, seed) for seed in range(first, first + arguments.replications)]
        kept = pd.DataFrame([row for row, _ in found if row is not None])
        events = sum((counted for _, counted in found), Counter())
        every += kept.assign(design=name).to_dict("records")
        rows = [{"design": name, "parameter": key, "fits": len(kept), **test(kept[key], RANKS, BINS)} for key in kept]
        show(pd.DataFrame(rows))
        said = ", ".join(f"{n} {event}" for event, n in events.items())
        print(f"{said or 'no warnings'}, {time.perf_counter() - started:.0f} s\n", flush=True)
        results += rows
        save(every, f"sbc_ranks{suffix}")
    table = save(results, f"sbc{suffix}")
    uniform = stats.kstest(table["p"], "uniform").pvalue
    print(f"{len(table)} p-values, least {table['p'].min():.3g}, {(table['p'] < 0.05).sum()} below 0.05; ", end="")
    print(f"greatest |z| {table['z of mean'].abs().max():.2f}; p-values uniform: p = {uniform:.2f}")


if __name__ == "__main__":
    main()
