"""The sub-command ``lungct analyse``: one study in, report and results out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lungct.command.options import log_level_option, models_option, out_option, settings_option

if TYPE_CHECKING:
    from lungct.errors import InputError
    from lungct.journal import StageEvent, Watcher
    from lungct.report.result import Result

EPILOG = """\b
Examples:
  lungct analyse study -o report            a folder of DICOM files
  lungct analyse study.zip -o report        the same, packed
  lungct analyse chest.nii.gz -o report     for research: NIfTI, NRRD or MetaImage in Hounsfield units
  lungct analyse study -o report --device cpu --settings site.yaml
  lungct analyse study -o report --series 1.2.840.1 --accept SLICE_TOO_THICK --accept UNDER_AGE

\b
Exit codes:
  0  analysed                    4  the input cannot be read as a chest CT
  1  internal error              5  the output folder cannot be written
  2  wrong settings or options   6  weights are missing or damaged
  3  no series of the study may be analysed; result.json says why

The folder OUT then holds report.pdf, report.html, result.json, label maps and DICOM objects. result.json is
there after every run; its status and reason tell why there are no findings.
"""


@click.command(epilog=EPILOG)
@click.argument("study", type=click.Path(exists=True, path_type=Path))
@out_option
@models_option
@settings_option
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where the networks run; auto, the default, takes a GPU where there is one.",
)
@click.option("--series", metavar="UID", help="Series Instance UID of the only series that may be analysed.")
@click.option(
    "--accept",
    metavar="CODE",
    multiple=True,
    help="Rule to set aside, e.g. SLICE_TOO_THICK; repeatable. Every output then says OUTSIDE_METHOD.",
)
@log_level_option
def analyse(
    study: Path,
    out: Path,
    models: Path,
    settings: Path | None,
    device: str | None,
    series: str | None,
    accept: tuple[str, ...],
    log_level: str,
) -> None:
    """Analyse one chest CT: a folder, file or .zip.

    STUDY is a folder with DICOM files, one DICOM file, a .zip of them, or a volume file. Of several series
    the most suitable one is analysed.
    """
    import lungct
    from lungct.command.archive import unpack
    from lungct.errors import InputError
    from lungct.process import prepare_process
    from lungct.settings import Settings, read_settings

    given = read_settings(settings) if settings else Settings()
    chosen = Settings.model_validate(given.model_dump() | ({"device": device} if device else {}))
    prepare_process()
    with _progress(log_level) as watch:
        try:
            with unpack(study) as folder:
                result = lungct.analyse(folder, out, chosen, models, watch, series, accept)
        except InputError as error:
            result = _refuse(out, error)
    _show(result, out)
    click.get_current_context().exit(result.exit_code)


def _refuse(out: Path, error: InputError) -> Result:
    """Write the ``result.json`` of an archive that cannot be unpacked."""
    from lungct.journal import Journal
    from lungct.run import run_into

    def fail(_: Path) -> None:
        raise error

    return run_into(out, Journal(), fail)


@contextmanager
def _progress(log_level: str) -> Iterator[Watcher | None]:
    """Show a bar on a terminal; elsewhere, each stage is a line of the log."""
    on_terminal = sys.stderr.isatty()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    level = "WARNING" if on_terminal and log_level == "INFO" else log_level
    logging.getLogger("lungct").setLevel(level)
    if not on_terminal:
        yield None
        return
    running: list[str] = []
    with click.progressbar(
        running, length=1, file=sys.stderr, show_eta=False, item_show_func=lambda _: ", ".join(running)
    ) as bar:

        def watch(event: StageEvent) -> None:
            bar.length = event.n_stages
            name = event.name.replace("_", " ")
            if event.seconds is None:
                running.append(name)
                bar.render_progress()
            else:
                running.remove(name)
                bar.update(1)

        yield watch


def _show(result: Result, out: Path) -> None:
    from lungct.file_names import HTML_FILE, REPORT_FILE, RESULT_FILE
    from lungct.report.result import summarise

    if result.findings:
        click.echo(summarise(result))
    report = next((name for name in (REPORT_FILE, HTML_FILE) if name in result.outputs), RESULT_FILE)
    click.echo(f"{report.rpartition('.')[0].capitalize()}: {out / report}")
