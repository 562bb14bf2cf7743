"""The problems for measuring and testing the transport sampler: data sets, simulated models, and hard corners.

Bernoulli responses are those of family "binomial" with one trial in every row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from problems import Problem

import bayesmixed as bm

Case = Callable[[], Problem]
BERNOULLI: dict[str, Any] = {"family": "binomial", "trials": "one"}


def logistic(eta: np.ndarray) -> np.ndarray:
    """Inverse logit."""
    return 1 / (1 + np.exp(-eta))


def bernoulli(formula: str, frame: pd.DataFrame, eta: np.ndarray, rng: np.random.Generator) -> Problem:
    """Responses of one trial at a linear predictor."""
    return Problem(formula, frame.assign(y=rng.binomial(1, logistic(eta)), one=1), BERNOULLI)


def poisson(formula: str, frame: pd.DataFrame, eta: np.ndarray, rng: np.random.Generator) -> Problem:
    """Counts at a linear predictor."""
    return Problem(formula, frame.assign(y=rng.poisson(np.exp(eta))), {"family": "poisson"})


def grouped(sizes: np.ndarray | list[int], sds: list[float], rng: np.random.Generator, rho: float = 0.3) -> Any:
    """A frame of groups of the sizes given, with columns x1, x2, ...; and x's own effects plus the groups'.

    Effects are correlated, have standard deviations `sds`, and x's common effects are 0.5.
    """
    q, g = len(sds), np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(size=(len(g), q - 1))
    R = np.full((q, q), rho) + (1 - rho) * np.eye(q)
    b = rng.multivariate_normal(np.zeros(q), np.outer(sds, sds) * R, len(sizes))
    eta = 0.5 * x.sum(axis=1) + b[g, 0] + (x * b[g, 1:]).sum(axis=1)
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(1, q)]).assign(g=g), eta


# ---- measured: glmm's table


def cbpp() -> Problem:
    """Binomial, 15 herds."""
    return Problem("incidence ~ period + (1 | herd)", bm.datasets.load_cbpp(), {"family": "binomial", "trials": "size"})


def sleepstudy_t() -> Problem:
    """Student's t, 18 subjects, intercept and slope."""
    return Problem("Reaction ~ Days + (Days | Subject)", bm.datasets.load_sleepstudy(), {"family": "t"})


