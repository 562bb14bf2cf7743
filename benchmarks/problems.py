"""The problems that the benchmarks run on: small data sets, hard corners simulated, and large ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import bayesmixed as bm


class Problem(NamedTuple):
    """A model and its data; `options` are the estimator's."""

    formula: str
    frame: pd.DataFrame
    options: dict[str, Any]

    def estimator(self, **options: Any) -> Any:
        """The estimator, with further options."""
        of_classes = self.options.get("family") in ("bernoulli", "cumulative")
        make = bm.MixedModelClassifier if of_classes else bm.MixedModelRegressor
        return make(self.formula, **self.options, **options)


def simulate_blocks(J: int, n: int, sds: list[float], *, seed: int, rho: float = 0.3) -> Problem:
    """`n` rows in each of `J` groups, correlated effects of standard deviations `sds`, residual sd 1."""
    q = len(sds)
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(J), n)
    x = rng.normal(size=(len(g), q - 1))
    R = np.full((q, q), rho) + (1 - rho) * np.eye(q)
    b = rng.multivariate_normal(np.zeros(q), np.outer(sds, sds) * R, J)
    Z = np.column_stack([np.ones(len(g)), x])
    names = [f"x{i}" for i in range(1, q)]
    frame = pd.DataFrame(x, columns=names).assign(g=g)
    frame["y"] = 2 + x.sum(axis=1) * 0.5 + (Z * b[g]).sum(axis=1) + rng.normal(size=len(g))
    terms = " + ".join(names)
    return Problem(f"y ~ {terms} + ({terms} | g)", frame, {})


def one_row_groups(seed: int = 5) -> Problem:
    """60 groups, most of one row, with intercept and slope."""
    rng = np.random.default_rng(seed)
    g = np.concatenate([np.arange(50), np.repeat(np.arange(50, 60), 2)])
    x = rng.normal(size=len(g))
    b = rng.normal(size=(60, 2)) * [1.0, 0.5]
    y = 1 + x + b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))
    return Problem("y ~ x + (x | g)", pd.DataFrame({"x": x, "g": g, "y": y}), {})


