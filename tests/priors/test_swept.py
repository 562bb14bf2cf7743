"""Swept columns: T against least squares on the rows, and priors that do not care where a covariate has its zero."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bayesmixed import HalfNormal, MixedModelRegressor, Normal, PriorError
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.design.spec import DesignSpec
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors.defaults import default_priors
from bayesmixed.priors.resolve import resolve_priors
from bayesmixed.priors.swept import swept_columns, swept_effects
from bayesmixed.sampling.nuts.pymc_model import build_model
from helpers.twins import common_sweep_of, sweep_of, swept_by_rows

FAMILY = get_family("gaussian")


def make_frame(n=60, seed=0):
    rng = np.random.default_rng(seed)
    frame = {name: rng.normal(size=n) for name in ("x", "z", "w")}
    frame |= {"k": rng.choice(["a", "b", "c"], n), "m": rng.choice(["u", "v"], n), "g": rng.integers(0, 7, n)}
    return pd.DataFrame(frame)


FRAME = make_frame()
Y = np.random.default_rng(1).normal(size=60) + FRAME["x"].to_numpy() + FRAME["g"].to_numpy() % 3


def learn(formula, frame=FRAME, y=Y, user=None, **options):
    design = DesignSpec.learn(parse(formula), frame, y=y, **options)[1]
    return design, resolve_priors(design, FAMILY, user)


# ---- which columns contain which


@pytest.mark.parametrize(
    ("formula", "column", "inner"),
    [
        ("x + z", "z", []),
        ("k", "k[c]", []),
        ("x*z", "x:z", ["x", "z"]),
        ("x:z + x", "x:z", ["x"]),
        ("k*x", "k[b]:x", ["k[b]", "k[c]", "x"]),
        ("k*m*x", "k[b]:m[v]:x", ["k[b]", "k[c]", "m[v]", "k[b]:m[v]", "k[c]:m[v]", "x", "k[b]:x", "k[c]:x", "m[v]:x"]),
        ("x + I(x ** 2)", "I(x ** 2)", ["x"]),
        ("I(x ** 2) + x", "I(x ** 2)", ["x"]),
        ("I(x ** 2) + x", "x", []),
        ("x + I(x ** 2) + I(x ** 3)", "I(x ** 3)", ["x", "I(x ** 2)"]),
        ("I(x ** 3) + I(x ** 2)", "I(x ** 2)", ["I(x ** 3)"]),
        ("x + log(x + 9) + x:z", "log(x + 9)", ["x"]),
        ("x + scale(x):z + z", "scale(x):z", ["x", "z"]),
        ("{x * z} + x + z", "I(x * z)", ["x", "z"]),
        ("I(x + 2)", "I(x + 2)", []),
        ("poly(x, 3)", "poly(x, 3)[2]", ["poly(x, 3)[0]", "poly(x, 3)[1]"]),
        ("bs(x, df=4)", "bs(x, df=4)[2]", []),
        ("offset(z) + x*w", "x:w", ["x", "w"]),
        ("`x` + `x`:k", "k[a]:x", None),
    ],
)
def test_a_column_contains_earlier_terms_in_its_variables(formula, column, inner):
    design, _ = learn(formula)
    if inner is None:  # however formulae orders and codes the product
        column = next(name for name in design.common_names if ":" in name)
        inner = ["x"]
    at = design.common_names.index(column)

    assert [design.common_names[i] for i in design.contains[at]] == inner


def test_effects_contain_those_of_their_own_bar():
    factor = learn("(x*z | g) + (0 + k:w | g)")[0].groups[0]

    def inside(effect):
        return [factor.effect_names[i] for i in factor.contains[factor.effect_names.index(effect)]]

    assert inside("Intercept") == []
    assert inside("x") == ["Intercept"]
    assert inside("x:z") == ["Intercept", "x", "z"]
    assert inside("k[a]:w") == []
    assert factor.effect_terms == ("Intercept", "x", "z", "x:z", "k:w", "k:w", "k:w")


# ---- T against the twin

SWEPT = [
    ("x*z", {}),
    ("k*m*x + I(x ** 2)", {}),
    ("0 + x*z + I(x ** 2)", {}),
    ("0 + k + k:x", {}),
    ("poly(x, 3, raw=True):k + z", {}),
    ("x + I(x ** 2) + I(x ** 3) + x:w", {"kept": ("x",)}),
    ("x*z*w", {"kept": ("x", "z:w")}),
    ("x*z + I(z ** 2)", {"kept": ("Intercept",)}),
    ("x*z", {"kept": ("Intercept", "x", "z", "x:z")}),
]


@pytest.mark.parametrize(("formula", "options"), SWEPT)
@pytest.mark.parametrize("weights", [None, np.arange(60) % 3 + 0.5], ids=["rows", "weights"])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_columns_are_swept_as_least_squares_on_the_rows_would(formula, options, weights, shift):
    frame = FRAME.assign(x=FRAME["x"] + shift, z=FRAME["z"] - shift)
    design, _ = learn(formula, frame, weights=weights)
    users = options.get("kept", ())
    priors = default_priors(design, FAMILY, stated={"beta": users})
    T = common_sweep_of(priors)
    ones = [np.ones((60, 1))] if design.has_intercept else []
    ours = (np.hstack([*ones, design.X]) @ T)[:, len(ones) :]
    has_intercept = design.has_intercept
    columns = design.X, weights, design.contains
    expected, _ = swept_by_rows(
        *columns,
        centred=has_intercept,
        of_intercept=has_intercept and "Intercept" not in users,
        kept=[design.common_names.index(name) for name in users if name != "Intercept"],
    )
    # the data tell a coefficient by what is left of its column, whatever the user states of others
    _, scale = swept_by_rows(*columns, centred=has_intercept, of_intercept=has_intercept)
    size = np.abs(design.X).max(axis=0)

    np.testing.assert_allclose(ours / size, expected / size, atol=1e-9)
    location = np.average(Y, weights=weights) if design.has_intercept else 0.0
    spread = np.sqrt(np.average((Y - location) ** 2, weights=weights))
    np.testing.assert_allclose([p.sigma for p in priors.common.values()], 2.5 * spread / scale, rtol=1e-6)
    if design.has_intercept:
        assert (priors.intercept.mu, priors.intercept.sigma) == pytest.approx((location, 2.5 * spread))


@pytest.mark.parametrize("weights", [None, np.arange(60) % 3 + 0.5], ids=["rows", "weights"])
@pytest.mark.parametrize("block", ["x", "x*z", "k", "k*x", "0 + k + k:x", "x + I(x ** 2)"])
def test_a_block_is_swept_as_least_squares_on_the_rows_would(block, weights):
    frame = FRAME.assign(x=FRAME["x"] + 9)
    design, priors = learn(f"({block} | g)", frame, weights=weights)
    factor = design.groups[0]
    T = sweep_of(priors.group_swept.get("g", {}), factor.effect_names)
    has_intercept = "Intercept" in factor.effect_names
    first = int(has_intercept)
    inner = [[at - first for at in of if at >= first] for of in factor.contains[first:]]
    expected, scale = swept_by_rows(
        factor.Z[:, first:], weights, inner, centred=has_intercept, of_intercept=has_intercept
    )

    np.testing.assert_allclose((factor.Z @ T)[:, first:], expected, atol=1e-9)
    spread = np.sqrt(np.average((Y - np.average(Y, weights=weights)) ** 2, weights=weights))
    sds = np.array([prior.sigma for prior in priors.group_sd["g"].values()])
    np.testing.assert_allclose(sds, 2.5 * spread / np.concatenate([[1.0] * first, scale]), rtol=1e-7)


@pytest.mark.parametrize(
    "formula",
    ["(x || g)", "(1 | g) + (0 + x | g)", "(x + z || g)", "(0 + x | g)", "(1 | g)", "(1 | g) + (0 + x + z | g)"],
)
def test_blocks_that_mean_independence_at_zero_are_not_swept(formula):
    design, priors = learn(formula, FRAME.assign(x=FRAME["x"] + 2))
    factor = design.groups[0]
    sds = {name: prior.sigma / (2.5 * Y.std()) for name, prior in priors.group_sd["g"].items()}
    slopes = [at for at, name in enumerate(factor.effect_names) if name != "Intercept"]
    mean, sd = factor.Z[:, slopes].mean(axis=0), factor.Z[:, slopes].std(axis=0)

    assert "g" not in priors.group_swept
    if "Intercept" in factor.effect_names:
        assert sds["Intercept"] == pytest.approx(np.sqrt(1 + np.sum((mean / sd) ** 2)))
        assert [sds[factor.effect_names[at]] for at in slopes] == pytest.approx(list(1 / sd))
    else:  # nothing else holds what the slope adds at its mean
        assert [sds[factor.effect_names[at]] for at in slopes] == pytest.approx(list(1 / np.hypot(mean, sd)))


def test_a_slope_in_another_bar_widens_the_intercept_of_a_swept_block():
    design, priors = learn("(x | g) + (0 + z | g)", FRAME.assign(x=FRAME["x"] + 5, z=FRAME["z"] + 2))
    z = design.groups[0].Z[:, 2]

    assert list(priors.group_swept["g"]) == ["x"]
    assert priors.group_sd["g"]["Intercept"].sigma == pytest.approx(
        2.5 * Y.std() * np.sqrt(1 + (z.mean() / z.std()) ** 2)
    )


@pytest.mark.parametrize(
    ("user", "swept"),
    [
        ({"sd_g": HalfNormal(1)}, {}),
        ({"sd_g": {"Intercept": HalfNormal(1)}}, {"x:z": {"x", "z"}}),
        ({"sd_g": {"x": HalfNormal(1)}}, {"x": {"Intercept"}, "z": {"Intercept"}, "x:z": {"Intercept", "z"}}),
        ({"Intercept": Normal(0, 1)}, {"x": {"Intercept"}, "z": {"Intercept"}, "x:z": {"Intercept", "x", "z"}}),
    ],
)
def test_what_the_user_states_of_a_block_is_not_swept_out_of_it(user, swept):
    _, priors = learn("(x*z | g)", FRAME.assign(x=FRAME["x"] + 2, z=FRAME["z"] + 1), user=user)

    assert {name: set(fit) for name, fit in priors.group_swept.get("g", {}).items()} == swept


@pytest.mark.parametrize(
    ("user", "swept"),
    [
        ({"x": Normal(0, 1)}, {"x": {"Intercept"}, "z": {"Intercept"}, "x:z": {"Intercept", "z"}}),
        ({"beta": Normal(0, 1)}, {name: {"Intercept"} for name in ("x", "z", "x:z")}),
        ({"Intercept": Normal(0, 1)}, {"x:z": {"x", "z"}}),
        ({"Intercept": Normal(0, 1), "beta": Normal(0, 1)}, {}),
        ({"sigma": HalfNormal(1)}, {"x": {"Intercept"}, "z": {"Intercept"}, "x:z": {"Intercept", "x", "z"}}),
    ],
)
def test_what_the_user_states_of_the_common_part_is_not_swept_out_of_it(user, swept):
    _, priors = learn("x*z", FRAME.assign(x=FRAME["x"] + 2, z=FRAME["z"] + 1), user=user)

    assert {name: set(fit) for name, fit in priors.swept.items()} == swept


def test_columns_of_which_nothing_is_left_have_the_scale_of_their_terms_others():
    frame = FRAME[(FRAME["k"] != "c") | (FRAME["m"] != "v")].assign(half=0.5, zero=0.0, twice=lambda f: 2 * f["x"])
    y = Y[frame.index]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, priors = learn("k*m + half + zero + x + {x * 3} + twice", frame, y)
    scale = 2.5 * y.std()

    assert priors.common["k[c]:m[v]"] == priors.common["k[b]:m[v]"]
    assert [priors.common[name].sigma for name in ("half", "zero", "I(x * 3)")] == pytest.approx([scale] * 3)
    assert not {"k[c]:m[v]", "half", "zero", "I(x * 3)"} & set(priors.swept)
    assert priors.common["twice"].sigma == pytest.approx(priors.common["x"].sigma / 2), "swept of the intercept alone"


def test_columns_and_effects_go_to_and_fro_entry_by_entry():
    rng = np.random.default_rng(0)
    T = np.triu(rng.normal(size=(4, 4)), 1) + np.eye(4)
    Z, b = rng.normal(size=(9, 4)), rng.normal(size=(4, 3, 2))

    np.testing.assert_allclose(swept_columns(T, Z), Z @ T)
    np.testing.assert_allclose(swept_effects(T, b), np.tensordot(T, b, 1))
    np.testing.assert_array_equal(swept_columns(T, Z)[3:5], swept_columns(T, Z[3:5]))
    assert swept_columns(np.eye(4), Z) is Z


# ---- what is printed, and refused


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        (
            "m*x",
            [
                "Intercept at m[v] = 0.5, x = 2014",
                "beta[m[v]] at x = 2014",
                "beta[x] at m[v] = 0.5",
                "beta[m[v]:x]",
            ],
        ),
        ("x + (x | g)", ["Intercept at x = 2014", "beta[x]", "sd_g[Intercept] at x = 2014", "sd_g[x]"]),
        (
            "x + I(x ** 2)",
            ["Intercept at x = 2014, I(x ** 2) = 4.0562e+06", "beta[x] + 4028 I(x ** 2)", "beta[I(x ** 2)]"],
        ),
        ("0 + x", ["beta[x]"]),
        ("x + (x || g)", ["Intercept at x = 2014", "beta[x]", "sd_g[Intercept]", "sd_g[x]"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*far outside the data:UserWarning")
def test_print_says_where_a_prior_is_stated(formula, names):
    frame = FRAME.assign(x=np.tile(np.arange(2012.0, 2017.0), 12), m=np.repeat(["u", "v"], 30))
    rows = [name for name, _ in learn(formula, frame)[1].rows if name != "sigma" and "corr" not in name]

    assert rows == names


@pytest.mark.parametrize("formula", ["x*z + x:k + k", "z*w + z:k + k", "z*w + z*x + z:k + k"])
def test_print_names_no_columns_of_the_same_term_that_rounding_alone_brings_in(formula):
    frame = FRAME.assign(x=FRAME["x"] + 20, z=FRAME["z"] + 700, w=300 * FRAME["w"] + 1200)
    rows = [name for name, _ in learn(formula, frame)[1].rows]

    assert "beta[k[b]]" in [name.partition(" at ")[0] for name in rows]
    assert not [name for name in rows if re.search(r"e-\d", name)]


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("Intercept at x = 0.11", r"intercept=Normal\(\.\.\.\)"),
        ("beta[x] at z = 3", r"common=est\.priors_\.common \| \{'x': Normal"),
        ("beta[x] at z = 3, ... (2 more)", r"common=est\.priors_\.common \| \{'x': Normal"),
        ("beta[k[b]] at x = 3", r"common=est\.priors_\.common \| \{'k\[b\]': Normal"),
        ("beta[x] + 4028 I(x ** 2)", r"common=est\.priors_\.common \| \{'x': Normal"),
        (
            "sd_g[Intercept] at x = 0.1",
            r"group_sd=est\.priors_\.group_sd \| \{'g': est\.priors_\.group_sd\['g'\] \| \{'Int",
        ),
    ],
)
def test_a_name_with_a_place_is_refused_with_the_cure(key, change):
    """Also one that was written by hand, or that another model prints."""
    with pytest.raises(PriorError, match=rf"names a place.*dataclasses\.replace\(est\.priors_, {change}"):
        learn("x*z + k*x + (x | g)", user={key: HalfNormal(1)})


def test_a_prior_at_the_place_of_the_default_is_replaced():
    frame = FRAME.assign(x=FRAME["x"] + 2000)
    est = MixedModelRegressor("x*m + (x | g)", random_state=0).fit(frame, Y)
    tight = replace(
        est.priors_, intercept=Normal(-7, 1e-3), group_sd={"g": {**est.priors_.group_sd["g"], "x": HalfNormal(1e-6)}}
    )
    again = MixedModelRegressor("x*m + (x | g)", priors=tight, random_state=0).fit(frame, Y)
    posterior = again.idata_["posterior"]
    at = [posterior["Intercept"].values, *np.moveaxis(posterior["beta"].values, -1, 0)]
    stated = np.linalg.solve(tight.common_sweep(again.design_spec_.common_names), np.reshape(at, (4, -1)))

    assert again.priors_ is tight
    np.testing.assert_allclose(stated[0], -7, atol=0.01)
    assert posterior["sd_g"].sel(g_effect="x").max() < 1e-5


def test_fitted_priors_are_the_same_model():
    frame = FRAME.assign(x=FRAME["x"] + 2000)
    est = MixedModelRegressor("x*z + (x | g)", random_state=0).fit(frame, Y)
    again = MixedModelRegressor("x*z + (x | g)", priors=est.priors_, random_state=0).fit(frame, Y)

    np.testing.assert_array_equal(est.predict(frame), again.predict(frame))


@pytest.mark.parametrize(
    ("formula", "turned"),
    [
        ("x*m + (x*z | g)", "m + x + x:m + (z + x + x:z | g)"),
        ("x + {x ** 2} + (x | g)", "{x ** 2} + x + (x | g)"),
        ("x*m", "m*x"),
    ],
)
def test_fitted_priors_go_by_name_whatever_the_order_of_terms_and_dicts(formula, turned):
    frame = FRAME.assign(x=FRAME["x"] + 30, z=FRAME["z"] - 5)
    one = MixedModelRegressor(formula, random_state=0).fit(frame, Y)
    names = {"x:m[v]": "m[v]:x"} if turned == "m*x" else {}

    def renamed(entries):
        return {names.get(name, name): value for name, value in reversed(entries.items())}

    other = replace(
        one.priors_,
        common=renamed(one.priors_.common),
        swept=renamed(one.priors_.swept),
        group_sd={factor: renamed(sds) for factor, sds in one.priors_.group_sd.items()},
    )
    again = MixedModelRegressor(turned, priors=other, random_state=0).fit(frame, Y)

    # another order of columns is another stream of random numbers: the same posterior, other draws
    np.testing.assert_allclose(again.predict(frame), one.predict(frame), atol=0.1)  # sigma is 1
    assert again.coef_.sum() == pytest.approx(one.coef_.sum(), abs=0.3 * one.common_effects()["sd"][1:].sum())
    same_order = MixedModelRegressor(formula, priors=replace(other, common=one.priors_.common, swept=one.priors_.swept))
    same_order.set_params(random_state=0).fit(frame, Y)
    np.testing.assert_array_equal(same_order.predict(frame), one.predict(frame))


def test_a_users_prior_of_a_lower_term_leaves_the_scale_of_the_product():
    """`arm:year` is not swept of `arm` then, but what the data tell its coefficient by is the same."""
    frame = FRAME.assign(x=FRAME["x"] + 2000)
    _, default = learn("m*x", frame)
    _, priors = learn("m*x", frame, user={"m[v]": Normal(0, 5000)})

    assert set(priors.swept["m[v]:x"]) == {"Intercept", "x"}
    assert priors.common["m[v]:x"] == default.common["m[v]:x"]


def test_after_condition_priors_are_stated_where_they_were():
    est = MixedModelRegressor("x*z + (x | g)", random_state=0).fit(FRAME[:40], Y[:40])
    more = est.condition(FRAME[40:], Y[40:])
    all_rows = MixedModelRegressor("x*z + (x | g)", priors=est.priors_, random_state=1).fit(FRAME, Y)

    assert more.priors_ is est.priors_
    np.testing.assert_allclose(more.predict(FRAME), all_rows.predict(FRAME), atol=0.15)  # sigma is 1


# ---- where a covariate has its zero does not matter

COMMON = ["x", "m*x", "x*z", "k*x*z", "x + {x ** 2}", "x + {x ** 2} + {x ** 3}", "poly(x, 2)", "bs(x, df=4)"]
COMMON += ["center(x)*m", "scale(x) + z", "x*m + {x ** 2}", "poly(x, 2, raw=True)", "{x ** 2} + x + z"]
BARS = [
    "(1 | g)",
    "(x | g)",
    "(x + z | g)",
    "(m*x | g)",
    "(x*z | g)",
    "(x + {x ** 2} | g)",
    "(k | g)",
    "(center(x) | g)",
    "",
]
# powers and products of columns far from zero are known to fewer digits, c^degree of a double's 16
DEGREE = {"k*x*z": 2, "{x ** 2}": 2, "{x ** 3}": 3, "poly(x, 2)": 2, "raw": 2, "x*z": 1, "bs(": 2}


@pytest.mark.numerical
@settings(max_examples=25)
@given(
    common=st.sampled_from(COMMON),
    bar=st.sampled_from(BARS),
    far=st.tuples(st.sampled_from([-1, 1]), st.floats(-1, 4)),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 5),
)
def test_a_shift_and_a_scale_of_a_covariate_leave_every_draw(common, bar, far, scale, seed):
    formula = f"{common} + {bar}" if bar else common
    degree = max([d for text, d in DEGREE.items() if text in formula], default=1)
    shift = far[0] * 10 ** (far[1] / degree)
    frame = make_frame(seed=seed)
    moved = frame.assign(x=(frame["x"] + shift) * scale)
    options = {"draws": 250, "random_state": seed, "sampler": "collapsed"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "R-hat|the effective sample size")
        try:
            one, other = (MixedModelRegressor(formula, **options).fit(data, Y) for data in (frame, moved))
        except ValueError as error:
            assume("cannot sample" not in str(error))  # refused for its posterior, wherever the zero is
            raise
    eta = [est.predict_draws(data, kind="linear").values for est, data in ((one, frame), (other, moved))]

    np.testing.assert_allclose(eta[0], eta[1], atol=1e-8 * np.abs(eta[0]).max())


@pytest.mark.parametrize("case", ["0 + x", "(0 + x | g)", "(x || g)", "(1 | g) + (0 + x | g)"])
@pytest.mark.filterwarnings("ignore:.*far outside the data:UserWarning")
def test_where_a_zero_means_something_it_matters(case):
    one, other = (
        MixedModelRegressor(case, draws=500, random_state=0).fit(frame, Y).predict(frame)
        for frame in (FRAME, FRAME.assign(x=FRAME["x"] + 5))
    )

    assert np.abs(one - other).max() > 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize("formula", ["x*m + (x*z | g)", "x + {x ** 2} + (x | g)", "k*x + z"])
def test_the_model_for_nuts_has_the_same_density_wherever_the_zero_is(formula):
    """At points of equal sampled coordinates, which are those of the swept columns."""
    densities = []
    for shift, scale in ((0.0, 1.0), (20.0, 3.0)):
        design, priors = learn(formula, FRAME.assign(x=(FRAME["x"] + shift) * scale))
        model = build_model(Model(None, FAMILY, priors), design)
        log_density = model.compile_logp(jacobian=True, mode="FAST_COMPILE")
        rng = np.random.default_rng(0)
        point = {name: rng.normal(scale=0.5, size=np.shape(value)) for name, value in model.initial_point().items()}
        for name in [name for name in point if name.startswith("sd_")]:  # in the units of the slope
            power = np.array(["x" in effect.split(":") for effect in design.groups[0].effect_names])
            point[name] = point[name] - power * np.log(scale)
        densities.append(float(log_density(point)))

    assert densities[0] == pytest.approx(densities[1], abs=1e-6)


def test_arms_and_years_as_a_new_user_writes_them():
    """`arm:year` has a standard deviation of 1,000, of which 2 are left when arm and year are swept out."""
    rng = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame(
        {"g": rng.integers(0, 20, n), "year": rng.integers(2010, 2018, n), "arm": rng.integers(0, 2, n)}
    )
    y = 1.0 * frame["arm"] * (frame["year"] - 2013.5) + rng.normal(size=20)[frame["g"]] + rng.normal(size=n)
    est = MixedModelRegressor("arm*year + (1 | g)", random_state=0).fit(frame, y)
    slopes = [np.polyfit(frame["year"][frame["arm"] == arm], y[frame["arm"] == arm], 1)[0] for arm in (0, 1)]

    assert est.coef_[2] == pytest.approx(slopes[1] - slopes[0], abs=0.05)
    priors = dict(est.priors_.rows)
    assert [name for name in priors if name.startswith("beta[arm] at year = 2013.")]


def test_sleepstudys_default_is_the_centred_models():
    df = load_sleepstudy()
    centred = df.assign(Days=df["Days"] - 4.5)
    one, other = (
        MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=3).fit(d) for d in (df, centred)
    )

    np.testing.assert_allclose(one.predict(df), other.predict(centred), rtol=1e-9)
    assert one.intercept_ == pytest.approx(other.intercept_ - 4.5 * other.coef_[0])