def nested(family: str) -> Problem:
    """Counts: 625 rows, five levels of a factor, six levels of another in each."""
    rng = np.random.default_rng(21)
    cask = rng.integers(0, 30, 625)
    frame = pd.DataFrame({"batch": cask // 6, "cask": cask, "x": rng.normal(size=625)})
    eta = 1 + 0.3 * frame["x"] + 0.5 * rng.normal(size=5)[cask // 6] + 0.4 * rng.normal(size=30)[cask]
    formula = "y ~ x + (1 | batch/cask)"
    if family == "poisson":
        return poisson(formula, frame, eta.to_numpy(), rng)
    rate = np.exp(eta) * rng.gamma(2.0, 1 / 2.0, 625)
    return Problem(formula, frame.assign(y=rng.poisson(rate)), {"family": family})


def gamma() -> Problem:
    """Gamma, 60 groups of five rows, shape 2."""
    rng = np.random.default_rng(22)
    frame, eta = grouped([5] * 60, [0.5], rng)
    frame["x"] = rng.normal(size=300)
    y = rng.gamma(2.0, np.exp(1 + 0.3 * frame["x"] + eta) / 2.0)
    return Problem("y ~ x + (1 | g)", frame.assign(y=y), {"family": "gamma"})


def beta() -> Problem:
    """Beta, 40 groups of eight rows, precision 8."""
    rng = np.random.default_rng(23)
    frame, eta = grouped([8] * 40, [0.6], rng)
    frame["x"] = rng.normal(size=320)
    mu = logistic(-0.5 + 0.4 * frame["x"] + eta)
    return Problem("y ~ x + (1 | g)", frame.assign(y=rng.beta(8 * mu, 8 * (1 - mu))), {"family": "beta"})


def four_effects() -> Problem:
    """Bernoulli, 30 groups of 20 rows, four correlated effects."""
    rng = np.random.default_rng(24)
    frame, eta = grouped([20] * 30, [1.0, 0.7, 0.5, 0.4], rng)
    return bernoulli("y ~ x1 + x2 + x3 + (x1 + x2 + x3 | g)", frame, eta, rng)


def verbagg() -> Problem:
    """Bernoulli, 316 persons crossed with 24 items, 7,584 rows."""
    frame = bm.datasets.load_verbagg()
    frame = frame.assign(y=(frame["r2"] == "Y").astype(int), one=1)
    return Problem("y ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", frame, BERNOULLI)


def grouseticks() -> Problem:
    """Poisson, three nested factors, the innermost of one row each."""
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)"
    frame = bm.datasets.load_grouseticks()
    years = "year " + frame["YEAR"].astype(str)  # a category, as in R
    return Problem(formula, frame.assign(YEAR=years), {"family": "poisson"})


def slopes(sizes: np.ndarray | list[int], seed: int) -> Problem:
    """Bernoulli, intercept and slope."""
    rng = np.random.default_rng(seed)
    frame, eta = grouped(sizes, [1.0, 0.7], rng)
    return bernoulli("y ~ x1 + (x1 | g)", frame, eta, rng)


def many_rows(family: str, groups: int) -> Problem:
    """100,000 rows, four columns and an intercept, groups of random sizes."""
    rng = np.random.default_rng(27)
    g, x = rng.integers(0, groups, 100_000), rng.normal(size=(100_000, 4))
    frame = pd.DataFrame(x, columns=list("abcd")).assign(g=g)
    eta = x @ [0.3, -0.2, 0.1, 0.0] + 0.5 * rng.normal(size=groups)[g]
    make = poisson if family == "poisson" else bernoulli
    return make("y ~ a + b + c + d + (1 | g)", frame, eta, rng)


def ordered(sizes: list[int], sds: list[float], ends: np.ndarray, seed: int) -> Problem:
    """Ordered classes between thresholds `ends`; with one effect a column x that does not vary by group."""
    rng = np.random.default_rng(seed)
    frame, eta = grouped(sizes, sds, rng)
    if len(sds) == 1:
        frame["x1"] = rng.normal(size=len(frame))
        eta = eta + 0.5 * frame["x1"].to_numpy()
    frame["y"] = np.searchsorted(ends, eta + rng.logistic(size=len(frame)))
    return Problem(f"y ~ x1 + ({'x1' if len(sds) > 1 else 1} | g)", frame, {"family": "cumulative"})


MEASURED: dict[str, Case] = {
    "cbpp": cbpp,
    "sleepstudy t": sleepstudy_t,
    "Poisson nested": partial(nested, "poisson"),
    "negative binomial nested": partial(nested, "negativebinomial"),
    "gamma J=60": gamma,
    "beta J=40": beta,
    "Bernoulli q=4 J=30": four_effects,
    "VerbAgg": verbagg,
    "grouseticks": grouseticks,
    "Bernoulli J=500 n=3 q=2": partial(slopes, [3] * 500, 25),
    "Bernoulli J=500 n=3 or 120 q=2": partial(slopes, [3, 120] * 250, 26),
    "Poisson N=1e5 J=2e3": partial(many_rows, "poisson", 2_000),
    "ordered K=3 J=40": partial(ordered, [6] * 40, [0.8], np.array([-0.5, 1.0]), 50),
    "ordered K=5 J=100 q=2": partial(ordered, [4] * 100, [0.8, 0.5], np.array([-1.5, -0.5, 0.7, 2.0]), 51),
    "ordered K=7 J=30 q=2": partial(ordered, [12] * 30, [0.8, 0.5], np.linspace(-2, 2.5, 6), 52),
    "ordered, rare first classes, K=5 J=60": partial(ordered, [5] * 60, [0.8], np.array([-5, -4, -3.2, 1]), 53),
    "ordered N=2e4 J=1e3": partial(ordered, [20] * 1000, [0.8], np.array([-1.5, -0.5, 0.7, 2.0]), 54),
}
LARGE: dict[str, Case] = {
    "Poisson N=1e5 J=1e4": partial(many_rows, "poisson", 10_000),
    "Bernoulli N=1e5 J=1e4": partial(many_rows, "bernoulli", 10_000),
}
AGREEMENT: dict[str, Case] = {
    **{name: MEASURED[name] for name in ("cbpp", "gamma J=60", "beta J=40", "Poisson nested")},
    **{name: MEASURED[name] for name in ("negative binomial nested", "sleepstudy t", "Bernoulli q=4 J=30")},
    "Bernoulli J=100 n=3 q=2": partial(slopes, [3] * 100, 28),
    "ordered K=5 J=100 q=2": MEASURED["ordered K=5 J=100 q=2"],
}
QUICK = ("cbpp", "gamma J=60")


# ---- stress


def separated() -> Problem:
    """A column that tells success from failure without error."""
    rng = np.random.default_rng(31)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 10), "x": rng.normal(size=100), "one": 1})
    return Problem("y ~ x + (1 | g)", frame.assign(y=(frame["x"] > 0).astype(int)), BERNOULLI)


def all_one() -> Problem:
    """Nothing but successes."""
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 5), "y": 1, "one": 1})
    return Problem("y ~ 1 + (1 | g)", frame, BERNOULLI)


def few_groups(groups: int, family: str) -> Problem:
    """Intercept and slope in two or three groups of 20."""
    rng = np.random.default_rng(32)
    frame, eta = grouped([20] * groups, [0.7, 0.4], rng)
    return (bernoulli if family == "bernoulli" else poisson)("y ~ x1 + (x1 | g)", frame, eta, rng)


