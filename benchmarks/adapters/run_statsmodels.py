"""statsmodels MixedLM: restricted maximum likelihood, its defaults.

No priors, no draws: estimates only, so no effective sample size. It knows one level of groups, within which covariances
are dense. A nested factor becomes a variance component within its parent; crossed factors become components within one
group that holds all rows, as its documentation advises. Independent intercepts and slopes are one covariance whose
off-diagonal entries are held at zero. `predict` leaves all group effects out.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from stages import Library, run
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams


class Statsmodels(Library):
    """MixedLM by formulas."""

    packages = ("statsmodels", "numpy", "scipy", "pandas")
    note = "REML; predict leaves group effects out"

    def fit(self, frame: pd.DataFrame) -> Any:
        """One factor, nested factors or crossed ones."""
        formula = f"{self.spec.response} ~ {' + '.join(self.spec.common) or '1'}"
        first, *others = self.spec.groups
        nested = others and others[0].columns[0] == first.columns[0]
        within = others if nested else self.spec.groups if others else []
        settings: dict[str, Any] = {"groups": first.columns[0] if nested or not others else np.ones(len(frame))}
        if within:
            settings["vc_formula"] = {group.name: f"0 + C({group.columns[-1]})" for group in within}
        if nested or not others:
            settings["re_formula"] = " + ".join(["1", *first.effects[1:]])
        model = MixedLM.from_formula(formula, frame, **settings)
        q, free = len(first.effects), None
        if not others and q > 1 and not first.correlated:
            free = MixedLMParams.from_components(fe_params=np.ones(len(self.spec.common) + 1), cov_re=np.eye(q))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(free=free)

    def predict(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        """Of the common part."""
        return model.predict(rows).to_numpy()

    def estimates(self, model: Any) -> dict[str, float]:
        """Under our names."""
        found = dict(zip(["Intercept", *self.spec.common], model.fe_params, strict=True))
        components = dict(zip(model.model.exog_vc.names, model.vcomp, strict=True))
        covariance = np.asarray(model.cov_re)
        for group in self.spec.groups:
            variances = [components[group.name]] if group.name in components else np.diag(covariance)
            found |= {f"sd_{group.name}[{e}]": np.sqrt(v) for e, v in zip(group.effects, variances, strict=True)}
            if group.correlated:
                found[f"corr_{group.name}"] = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        return found | {"sigma": np.sqrt(model.scale)}


if __name__ == "__main__":
    run(Statsmodels)
