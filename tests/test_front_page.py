"""The figures of README are those of the results that are kept, and the version is one."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bayesmixed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("option", "page"), [([], "README.md"), (["--long"], "benchmarks/README.md")])
def test_tables_come_from_the_kept_results(option, page):
    command = [sys.executable, ROOT / "benchmarks" / "front_page.py", *option]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    lines = [line for line in printed.splitlines() if line]
    assert len(lines) > 3
    assert [line for line in lines if line not in (ROOT / page).read_text()] == []


def test_calibration_is_as_the_readme_says():
    tables = [pd.read_csv(ROOT / f"benchmarks/results/calibration_{name}.csv") for name in ("collapsed", "nuts")]

    for table, replications in zip(tables, (500, 100), strict=True):
        left = (table["outside"] > 0).sum()
        assert f"{replications} replications for each group prior, {left} of {len(table)}" in " ".join(README.split())
        assert (table["replications"] == replications).all()


def test_files_that_have_to_repeat_the_version_agree_with_the_package():
    version = bayesmixed.__version__

    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert (ROOT / "CHANGELOG.md").read_text().startswith(f"# Changelog\n\n## {version} ")
