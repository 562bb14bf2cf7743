"""Simulation-based calibration of the Gibbs sampler: two and three large crossed factors, slopes, nesting.

    python benchmarks/gibbs_sbc.py --replications 250      # an hour of one processor; it may be stopped
    python benchmarks/gibbs_sbc.py --quick                 # seconds

Parameters are drawn from stated priors, data from them, and the model is fitted with the same priors; of each
parameter, and of the log likelihood of all rows, the rank of the true value among 99 thinned draws is uniform (see
`collapsed_sbc.py` for the method). The designs are as small as possible while all factors but one count as large for
the sampler. For movers, and for classes nested in schools, most fits use the step for nearly nested factors; for the
latter, all use the step that draws classes and schools as a block (`bayesmixed.sampling.gibbs.joint`).

Ranks are appended to ``benchmarks/output/gibbs_sbc.csv`` as they come, one replication of every design after the other;
a second call continues after the last one. Prints the same as `transport_sbc.py`; a fit that the sampler rejects counts
as a failure, and the exit status is 1 if there is one, or if the ranks of a quantity leave their 99.9 % band.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from collapsed_sbc import Case
from swept_sbc import Plan, go_on, report
from tables import OUTPUT

import bayesmixed as bm

APART = 100_000  # between the seeds of two designs, for their data sets not to be alike
QUICK = 1


@dataclass(frozen=True)
class NamedCase:
    """A design of `collapsed_sbc.py` with a name."""

    name: str
    design: Case

    @property
    def formula(self) -> str:
        """Of the model."""
        return self.design.formula

    @property
    def group_prior(self) -> str:
        """Of the estimator."""
        return self.design.group_prior

    @property
    def frame(self) -> pd.DataFrame:
        """All columns but the response."""
        return self.design.frame

    @property
    def priors(self) -> bm.Priors:
        """Of all parameters."""
        return self.design.priors

    def simulate(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """See `Case.simulate`."""
        return self.design.simulate(rng)

    def quantities(self, y: np.ndarray, posterior: Any) -> dict[str, np.ndarray]:
        """See `Case.quantities`."""
        return self.design.quantities(y, posterior)


def rows(n: int, seed: int, **levels: int) -> pd.DataFrame:
    """Random codes of some factors, every level there at least once, and a covariate."""
    rng = np.random.default_rng(seed)
    codes = {
        name: rng.permutation(np.concatenate([np.arange(J), rng.integers(0, J, n - J)])) for name, J in levels.items()
    }
    return pd.DataFrame({**codes, "x": rng.normal(size=n)})


def movers() -> pd.DataFrame:
    """150 workers of 4 years each in 70 firms; one in ten changes firms."""
    rng = np.random.default_rng(4)
    workers, firms, years = 150, 70, 4
    home = rng.permutation(np.concatenate([np.arange(firms), rng.integers(0, firms, workers - firms)]))
    g = np.repeat(np.arange(workers), years)
    moves = (rng.uniform(size=workers) < 0.1)[g] & (np.tile(np.arange(years), workers) >= years // 2)
    h = np.where(moves, rng.integers(0, firms, workers)[g], home[g])
    return pd.DataFrame({"g": g, "h": h, "x": rng.normal(size=len(g))})


def classes() -> pd.DataFrame:
    """140 classes in 66 schools, 68 items."""
    frame = rows(700, 5, g=140, k=68)
    school = np.random.default_rng(6).permutation(np.concatenate([np.arange(66), np.arange(66), np.arange(8)]))
    return frame.assign(h=school[frame["g"]])


def cases() -> list[NamedCase]:
    """All designs."""
    two, slopes = rows(500, 1, g=80, h=70, k=5), rows(500, 2, g=45, h=40)
    three, none = rows(700, 3, g=90, h=75, k=68), ()
    return [
        NamedCase(
            "two crossed, one small", Case("y ~ x + (1|g) + (1|h) + (1|k)", two, {"g": none, "h": none, "k": none})
        ),
        NamedCase("slopes", Case("y ~ x + (x|g) + (x|h)", slopes, {"g": ("x",), "h": ("x",)})),
        NamedCase("three large", Case("y ~ x + (1|g) + (1|h) + (1|k)", three, {"g": none, "h": none, "k": none})),
        NamedCase("movers", Case("y ~ x + (1|g) + (1|h)", movers(), {"g": none, "h": none})),
        NamedCase(
            "nested in crossed",
            Case("y ~ x + (1|g) + (1|h) + (1|k)", classes(), {"g": none, "h": none, "k": none}),
        ),
    ]


def main() -> None:
    """Go on with all designs, and judge all ranks so far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=250)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} replication of each, from the beginning")
    arguments = parser.parse_args()
    OUTPUT.mkdir(exist_ok=True)
    replications, draws, n_ranks, path = arguments.replications, 1000, 100, OUTPUT / "gibbs_sbc.csv"
    if arguments.quick:
        replications, draws, n_ranks, path = QUICK, 500, 20, OUTPUT / "gibbs_sbc_quick.csv"
        path.unlink(missing_ok=True)
    settings = {"sampler": "gibbs", "draws": draws}
    plans = [Plan(case, settings, number * APART) for number, case in enumerate(cases())]
    sys.exit(report(go_on(path, plans, replications, n_ranks), n_ranks))


if __name__ == "__main__":
    main()
