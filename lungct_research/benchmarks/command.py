"""``lungct benchmark``: run time, memory and agreement on the machine at hand."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lungct.command.options import any_path, existing_folder, models_option


@click.group()
def benchmark() -> None:
    """Measure run time, memory and agreement on this machine.

    Networks run on two threads, on a phantom of 300 slices. Figures of two machines compare as ratios only;
    lungct_research/benchmarks/README.md has ours.
    """


@benchmark.command(epilog="Example: lungct benchmark run --slices 300 --json runs/benchmark.json")
@models_option
@click.option(
    "--slices",
    type=click.IntRange(min=30),
    multiple=True,
    default=(100, 300, 600),
    show_default=True,
    help="Slices of a phantom to analyse; may be repeated.",
)
@click.option("--study", "studies", type=existing_folder, multiple=True, help="Real study; may be repeated.")
@click.option("--json", "file", type=any_path, help="JSON file for all figures.")
def run(models: Path, slices: tuple[int, ...], studies: tuple[Path, ...], file: Path | None) -> None:
    """Measure whole analyses and their stages."""
    from lungct_research.benchmarks.processes import measure_analyses

    measure_analyses(models, slices, studies, file)


@benchmark.command()
@click.argument("what", type=click.Choice(["reading, application", "reading, SDK operators"]))
@click.argument("study", type=existing_folder)
def instead(what: str, study: Path) -> None:
    """Measure reading with the application, or with the operators of MONAI Deploy in place of it.

    STUDY is a folder of DICOM files. Prints seconds and MB as JSON.
    """
    from lungct_research.benchmarks.instead import measure_reading

    click.echo(json.dumps(measure_reading(what, study)))


def add_stage(name: str, summary: str) -> None:
    """Add the sub-command that measures one of :data:`lungct_research.benchmarks.stages.STAGES`."""

    @benchmark.command(name, help=summary)
    @models_option
    @click.option(
        "--slices",
        "n_slices",
        type=click.IntRange(min=1),
        default=300,
        show_default=True,
        help="Slices of the phantom, 512 x 512 each.",
    )
    def measure(models: Path, n_slices: int) -> None:
        from lungct_research.benchmarks.stages import run

        run(name, n_slices, models)


for stage, about in {
    "anatomy": "Measure finding airways and vessels, and how far they agree with the phantom's own.",
    "devices": "Measure each network on CPU and GPU, and whether both find the same.",
    "dicom-write": "Measure writing the results, by kind and encoding of the DICOM objects.",
    "lobes": "Measure labelling the lobes.",
    "report": "Measure the pictures, the PDF and the HTML of a report.",
}.items():
    add_stage(stage, about)


@benchmark.command()
@models_option
@click.option("--studies", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--slices", "n_slices", type=click.IntRange(min=30), default=100, show_default=True)
def soak(models: Path, studies: int, n_slices: int) -> None:
    """Analyse many small studies in one process: neither memory nor open files may grow."""
    from lungct_research.benchmarks.processes import measure_soak

    measure_soak(models, studies, n_slices)


@benchmark.command()
@models_option
@click.option("--starts", type=click.IntRange(min=1), default=5, show_default=True)
def startup(models: Path, starts: int) -> None:
    """Measure the time until the first stage begins."""
    from lungct_research.benchmarks.processes import measure_startup

    measure_startup(models, starts)


@benchmark.command()
@click.option(
    "--slices", "n_slices", type=click.IntRange(min=1), help="Only the first phantom, in so many slices."
)
def trees(n_slices: int | None) -> None:
    """Measure how well airways and vessels are found over persons, voxel sizes and kernels."""
    from lungct_research.benchmarks.trees import run as measure

    measure(n_slices)


@benchmark.command(epilog="Example: lungct benchmark waiting --service-s 60 --per-day 120 --machines 2")
@click.option(
    "--service-s",
    "services_s",
    type=float,
    multiple=True,
    default=(30.0, 60.0, 180.0, 600.0),
    show_default=True,
    help="Median seconds of one study, from fetched to sent; may be repeated.",
)
@click.option("--per-day", type=float, default=120.0, show_default=True, help="Eligible chest CTs a day.")
@click.option(
    "--machines",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 2, 4, 8),
    show_default=True,
    help="Analyses at the same time; may be repeated.",
)
def waiting(services_s: tuple[float, ...], per_day: float, machines: tuple[int, ...]) -> None:
    """Simulate how long studies of a hospital wait for their results in a month."""
    from lungct_research.benchmarks.waiting import run as simulate

    simulate(services_s, per_day, machines)
