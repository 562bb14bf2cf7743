"""Rows arrive every night. Do I have to fit all of them again?

No: `partial_fit` adds the night's rows to sums, which do not grow, and the posterior given all nights is drawn when it
is needed. The model is saved and loaded every night, as in a job that starts anew: old rows are never read a second
time. Invalid rows raise an error and leave the model unchanged; and a driver asks to be forgotten.

    python examples/09_every_night.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone

import bayesmixed as bm

FORMULA = "minutes ~ parcels + weekday + (parcels | driver)"
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
CATEGORIES = {"weekday": WEEKDAYS}  # the first night does not have all of them


def deliveries(nights, rng):
    """Rounds of a parcel service, night by night; new drivers join over time."""
    start, pace = rng.normal(0, 12, 60), rng.normal(0, 0.4, 60)
    for night in range(nights):
        driver = rng.integers(0, 20 + night, 150)
        parcels = rng.integers(40, 140, 150)
        slow = 8.0 * (night % 6 == 5)
        minutes = 60 + start[driver] + (2.5 + pace[driver]) * parcels + slow + rng.normal(0, 15, 150)
        columns = {"minutes": minutes, "parcels": parcels, "weekday": WEEKDAYS[night % 6], "driver": driver}
        yield pd.DataFrame(columns)


def one_night(path, rows):
    """What the nightly job does: load, learn, save."""
    model = bm.load(path)
    model.partial_fit(rows)
    model.save(path)
    return model


def main():
    """Thirty nights, one after the other, against one fit to all rows."""
    first, *nights = deliveries(30, np.random.default_rng(0))
    model = bm.MixedModelRegressor(FORMULA, categories=CATEGORIES, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rounds.bm"
        model.partial_fit(first)
        model.partial_fit(nights[0])  # a single weekday has no effect
        model.save(path)
        seconds = []
        for rows in nights[1:]:
            started = time.perf_counter()
            model = one_night(path, rows)
            seconds.append(time.perf_counter() - started)
        size = path.stat().st_size
        try:
            one_night(path, nights[0].assign(parcels=np.nan))
        except ValueError as error:
            print(f"Invalid rows raise an error: {error}\n")
        model = bm.load(path)

    every = pd.concat([first, *nights])
    whole = bm.MixedModelRegressor(FORMULA, categories=CATEGORIES, random_state=0).fit(every)
    print(f"A night took {np.median(seconds):.2f} s; the file of {len(every):,} rows has {size / 1e6:.1f} MB.")
    print(model.group_effects("driver").head(3).round(2))

    difference = np.abs(model.predict(every) - whole.predict(every)).max()
    assert difference < 1e-6, "thirty nights are one fit"

    # The same sums as a separate object: a driver's contribution can be subtracted again.
    statistics = bm.SufficientStatistics.of(FORMULA, every, categories=CATEGORIES)
    mine = every["driver"] == 7
    forgotten = statistics - bm.SufficientStatistics.of(FORMULA, every[mine], like=statistics)
    without = bm.MixedModelRegressor(FORMULA, random_state=0).fit(forgotten)
    assert 7 not in without.design_spec_.groups[0].levels
    refit = clone(whole).fit(every[~mine])
    assert np.abs(without.predict(every[~mine]) - refit.predict(every[~mine])).max() < 1e-6
    print(f"\nDriver 7 is forgotten: {forgotten}")


if __name__ == "__main__":
    main()
