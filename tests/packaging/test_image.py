"""The package as the real packager makes it: checked, broken on purpose, and run at the image's own paths."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax
from tests.application_runs import Run, made_once
from tests.packaging import sandbox
from tests.packaging.checks import faults
from tests.packaging.image import PACKAGED, PACKAGER, ROOT, Image, copy_source, lay_out, record

SPACING_MM, SHAPE = (3.0, 2.5, 2.5), (52, 120, 144)
SLAB = slice(18, 34)
MISSING = sandbox.obstacles() + ([] if PACKAGER.exists() else ["the packager: make setup-map"])

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"this machine lacks {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def image(common_folder: Path) -> Image:
    return made_once(
        common_folder / "image", lambda folder: lay_out(record(ROOT, folder / "context"), folder / "root")
    )


@pytest.fixture(scope="module")
def slab(common_folder: Path) -> Path:
    """A study with few slices of lung, each of which takes the opacity network a quarter of a second."""
    return made_once(common_folder / "slab", write_slab)


def write_slab(folder: Path) -> Path:
    volume_hu = make_thorax(1, SPACING_MM, SHAPE, disease=Disease.COVID19).volume_hu
    outside = np.random.default_rng(1).integers(-1010, -990, SHAPE, np.int16)
    outside[SLAB] = volume_hu[SLAB]
    write_study(outside, folder / "study", StudyOptions(spacing_mm=SPACING_MM))
    return folder / "study"


@pytest.fixture(scope="module")
def image_run(image: Image, slab: Path, common_folder: Path) -> Run:
    return made_once(common_folder / "image_run", lambda folder: run_image(image, slab, folder / "out"))


@pytest.fixture(scope="module")
def source_run(slab: Path, common_folder: Path) -> Run:
    return made_once(common_folder / "source_run", lambda folder: run_source(slab, folder / "out"))


@pytest.fixture
def broken(image: Image, tmp_path: Path) -> Path:
    """A copy of the image to break, but for the weights, which are the same files."""
    shutil.copytree(image.root, tmp_path / "root", copy_function=copy_or_link)
    return tmp_path / "root"


def copy_or_link(source: str, target: str) -> None:
    (os.link if source.endswith(".safetensors") else shutil.copy2)(source, target)


def run_image(image: Image, study: Path, out: Path, *arguments: str) -> Run:
    """Start the image's entry point as a container engine does."""
    out.mkdir()
    process = sandbox.run(
        ["/var/holoscan/tools", *arguments],
        readable={
            image.root / "opt": "/opt",
            image.root / "etc/holoscan": "/etc/holoscan",
            image.root / "var/holoscan": "/var/holoscan",
            study: image.environment["HOLOSCAN_INPUT_PATH"],
        },
        writable={out: image.environment["HOLOSCAN_OUTPUT_PATH"]},
        environment=image.environment | {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin"},
        folder=image.environment["HOLOSCAN_WORKDIR"],
    )
    return Run(process.returncode, process.stdout + process.stderr, out)


def run_source(study: Path, out: Path) -> Run:
    """Start the application in the source tree, which cannot be written."""
    out.mkdir()
    process = sandbox.run(
        ["python", "app", "-i", "/study", "-o", "/out", "-m", "models"],
        readable={ROOT / name: f"/source/{name}" for name in PACKAGED} | {study: "/study"},
        writable={out: "/out"},
        environment={"PATH": f"{sys.prefix}/bin:/usr/bin:/bin"},
        folder="/source",
    )
    return Run(process.returncode, process.stdout + process.stderr, out)


def test_image_has_no_faults(image: Image) -> None:
    assert not list(faults(image.root))


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def without_operators(root: Path) -> str:
    shutil.rmtree(root / "opt/holoscan/app/operators")
    return "nothing in the image provides operators.classifier"


def unpinned_holoscan(root: Path) -> str:
    replace(root / "tmp/requirements.txt", "holoscan-cu13==4.6.0", "holoscan-cu13")
    return "not pinned: holoscan-cu13"


def holoscan_that_needs_a_gpu(root: Path) -> str:
    replace(root / "tmp/requirements.txt", "holoscan-cu13==4.6.0", "holoscan-cu13==5.0.0")
    return "holoscan-cu13 is not 4.x"


def requirement_that_is_none(root: Path) -> str:
    replace(root / "tmp/requirements.txt", "fpdf2==2.8.9 ", "fpdf2=2.8.9 ")
    return "not pinned: fpdf2=2.8.9"


def requirement_without_hash(root: Path) -> str:
    file = root / "tmp/requirements.txt"
    file.write_text(re.sub(r"(fpdf2==2\.8\.9)( \\\n +--hash=\S+)+", r"\1", file.read_text()))
    return "without hash: fpdf2==2.8.9"


def unlisted_package(root: Path) -> str:
    replace(root / "tmp/requirements.txt", "nibabel==", "another==")
    return "nothing in the image provides nibabel"


def folder_of_tests(root: Path) -> str:
    (root / "opt/holoscan/app/tests").mkdir()
    return "/opt/holoscan/app/tests"


def study_inside(root: Path) -> str:
    (root / "opt/holoscan/app/lungct/1.dcm").touch()
    return "/opt/holoscan/app/lungct/1.dcm"


@pytest.mark.parametrize(
    "spoil",
    [
        without_operators,
        unpinned_holoscan,
        holoscan_that_needs_a_gpu,
        requirement_that_is_none,
        requirement_without_hash,
        unlisted_package,
        folder_of_tests,
        study_inside,
    ],
)
def test_spoilt_image_is_found_out(broken: Path, spoil: Callable[[Path], str]) -> None:
    expected = spoil(broken)
    assert [fault for fault in faults(broken) if expected in fault]


def test_mistakes_in_the_source_are_found_out(tmp_path: Path) -> None:
    source = copy_source(tmp_path / "source")
    replace(source / "app.yaml", "input-formats", "inputFormats")
    replace(source / "app.yaml", "gpuMemory", "gpu-memory")
    replace(source / "requirements.txt", "holoscan-cu13==4.6.0", "holoscan-cu13")
    (source / "models" / "README.md").write_text("a file beside the models is packaged as a model")
    image = lay_out(record(source, tmp_path / "context"), tmp_path / "root")
    found = "\n".join(faults(image.root))
    for expected in (
        "$.input.formats",
        "'gpu-memory' was unexpected",
        "not pinned: holoscan-cu13",
        "$.models",
    ):
        assert expected in found


def test_image_finds_what_the_source_tree_finds(image_run: Run, source_run: Run) -> None:
    assert "Application exited with 0" in image_run.log, image_run.log
    assert image_run.result["findings"] == source_run.result["findings"]
    assert image_run.files == source_run.files


def test_exit_code_is_swallowed_and_result_tells(image: Image, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    run = run_image(image, tmp_path / "study", tmp_path / "out")
    assert "Application exited with 4" in run.log, run.log
    assert run.exit_code == 0
    assert run.result["status"] == "bad_input"


def test_image_shows_its_manifests(image: Image, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    log = run_image(image, tmp_path / "study", tmp_path / "out", "show").log
    assert '"input"' in log
    assert '"gpuMemory": "4Gi"' in log


def test_image_extracts_what_is_inside(image: Image, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    process = sandbox.run(
        ["/var/holoscan/tools", "extract"],
        readable={image.root / part: f"/{part}" for part in ("opt", "etc/holoscan", "var/holoscan")},
        writable={tmp_path / "export": "/var/run/holoscan/export"},
        environment=image.environment | {"PATH": "/usr/bin:/bin"},
        folder=image.environment["HOLOSCAN_WORKDIR"],
    )
    assert (tmp_path / "export/app/__main__.py").is_file(), process.stderr
    assert (tmp_path / "export/config/app.yaml").is_file()
    assert (tmp_path / "export/models/lungs/model.safetensors").is_file()


def test_source_tree_runs_read_only_without_network(source_run: Run) -> None:
    assert source_run.exit_code == 0, source_run.log
    assert source_run.result["status"] == "analysed"
    assert source_run.result["findings"]["total"]["opacity_ml"] > 0
