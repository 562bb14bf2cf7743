"""What a fit and its uses load: no compiler, no ArviZ, no Matplotlib before one of them is asked for; and no warning.

That the package alone loads nothing, whatever its modules import, is in ``test_architecture``.
"""

import gc
from importlib.metadata import version

import pytest

from bayesmixed._compat import imports_uncollected
from helpers.twins import in_new_process

HEAVY = ["pymc", "pytensor", "arviz", "numba", "matplotlib"]
FORMULAS = {
    "groups": "Days + (Days | Subject)",
    "crossed": "bs(Days, df=4) + (1 | Subject) + (1 | Shift)",
    "no groups": "Days * C(Shift)",
}
# in this order
LIGHT = {
    "import": "import bayesmixed as bm; import io, pickle, tempfile; from sklearn.base import clone",
    "data": "df = bm.datasets.load_sleepstudy(); df['Shift'] = df['Days'] % 3; new = df.head(9).assign(Subject=1)",
    "construct": "est = bm.MixedModelRegressor(formula, draws=250, random_state=0); repr(est); est._repr_html_()",
    "fit": "est.fit(df, df['Reaction'])",
    "predict": "est.predict(new); est.predict(df)",
    "predict with std": "[est.predict(new, return_std=True, new_groups=m) for m in ('sample', 'donor', 'zero', 'nan')]",
    "predict_interval": "est.predict_interval(new); est.predict_interval(new, kind='mean')",
    "predict_quantiles": "est.predict_quantiles(new, [0.1, 0.5])",
    "score": "est.score(df, df['Reaction'])",
    "summary": "est.summary()",
    "common_effects": "est.common_effects()",
    "group_effects": "[est.group_effects(g.name) for g in est.design_spec_.groups]",
    "group_coefficients": "[est.group_coefficients(g.name) for g in est.design_spec_.groups]",
    "group_covariance": "[est.group_covariance(g.name) for g in est.design_spec_.groups]",
    "variance_components": "est.variance_components()",
    "condition": "est.condition(new.head(5), df['Reaction'].head(5)).predict(new)",
    "statistics": "s = bm.SufficientStatistics.of('Reaction ~ ' + formula, df); repr(s + s - s); clone(est).fit(s)",
    "save and load": "with tempfile.TemporaryDirectory() as d: est.save(d + '/a.bm'); bm.load(d + '/a.bm').predict(df)",
    "pickle": "pickle.loads(pickle.dumps(est)).predict(new)",
    "repr": "repr(est); str(est)",
    "html": "est._repr_html_()",
    "print priors": "print(est.priors_, repr(est.priors_), file=io.StringIO())",
    "diagnostics": "print(est.diagnostics_, est.coef_, est.intercept_, file=io.StringIO())",
}
# these return labelled arrays
WITH_XARRAY = {
    "predict_draws": "est.predict_draws(new); est.predict_draws(new, return_new_groups=True)",
    "draw_group_effects": "[est.draw_group_effects(g.name) for g in est.design_spec_.groups]",
    "bayes_r2": "est.bayes_r2(df, df['Reaction'])",
}
# the container is ArviZ's own with ArviZ 0.x, and xarray's with 1.x
WITH_CONTAINER = {"idata_": "est.idata_; est.sample_prior(df, draws=10); est.sample_posterior_predictive(new)"}
ARVIZ = {"arviz": "bm._compat.import_arviz()"}
# runs the parts for every formula, one part after the other, and tells what is loaded after each step
RUN = """
import json, sys
formulas, parts, heavy = json.load(sys.stdin)
scopes = {name: {"formula": formula} for name, formula in formulas.items()}
loaded = {name: {} for name in formulas}
for part in parts:
    for name, scope in scopes.items():
        for step, code in part.items():
            exec(code, scope)
            loaded[name][step] = sorted({*heavy, "xarray"} & set(sys.modules))
assert all(scope["est"].diagnostics_["sampler"] == "collapsed" for scope in scopes.values())
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded():
    """By formula and step; in a process in which a warning is an error."""
    return in_new_process(
        RUN, [FORMULAS, [LIGHT, WITH_XARRAY, WITH_CONTAINER, ARVIZ], HEAVY], "-W", "error", timeout=120
    )


@pytest.mark.parametrize("step", LIGHT)
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_step_loads_nothing_heavy(formula, step, loaded):
    assert loaded[formula][step] == []


@pytest.mark.parametrize("step", WITH_XARRAY)
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_labelled_array_loads_xarray_alone(formula, step, loaded):
    assert loaded[formula][step] == ["xarray"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_posterior_loads_arviz_where_the_container_is_arvizs(formula, loaded):
    """That of ArviZ 1.x is xarray's, and ArviZ is not imported for the number of its version."""
    own = version("arviz").startswith("0.")

    assert ("arviz" in loaded[formula]["idata_"]) == own
    assert "xarray" in loaded[formula]["idata_"]
    assert "pymc" not in loaded[formula]["idata_"]


def test_what_is_looked_for_has_the_names_of_what_is_loaded(loaded):
    assert {"arviz", "xarray"} <= set(loaded["groups"]["arviz"])


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_imports_as_before(enabled, monkeypatch):
    calls = []
    monkeypatch.setattr(gc, "isenabled", lambda: enabled)
    for name in ("disable", "enable"):
        monkeypatch.setattr(gc, name, lambda name=name: calls.append(name))

    def fail():
        with imports_uncollected():
            calls.append("import")
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert calls == ["disable", "import", *["enable"] * enabled]
