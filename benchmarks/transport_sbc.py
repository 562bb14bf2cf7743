"""Simulation-based calibration of the transport sampler, for every family and for correlated and crossed effects.

    python benchmarks/transport_sbc.py --replications 300      # half an hour of one processor; it may be stopped
    python benchmarks/transport_sbc.py --quick                 # seconds

Parameters are drawn from stated priors (`family_cases.py`, `ordered_cases.py`), data from them, and the model is fitted
with the same priors; of each parameter, and of the log likelihood of all rows, the rank of the true value among 99
thinned draws is uniform (see `collapsed_sbc.py` for the method). A row of "Bernoulli" is a single trial.

Ranks are appended to ``benchmarks/output/transport_sbc.csv`` as they come, one replication of every design after the
other; a second call continues after the last one. Prints for every quantity the p-value of a chi-square test of its
ranks, the z score of their mean and the p-value of the simultaneous band of their distribution; for every design how
many fits the sampler rejected, with seeds and reasons, and the median CPU seconds of a replication. A fit that the
sampler rejects counts as a failure; the exit status is 1 if there is one, or if the ranks of a quantity leave their
99.9 % band.
"""

from __future__ import annotations

import argparse
import sys

from family_cases import cases
from ordered_cases import ordered_cases
from swept_sbc import Plan, go_on, report
from tables import OUTPUT

APART = 100_000  # between the seeds of two designs, for their data sets not to be alike
QUICK = 2


def main() -> None:
    """Go on with all designs, and judge all ranks so far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} short replications of each, from the beginning")
    arguments = parser.parse_args()
    OUTPUT.mkdir(exist_ok=True)
    replications, draws, n_ranks, path = arguments.replications, 150, 100, OUTPUT / "transport_sbc.csv"
    if arguments.quick:
        replications, draws, n_ranks, path = QUICK, 100, 20, OUTPUT / "transport_sbc_quick.csv"
        path.unlink(missing_ok=True)
    designs = enumerate([*cases().values(), *ordered_cases().values()])
    plans = [Plan(case, {**case.estimator, "draws": draws}, number * APART) for number, case in designs]
    sys.exit(report(go_on(path, plans, replications, n_ranks), n_ranks))


if __name__ == "__main__":
    main()
