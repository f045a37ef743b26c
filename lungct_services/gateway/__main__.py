"""Command line of the gateway: run the service, try studies again, find a study by its pseudonym."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from lungct.errors import SettingsError
from lungct_services.gateway.jobs import Jobs
from lungct_services.gateway.logs import configure_logging
from lungct_services.gateway.records import State
from lungct_services.gateway.service import Service
from lungct_services.gateway.settings import read_gateway_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 where settings cannot be used."""
    args = _parser().parse_args(arguments)
    configure_logging(args.log_level)
    try:
        return int(args.command(args))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(args: Namespace) -> int:
    Service(read_gateway_settings(args.settings)).run()
    return 0


def _again(args: Namespace) -> int:
    n_studies = Jobs(read_gateway_settings(args.settings).state_dir).again(args.study)
    print(f"{n_studies} studies queued")
    return 0


def _who(args: Namespace) -> int:
    settings = read_gateway_settings(args.settings)
    rows = Jobs(settings.state_dir).latest(tuple(State), limit=-1)
    for study in {row["study"] for row in rows if row["pseudonym"] == args.study}:
        print(f"{settings.orthanc.url}/app/explorer.html#study?uuid={study}")
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m lungct_services.gateway", description="Analyses what arrives in Orthanc."
    )
    parser.add_argument("-s", "--settings", type=Path, default=Path("gateway.yaml"), help="settings file")
    parser.add_argument("-l", "--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the service").set_defaults(command=_run)
    again = commands.add_parser("again", help="analyse once more")
    again.add_argument("study", help="pseudonym, or 'all' for all dead letters")
    again.set_defaults(command=_again)
    who = commands.add_parser("who", help="where a study is in Orthanc")
    who.add_argument("study", help="pseudonym")
    who.set_defaults(command=_who)
    return parser


if __name__ == "__main__":
    sys.exit(main())
