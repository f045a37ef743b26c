"""``lungct evaluate``: measure the networks on cases that training has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lungct.command.options import (
    any_path,
    data_option,
    device_option,
    existing_file,
    models_option,
    out_option,
)

if TYPE_CHECKING:
    from lungct.networks.device import DeviceName

PUBLIC_SETS = (
    "medseg",
    "no_infection",
    "labelled_studies",
    "painted",
    "painted_kinds",
    "covid_19_ct_seg",
    "mosmed",
    "mosmed_ct_0",
    "covid_ct_md",
    "covid_ct_md_normal",
    "ricord_1a",
    "ricord_1b",
)
"""Names of :data:`lungct_research.evaluation.cases.SETS`, known here without importing it."""


@click.group()
def evaluate() -> None:
    """Measure, explain and draw what networks find."""


@evaluate.command(epilog="Example: lungct evaluate lungs --data DIR --part validation")
@data_option
@models_option
@click.option(
    "--part",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Chests to measure on; choices are made on validation.",
)
@click.option(
    "--leak",
    is_flag=True,
    help="Measure, on any folder of chests, what of the lobes is solid and far from air.",
)
@click.option(
    "--raised",
    "rises_mm",
    type=click.FloatRange(min=0, max=100),
    multiple=True,
    help="With --leak: the same with either half of the diaphragm raised by so many mm; may be repeated.",
)
def lungs(data: Path, models: Path, part: str, leak: bool, rises_mm: tuple[float, ...]) -> None:
    """Measure how well lungs and lobes are found.

    Prints a line a case, then all measures as JSON: Dice and volume error of each lobe on synthetic chests
    and phantoms, and on real chests what experts know of them. With --leak it needs no expert: in a chest
    without consolidation or mass, solid lung far from any air is liver, spleen, aorta or chest wall.
    """
    if leak:
        from lungct_research.evaluation.leak import run as measure

        measure(data, models, rises_mm)
        return
    from lungct_research.evaluation.lobes import run

    run(data, models, part)


@evaluate.command(epilog="Example: lungct evaluate opacities --data DIR --set medseg -o evaluation")
@data_option
@models_option
@click.option(
    "--set",
    "names",
    type=click.Choice(PUBLIC_SETS),
    multiple=True,
    default=("medseg", "no_infection", "labelled_studies"),
    show_default=True,
    help="Data set to measure on; may be repeated.",
)
@out_option
@device_option
def opacities(data: Path, models: Path, names: tuple[str, ...], out: Path, device: DeviceName) -> None:
    """Measure how well opacities are found, beside a baseline without learning.

    Writes NAME.json and plots for each data set. Every set is read in the layout in which it is published.
    """
    from lungct_research.evaluation.opacities import run

    run(names, data, models, out, device)


CLASSIFIER_EXAMPLES = """\b
Examples:
  lungct evaluate classifier --manifest runs/classifier/manifest.csv --models site -o evaluation --record
  lungct evaluate classifier --predictions other-model.csv -o evaluation
"""


@evaluate.command(epilog=CLASSIFIER_EXAMPLES)
@click.option("--manifest", type=existing_file, help="Cases of a training run, or of another site.")
@click.option("--predictions", type=existing_file, help="CSV of probabilities at a temperature of 1.")
@models_option
@out_option
@click.option("--external", is_flag=True, help="These institutions gave no case to training.")
@click.option("--record", is_flag=True, help="Note temperature and result in model.json and the model card.")
@click.option(
    "--resamples",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Resamples of the bootstrap.",
)
@device_option
def classifier(
    manifest: Path | None,
    predictions: Path | None,
    models: Path,
    out: Path,
    external: bool,
    record: bool,
    resamples: int,
    device: DeviceName,
) -> None:
    """Measure the classifier on test cases, beside the paper's figures.

    Give either --manifest or --predictions. All cases are test cases where there is no column "split";
    validation cases, where there are any, decide on temperature and cut-offs. Writes classifier.html,
    classifier.json and predictions.csv.
    """
    if (manifest is None) is (predictions is None):
        raise click.UsageError("give either --manifest or --predictions")
    if record and manifest is None:
        raise click.UsageError("--record needs --manifest: nobody knows which model the predictions are of")
    from lungct_research.evaluation.classifier import predict_manifest, read_evidence, run

    if predictions is not None:
        evidence = read_evidence(predictions)
    elif manifest is not None:
        evidence = predict_manifest(manifest, models, device)
    run(evidence, out, resamples, external=external, record_in=models / "classifier" if record else None)


@evaluate.command(epilog="Example: lungct evaluate explain study -o looks.png")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@models_option
@click.option("-o", "--out", type=any_path, required=True, help="PNG file to write.")
def explain(path: Path, models: Path, out: Path) -> None:
    """Draw where the classifier looks in one CT, a row a class (3-D Grad-CAM).

    PATH is the folder of a DICOM study, or a volume file. A map shows what moved the network, not what is
    ill.
    """
    from lungct_research.evaluation.explain import run

    run(path, models, out)


@evaluate.command(epilog="Example: lungct evaluate montage covid-P001 --data DIR -o pictures")
@click.argument("names", nargs=-1)
@data_option
@models_option
@out_option
def montage(names: tuple[str, ...], data: Path, models: Path, out: Path) -> None:
    """Draw what is found in the real chests of the data folder, one picture a chest.

    NAMES are the chests to draw; all where none is named. Slices are shown plain, with the borders of the
    lobes, and with those of airways and vessels; at the right the lungs in three dimensions.
    """
    from lungct_research.evaluation.montage import run

    run(names, data, models, out)


@evaluate.command(epilog="Example: lungct evaluate phantom truth.json report/result.json")
@click.argument("truth", type=existing_file)
@click.argument("result", type=existing_file)
@click.pass_context
def phantom(context: click.Context, truth: Path, result: Path) -> None:
    """Compare the findings on a phantom with its true volumes.

    TRUTH is what `lungct phantom --truth` wrote, RESULT the result.json of the analysis. Ends with code 1
    where a volume is out of tolerance.
    """
    from lungct_research.evaluation.phantom import run

    context.exit(0 if run(truth, result) else 1)


@evaluate.command("lobe-shares", epilog="Example: lungct evaluate lobe-shares --data DIR")
@data_option
def lobe_shares(data: Path) -> None:
    """Print what each lobe holds of its lung in patients.

    The lobes are those that experts drew in 51 patients (Tang et al. 2019). The limits of the quality flag
    LOBE_SHARE_IMPLAUSIBLE come from here.
    """
    from lungct_research.evaluation.lobes import print_lobe_shares

    print_lobe_shares(data)
