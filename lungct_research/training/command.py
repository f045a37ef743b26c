"""``lungct train``: train the networks, and list the CTs to train with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lungct.command.options import (
    any_path,
    data_option,
    device_option,
    existing_file,
    existing_folder,
    seed_option,
)
from lungct.file_names import packaged_models

Function = Callable[..., None]

LAYOUTS = ("covid_ct_md", "mosmed", "stoic", "ricord", "cc_ccii", "project")
"""Names of :data:`lungct_research.datasets.layouts.LAYOUTS`, known here without importing it."""


def training_options(network: str, minutes: float) -> Callable[[Function], Function]:
    """Return a decorator that adds the options which all networks have in common."""
    options = (
        click.option(
            "-o",
            "--out",
            type=any_path,
            default=Path("models") / network,
            show_default=True,
            help="Folder for the weights and the model card.",
        ),
        click.option(
            "--minutes",
            type=click.FloatRange(min=0),
            default=minutes,
            show_default=True,
            help="Training time; making the examples is not counted.",
        ),
        seed_option,
        click.option("--from", "start", type=existing_folder, help="Begin with the weights of this folder."),
        click.option("--resume", is_flag=True, help="Go on from the last checkpoint in runs/."),
        click.option("--evaluate", is_flag=True, help="Measure the weights of --out instead of training."),
        click.option(
            "--config", type=existing_file, help="Recipe (YAML) in place of the one that lungct brings."
        ),
        device_option,
    )

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@click.group()
def train() -> None:
    """Train the networks that `lungct analyse` uses.

    Examples are made once, on all cores, and kept in runs/, as are checkpoints and the log for TensorBoard.
    Weights are written to --out with every checkpoint; at its end a run measures them and writes the model
    card.
    """


@train.command(epilog="Example: lungct train lungs --data DIR --minutes 90")
@data_option
@training_options("lungs", 90)
def lungs(**asked: Any) -> None:
    """Train the network that finds lungs and lobes.

    It learns from synthetic chests around lobes that experts drew, from phantoms, and from real chests
    without infection, of which only the lungs are known.
    """
    from lungct_research.training.common import read_options
    from lungct_research.training.train_lobes import run

    run(read_options(asked))


@train.command(epilog="Example: lungct train opacity --data DIR --minutes 25 --device cuda")
@data_option
@training_options("opacity", 25)
def opacity(**asked: Any) -> None:
    """Train the network that marks opacities slice by slice.

    It learns from infections painted into real and synthetic chests, and from phantoms. With
    --config opacity_paper.yaml it trains in the paper's stages, whose length is in epochs.
    """
    from lungct_research.training.common import read_options
    from lungct_research.training.train_opacity import run

    run(read_options(asked))


CLASSIFIER_EXAMPLES = """\b
Examples:
  lungct train classifier --data DIR --minutes 12
  lungct train classifier --manifest manifest.csv --out site/classifier
"""


@train.command(epilog=CLASSIFIER_EXAMPLES)
@click.option(
    "--data",
    type=existing_folder,
    envvar="LUNGCT_DATA",
    show_envvar=True,
    help="Folder of the data sets; not needed with --manifest.",
)
@training_options("classifier", 12)
@click.option("--manifest", type=existing_file, help="CSV or Parquet file of a site's own CTs, one a row.")
@click.option(
    "--split-by",
    type=click.Choice(["institution", "patient"]),
    help="What may not stand in two parts; institutions where there are at least three.",
)
@click.option(
    "--lungs",
    type=existing_folder,
    default=lambda: packaged_models() / "lungs",
    show_default="the one that comes with the package",
    help="Model that finds the lungs of CTs without a mask.",
)
def classifier(**asked: Any) -> None:
    """Train the network that tells COVID-19, other infection and no infection apart.

    It learns from a synthetic cohort, or with --manifest from CTs of a site, and then by epochs as in the
    paper. With --config alone it learns from the synthetic cohort by epochs.
    """
    if asked["data"] is None and asked["manifest"] is None:
        raise click.UsageError("give --manifest FILE, or the data folder with --data or LUNGCT_DATA")
    if asked["evaluate"] and (asked["manifest"] or asked["config"]):
        raise click.UsageError(
            "--evaluate measures on the synthetic cohort: use lungct evaluate classifier --manifest FILE"
        )
    from lungct_research.training.common import read_options
    from lungct_research.training.train_classifier import run

    run(read_options(asked))


@train.command(epilog="Example: lungct train manifest --layout mosmed /data/mosmed > manifest.csv")
@click.option("--layout", type=click.Choice(LAYOUTS), required=True, help="How the data set is laid out.")
@click.argument("folder", type=existing_folder)
def manifest(layout: str, folder: Path) -> None:
    """Print the manifest of a public data set.

    FOLDER holds the data set as it is published, archives unpacked. A manifest has one row a CT: path,
    patient, institution and label.
    """
    from lungct_research.datasets.layouts import LAYOUTS as GENERATORS
    from lungct_research.datasets.manifest import format_manifest

    click.echo(format_manifest(list(GENERATORS[layout](folder))), nl=False)
