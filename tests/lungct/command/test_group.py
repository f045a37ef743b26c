"""The command ``lungct`` as a whole, with sub-commands that a distribution on the path brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lungct.command import main

HEAVY = ("torch", "numpy", "pydicom", "highdicom", "scipy")


def sub_command(body: str) -> str:
    head = "import click\n\n@click.command()\ndef command() -> None:\n"
    return f"{head}    '''Do what the test wants.'''\n    {body}\n"


def install(folder: Path, module: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a distribution on the path whose entry point ``probe`` is ``module:command``."""
    info = folder / "probe-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[lungct.commands]\nprobe = {module}:command\n")
    file = folder.joinpath(*module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    monkeypatch.syspath_prepend(folder)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_help_lists_what_other_distributions_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "probe_listed", sub_command("click.echo('done')"), monkeypatch)
    assert "Do what the test wants." in run("--help").output


def test_sub_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "probe_run", sub_command("click.echo('done')"), monkeypatch)
    assert run("probe").output == "done\n"


def test_unknown_sub_command_is_a_wrong_command_line() -> None:
    result = run("nothing")
    assert (result.exit_code, "No such command" in result.output) == (2, True)


def test_known_error_is_one_line_and_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "from lungct.errors import ModelError; raise ModelError('install the model again')"
    install(tmp_path, "probe_error", sub_command(body), monkeypatch)
    result = run("probe")
    assert (result.exit_code, result.output) == (6, "Error: install the model again\n")


@pytest.mark.parametrize(
    ("package", "remedy"),
    [
        ("lungct_services", "pip install 'lungct[services]'"),
        ("lungct_research", "pip install 'lungct[research]'"),
        ("lungct", "pip install --force-reinstall lungct"),
    ],
)
def test_missing_library_names_what_to_install(
    package: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = f"exec('import no_such_library', {{'__name__': '{package}.somewhere'}})"
    install(tmp_path, f"probe_of_{package}", sub_command(lacking), monkeypatch)
    result = run("probe")
    assert (result.exit_code, result.output) == (1, f"Error: no_such_library is not installed: {remedy}\n")


def test_command_that_cannot_be_imported_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "probe_broken", "import no_such_library\n", monkeypatch)
    result = run("--help")
    assert (result.exit_code, "no_such_library is not installed" in result.output) == (0, True)


def test_missing_module_of_our_own_is_a_bug_and_not_a_missing_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "probe_bug", sub_command("import lungct.no_such_module"), monkeypatch)
    assert isinstance(run("probe").exception, ModuleNotFoundError)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from lungct.command import main;"
        "CliRunner().invoke(main, ['--help'], catch_exceptions=False);"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


def test_shell_is_told_how_to_complete() -> None:
    result = CliRunner().invoke(main, [], prog_name="lungct", env={"_LUNGCT_COMPLETE": "bash_source"})
    assert "complete -o nosort -F _lungct_completion lungct" in result.output
