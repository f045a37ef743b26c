"""``lungct doctor`` on this machine, and where something is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lungct.command.doctor import doctor
from lungct.file_names import packaged_models


def run(*arguments: object) -> Result:
    return CliRunner().invoke(doctor, list(map(str, arguments)))


def lines(result: Result, what: str) -> list[str]:
    return [line for line in result.output.splitlines() if line[6:].startswith(what)]


@pytest.mark.parametrize(
    "what", ["python", "memory", "cores", "cpu", "gpu", "weights", "fonts", "decoders", "output", "extra"]
)
def test_every_part_is_told(what: str) -> None:
    assert lines(run(), what)


def test_machine_that_can_analyse_is_exit_code_0() -> None:
    result = run()
    assert (result.exit_code, "WRONG" in result.output) == (0, False)


def test_damaged_weights_are_exit_code_1_and_a_remedy(tmp_path: Path) -> None:
    shutil.copytree(packaged_models(), tmp_path / "models")
    (tmp_path / "models/classifier/model.safetensors").write_bytes(b"damaged")
    result = run("--models", tmp_path / "models")
    (wrong,) = [line for line in lines(result, "weights") if line.startswith("WRONG")]
    assert result.exit_code == 1
    assert "classifier" in wrong
    assert "install the model again" in wrong


def test_output_that_cannot_be_written_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("--out", tmp_path / "file" / "report")
    assert (result.exit_code, lines(result, "output")[0][:5]) == (1, "WRONG")
