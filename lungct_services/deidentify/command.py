"""``lungct deidentify``: pseudonymised copies of all studies in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lungct.command.options import any_path

EXAMPLE = """\b
Example:
  lungct deidentify studies copies --key site.key --mapping mapping.csv
"""


@click.command(epilog=EXAMPLE)
@click.argument("studies", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=any_path)
@click.option("--key", type=any_path, required=True, help="Secret of the site; made where missing.")
@click.option("--mapping", type=any_path, required=True, help="CSV of the site: originals and new values.")
def deidentify(studies: Path, out: Path, key: Path, mapping: Path) -> None:
    """Copy studies without what identifies patients.

    The copies of the objects in STUDIES go to the new or empty folder OUT.

    Key and mapping lead back to the patients: they stay with the site. The exit code is 1 if objects were
    left out.
    """
    from lungct_services.deidentify.copying import Copies
    from lungct_services.deidentify.pseudonyms import pseudonyms_of

    for place in (key, mapping):
        if place.resolve().is_relative_to(out.resolve()):
            raise click.UsageError(f"{place.name} would lie among the copies: choose another place")
    if out.exists() and any(out.iterdir()):
        raise click.UsageError("the output folder is not empty: choose another one")
    copies = Copies(pseudonyms_of(key), out, mapping)
    copies.copy_folder(studies)
    left_out = copies.write_report()
    click.echo(f"{copies.n_copied} objects copied, {left_out.total()} left out")
    for reason, count in left_out.most_common():
        click.echo(f"{count:6d} {reason}")
    sys.exit(1 if left_out else 0)
