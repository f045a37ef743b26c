"""``lungct gateway``: run the service, analyse studies again, find them by pseudonym, back up the memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lungct.command.options import any_path, existing_file, log_level_option

if TYPE_CHECKING:
    from lungct_services.gateway.jobs import GatewayJobs
    from lungct_services.gateway.settings import GatewaySettings

EXAMPLE = """\b
Example:
  lungct gateway run --settings /etc/lungct/gateway.yaml
"""

settings_option = click.option(
    "-s",
    "--settings",
    "settings_file",
    type=existing_file,
    default="gateway.yaml",
    show_default=True,
    help="YAML file of the gateway; docs/reference/gateway.md explains its keys.",
)


@click.group(epilog=EXAMPLE)
def gateway() -> None:
    """Analyse every chest CT that arrives in Orthanc."""


@gateway.command()
@settings_option
@log_level_option
def run(settings_file: Path, log_level: str) -> None:
    """Run the service until SIGTERM; the log goes to standard error."""
    from lungct_services.gateway.logs import configure_logging
    from lungct_services.gateway.service import Service

    configure_logging(log_level)
    Service(_read(settings_file)).run()


@gateway.command()
@settings_option
@click.argument("study", metavar="PSEUDONYM|all")
def again(settings_file: Path, study: str) -> None:
    """Analyse a study once more, or all dead letters."""
    jobs = _open_jobs(_read(settings_file))
    n_studies = jobs.again(study)
    if not n_studies and study != "all":
        raise click.UsageError(f"no study is called {study}, or it is being analysed now")
    click.echo(f"{n_studies} studies queued")


@gateway.command()
@settings_option
@click.argument("study", metavar="PSEUDONYM")
def who(settings_file: Path, study: str) -> None:
    """Print the address in Orthanc of the study that a pseudonym stands for."""
    settings = _read(settings_file)
    orthanc_ids = _open_jobs(settings).studies_called(study)
    if not orthanc_ids:
        raise click.UsageError(f"no study is called {study}")
    for orthanc_id in orthanc_ids:
        click.echo(f"{settings.orthanc.url}/app/explorer.html#study?uuid={orthanc_id}")


@gateway.command()
@settings_option
@click.argument("folder", type=any_path)
def backup(settings_file: Path, folder: Path) -> None:
    """Copy database and key of the pseudonyms to a new FOLDER; the service may go on meanwhile."""
    import shutil

    from lungct_services.deidentify.pseudonyms import KEY_FILE
    from lungct_services.gateway.jobs import DATABASE

    settings = _read(settings_file)
    jobs = _open_jobs(settings)
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise click.UsageError(f"{folder} exists: name a new folder") from None
    jobs.copy_to(folder / DATABASE)
    shutil.copy2(settings.state_dir / KEY_FILE, folder / KEY_FILE)
    click.echo(f"{DATABASE} and {KEY_FILE} in {folder}")


def _read(settings_file: Path) -> GatewaySettings:
    from lungct_services.gateway.settings import read_gateway_settings

    return read_gateway_settings(settings_file)


def _open_jobs(settings: GatewaySettings) -> GatewayJobs:
    """Open the database of a gateway that ran before."""
    from lungct_services.gateway.jobs import DATABASE, GatewayJobs

    if not (settings.state_dir / DATABASE).exists():
        raise click.UsageError("state_dir holds no database: name the settings of the gateway")
    return GatewayJobs(settings.state_dir)
