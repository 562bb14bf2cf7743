"""Five hospitals may not share their rows. Can they share a posterior?

Each sums its own rows and sends a file: sums per group, no rows, and numbers instead of doctors' names that only the
hospital can decode. Sums add up, so the centre can draw the posterior given all rows and send it back. It is compared
with the fit that nobody may run: to the rows of all five.

    python examples/10_five_sites.py
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import bayesmixed as bm

FORMULA = "recovery ~ age + arm + (arm | hospital) + (1 | doctor)"
SITES = ["Bern", "Graz", "Lyon", "Oslo", "Turku"]
ARMS = {"arm": ["standard", "new"]}


def patients(site, rng):
    """Rows of one hospital; the effect of the treatment depends on the hospital."""
    n = int(rng.integers(80, 200))
    doctor, new = rng.integers(0, 8, n), rng.integers(0, 2, n)
    age = rng.normal(60, 10, n)
    works = -3 + rng.normal(0, 1)
    recovery = 20 + 0.1 * age + rng.normal(0, 2) + rng.normal(0, 1, 8)[doctor] + works * new + rng.normal(0, 3, n)
    columns = {"recovery": recovery, "age": age, "arm": np.array(ARMS["arm"])[new], "hospital": site}
    return pd.DataFrame(columns | {"doctor": [f"Dr {site} {letter}" for letter in np.array(list("ABCDEFGH"))[doctor]]})


def send(rows, path):
    """What a hospital runs; it keeps the key to its doctors' numbers."""
    site = rows["hospital"].iloc[0]
    statistics = bm.SufficientStatistics.of(FORMULA, rows, categories=ARMS)
    names = statistics.groups[1].levels
    key = {name: f"{site} {number}" for number, name in enumerate(names)}
    statistics.with_labels("doctor", key).save(path, minimum=5)  # no sums of fewer than five rows leave the house
    return key


def main():
    """Send, add, fit; and compare with the fit to all rows."""
    rng = np.random.default_rng(1)
    rows = {site: patients(site, rng) for site in SITES}
    with tempfile.TemporaryDirectory() as folder:
        keys, sizes = {}, []
        for site, own in rows.items():
            path = Path(folder) / f"{site}.bms"
            keys |= send(own, path)
            sizes.append(path.stat().st_size)
        received = [bm.load(path) for path in sorted(Path(folder).glob("*.bms"))]

    total = sum(received)
    print(f"Five files of {min(sizes) / 1000:.0f} to {max(sizes) / 1000:.0f} kB.\n{total}\n")
    model = bm.MixedModelRegressor(random_state=0).fit(total)
    print(model.group_coefficients("hospital").round(2))

    pooled = pd.concat(rows.values()).assign(doctor=lambda frame: frame["doctor"].map(keys))
    nobody_may = bm.MixedModelRegressor(FORMULA, categories=ARMS, random_state=0).fit(pooled)
    for name, values in nobody_may.idata_["posterior"].data_vars.items():
        assert np.allclose(model.idata_["posterior"][name], values, atol=1e-6), name
    assert "Dr " not in str(model.design_spec_.state), "no name has left its hospital"


if __name__ == "__main__":
    main()