def uncentred(seed: int = 1) -> Problem:
    """A slope on the years 2000 to 2020, not centred."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(20), 21)
    year = np.tile(np.arange(2000, 2021), 20)
    b = rng.normal(size=(20, 2)) * [5, 0.31]
    y = 10 + b[g, 0] + (0.5 + b[g, 1]) * (year - 2010) + rng.normal(size=len(g)) * 2
    return Problem("y ~ year + (year | g)", pd.DataFrame({"year": year, "g": g, "y": y}), {})


def bimodal() -> Problem:
    """Two batches of two casks: what differs between the batches may as well differ between the casks.

    The casks of a batch agree, which speaks for a variance between batches (the casks would have to agree by chance);
    a half-Cauchy prior of small scale speaks against it. The posterior of the two sds has a mode for either.
    """
    batch = np.repeat([0, 1], 8)
    cask = np.tile(np.repeat([0, 1], 4), 2)
    y = np.array([-5.0, -4.6, 4.7, 5.1])[2 * batch + cask] + np.tile([-1.0, -0.3, 0.4, 0.9], 4)
    priors = {
        "Intercept": bm.Normal(0, 2),
        "sd_batch": bm.HalfStudentT(1, 0.01),
        "sd_batch:cask": bm.HalfStudentT(1, 1),
        "sigma": bm.HalfNormal(2),
    }
    frame = pd.DataFrame({"batch": batch, "cask": cask, "y": y})
    return Problem("y ~ 1 + (1 | batch/cask)", frame, {"priors": priors})


def crossed_slopes() -> Problem:
    """30 judges x 25 wines, incomplete, with slopes on both sides and a weak one."""
    rng = np.random.default_rng(11)
    judge, wine = rng.integers(0, 30, 400), rng.integers(0, 25, 400)
    x, z = rng.normal(size=400), rng.uniform(-1, 1, 400)
    a, b = rng.normal(size=(30, 2)) * [1.5, 0.6], rng.normal(size=(25, 2)) * [0.8, 0.05]
    y = 80 + x + a[judge, 0] + a[judge, 1] * x + b[wine, 0] + b[wine, 1] * z + rng.normal(size=400)
    frame = pd.DataFrame({"judge": judge, "wine": wine, "x": x, "z": z, "y": y})
    return Problem("y ~ x + z + (x | judge) + (z | wine)", frame, {})


def deep_nesting() -> Problem:
    """Pupils in classes in schools in towns, unbalanced, heavy-tailed group effects, a tenth of them outliers."""
    rng = np.random.default_rng(12)
    pupil = rng.integers(0, 300, 1500)
    class_, school, town = pupil // 5, pupil // 20, pupil // 60
    y = rng.standard_t(3, 5)[town] + rng.standard_t(3, 15)[school] * 0.5 + rng.standard_t(3, 60)[class_] * 0.2
    y = y + rng.standard_t(3, 300)[pupil] + 2 * rng.normal(size=1500)
    frame = pd.DataFrame({"pupil": pupil, "class_": class_, "school": school, "town": town, "y": y})
    return Problem("y ~ 1 + (1 | town/school/class_/pupil)", frame, {})


def categorical_slopes() -> Problem:
    """A category of four as correlated group effects (q = 4), three rows per group, an outlying residual."""
    rng = np.random.default_rng(13)
    g, k = np.repeat(np.arange(40), 3), rng.integers(0, 4, 120)
    b = rng.multivariate_normal(np.zeros(4), np.eye(4) * 0.4 + 0.6, 40)
    y = b[g, k] + 0.5 * k + 0.7 * rng.normal(size=120)
    y[7] += 12
    return Problem("y ~ k + (0 + k | g)", pd.DataFrame({"g": g, "k": [f"k{i}" for i in k], "y": y}), {})


def large_slopes(rows: int = 1_000_000, groups: int = 10_000, seed: int = 0) -> Problem:
    """Intercept and slope in groups of random sizes."""
    rng = np.random.default_rng(seed)
    g = rng.integers(0, groups, rows)
    x = rng.normal(size=rows)
    b = rng.normal(size=(groups, 2)) * [1.0, 0.5]
    y = 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + 2 * rng.normal(size=rows)
    return Problem("y ~ x + (x | g)", pd.DataFrame({"x": x, "g": g, "y": y}), {})


def large_intercepts(rows: int = 1_000_000, groups: int = 100_000, seed: int = 0) -> Problem:
    """An intercept per group."""
    rng = np.random.default_rng(seed)
    g = rng.integers(0, groups, rows)
    x = rng.normal(size=rows)
    y = 1 + 0.5 * x + rng.normal(size=groups)[g] + 2 * rng.normal(size=rows)
    return Problem("y ~ x + (1 | g)", pd.DataFrame({"x": x, "g": g, "y": y}), {})


def insteval() -> Problem:
    """Lecture evaluations at ETH Zurich: students x instructors x departments, crossed (from R's lme4).

    The file is not part of this project: ``write.csv(lme4::InstEval, "InstEval.csv", row.names = FALSE)`` in R writes
    it; its folder is read from the environment variable BAYESMIXED_DATA.
    """
    frame = pd.read_csv(Path(os.environ["BAYESMIXED_DATA"]) / "InstEval.csv")
    return Problem(
        "y ~ service + (1 | s) + (1 | d) + (1 | dept)", frame.assign(service=frame["service"].astype(str)), {}
    )


# ---- written when the sampler was finished, and not used to change it


def growth_curves() -> Problem:
    """60 children measured 2 to 9 times between birth and five years, a quadratic curve for each."""
    rng = np.random.default_rng(21)
    child = np.repeat(np.arange(60), rng.integers(2, 10, 60))
    age = rng.uniform(0, 5, len(child))
    sds = np.array([2.5, 1.0, 0.12])
    R = np.array([[1.0, 0.3, -0.2], [0.3, 1.0, -0.6], [-0.2, -0.6, 1.0]])
    b = rng.multivariate_normal([52.0, 18.0, -1.8], np.outer(sds, sds) * R, 60)[child]
    height = b[:, 0] + b[:, 1] * age + b[:, 2] * age**2 + 0.8 * rng.normal(size=len(child))
    frame = pd.DataFrame({"child": child, "age": age, "age2": age**2, "height": height})
    return Problem("height ~ age + age2 + (age + age2 | child)", frame, {})


def reaction_times() -> Problem:
    """24 participants x 16 items, each pair once in one of three conditions, slopes of both, skewed times.

    Participants differ little in one contrast, items not at all in another.
    """
    rng = np.random.default_rng(22)
    participant, item = np.repeat(np.arange(24), 16), np.tile(np.arange(16), 24)
    condition = (participant + item) % 3
    a = rng.normal(size=(24, 3)) * [90, 40, 5]
    b = rng.normal(size=(16, 3)) * [50, 0, 15]
    mean = 600 + np.array([0, 25, 60])[condition] + a[participant, 0] + b[item, 0]
    mean = mean + (condition > 0) * (a[participant, condition] + b[item, condition])
    rt = mean + 180 * (rng.gamma(1.5, size=384) - 1.5)
    labels = np.array(["neutral", "related", "unrelated"])[condition]
    frame = pd.DataFrame({"participant": participant, "item": item, "condition": labels, "rt": rt})
    return Problem("rt ~ condition + (condition | participant) + (condition | item)", frame, {})


def heavy_tailed_panel() -> Problem:
    """Five countries of 1,000 to 8,000 households each, a slope, and residuals with tails of t(2.5)."""
    rng = np.random.default_rng(23)
    country = np.repeat(np.arange(5), [1000, 2000, 4000, 6000, 8000])
    income = rng.lognormal(0.0, 0.7, len(country))
    b = rng.normal(size=(5, 2)) * [0.6, 0.1]
    spending = 3 + b[country, 0] + (0.8 + b[country, 1]) * income + 0.7 * rng.standard_t(2.5, len(country))
    frame = pd.DataFrame({"country": country, "income": income, "spending": spending})
    return Problem("spending ~ income + (income | country)", frame, {})


SLEEP = "Reaction ~ Days + (Days | Subject)"
SMALL: dict[str, Callable[[], Problem]] = {
    "sleepstudy": lambda: Problem(SLEEP, bm.datasets.load_sleepstudy(), {}),
    "sleepstudy independent": lambda: Problem(SLEEP, bm.datasets.load_sleepstudy(), {"group_prior": "independent"}),
    "Dyestuff": lambda: Problem("Yield ~ 1 + (1 | Batch)", bm.datasets.load_dyestuff(), {}),
    "Dyestuff2": lambda: Problem("Yield ~ 1 + (1 | Batch)", bm.datasets.load_dyestuff(second=True), {}),
    "Penicillin": lambda: Problem("diameter ~ 1 + (1 | plate) + (1 | sample)", bm.datasets.load_penicillin(), {}),
    "Pastes": lambda: Problem("strength ~ 1 + (1 | batch/cask)", bm.datasets.load_pastes(), {}),
    "J=6 q=4": lambda: simulate_blocks(6, 8, [1.5, 1.0, 0.7, 0.5], seed=1),
    "J=30 q=4": lambda: simulate_blocks(30, 10, [1.5, 1.0, 0.7, 0.5], seed=2),
    "J=12 q=5": lambda: simulate_blocks(12, 20, [1.5, 1.0, 0.7, 0.5, 0.3], seed=3),
    "J=200 q=5, an sd near 0": lambda: simulate_blocks(200, 20, [1.5, 1.0, 0.7, 0.5, 0.01], seed=4),
    "J=3 q=2": lambda: simulate_blocks(3, 10, [1.0, 0.5], seed=6),
    "rho near 1": lambda: simulate_blocks(20, 10, [1.0, 0.5], seed=7, rho=0.9999),
    "one-row groups": one_row_groups,
    "years 2000 to 2020": uncentred,
    "bimodal": bimodal,
    "crossed slopes": crossed_slopes,
    "four levels of nesting": deep_nesting,
    "categorical slopes": categorical_slopes,
    "unseen 1: growth curves": growth_curves,
    "unseen 2: reaction times": reaction_times,
    "unseen 3: heavy-tailed panel": heavy_tailed_panel,
}
LARGE: dict[str, Callable[[], Problem]] = {
    "1e6 rows x 1e4 slopes": large_slopes,
    "1e6 rows x 1e5 intercepts": large_intercepts,
    "InstEval": insteval,
}
