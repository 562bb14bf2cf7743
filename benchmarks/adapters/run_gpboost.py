"""GPBoost: maximum likelihood by its `GPModel`, or Laplace's approximation of it; its defaults.

No priors, no draws: estimates only, so no effective sample size. Random coefficients are independent of the
intercepts and of each other: on a problem with correlated effects it fits the smaller model. Standard errors are not
computed, as by default. Predictions are of the mean, without variances.
"""

from __future__ import annotations

from typing import Any

import gpboost
import numpy as np
import pandas as pd
from stages import Library, Spec, run

LIKELIHOODS = {"bernoulli": "bernoulli_logit", "binomial": "binomial_logit"}


class GPBoost(Library):
    """A linear mixed model."""

    packages = ("gpboost", "numpy", "scipy", "pandas")

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        correlated = any(group.correlated for group in spec.groups)
        self.note = ("ML" if spec.family == "gaussian" else "Laplace's approximation") + (
            "; group effects independent: it has no correlated ones" if correlated else ""
        )

    def fit(self, frame: pd.DataFrame) -> Any:
        """Groups, then coefficients that vary with them."""
        groups, slopes, of_group = self._parts(frame)
        settings = {} if slopes is None else {"group_rand_coef_data": slopes, "ind_effect_group_rand_coef": of_group}
        y, spec = frame[self.spec.response].to_numpy(float), self.spec
        if spec.trials is not None:
            settings["weights"] = frame[spec.trials].to_numpy(float)
            y = y / settings["weights"]
        model = gpboost.GPModel(group_data=groups, likelihood=LIKELIHOODS.get(spec.family, spec.family), **settings)
        model.fit(y=y, X=self._x(frame))
        return model

    def _x(self, frame: pd.DataFrame) -> np.ndarray:
        return np.column_stack([np.ones(len(frame)), *(frame[name].to_numpy(float) for name in self.spec.common)])

    def _parts(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray | None, list[int]]:
        groups = np.column_stack([group.labels(frame).to_numpy() for group in self.spec.groups])
        slopes = [(k + 1, name) for k, group in enumerate(self.spec.groups) for name in group.effects[1:]]
        columns = [frame[name].to_numpy(float) for _, name in slopes]
        return groups, np.column_stack(columns) if columns else None, [k for k, _ in slopes]

    def predict(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        """Mean, new groups at zero."""
        groups, slopes, _ = self._parts(rows)
        settings = {} if slopes is None else {"group_rand_coef_data_pred": slopes}
        mean = model.predict(X_pred=self._x(rows), group_data_pred=groups, **settings)["mu"]
        return mean if self.spec.trials is None else mean * rows[self.spec.trials].to_numpy()

    def estimates(self, model: Any) -> dict[str, float]:
        """Under our names: it lists sigma's variance, those of the intercepts, those of the coefficients."""
        coefficients = np.ravel(model.get_coef(std_err=False))
        found = dict(zip(["Intercept", *self.spec.common], coefficients, strict=True))
        sds = list(np.sqrt(np.ravel(model.get_cov_pars(std_err=False))))
        if self.spec.family == "gaussian":
            own = {"sigma": sds.pop(0)}
        else:  # of Student's t scale and degrees of freedom, of the others nothing
            own = dict(zip(("sigma", "nu"), np.ravel(model.get_aux_pars()), strict=True)) if self.spec.nu else {}
        order = [(group.name, "Intercept") for group in self.spec.groups]
        order += [(group.name, name) for group in self.spec.groups for name in group.effects[1:]]
        found |= {f"sd_{factor}[{effect}]": sd for (factor, effect), sd in zip(order, sds, strict=True)}
        return found | own


if __name__ == "__main__":
    run(GPBoost)
