"""Print the lowest versions that pyproject.toml promises to this Python, as constraints for pip.

Usage: python .ci/lowest.py [EXTRA ...] > lowest.txt && python -m pip install -c lowest.txt ".[EXTRA,...]"
"""

import re
import sys
import tomllib
from pathlib import Path

REQUIREMENT = re.compile(r"([\w.-]+)(?:\[.*\])?([^;]*)(?:;\s*python_version\s*(<|>=)\s*'3\.(\d+)')?")


def lowest(requirements):
    """The pin of each requirement that has a lower bound and holds for this Python."""
    for requirement in requirements:
        match = REQUIREMENT.fullmatch(requirement.strip())
        if match is None:
            sys.exit(f".ci/lowest.py cannot read {requirement!r} in pyproject.toml")
        name, bounds, comparison, minor = match.groups()
        mine = comparison is None or (sys.version_info.minor < int(minor)) == (comparison == "<")
        if mine and (bound := re.search(r">=([\w.]+)", bounds)):
            yield f"{name}=={bound[1]}"


def main(extras):
    """Print the pins of the dependencies, and of the extras named on the command line."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    for requirements in wanted:
        print(*lowest(requirements), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
