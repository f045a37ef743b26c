"""Every operator alone: bare fragment, fake ports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from application import ChestCtApplication
from monai.deploy.core import Fragment

from lungct.dicom_read import scan_folder, select_series
from lungct.errors import LungCtError, NoEligibleSeriesError
from lungct.journal import Journal
from lungct.networks import Classifier3d, LobeUNet, opacity_unet
from lungct.networks.lobe_unet import FOLD
from lungct.networks.models import Models, verify_models
from lungct.networks.weights import save_model
from lungct.pipeline import STAGES
from lungct.records import (
    BronchovascularTree,
    Chest,
    Classification,
    CtVolume,
    Findings,
    Lobe,
    LungAnatomy,
    MaskArray,
    Opacities,
    Quantification,
    Scan,
    Selection,
)
from lungct.settings import OutputSettings, Settings
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from operators.airway_vessel_segmenter import AirwayVesselSegmenter
from operators.classifier import Classifier
from operators.dicom_loader import DicomLoader
from operators.lobe_quantifier import LobeQuantifier
from operators.lung_segmenter import LungSegmenter
from operators.preprocessing import Preprocessing
from operators.report_writer import ReportWriter
from operators.series_selector import SeriesSelector
from operators.slice_segmenter import SliceSegmenter
from operators.stage import Stage, Task


class FakeInput:
    def __init__(self, records: dict[str, object]) -> None:
        self.records = records

    def receive(self, port: str) -> object:
        return self.records.pop(port)


class FakeOutput:
    def __init__(self) -> None:
        self.emitted: dict[str, object] = {}

    def emit(self, record: object, port: str) -> None:
        assert port not in self.emitted
        self.emitted[port] = record


def run(stage: Stage, **records: object) -> Any:
    """The one record that the operator emits."""
    output = FakeOutput()
    stage.start()
    stage.compute(FakeInput(records), output, None)
    assert list(output.emitted) == ([stage.output] if stage.output else [])
    return output.emitted.get(stage.output)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task without networks, whose input and output lie in one folder."""
    return Task(tmp_path, tmp_path, Settings(), Models(torch.device("meta"), {}), Journal())


def test_loader_emits_the_series_of_the_folder(tmp_path: Path, task: Task) -> None:
    write_study(np.full((4, 8, 8), -900, np.int16), tmp_path, StudyOptions())
    scan = run(DicomLoader(Fragment(), name="loader", task=task))
    assert isinstance(scan, Scan)
    assert [len(series.slices) for series in scan.series] == [4]
    assert task.journal.scan is scan


def test_selector_emits_a_selection_even_without_eligible_series(tmp_path: Path, task: Task) -> None:
    write_study(np.full((4, 8, 8), -900, np.int16), tmp_path, StudyOptions())
    stage = SeriesSelector(Fragment(), name="selector", task=task)
    selection = run(stage, scan=scan_folder(tmp_path))
    assert [verdict.eligible for verdict in selection.verdicts] == [False]
    assert task.journal.selection is selection


def test_preprocessing_refuses_a_selection_without_choice(task: Task) -> None:
    stage = Preprocessing(Fragment(), name="preprocessing", task=task)
    with pytest.raises(NoEligibleSeriesError, match="none of 0 series may be analysed"):
        run(stage, selection=Selection(Scan(Path("in"), ()), ()))


def test_preprocessing_emits_the_chest(tmp_path: Path, task: Task) -> None:
    volume_hu = np.random.default_rng(0).integers(-1000, 100, (70, 16, 12)).astype(np.int16)
    write_study(volume_hu, tmp_path, StudyOptions(spacing_mm=(2.5, 8, 8), patient_id="P7"))
    selection = select_series(scan_folder(tmp_path))
    chest = run(Preprocessing(Fragment(), name="preprocessing", task=task), selection=selection)
    assert np.array_equal(chest.volume.volume_hu, volume_hu)
    assert chest.patient.patient_id == "P7"


def test_unforeseen_error_leaves_a_stage_without_its_text(task: Task) -> None:
    """Holoscan prints the errors of operators whole, and their text may quote a patient."""
    stage = LobeQuantifier(Fragment(), name="quantifier", task=task)
    with pytest.raises(LungCtError, match=r"AttributeError at .*\.py:\d+; please report it") as raised:
        run(stage, chest="Quaxolotl", anatomy=None, opacities=None)
    assert raised.value.__suppress_context__
    assert "Quaxolotl" not in str(raised.value)


@pytest.fixture
def untrained(task: Task, tmp_path: Path) -> Task:
    """Random weights, but all that may be lung is right upper lobe, and all that is not airy is opacity."""
    networks = {"lungs": LobeUNet(), "classifier": Classifier3d(), "opacity": opacity_unet()}
    of_lobe = slice(FOLD**3 * Lobe.RIGHT_UPPER.label, FOLD**3 * (Lobe.RIGHT_UPPER.label + 1))
    networks["lungs"].unet.final_conv.bias.data[of_lobe] = 50
    for name, network in networks.items():
        metadata = {"version": "0", "provisional": True, "parameters": {"threshold": -1.0}}
        save_model(tmp_path / name, network, metadata)
    return replace(task, models=verify_models(tmp_path, Settings(device="cpu")))