def one_row(family: str) -> Problem:
    """An effect of every row."""
    rng = np.random.default_rng(33)
    x = rng.normal(size=150)
    frame = pd.DataFrame({"x": x, "row": np.arange(150)})
    eta = 1 + 0.5 * x + 0.8 * rng.normal(size=150)
    return (bernoulli if family == "bernoulli" else poisson)("y ~ x + (1 | row)", frame, eta, rng)


def no_variance(family: str) -> Problem:
    """Groups that do not differ."""
    rng = np.random.default_rng(34)
    frame, eta = grouped([10] * 30, [1e-12, 1e-12], rng)
    return (bernoulli if family == "bernoulli" else poisson)("y ~ x1 + (x1 | g)", frame, eta, rng)


def constant_in_groups() -> Problem:
    """A slope on a column that is constant in every group."""
    rng = np.random.default_rng(35)
    g = np.repeat(np.arange(25), 6)
    x = rng.normal(size=25)[g]
    eta = 0.5 + 0.5 * x + 0.6 * rng.normal(size=25)[g]
    return poisson("y ~ x + (x | g)", pd.DataFrame({"g": g, "x": x}), eta, rng)


def exposures() -> Problem:
    """Exposures of 1e-6 to 1e8."""
    rng = np.random.default_rng(36)
    g, e = np.repeat(np.arange(25), 8), 10 ** rng.uniform(-6, 8, 200)
    eta = np.log(e) - 5 + 0.5 * rng.normal(size=25)[g]
    return poisson("y ~ 1 + offset(log(e)) + (1 | g)", pd.DataFrame({"g": g, "e": e}), eta, rng)


def heavy_tails(nu: float, outliers: int) -> Problem:
    """Errors of Student's t, and outliers of 50 standard deviations."""
    rng = np.random.default_rng(37)
    frame, eta = grouped([8] * 25, [1.0, 0.5], rng)
    y = eta + rng.standard_t(nu, 200)
    y[:outliers] += 50 * rng.choice([-1, 1], outliers)
    return Problem("y ~ x1 + (x1 | g)", frame.assign(y=y), {"family": "t"})


def overdispersed(alpha: float, mean: float) -> Problem:
    """Negative binomial counts; an alpha of infinity is Poisson."""
    rng = np.random.default_rng(38)
    g, x = np.repeat(np.arange(25), 10), rng.normal(size=250)
    mu = mean * np.exp(0.3 * x + 0.4 * rng.normal(size=25)[g])
    rate = mu if np.isinf(alpha) else mu * rng.gamma(alpha, 1 / alpha, 250)
    frame = pd.DataFrame({"g": g, "x": x, "y": rng.poisson(rate)})
    return Problem("y ~ x + (1 | g)", frame, {"family": "negativebinomial"})


def many_columns() -> Problem:
    """40 common effects in 400 Bernoulli rows."""
    rng = np.random.default_rng(39)
    names = [f"c{i}" for i in range(40)]
    frame = pd.DataFrame(rng.normal(size=(400, 40)), columns=names).assign(g=np.repeat(np.arange(20), 20))
    eta = frame[names].to_numpy() @ rng.normal(size=40) * 0.2 + 0.7 * rng.normal(size=20)[frame["g"]]
    return bernoulli(f"y ~ {' + '.join(names)} + (1 | g)", frame, eta, rng)


def crossed(levels: tuple[int, ...], rows: int) -> Problem:
    """Bernoulli, crossed factors."""
    rng = np.random.default_rng(40)
    names = [f"f{i}" for i in range(len(levels))]
    frame = pd.DataFrame({name: rng.integers(0, n, rows) for name, n in zip(names, levels, strict=True)})
    frame["x"] = rng.normal(size=rows)
    effects = [0.8 * rng.normal(size=n)[frame[name]] for name, n in zip(names, levels, strict=True)]
    eta = 0.5 * frame["x"].to_numpy() + np.sum(effects, axis=0)
    return bernoulli("y ~ x + " + " + ".join(f"(1 | {name})" for name in names), frame, eta, rng)


def four_events() -> Problem:
    """Four successes in 5,000 rows."""
    rng = np.random.default_rng(41)
    y = np.zeros(5_000, dtype=int)
    y[rng.choice(5_000, 4, replace=False)] = 1
    frame = pd.DataFrame({"g": np.repeat(np.arange(50), 100), "x": rng.normal(size=5_000), "y": y, "one": 1})
    return Problem("y ~ x + (1 | g)", frame, BERNOULLI)


