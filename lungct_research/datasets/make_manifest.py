"""Manifest of a public data set: ``python -m lungct_research.datasets.make_manifest --layout NAME DIR > manifest.csv``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lungct.errors import InputError
from lungct_research.datasets.layouts import LAYOUTS
from lungct_research.datasets.manifest import manifest_csv


def main() -> int:
    """Print the manifest; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", choices=tuple(LAYOUTS), required=True)
    parser.add_argument("root", type=Path, metavar="DIR", help="folder of the data set, archives unpacked")
    arguments = parser.parse_args()
    try:
        print(manifest_csv(list(LAYOUTS[arguments.layout](arguments.root))), end="")
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
