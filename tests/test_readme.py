"""Every Python block of the README runs, in order, in an empty folder, and warns of nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = Path(__file__).parents[1] / "README.md"


def test_the_blocks_of_the_readme_run_one_after_the_other(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    script = "\n".join(blocks)
    # ArviZ and the workers of joblib warn of their own affairs
    command = [sys.executable, "-W", "error::UserWarning:__main__", "-c", script]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"MPLBACKEND": "Agg"}
    )

    assert len(blocks) >= 8
    assert run.returncode == 0, run.stderr
    assert "ConvergenceWarning" not in run.stderr
