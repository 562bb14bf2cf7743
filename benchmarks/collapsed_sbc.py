"""Simulation-based calibration of the collapsed sampler: ranks of true parameters among posterior draws.

    python benchmarks/collapsed_sbc.py --replications 400

draws parameters from explicit priors, then data for a fixed design, and fits them with the same priors. Among 99
thinned draws the rank of each true parameter is uniform on 0 to 99 (Talts et al., 2018, Validating Bayesian inference
algorithms with simulation-based calibration, arXiv:1804.06788). Prints for every parameter the p-value of a
chi-square test of the ranks in 20 bins and the z score of the mean rank, and per design how many data sets the
sampler refused. These are left out: given the data, true and drawn parameters are alike, so ranks stay uniform.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from tables import save, show

import bayesmixed as bm
from bayesmixed._compat import dataset
from bayesmixed.errors import SamplerError

RANKS, BINS = 100, 20
ETA = 2.0
PRIORS = {"Intercept": bm.Normal(1, 2), "beta": bm.Normal(0.5, 1), "sigma": bm.HalfStudentT(5, 1)}


class Case(NamedTuple):
    """A design: `slopes` are the columns of Z beside the intercept, by factor; levels in sorted order."""

    formula: str
    frame: pd.DataFrame
    slopes: dict[str, tuple[str, ...]]
    sd_prior: bm.HalfNormal | bm.Exponential = bm.HalfNormal(1)

    @property
    def priors(self) -> dict[str, Any]:
        """The prior of every parameter; nothing is left to the defaults, which depend on the data."""
        return PRIORS | {f"sd_{factor}": self.sd_prior for factor in self.slopes}

    def codes(self, factor: str) -> np.ndarray:
        """Level of every row, numbered in sorted order."""
        return self.frame.groupby(factor.split(":")).ngroup().to_numpy()


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


def draw_prior(prior: bm.Normal | bm.HalfNormal | bm.HalfStudentT | bm.Exponential, rng: np.random.Generator) -> float:
    """One draw."""
    match prior:
        case bm.Normal(mu=mu, sigma=sigma):
            return rng.normal(mu, sigma)
        case bm.HalfNormal(sigma=sigma):
            return abs(rng.normal(0, sigma))
        case bm.HalfStudentT(nu=nu, sigma=sigma):
            return abs(rng.standard_t(nu)) * sigma
        case bm.Exponential(rate=rate):
            return rng.exponential(1 / rate)
    raise TypeError(prior)


def draw_lkj(q: int, rng: np.random.Generator) -> np.ndarray:
    """A correlation matrix with density proportional to det(R)^(ETA - 1), by rejection from the cube."""
    while True:
        R = np.eye(q)
        R[np.triu_indices(q, 1)] = rng.uniform(-1, 1, q * (q - 1) // 2)
        R = np.triu(R) + np.triu(R, 1).T
        if np.linalg.eigvalsh(R)[0] > 0 and rng.random() < np.linalg.det(R) ** (ETA - 1):
            return R


def simulate(case: Case, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
    """Draw parameters from their priors, and a response; returns the response and the parameters that are ranked."""
    frame = case.frame
    x = frame["x"].to_numpy()
    truth = {name: draw_prior(prior, rng) for name, prior in PRIORS.items()}
    y = truth["Intercept"] + truth["beta"] * x + truth["sigma"] * rng.normal(size=len(frame))
    for factor, slopes in case.slopes.items():
        codes = case.codes(factor)
        Z = np.column_stack([np.ones(len(frame)), frame[list(slopes)]])
        sds = np.array([draw_prior(case.sd_prior, rng) for _ in Z.T])
        R = draw_lkj(len(sds), rng)
        b = rng.normal(size=(codes.max() + 1, len(sds))) @ np.linalg.cholesky(np.outer(sds, sds) * R).T
        y += (Z * b[codes]).sum(axis=1)
        pairs = R[np.triu_indices(len(sds), 1)]
        truth |= numbered(f"sd_{factor}", sds) | numbered(f"corr_{factor}", pairs) | numbered(f"b_{factor}", b[0])
    return y, truth


def numbered(name: str, values: np.ndarray) -> dict[str, Any]:
    """Names of the entries of the last axis."""
    return {f"{name}[{i}]": values[..., i] for i in range(values.shape[-1])}


def ranks(case: Case, seed: int) -> dict[str, int] | None:
    """Simulate, fit, and rank; None if the sampler refuses the data."""
    y, truth = simulate(case, np.random.default_rng([seed, 1]))
    model = bm.MixedModelRegressor(
        case.formula, priors=case.priors, lkj_eta=ETA, sampler="collapsed", random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            posterior = dataset(model.fit(case.frame.assign(y=y)).idata_, "posterior")
        except SamplerError:
            return None
    draws = {}
    for name, variable in posterior.data_vars.items():
        values = variable.values.reshape(-1, *variable.shape[2:])
        values = values[:: len(values) // RANKS][: RANKS - 1]
        if values.ndim == 1:
            draws[name] = values
        elif name == "beta":
            draws[name] = values[:, 0]
        else:
            draws |= numbered(name, values[:, 0] if values.ndim == 3 else values)  # of b, the first level's
    assert draws.keys() == truth.keys()
    return {name: int((draws[name] < true).sum()) for name, true in truth.items()}


def test(found: pd.Series) -> dict[str, float]:
    """Test ranks for uniformity."""
    counts = np.bincount(found // (RANKS // BINS), minlength=BINS)
    z = (found.mean() - (RANKS - 1) / 2) / np.sqrt((RANKS**2 - 1) / 12 / len(found))
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
        kept = pd.DataFrame([row for row in found if row is not None])
        every += kept.assign(design=name).to_dict("records")
        rows = [{"design": name, "parameter": key, "fits": len(kept), **test(kept[key])} for key in kept]
        show(pd.DataFrame(rows))
        print(f"{len(found) - len(kept)} refused, {time.perf_counter() - started:.0f} s\n", flush=True)
        results += rows
        save(every, f"sbc_ranks{suffix}")
    table = save(results, f"sbc{suffix}")
    uniform = stats.kstest(table["p"], "uniform").pvalue
    print(f"{len(table)} p-values, least {table['p'].min():.3g}, {(table['p'] < 0.05).sum()} below 0.05; ", end="")
    print(f"greatest |z| {table['z of mean'].abs().max():.2f}; p-values uniform: p = {uniform:.2f}")


if __name__ == "__main__":
    main()
