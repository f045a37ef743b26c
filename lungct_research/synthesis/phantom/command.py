"""``lungct phantom``: a thorax with known volumes as a DICOM study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lungct.command.options import any_path, seed_option
from lungct_research.synthesis.phantom.study_options import Fault, Orientation, StudyOptions, Syntax

if TYPE_CHECKING:
    from lungct_research.synthesis.phantom.thorax import Phantom

KERNEL_NAMES = {"soft": "SOFT", "standard": "STANDARD", "sharp": "LUNG"}
"""Convolution Kernel in the headers, by the kernel of the scanner."""

PATTERNS = {"covid": "covid19", "pneumonia": "other_infection", "normal": "no_infection"}
"""Disease by the name that the command line takes."""

EXAMPLES = """\b
Examples:
  lungct phantom study --pattern covid --truth truth.json
  lungct phantom study --opacity ground_glass right_lower 60
  lungct phantom broken --fault missing-slice --fault hu-offset
"""


@click.command(epilog=EXAMPLES)
@click.argument("out", type=any_path)
@click.option("--truth", type=any_path, help="JSON file for the true volumes, outside the DICOM folder.")
@seed_option
@click.option(
    "--pattern",
    type=click.Choice(list(PATTERNS)),
    default="normal",
    show_default=True,
    help="Disease to draw.",
)
@click.option(
    "--opacity",
    "opacities",
    type=(str, str, float),
    multiple=True,
    metavar="KIND LOBE ML",
    help="Place one more opacity. KIND: ground_glass, consolidation, crazy_paving, reversed_halo, band or "
    "nodule; LOBE: left_upper, left_lower, right_upper, right_middle or right_lower. May be repeated.",
)
@click.option(
    "--spacing",
    "spacing_mm",
    type=(float, float, float),
    default=(2.5, 1.4, 1.4),
    show_default=True,
    metavar="SLICE ROW COLUMN",
    help="Distance of the voxels in mm.",
)
@click.option("--noise", "noise_hu", type=float, metavar="HU", help="Noise; drawn at random by default.")
@click.option("--kernel", type=click.Choice(list(KERNEL_NAMES)), default="standard", show_default=True)
@click.option(
    "--orientation",
    type=click.Choice([*map(str, Orientation)]),
    default=str(Orientation.HEAD_FIRST_SUPINE),
    show_default=True,
    help="How the slices lie in the patient.",
)
@click.option(
    "--transfer-syntax",
    type=click.Choice([*map(str, Syntax)]),
    default=str(Syntax.EXPLICIT),
    show_default=True,
    help="How the pixels are encoded.",
)
@click.option(
    "--fault",
    "faults",
    type=click.Choice([*map(str, Fault)]),
    multiple=True,
    help="Make the study faulty in this way. May be repeated.",
)
@click.option("--enhanced", is_flag=True, help="Write one multi-frame Enhanced CT file.")
@click.option("--reversed-files", is_flag=True, help="Let the instance numbers count down.")
@click.option("--series-number", type=int, default=1, show_default=True)
@click.option("--patient-name", default="Phantom^Thorax", show_default=True)
@click.option("--patient-age", "patient_age_years", type=int, default=50, show_default=True, metavar="YEARS")
def phantom(out: Path, truth: Path | None, **asked: Any) -> None:
    """Write a thorax phantom as a DICOM study to the folder OUT.

    Each seed is another person. Lungs, lobes, vessels and opacities are drawn from formulas, so their true
    volumes are known: they are printed as a table, and written to a file with --truth.
    """
    if truth is not None and truth.resolve().is_relative_to(out.resolve()):
        raise click.UsageError(f"--truth {truth} lies inside the DICOM folder {out}: choose another place")
    from lungct_research.synthesis.phantom.dicom_study import write_study
    from lungct_research.synthesis.phantom.thorax import known_volumes

    try:
        thorax = _draw(asked)
        paths = write_study(thorax.volume_hu, out, _study_options(asked))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if truth is not None:
        text = json.dumps(known_volumes(thorax, asked["seed"]), indent=2)
        truth.write_text(text + "\n", encoding="utf-8")
    _print_table(thorax)
    click.echo(f"{len(paths)} files in {out}")


def _draw(asked: dict[str, Any]) -> Phantom:
    from lungct.records import Lobe
    from lungct_research.datasets.disease import Disease
    from lungct_research.synthesis.phantom.opacities import Opacity
    from lungct_research.synthesis.phantom.thorax import make_thorax

    return make_thorax(
        asked["seed"],
        asked["spacing_mm"],
        opacities=[Opacity(kind, Lobe(lobe), ml) for kind, lobe, ml in asked["opacities"]],
        disease=Disease(PATTERNS[asked["pattern"]]),
        noise_hu=asked["noise_hu"],
        kernel=asked["kernel"],
    )


def _study_options(asked: dict[str, Any]) -> StudyOptions:
    same = ("seed", "spacing_mm", "patient_name", "patient_age_years", "series_number", "reversed_files")
    return StudyOptions(
        **{name: asked[name] for name in same},
        kernel=KERNEL_NAMES[asked["kernel"]],
        orientation=Orientation(asked["orientation"]),
        transfer_syntax=Syntax(asked["transfer_syntax"]),
        enhanced=asked["enhanced"],
        faults=tuple(map(Fault, asked["faults"])),
    )


def _print_table(thorax: Phantom) -> None:
    click.echo(f"{'lobe':<14}{'lung ml':>10}{'opacity ml':>12}")
    for lobe, lung_ml in thorax.lobe_ml.items():
        click.echo(f"{lobe.value:<14}{lung_ml:>10.1f}{thorax.opacity_ml[lobe]:>12.1f}")
    lung_ml, opacity_ml = sum(thorax.lobe_ml.values()), sum(thorax.opacity_ml.values())
    click.echo(f"{'both lungs':<14}{lung_ml:>10.1f}{opacity_ml:>12.1f}")
