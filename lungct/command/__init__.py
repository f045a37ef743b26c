"""The command ``lungct``: one group whose sub-commands are found by entry point and imported when called.

A sub-command is an entry point of the group ``lungct.commands`` that names a click command. Its module
imports only click, the standard library and :mod:`lungct.command.options` at its top, so that
``lungct --help`` is answered without loading a network.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

import lungct
from lungct.errors import LungCtError

COMMANDS = "lungct.commands"

EXTRAS = {"lungct_services": "services", "lungct_research": "research"}
"""Extra that installs the further dependencies of a package of ours."""


class CommandGroup(click.Group):
    """Find sub-commands by entry point; turn a known error into one line and its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  named by click
        """Return the names of all sub-commands, sorted."""
        return sorted(entry_points(group=COMMANDS).names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a sub-command; None where there is none of that name."""
        for entry_point in entry_points(group=COMMANDS, name=cmd_name):
            return _load(entry_point)
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; tell a known error, or a missing library, in one line on standard error."""
        try:
            return super().invoke(ctx)
        except LungCtError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except ModuleNotFoundError as error:
            if hint := _extra_to_install(error):
                raise click.ClickException(hint) from error
            raise


def _load(entry_point: EntryPoint) -> click.Command:
    """Import a command; one that cannot be imported stays in the list and tells why when called."""
    try:
        command: click.Command = entry_point.load()
    except (ImportError, AttributeError) as error:
        problem = _extra_to_install(error) or f"cannot be loaded: {error}"
        return _broken(entry_point.name, problem)
    return command


def _broken(name: str, problem: str) -> click.Command:
    def fail(**_: object) -> None:
        raise click.ClickException(problem)

    anything = click.Argument(["arguments"], nargs=-1)
    settings = {"ignore_unknown_options": True}
    return click.Command(name, settings, fail, [anything], short_help=f"({problem})")


def _extra_to_install(error: Exception) -> str | None:
    """Return what to do about a missing library, or None where a module of ours is missing."""
    missing = (getattr(error, "name", None) or "").split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or missing in {"", "lungct", *EXTRAS}:
        return None
    importers = _packages_on_the_way(error)
    for package, extra in EXTRAS.items():
        if package in importers:
            return f"{missing} is not installed: pip install 'lungct[{extra}]'"
    return f"{missing} is not installed: pip install --force-reinstall lungct"


def _packages_on_the_way(error: Exception) -> set[str]:
    """Return the top-level packages of all modules that an error passed through."""
    packages = set()
    traceback = error.__traceback__
    while traceback:
        packages.add(traceback.tb_frame.f_globals.get("__name__", "").split(".")[0])
        traceback = traceback.tb_next
    return packages


EXAMPLES = """\b
Try it without a patient:
  lungct phantom study --pattern covid
  lungct analyse study -o report

\b
Complete commands and options with the Tab key, in bash (or zsh: bash_source becomes zsh_source):
  echo 'eval "$(_LUNGCT_COMPLETE=bash_source lungct)"' >> ~/.bashrc
"""


@click.command(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(lungct.__version__, message="lungct %(version)s")
def main() -> None:
    """Measure infection in chest CT: probabilities, opacity volumes per lobe, severity score.

    For research; not a medical device. `lungct COMMAND --help` explains each command with examples.
    """
