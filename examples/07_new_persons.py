"""What will a person answer who has not been asked yet? Probabilities for new groups, and whether they come true.

316 persons answered 24 questions on verbal aggression (De Boeck & Wilson, 2004): would you curse, scold, shout?
Persons and questions are crossed. The model learns from two thirds of the persons and predicts the others, about whom
it knows only anger and gender. The average person's probability is not the average probability over persons: the
picture shows which of the two comes true.

    python examples/07_new_persons.py
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

import bayesmixed as bm

OUTPUT = Path(__file__).parent / "output"
FORMULA = "Anger + Gender + btype + situ + mode + (1 | id) + (1 | item)"
CURVES = {"sample": "averaged over persons", "zero": "of the average person"}


def main():
    """Fit to some persons, predict the others, compare with what they said."""
    mpl.use("Agg")
    data = bm.datasets.load_verbagg()
    new = data["id"] % 3 == 0
    known, others = data[~new], data[new]
    est = bm.MixedModelClassifier(FORMULA, random_state=0).fit(known, known["r2"])
    print(est, est.summary().round(2), sep="\n\n")

    said_yes = others["r2"] == "Y"
    loss, error = {}, {}
    fig, ax = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    ax.plot([0, 1], [0, 1], color="0.6", lw=1)
    for mode, label in CURVES.items():
        p = est.predict_proba(others, new_groups={"id": mode})[:, 1]
        observed, predicted = calibration_curve(said_yes, p, n_bins=12, strategy="quantile")
        ax.plot(predicted, observed, "o-", label=label)
        loss[mode], error[mode] = log_loss(said_yes, p), np.abs(observed - predicted).mean()
    ax.set(xlabel="predicted probability of yes", ylabel="share that said yes", aspect="equal")
    ax.legend(title="Persons never seen; probability")
    OUTPUT.mkdir(exist_ok=True)
    fig.savefig(OUTPUT / "new_persons.png", dpi=150)

    print(f"\nAnswers of {others['id'].nunique()} persons never seen")
    for mode, label in CURVES.items():
        print(f"  {label:<22}  log loss {loss[mode]:.4f}, distance from the diagonal {error[mode]:.3f}")
    low, high = est.predict_interval(others.head(1), coverage=0.8)[0]
    print(f"8 in 10 such persons have their own probability between {low:.2f} and {high:.2f}")

    assert est.score(known, known["r2"]) > 0.7, "answers of known persons"
    assert loss["sample"] < loss["zero"], "the average over persons predicts better"
    assert error["sample"] < error["zero"], "and is closer to the diagonal"
    assert low < high < 1


if __name__ == "__main__":
    main()
