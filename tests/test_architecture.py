"""The import law: which module may import which, and that nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bayesmixed"
FREE = {"errors", "_compat"}  # every module may import these


def collapsed(*names):
    """Modules of the collapsed sampler."""
    return {f"sampling.collapsed.{name}" for name in names}


ALLOWED = {
    "__init__": {"datasets", "errors", "estimator", "posterior", "distributions", "priors"},
    "_compat": set(),
    "_tokens": set(),
    "errors": set(),
    "datasets": set(),
    "levels": set(),
    "frames": set(),
    "keyed_random": set(),
    "diagnostics": set(),
    "distributions": set(),
    "families": set(),
    "formula": {"_tokens"},
    "terms": {"_tokens"},
    "columns": {"terms"},
    "grouping": {"formula", "columns", "levels", "frames"},
    "design": {"formula", "columns", "frames", "grouping"},
    "draws": {"design"},
    "swept": set(),
    "priors": {"distributions", "swept"},
    "defaults": {"design", "distributions", "families", "grouping", "priors", "swept"},
    "resolve": {"defaults", "design", "distributions", "families", "priors"},
    "scaling": {"defaults", "design", "grouping", "priors", "swept"},
    "checks": {"defaults", "design", "frames", "grouping", "swept"},
    "residuals": {"defaults", "design", "grouping", "scaling"},
    "pymc_model": {"design", "grouping", "draws", "families", "distributions", "priors", "scaling", "swept"},
    "posterior": {"design", "draws", "levels"},
    "inputs": {"checks", "design", "families", "formula", "frames", "grouping", "posterior", "residuals"},
    "prior_draws": {
        *("design", "distributions", "draws", "grouping", "keyed_random", "levels", "new_groups", "priors", "swept"),
    },
    "mixture": {"families"},
    "display": {"design", "grouping", "inputs", "prediction", "priors"},
    "tables": {"design", "diagnostics", "draws", "grouping", "new_groups", "prediction"},
    "conditioning": {
        "checks",
        "design",
        "diagnostics",
        "draws",
        "frames",
        "prediction",
        "sampling",
        *collapsed("effects", "leave_one_out", "no_groups"),
    },
    "storage": {
        "distributions",
        "draws",
        "inputs",
        "priors",
        "scaling",
        *collapsed("assembly", "covariance", "density", "effects", "no_groups", "residual", "statistics", "units"),
    },
    "storage_mixin": {"design", "families", "inputs", "prediction", "priors", "storage"},
    "prediction_mixin": {
        "checks",
        "design",
        "frames",
        "inputs",
        "new_groups",
        "posterior",
        "prediction",
        "prior_draws",
        "priors",
    },
    "plots": {"plots.groups", "plots.model", "plots.pooling"},
    "plots.shared": {"frames", "grouping", "inputs", "levels"},
    "plots.groups": {"frames", "grouping", "levels", "plots.shared", "prediction"},
    "plots.model": {"distributions", "new_groups", "plots.shared", "priors", "swept"},
    "plots.pooling": {"draws", "grouping", "new_groups", "plots.shared", "tables"},
    "posterior_mixin": {"design", "inputs", "posterior", "prediction", "tables"},
    "new_groups": {"design", "grouping", "draws", "keyed_random", "levels"},
    "prediction": {"design", "draws", "families", "grouping", "keyed_random", "mixture", "new_groups"},
    "sampling": {
        "design",
        "draws",
        "families",
        "priors",
        "sampling.nuts",
        "sampling.collapsed.engine",
        "sampling.collapsed.update",
        "sampling.report",
    },
    "sampling.nuts": {"design", "draws", "families", "priors", "pymc_model"},
    "sampling.report": {"design", "draws", "diagnostics"},
    "sampling.progress": set(),
    "sampling.collapsed": set(),
    "sampling.collapsed.batched": set(),
    "sampling.collapsed.units": {"defaults", "design", "distributions", "grouping", "priors", "scaling", "swept"},
    "sampling.collapsed.statistics": {"design", *collapsed("batched", "units")},
    "sampling.collapsed.covariance": {"design", "distributions", "priors", *collapsed("units")},
    "sampling.collapsed.elimination": collapsed("batched", "statistics"),
    "sampling.collapsed.nested": collapsed("batched", "elimination", "statistics"),
    "sampling.collapsed.crossed": collapsed("batched", "elimination"),
    "sampling.collapsed.residual": {"distributions", *collapsed("batched")},
    "sampling.collapsed.density": {
        "design",
        "priors",
        *collapsed("covariance", "crossed", "elimination", "nested", "residual", "statistics", "units"),
    },
    "sampling.collapsed.modes": set(),
    "sampling.collapsed.proposal": collapsed("modes"),
    "sampling.collapsed.chains": set(),
    "sampling.collapsed.target": collapsed("density", "proposal"),
    "sampling.collapsed.search": {"diagnostics", *collapsed("chains", "density", "modes", "proposal", "target")},
    "sampling.collapsed.effects": {"keyed_random", *collapsed("batched", "density", "elimination")},
    "sampling.collapsed.assembly": {"design", "draws", *collapsed("density", "effects", "search", "units")},
    "sampling.collapsed.no_groups": {
        "design",
        "distributions",
        "draws",
        "keyed_random",
        "priors",
        *collapsed("assembly", "units"),
    },
    "sampling.collapsed.leave_one_out": {
        "design",
        *collapsed("batched", "crossed", "density", "effects", "elimination", "nested", "no_groups"),
    },
    "sampling.collapsed.update": {
        "design",
        "diagnostics",
        "draws",
        "keyed_random",
        *collapsed("assembly", "density", "engine", "no_groups", "search", "statistics"),
    },
    "sampling.collapsed.engine": {
        "design",
        "distributions",
        "draws",
        "families",
        "priors",
        "sampling.progress",
        *collapsed("assembly", "density", "elimination", "nested", "no_groups", "search", "statistics", "units"),
    },
}
HEAVY = {"pymc", "pytensor", "arviz", "matplotlib", "nutpie", "numba", "xarray"}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports(path, nested):
    """Full names imported by a file; at the top level, or inside functions."""
    tree = ast.parse(path.read_text())
    top = [node for node in tree.body if not is_type_checking(node)]
    inner = [child for node in top for child in ast.walk(node) if child is not node]
    found = set()
    for node in inner if nested else top:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def ours(names):
    """Which of our modules these names belong to, the longest match."""
    inside = [name.removeprefix("bayesmixed.") for name in names if name.startswith("bayesmixed.")]
    known = sorted(MODULES, key=len, reverse=True)
    return {next(module for module in known if f"{name}.".startswith(f"{module}.")) for name in inside}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"estimator"}))
def test_a_module_imports_only_what_its_row_names(module):
    used = ours(imports(MODULES[module], nested=False) | imports(MODULES[module], nested=True))

    assert used - FREE <= ALLOWED[module]


def test_the_table_has_a_row_for_every_module():
    assert set(ALLOWED) == set(MODULES) - {"estimator"}


def test_imports_form_no_cycle():
    order = []
    remaining = dict(ALLOWED)
    while remaining:
        ready = [module for module, needs in remaining.items() if needs <= {*order, "estimator", *FREE}]
        assert ready, f"a cycle among {sorted(remaining)}"
        order += ready
        remaining = {module: needs for module, needs in remaining.items() if module not in ready}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_heavy_packages_are_imported_inside_functions_only(module):
    roots = {name.split(".")[0] for name in imports(MODULES[module], nested=False)}

    assert not roots & HEAVY


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"pymc_model", "_compat", "estimator"}))
def test_pymc_and_arviz_are_touched_in_few_places(module):
    roots = {name.split(".")[0] for name in imports(MODULES[module], nested=True)}

    assert not roots & {"pymc", "pytensor", "arviz"}


def test_only_terms_knows_formulae():
    users = {m for m, path in MODULES.items() if any(n.startswith("formulae") for n in imports(path, nested=False))}

    assert users == {"terms"}


def test_importing_the_package_loads_nothing_heavy_and_warns_of_nothing():
    code = f"import sys, bayesmixed; print(sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
    assert run.stderr == ""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_stay_readable(module):
    assert len(MODULES[module].read_text().splitlines()) <= 450
