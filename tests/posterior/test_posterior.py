import numpy as np
import pytest

from bayesmixed import FormulaError, split_group_effects
from bayesmixed._compat import dataset, import_arviz
from bayesmixed.design.spec import DesignSpec
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.container import check_columns, check_names, container
from bayesmixed.posterior.draws import layout
from helpers.made import GAUSSIAN, make_draws, posterior_of


def assemble(formula, frame, **options):
    spec, design = DesignSpec.learn(parse(formula), frame, **options)
    draws = make_draws(design)
    obs = np.array([f"row {i}" for i in range(len(frame))])
    return container(posterior_of(draws, spec), (np.arange(len(frame)) / 7, obs)), draws


def test_naming_contract(school):
    idata, draws = assemble("x + k + (x | school) + (1 | school:pupil)", school)
    posterior = dataset(idata, "posterior")

    expected = {
        "Intercept": (),
        "beta": ("common_effect",),
        "b_school": ("school", "school_effect"),
        "b_school:pupil": ("school:pupil", "school:pupil_effect"),
        "sd_school": ("school_effect",),
        "sd_school:pupil": ("school:pupil_effect",),
        "corr_school": ("school_pair",),
        "sigma": (),
    }
    assert list(posterior.data_vars) == list(expected), "in this order, and nothing else"
    assert {name: v.dims[2:] for name, v in posterior.data_vars.items()} == expected
    assert all(v.dims[:2] == ("chain", "draw") for v in posterior.data_vars.values())
    assert posterior["common_effect"].values.tolist() == ["x", "k[b]", "k[c]"]
    assert posterior["school_effect"].values.tolist() == ["Intercept", "x"]
    assert posterior["school_pair"].values.tolist() == ["Intercept:x"]
    assert posterior["school"].values.tolist() == ["east", "north", "south"]
    assert posterior["school:pupil"].values[0] == "east:0"
    np.testing.assert_array_equal(posterior["b_school"].values, draws.values["b_school"])
    assert posterior.attrs["bayesmixed_schema"] == idata.attrs["bayesmixed_schema"] == "1"
    assert set(idata.children if hasattr(idata, "children") else idata.groups()) == {
        "posterior",
        "sample_stats",
        "observed_data",
    }
    np.testing.assert_array_equal(dataset(idata, "observed_data")["y"], np.arange(60) / 7)
    assert dataset(idata, "observed_data")["obs"].values[1] == "row 1"


@pytest.mark.parametrize(
    ("formula", "options", "names"),
    [
        ("0 + x", {}, ["beta", "sigma"]),
        ("1", {}, ["Intercept", "sigma"]),
        ("(1 | school)", {}, ["Intercept", "b_school", "sd_school", "sigma"]),
        ("x + (x | school)", {"group_prior": "independent"}, ["Intercept", "beta", "b_school", "sd_school", "sigma"]),
    ],
)
def test_what_a_model_lacks_is_absent(formula, options, names, school):
    assert list(dataset(assemble(formula, school, **options)[0], "posterior").data_vars) == names


def test_pairs_of_blocks(school):
    _, design = DesignSpec.learn(parse("(1 + x + z | school) + (0 + k | school)"), school)
    names = design.groups[0].pair_names

    assert names == ("Intercept:x", "Intercept:z", "x:z", "k[a]:k[b]", "k[a]:k[c]", "k[b]:k[c]")


def test_level_types_are_kept(school):
    posterior = dataset(assemble("(1 | pupil)", school)[0], "posterior")

    assert posterior["pupil"].dtype == np.int64
    assert float(posterior["b_pupil"].sel(pupil=3, pupil_effect="Intercept").mean()) == pytest.approx(
        float(posterior["b_pupil"].values[:, :, 3, 0].mean())
    )


def test_arviz_reads_it_and_files_keep_it(school, tmp_path):
    az = import_arviz()
    idata, _ = assemble("x + (x | school/pupil)", school)
    summary = az.summary(idata)

    assert not summary.isna().to_numpy().any()
    assert {"beta[x]", "sd_school[Intercept]", "corr_school[Intercept:x]", "b_school[east, x]"} <= set(summary.index)
    posterior = dataset(idata, "posterior")
    for name, mean in summary["mean"].astype(float).items():
        variable, _, labels = name.partition("[")
        values = posterior[variable]
        for dim, label in zip(values.dims[2:], labels.removesuffix("]").split(", "), strict=False):
            values = values.sel({dim: label})
        assert mean == pytest.approx(float(values.mean()), abs=2e-3), name
    idata.to_netcdf(tmp_path / "posterior.nc")
    again = az.from_netcdf(tmp_path / "posterior.nc")
    assert list(dataset(again, "posterior").data_vars) == list(dataset(idata, "posterior").data_vars)
    assert dataset(again, "posterior").equals(dataset(idata, "posterior"))


def test_split_group_effects(school):
    idata, draws = assemble("x + (x | school) + (1 | item)", school)
    split = split_group_effects(idata)

    assert list(split.data_vars) == [
        *("Intercept", "beta", "b_school_Intercept", "b_school_x", "b_item_Intercept"),
        *("sd_school_Intercept", "sd_school_x", "sd_item_Intercept", "corr_school", "sigma"),
    ]
    assert split["b_school_x"].dims == ("chain", "draw", "school")
    np.testing.assert_array_equal(split["b_school_x"], draws.values["b_school"][..., 1])
    np.testing.assert_array_equal(split["sd_school_x"], draws.values["sd_school"][..., 1])
    assert split_group_effects(idata["posterior"]).identical(split), "the posterior alone will do"


def test_a_factor_called_like_a_dim_is_split_by_effect(school):
    idata, _ = assemble("x + (x | site_effect)", school.assign(site_effect=school["school"]))

    assert list(split_group_effects(idata))[2:4] == ["b_site_effect_Intercept", "b_site_effect_x"]


@pytest.mark.parametrize("column", ["Intercept", "chain", "draw", "obs", "common_effect"])
@pytest.mark.parametrize("formula", ["{0}", "x + (1 | {0})", "x + ({0} | school)"])
def test_reserved_columns_are_refused(formula, column):
    with pytest.raises(FormulaError, match=f"uses '{column}', a name with another meaning in the posterior; rename"):
        check_columns(parse(formula.format(column)).columns)


@pytest.mark.parametrize(
    ("formula", "factor", "taken"),
    [
        ("x + (1 | beta)", "beta", "beta"),
        ("x + (1 | sigma)", "sigma", "sigma"),
        ("x + (1 | y)", "y", "y"),
        ("x + (1 | sd_g) + (1 | g)", "sd_g", "sd_g"),
        ("x + (1 | g) + (1 | g_effect)", "g", "g_effect"),
        ("x + (1 | `a/b`)", "a/b", "a/b"),
    ],
)
def test_factors_whose_names_would_clash_are_refused(formula, factor, taken, school):
    names = ["beta", "sigma", "y", "sd_g", "g", "g_effect", "a/b"]
    frame = school.assign(**dict.fromkeys(names, school["pupil"]))
    spec, _ = DesignSpec.learn(parse(formula), frame)

    with pytest.raises(FormulaError, match=f"grouping factor '{factor}' would add '.*{taken}'.*rename the column"):
        check_names(spec, GAUSSIAN)


def test_layout_is_the_same_from_design_and_spec(school):
    spec, design = DesignSpec.learn(parse("x + (x | school)"), school)

    assert layout(spec, GAUSSIAN) == layout(design, GAUSSIAN)
