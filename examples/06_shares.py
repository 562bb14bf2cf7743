"""Does the disease become rarer, and how many animals of a new herd will fall ill?

Contagious bovine pleuropneumonia in 15 herds, over four periods (Lesnoff et al., 2004): new cases among the cattle at
risk. Successes among trials are binomial; each herd has its own intercept on the log-odds scale.

    python examples/06_shares.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

import bayesmixed as bm
from bayesmixed import plots

OUTPUT = Path(__file__).parent / "output"
FORMULA = "p(incidence, size) ~ C(period) + (1 | herd)"


def main():
    """Fit, answer, check."""
    mpl.use("Agg")
    data = bm.datasets.load_cbpp()
    est = bm.MixedModelRegressor(FORMULA, family="binomial", random_state=0).fit(data)
    print(est, est.summary().round(3), sep="\n\n")

    new = pd.DataFrame({"period": [1, 2, 3, 4], "size": 1, "herd": "a new one"})
    over, at = est.predict(new), est.predict(new, new_groups="zero")
    risk = pd.DataFrame({"period": new["period"], "over herds": over, "average herd": at})
    print("\nRisk of an animal", risk.round(3), sep="\n\n")
    low, high = est.predict_interval(new.assign(size=20), coverage=0.9).T
    print(f"\nOf 20 animals of a new herd, {low[0]:.0f} to {high[0]:.0f} fall ill in the first period (90 %)")

    (ax,) = plots.caterpillar(est)
    OUTPUT.mkdir(exist_ok=True)
    ax.figure.savefig(OUTPUT / "shares.png", dpi=150)

    # lme4's glmer with 25 quadrature points: -1.399, -0.991, -1.128, -1.579, and 0.647 between herds
    found = np.append(est.intercept_, est.coef_)
    sds = est.common_effects()["sd"].to_numpy()
    assert np.all(np.abs(found - [-1.399, -0.991, -1.128, -1.579]) < 0.5 * sds), "close to lme4's estimates"
    assert over[0] > over[3], "the disease becomes rarer"
    assert (over > at).all(), "a small risk, averaged over herds, is above that of the average herd"
    assert (low <= high).all()


if __name__ == "__main__":
    main()
