"""The import law: which module may import which, and that nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bayesmixed"
# A room imports only from rooms on lines below its own; rooms on one line do not import each other.
LINES = """
plots
estimators
sampling
gaussian prediction
posterior
priors
design
formula families
distributions
errors _compat keyed_random chunks datasets
"""
FLOOR = {room: floor for floor, line in enumerate(reversed(LINES.split("\n"))) for room in line.split()}
ENGINES = {
    "sampling.collapsed",
    "sampling.gibbs",
    "sampling.transport",
    "sampling.nuts",
}  # they do not import each other
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


def room_of(module):
    return module.partition(".")[0]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__"}))
def test_a_room_imports_only_from_rooms_on_lines_below(module):
    mine = room_of(module)
    for other in ours(imports(MODULES[module], nested=False) | imports(MODULES[module], nested=True)):
        assert room_of(other) == mine or FLOOR[room_of(other)] < FLOOR[mine], f"{module} imports {other}"


def test_engines_do_not_import_each_other():
    for engine in ENGINES:
        for module in (module for module in MODULES if module.startswith(engine)):
            used = ours(imports(MODULES[module], nested=False) | imports(MODULES[module], nested=True))
            assert not [name for name in used if name.startswith(tuple(ENGINES - {engine}))], module


def test_every_room_is_on_a_line_and_has_at_most_twelve_files():
    assert {room_of(module) for module in MODULES} - {"__init__"} == set(FLOOR)
    for folder in {path.parent for path in MODULES.values()}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12, folder


def test_imports_form_no_cycle():
    remaining = {module: ours(imports(path, nested=False)) - {module} for module, path in MODULES.items()}
    while remaining:
        ready = [module for module, needs in remaining.items() if not needs & set(remaining)]
        assert ready, f"a cycle among {sorted(remaining)}"
        remaining = {module: needs for module, needs in remaining.items() if module not in ready}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_heavy_packages_are_imported_inside_functions_only(module):
    roots = {name.split(".")[0] for name in imports(MODULES[module], nested=False)}

    assert not roots & HEAVY


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"sampling.nuts.pymc_model", "_compat", "estimators.base"}))
def test_pymc_and_arviz_are_touched_in_few_places(module):
    roots = {name.split(".")[0] for name in imports(MODULES[module], nested=True)}

    assert not roots & {"pymc", "pytensor", "arviz"}


def test_only_terms_knows_formulae():
    users = {m for m, path in MODULES.items() if any(n.startswith("formulae") for n in imports(path, nested=False))}

    assert users == {"formula.terms"}


def test_importing_the_package_loads_nothing_heavy_and_warns_of_nothing():
    code = f"import sys, bayesmixed; print(sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
    assert run.stderr == ""


def test_a_gaussian_fit_loads_no_other_engine_and_no_file_format():
    code = """
import sys
import bayesmixed as bm
df = bm.datasets.load_sleepstudy()
bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df).predict(df)
print(sorted(name for name in sys.modules if name.startswith("bayesmixed.")))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(run.stdout))

    others = [name for name in MODULES if name.startswith(("sampling.transport.", "sampling.gibbs."))]
    asked = {"transport.engine", "transport.constants"}  # what decides whether an engine takes the model
    asked |= {f"gibbs.{name}" for name in ("engine", "limits", "constants")}
    assert {name for name in others if f"bayesmixed.{name}" in loaded} == {f"sampling.{name}" for name in asked}
    assert not loaded & {"bayesmixed.estimators.archive", "bayesmixed.plots"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_stay_readable(module):
    assert len(MODULES[module].read_text().splitlines()) <= 450
