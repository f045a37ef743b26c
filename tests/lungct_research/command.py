"""The command ``lungct`` in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from lungct.command import main


def lungct(*words: object) -> Result:
    """Run the command with these words; an exception that it does not expect is raised here."""
    result = CliRunner().invoke(main, [*map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