def test_lung_segmenter_emits_lobes_on_the_grid_of_the_chest(chest: Chest, untrained: Task) -> None:
    stage = LungSegmenter(Fragment(), name="lungs", task=untrained)
    lobes = run(stage, chest=chest).lobes
    assert lobes.shape == chest.volume.volume_hu.shape
    assert set(np.unique(lobes)) <= {0, Lobe.RIGHT_UPPER.label}
    assert lobes.any()


def test_slice_segmenter_emits_opacities_inside_the_lobes(
    chest: Chest, anatomy: LungAnatomy, untrained: Task
) -> None:
    """A threshold below 0 marks all lung that is not airy, even where random weights saturate at 0."""
    stage = SliceSegmenter(Fragment(), name="opacity", task=untrained)
    hazy_hu = np.where(anatomy.lobes > 0, -600, chest.volume.volume_hu).astype(np.int16)
    hazy = replace(chest, volume=replace(chest.volume, volume_hu=hazy_hu))
    mask = run(stage, chest=hazy, anatomy=anatomy).mask
    assert np.array_equal(mask > 0, anatomy.lobes > 0)


def test_classifier_emits_probabilities(chest: Chest, anatomy: LungAnatomy, untrained: Task) -> None:
    stage = Classifier(Fragment(), name="classifier", task=untrained)
    probabilities = run(stage, chest=chest, anatomy=anatomy).probabilities
    assert sum(vars(probabilities).values()) == pytest.approx(1, abs=1e-5)


def test_quantifier_emits_volumes(
    chest: Chest, anatomy: LungAnatomy, opacities: Opacities, task: Task
) -> None:
    stage = LobeQuantifier(Fragment(), name="quantifier", task=task)
    quantification = run(stage, chest=chest, anatomy=anatomy, opacities=opacities)
    assert isinstance(quantification, Quantification)
    assert quantification.total.opacity_ml == pytest.approx(opacities.mask.sum() * chest.volume.voxel_ml)


def test_writer_ends_the_graph_and_leaves_the_findings_in_the_journal(
    tmp_path: Path,
    chest: Chest,
    anatomy: LungAnatomy,
    classification: Classification,
    opacities: Opacities,
    tree: BronchovascularTree,
    findings: Findings,
    task: Task,
) -> None:
    stage = ReportWriter(Fragment(), name="writer", task=task)
    run(
        stage,
        chest=chest,
        anatomy=anatomy,
        classification=classification,
        opacities=opacities,
        tree=tree,
        quantification=findings.quantification,
    )
    assert task.journal.findings == findings
    assert (tmp_path / "report.pdf").stat().st_size > 0
    assert (tmp_path / "dicom" / "measurements_sr.dcm").stat().st_size > 0


@pytest.mark.parametrize("is_wanted", [True, False])
def test_airway_vessel_segmenter_emits_a_tree_whatever_happens(
    chest: Chest,
    anatomy: LungAnatomy,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    is_wanted: bool,
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lungct.anatomy.tree.segment_airways", fail)
    tree = run(tree_segmenter(task, is_wanted), chest=chest, anatomy=anatomy)
    assert not tree.airways.any()
    assert tree.airways.shape == chest.volume.volume_hu.shape
    assert tree.is_wanted == is_wanted


def test_vessels_are_looked_for_on_the_chosen_device(
    chest: Chest, anatomy: LungAnatomy, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def find(_volume: CtVolume, lobes: MaskArray, _airways: MaskArray, device: torch.device) -> MaskArray:
        devices.append(device)
        return lobes

    monkeypatch.setattr("lungct.anatomy.tree.segment_vessels", find)
    run(tree_segmenter(task, is_wanted=True), chest=chest, anatomy=anatomy)
    assert devices == [torch.device("meta")]


def tree_segmenter(task: Task, is_wanted: bool) -> AirwayVesselSegmenter:
    settings = Settings(outputs=OutputSettings(airways_vessels=is_wanted))
    return AirwayVesselSegmenter(Fragment(), name="tree", task=replace(task, settings=settings))


def test_every_input_of_the_graph_is_connected_and_its_stages_are_those_of_the_pipeline(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: set[tuple[str, str]] = set()
    stages: set[Stage] = set()
    original = ChestCtApplication.add_flow

    # pybind11 takes a function for an override that calls its base only if it bears the name of the method
    def add_flow(application: object, source: Stage, target: Stage, ports: set[tuple[str, str]]) -> None:
        stages.update((source, target))
        connected.update((target.name, port) for _, port in ports)
        original(application, source, target, ports)

    monkeypatch.setattr(ChestCtApplication, "add_flow", add_flow)
    ChestCtApplication(task).compose()
    assert connected == {(stage.name, port) for stage in stages for port in stage.inputs}
    assert {stage.name for stage in stages} == set(STAGES)
    assert task.journal.n_stages == len(STAGES)
