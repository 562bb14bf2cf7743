"""Simulation-based calibration with priors stated on swept columns, for both samplers.

    python benchmarks/swept_sbc.py --sampler collapsed --replications 300
    python benchmarks/swept_sbc.py --sampler nuts --replications 300     # an hour on one processor; it may be stopped

Two designs whose columns are far from zero: ``arm*year + (1 | g)`` with the years 2010 to 2017, and the correlated
block ``x + (x + z | g)`` with x about 30. Parameters are drawn from default-like priors of the *swept* columns, which
are computed here by least squares on the rows, and ranked as they are reported: intercept, coefficients, standard
deviations and correlations as the formula is written (see `collapsed_sbc.py` for the method).

Ranks are appended to ``benchmarks/output/swept_sbc_<sampler>.csv`` as they come; a second call continues after the last
one. Prints for every quantity the p-value of a chi-square test of its ranks, that of the simultaneous band of their
distribution, and the z score of the mean rank. A fit that the sampler rejects counts as a failure; the exit status is 1
if there is one, or if the ranks of a quantity leave their 99.9 % band.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from calibration_bands import p_value
from collapsed_sbc import Simulated, draw_lkj, draw_prior, log_likelihood, numbered, ranks, test
from tables import OUTPUT, show

import bayesmixed as bm
from bayesmixed.estimators.inputs import learn
from bayesmixed.priors.defaults import default_priors

SETTINGS: dict[str, dict[str, Any]] = {
    "collapsed": {"sampler": "collapsed", "draws": 1000, "chains": 4},
    "nuts": {"sampler": "nuts", "nuts_backend": "pymc", "draws": 400, "tune": 300, "chains": 1, "cores": 1},
}
N_RANKS = {"collapsed": 100, "nuts": 50}
BINS = 10
REFUSED = "refused"  # begins what stands in place of a parameter where the sampler refused a fit
GROSS = 0.001


@dataclass(frozen=True)
class SweptCase:
    """A design: `common` and `block` are its columns, each with the columns that it is swept of beside an intercept."""

    name: str
    formula: str
    frame: pd.DataFrame
    common: dict[str, tuple[str, ...]]
    block: dict[str, tuple[str, ...]]
    group_prior: str = "lkj"

    @cached_property
    def priors(self) -> bm.Priors:
        """Default priors of a response of mean 0 and sd 1, and group sds that are not much above sigma's."""
        y = np.tile([-1.0, 1.0], len(self.frame) // 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            learned = learn(bm.MixedModelRegressor(self.formula), self.frame.assign(y=y), None, None, True)
        priors = default_priors(learned.design, learned.model[1])
        sds = {name: bm.HalfNormal(prior.sigma / 2.5) for name, prior in priors.group_sd["g"].items()}
        return replace(priors, group_sd={"g": sds})

    def columns(self, names: dict[str, tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """Columns with the intercept first, and T, by least squares on the rows: ``swept = columns @ T``."""
        one = np.ones(len(self.frame))
        X = np.column_stack([one, *(np.prod(self.frame[name.split(":")], axis=1) for name in names)])
        order = ["Intercept", *names]
        T = np.eye(len(order))
        for j, of in enumerate(names.values(), start=1):
            at = [0, *(order.index(name) for name in of)]
            T[at, j] = -np.linalg.lstsq(X[:, at], X[:, j], rcond=None)[0]
        return X, T

    @cached_property
    def codes(self) -> np.ndarray:
        """Level of every row."""
        return self.frame["g"].to_numpy()

    def simulate(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Draw parameters of the swept columns, and a response; returns it with the parameters as written."""
        (X, T), (Z, T_block), priors = self.columns(self.common), self.columns(self.block), self.priors
        stated = np.array([draw_prior(prior, rng) for prior in (priors.intercept, *priors.common.values())])
        beta = T @ stated
        sds = np.array([draw_prior(prior, rng) for prior in priors.group_sd["g"].values()])
        root = np.linalg.cholesky(np.outer(sds, sds) * draw_lkj(len(sds), rng))
        b = rng.normal(size=(self.codes.max() + 1, len(sds))) @ root.T
        sigma = draw_prior(priors.auxiliary["sigma"], rng)
        noise = sigma * rng.normal(size=len(X))
        mean = X @ T @ stated + np.sum((Z @ T_block) * b[self.codes], axis=1)
        covariance = T_block @ root @ root.T @ T_block.T
        sd = np.sqrt(np.diag(covariance))
        truth = {"Intercept": beta[0], "sigma": sigma, "log_likelihood": log_likelihood(noise, sigma)}
        truth |= numbered("beta", beta[1:]) | numbered("sd_g", sd) | numbered("b_g", T_block @ b[0])
        return mean + noise, truth | numbered("corr_g", (covariance / np.outer(sd, sd))[np.triu_indices(len(sd), 1)])

    def quantities(self, y: np.ndarray, posterior: Any) -> dict[str, np.ndarray]:
        """Draws (chain, draw) of what is ranked; of group effects, the first level's."""
        values = {name: variable.values for name, variable in posterior.data_vars.items()}
        X, Z = self.columns(self.common)[0], self.columns(self.block)[0]
        beta = np.concatenate([values["Intercept"][..., None], values["beta"]], axis=-1)
        mean = beta @ X.T + np.einsum("...ij,ij->...i", values["b_g"][..., self.codes, :], Z)
        draws = {"Intercept": values["Intercept"], "sigma": values["sigma"]}
        draws |= {"log_likelihood": log_likelihood(y - mean, values["sigma"])}
        draws |= numbered("beta", values["beta"]) | numbered("b_g", values["b_g"][:, :, 0])
        return draws | numbered("sd_g", values["sd_g"]) | numbered("corr_g", values.get("corr_g", np.empty((1, 1, 0))))


def interaction() -> SweptCase:
    """12 groups of 5 rows, an arm for each row, the years 2010 to 2017."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 5), "arm": rng.integers(0, 2, 60)})
    frame["year"] = rng.integers(2010, 2018, 60)
    common: dict[str, tuple[str, ...]] = {"arm": (), "year": (), "arm:year": ("arm", "year")}
    return SweptCase("interaction", "y ~ arm*year + (1 | g)", frame, common, {})


def block() -> SweptCase:
    """10 groups of 6 rows, three correlated effects, columns far from zero."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 6), "x": 30 + rng.normal(size=60)})
    frame["z"] = 0.3 * frame["x"] - 15 + rng.normal(size=60)
    return SweptCase("block", "y ~ x + (x + z | g)", frame, {"x": ()}, {"x": (), "z": ()})


class Named(Simulated, Protocol):
    """A design with a name."""

    name: str


class Plan(NamedTuple):
    """A design, the settings of its fits, and the seed of its first replication."""

    case: Named
    settings: dict[str, Any]
    first_seed: int = 0


def go_on(path: Path, plans: list[Plan], replications: int, n_ranks: int) -> pd.DataFrame:
    """Append the ranks of the replications that a file lacks, one of every design after the other; returns all."""
    done = set(map(tuple, pd.read_csv(path)[["case", "seed"]].to_numpy())) if path.exists() else set()
    for replication in range(replications):
        for case, settings, first_seed in plans:
            if (case.name, seed := first_seed + replication) in done:
                continue
            started = time.process_time()
            found, said = ranks(case, seed, n_ranks, settings)
            rows = found or dict.fromkeys((event for event in said if event.startswith(REFUSED)), 0)
            table = pd.DataFrame(
                {"case": case.name, "seed": seed, "parameter": list(rows), "rank": list(rows.values())}
            )
            table["warned"], table["again"] = said["ConvergenceWarning"], said["run again"]
            table["seconds"] = round(time.process_time() - started, 3)
            table.to_csv(path, mode="a", header=not path.exists(), index=False)
    return pd.read_csv(path)


def main() -> None:
    """Go on with both designs, and judge all ranks so far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sampler", choices=list(SETTINGS), default="collapsed")
    parser.add_argument("--replications", type=int, default=300)
    arguments = parser.parse_args()
    OUTPUT.mkdir(exist_ok=True)
    path, n_ranks = OUTPUT / f"swept_sbc_{arguments.sampler}.csv", N_RANKS[arguments.sampler]
    plans = [Plan(case, SETTINGS[arguments.sampler]) for case in (interaction(), block())]
    sys.exit(report(go_on(path, plans, arguments.replications, n_ranks), n_ranks))


def report(found: pd.DataFrame, n_ranks: int) -> bool:
    """Print the tests of every quantity; returns whether a fit was refused, or ranks are far from uniform."""
    failed = False
    for name, mine in found.groupby("case", sort=False):
        one_each, is_refused = mine.drop_duplicates("seed"), mine["parameter"].str.startswith(REFUSED)
        counted = f"{is_refused.sum()} refused, {one_each['warned'].sum()} warned, {one_each['again'].sum()} run again"
        seconds = one_each["seconds"].median()
        print(f"\n{name}: {len(one_each)} replications, {counted}, median of a replication {seconds:.2f} CPU s")
        for seed, reason in mine.loc[is_refused, ["seed", "parameter"]].itertuples(index=False):
            print(f"seed {seed} {reason}")
        rows = [
            {
                "parameter": p,
                "fits": len(rank),
                **test(rank, n_ranks, BINS),
                "p of band": p_value(rank.to_numpy(), n_ranks),
            }
            for p, rank in mine[~is_refused].groupby("parameter", sort=False)["rank"]
        ]
        show(pd.DataFrame(rows))
        failed |= is_refused.any() or min(row["p of band"] for row in rows) < GROSS
    return bool(failed)


if __name__ == "__main__":
    main()