def uneven(family: str, effects: int) -> Problem:
    """One group of 5,000 rows beside 50 of one, with an intercept, or a slope too."""
    rng = np.random.default_rng(42)
    frame, eta = grouped([5_000] + [1] * 50, [0.8, 0.4], rng)
    formula = "y ~ x1 + (1 | g)" if effects == 1 else "y ~ x1 + (x1 | g)"
    return (bernoulli if family == "bernoulli" else poisson)(formula, frame, eta, rng)


def identical() -> Problem:
    """200,000 Bernoulli rows of which 4,000 are distinct."""
    rng = np.random.default_rng(43)
    g, k = rng.integers(0, 1_000, 200_000), rng.integers(0, 4, 200_000)
    eta = -1 + 0.3 * k + 0.7 * rng.normal(size=1_000)[g]
    return bernoulli("y ~ k + (1 | g)", pd.DataFrame({"g": g, "k": [f"k{i}" for i in k]}), eta, rng)


def huge_counts() -> Problem:
    """Poisson counts of about 1e7."""
    rng = np.random.default_rng(44)
    g, x = np.repeat(np.arange(20), 8), rng.normal(size=160)
    eta = 16 + 0.3 * x + 0.5 * rng.normal(size=20)[g]
    return poisson("y ~ x + (1 | g)", pd.DataFrame({"g": g, "x": x}), eta, rng)


def beta_edges() -> Problem:
    """Shares, some of them 1e-12 from 0 and 1."""
    problem = beta()
    y = problem.frame["y"].to_numpy().copy()
    y[::40], y[20::40] = 1e-12, 1 - 1e-12
    return problem._replace(frame=problem.frame.assign(y=y))


def gamma_shape(shape: float) -> Problem:
    """Gamma responses of an extreme shape."""
    rng = np.random.default_rng(45)
    g, x = np.repeat(np.arange(30), 8), rng.normal(size=240)
    mean = np.exp(0.3 * x + 0.5 * rng.normal(size=30)[g])
    y = np.maximum(rng.gamma(shape, mean / shape), 1e-300)
    return Problem("y ~ x + (1 | g)", pd.DataFrame({"g": g, "x": x, "y": y}), {"family": "gamma"})


def other_link(link: str) -> Problem:
    """Rare events by another link."""
    problem = slopes([6] * 40, 46)
    y = problem.frame["y"] * np.random.default_rng(46).binomial(1, 0.3, 240)
    return problem._replace(frame=problem.frame.assign(y=y), options={**BERNOULLI, "link": link})


STRESS: dict[str, Case] = {
    "complete separation": separated,
    "all-one Bernoulli": all_one,
    "J=2 q=2 Bernoulli": partial(few_groups, 2, "bernoulli"),
    "J=2 q=2 Poisson": partial(few_groups, 2, "poisson"),
    "J=3 q=2 Bernoulli": partial(few_groups, 3, "bernoulli"),
    "J=3 q=2 Poisson": partial(few_groups, 3, "poisson"),
    "one-row Poisson effects": partial(one_row, "poisson"),
    "one-row Bernoulli effects": partial(one_row, "bernoulli"),
    "tau = 0, Bernoulli": partial(no_variance, "bernoulli"),
    "tau = 0, Poisson": partial(no_variance, "poisson"),
    "rank-deficient Z": constant_in_groups,
    "exposures 1e-6 to 1e8": exposures,
    "t with outliers": partial(heavy_tails, 30.0, 10),
    "Cauchy data": partial(heavy_tails, 1.0, 0),
    "negbin alpha .02": partial(overdispersed, 0.02, 3.0),
    "negbin alpha infinite": partial(overdispersed, np.inf, 3.0),
    "negbin counts to 1e5": partial(overdispersed, 1.0, 2e4),
    "p=40": many_columns,
    "three crossed": partial(crossed, (15, 12, 10), 800),
    "crossed 300 x 200": partial(crossed, (300, 200), 3_000),
    "4 events in 5,000": four_events,
    "5,000 rows beside 50 of one, Bernoulli": partial(uneven, "bernoulli", 1),
    "5,000 rows beside 50 of one, Poisson": partial(uneven, "poisson", 1),
    "5,000 rows beside 50 of one, Bernoulli q=2": partial(uneven, "bernoulli", 2),
    "5,000 rows beside 50 of one, Poisson q=2": partial(uneven, "poisson", 2),
    "200,000 rows, 4,000 distinct": identical,
    "counts of 1e7": huge_counts,
    "beta 1e-12 from 0 and 1": beta_edges,
    "gamma shape .05": partial(gamma_shape, 0.05),
    "gamma shape 1,000": partial(gamma_shape, 1_000.0),
    "probit, rare": partial(other_link, "probit"),
    "cloglog, rare": partial(other_link, "cloglog"),
    "J=10,000 n=3 Bernoulli": partial(slopes, [3] * 10_000, 47),
}
ALL = MEASURED | LARGE | STRESS | AGREEMENT
