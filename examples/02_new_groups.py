"""What does the model say about groups that it has never seen, and can its intervals be trusted for them?

Every subject of sleepstudy is left out once, and its ten days are predicted by a model of the other seventeen. Three
ways to treat the unknown subject are compared by the coverage of their 90 % intervals:

- ``new_groups="sample"``, the default: a subject drawn from the fitted population;
- ``new_groups="zero"``: the average subject, as if subjects did not differ;
- after three days of the subject: ``condition`` learns from them without fitting again.

    python examples/02_new_groups.py
"""

import pandas as pd

import bayesmixed as bm

FORMULA = "Reaction ~ Days + (Days | Subject)"
SEEN = 3  # days of a new subject from which the model learns


def predict_left_out(data):
    """90 % intervals for every day of every subject, from models that were not fitted to that subject."""
    found = []
    for subject, rows in data.groupby("Subject"):
        others = bm.MixedModelRegressor(FORMULA, random_state=0).fit(data[data["Subject"] != subject])
        for mode in ("sample", "zero"):
            found.append(with_interval(others, rows, f'new_groups="{mode}"', new_groups=mode))
        learned = others.condition(rows.head(SEEN))
        found.append(with_interval(learned, rows.tail(-SEEN), f"after {SEEN} days"))
    return pd.concat(found, ignore_index=True)


def with_interval(model, rows, how, **options):
    """The rows with the mean and 90 % interval of a new observation."""
    low, high = model.predict_interval(rows, coverage=0.9, **options).T
    return rows.assign(how=how, mean=model.predict(rows, **options), low=low, high=high)


def summarise(predicted):
    """Share of days inside their interval, mean width and mean absolute error, for the days that all three predict."""
    later = predicted[predicted["Days"] >= SEEN]
    inside = later["Reaction"].between(later["low"], later["high"])
    measures = pd.DataFrame(
        {
            "coverage": inside,
            "width (ms)": later["high"] - later["low"],
            "absolute error (ms)": (later["Reaction"] - later["mean"]).abs(),
        }
    )
    return measures.groupby(later["how"], sort=False).mean()


def main():
    """Leave out every subject, compare, check."""
    data = bm.datasets.load_sleepstudy()
    table = summarise(predict_left_out(data))
    print(f"90 % intervals of days {SEEN} to 9 of subjects who were left out", table.round(2), sep="\n\n")

    one = bm.MixedModelRegressor(FORMULA, random_state=0).fit(data)
    new = pd.DataFrame({"Days": [0, 9, 0, 9], "Subject": ["Ann", "Ann", "Bob", "Bob"]})
    draws, effects = one.predict_draws(new, kind="mean", return_new_groups=True)
    print("\nEffects drawn for two new subjects, first draw", effects["Subject"][0, 0].to_pandas().round(1), sep="\n\n")

    sample, zero, learned = table.index
    assert 0.82 < table.loc[sample, "coverage"] < 0.97, "intervals for new subjects keep their promise"
    assert table.loc[zero, "coverage"] < 0.7, "and those of the average subject do not"
    assert table.loc[learned, "width (ms)"] < table.loc[sample, "width (ms)"]
    assert table.loc[learned, "absolute error (ms)"] < table.loc[sample, "absolute error (ms)"]
    # rows of one new subject share its draws: both of Ann's predictions contain the same effects
    rise = draws.isel(obs=1) - draws.isel(obs=0)
    slope = one.idata_["posterior"]["beta"].sel(common_effect="Days") + effects["Subject"].sel(
        Subject="Ann", Subject_effect="Days"
    )
    assert float(abs(rise - 9 * slope).max()) < 1e-8


if __name__ == "__main__":
    main()
