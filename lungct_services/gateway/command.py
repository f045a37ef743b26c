"""``lungct gateway``: run the service, analyse studies again, find a study by its pseudonym."""

from __future__ import annotations

from pathlib import Path

import click

from lungct.command.options import existing_file, log_level_option

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
    from lungct_services.gateway.settings import read_gateway_settings

    configure_logging(log_level)
    Service(read_gateway_settings(settings_file)).run()


@gateway.command()
@settings_option
@click.argument("study", metavar="PSEUDONYM|all")
def again(settings_file: Path, study: str) -> None:
    """Analyse a study once more, or all dead letters."""
    from lungct_services.gateway.jobs import GatewayJobs
    from lungct_services.gateway.settings import read_gateway_settings

    jobs = GatewayJobs(read_gateway_settings(settings_file).state_dir)
    click.echo(f"{jobs.again(study)} studies queued")


@gateway.command()
@settings_option
@click.argument("study", metavar="PSEUDONYM")
def who(settings_file: Path, study: str) -> None:
    """Print the address in Orthanc of the study that a pseudonym stands for."""
    from lungct_services.gateway.jobs import GatewayJobs
    from lungct_services.gateway.settings import read_gateway_settings

    settings = read_gateway_settings(settings_file)
    for orthanc_id in GatewayJobs(settings.state_dir).studies_called(study):
        click.echo(f"{settings.orthanc.url}/app/explorer.html#study?uuid={orthanc_id}")
