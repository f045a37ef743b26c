"""Pseudonymised copies of all studies in a folder.

Example:
    lungct-deidentify studies out --key site.key --mapping mapping.csv
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lungct.errors import SettingsError
from lungct_services.deidentify.copying import Copies
from lungct_services.deidentify.pseudonyms import pseudonyms_of

REPORT_FILE = "deidentification.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 where files were left out, 2 where it cannot work."""
    parser = ArgumentParser(prog="lungct-deidentify", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("studies", type=Path, help="folder of DICOM files")
    parser.add_argument("out", type=Path, help="new or empty folder for the copies and the report")
    parser.add_argument("--key", type=Path, required=True, help="secret of the site; made where missing")
    parser.add_argument("--mapping", type=Path, required=True, help="CSV of the site: original and new")
    args = parser.parse_args(arguments)
    for place in (args.key, args.mapping):
        if place.resolve().is_relative_to(args.out.resolve()):
            parser.error(f"{place.name} would lie among the copies: choose another place")
    if args.out.exists() and any(args.out.iterdir()):
        parser.error("the output folder is not empty: choose another one")
    try:
        copies = Copies(pseudonyms_of(args.key), args.out)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    copies.copy_folder(args.studies)
    copies.write_mapping(args.mapping)
    report = copies.report()
    (args.out / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{report['n_copied']} objects copied, {sum(report['left_out'].values())} left out")
    for reason, count in Counter(report["left_out"]).most_common():
        print(f"{count:6d} {reason}")
    return 1 if report["left_out"] else 0


if __name__ == "__main__":
    sys.exit(main())
