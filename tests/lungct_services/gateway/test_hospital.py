"""A morning in the hospital: two senders, all sorts of studies, a service that is killed again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread

from lungct_research.synthesis.phantom.dicom_faults import Fault
from lungct_research.synthesis.phantom.dicom_study import write_localizer
from lungct_research.synthesis.phantom.study_options import Orientation, StudyOptions
from tests.dicom_tools import errors
from tests.lungct_services.gateway.site import (
    PATIENT,
    PATIENT_ID,
    Gateway,
    small_chest,
    study_uid,
    wait_until,
    write_chest,
)
from tests.orthanc import Orthanc

N_KILLS = 5
N_SLICES, N_SLICES_AT_FIRST = 55, 51
INELIGIBLE = {
    "thick": {"slice_thickness_mm": 5.0},
    "child": {"patient_age_years": 9},
    "head": {"body_part": "HEAD", "study_description": "CT head"},
    "coronal": {"orientation": Orientation.CORONAL},
    "reformation": {"image_type": ("DERIVED", "SECONDARY", "MPR")},
}
BROKEN = (Fault.MISSING_RESCALE, Fault.CONSTANT_PIXELS)


@pytest.fixture
def gateway(tmp_path: Path, orthanc: Orthanc) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, orthanc, {"runner": {"workers": 2}})
    yield gateway
    if gateway.process is not None:
        gateway.kill()


def make_studies(folder: Path) -> dict[str, list[Path]]:
    """Nine plain chests, six ineligible studies, two broken ones, one of which the last slices come later."""
    studies = {f"plain-{seed}": write_chest(folder / f"plain-{seed}", seed) for seed in range(9)}
    for seed, (name, options) in enumerate(INELIGIBLE.items(), start=20):
        studies[name] = write_chest(folder / name, seed, **options)
    localizer = StudyOptions(seed=40, spacing_mm=(3, 5, 5), patient_name=PATIENT, patient_id=PATIENT_ID)
    studies["localizer"] = write_localizer(small_chest(40), folder / "localizer", localizer)
    for seed, fault in enumerate(BROKEN, start=50):
        studies[fault] = write_chest(folder / fault, seed, faults=(fault,))
    studies["grows"] = write_chest(folder / "grows", 60)
    return studies


def send(orthanc: Orthanc, paths: list[Path]) -> None:
    assert errors(orthanc.store(*paths)) == []


def results(orthanc: Orthanc, uid: str) -> list[str]:
    """SOP instance UIDs of the results that a study has in Orthanc."""
    (study,) = json.loads(orthanc.post("/tools/lookup", uid))
    series = json.loads(orthanc.get(f"{study['Path']}/series")[0])
    ours = [item["ID"] for item in series if item["MainDicomTags"]["Modality"] == "SEG"]
    instances = [json.loads(orthanc.get(f"/series/{one}/instances")[0]) for one in ours]
    return [item["MainDicomTags"]["SOPInstanceUID"] for items in instances for item in items]


def n_images_behind(orthanc: Orthanc, uid: str) -> int:
    """Number of source images of the result with the most of them."""
    (study,) = json.loads(orthanc.post("/tools/lookup", uid))
    found = []
    for instance in json.loads(orthanc.get(f"{study['Path']}/instances")[0]):
        tags = json.loads(orthanc.get(f"/instances/{instance['ID']}/simplified-tags")[0])
        if tags["Modality"] == "SEG":
            found.append(len(tags["ReferencedSeriesSequence"][0]["ReferencedInstanceSequence"]))
    return max(found)


def test_all_and_only_the_right_studies_have_results_once(
    tmp_path: Path, orthanc: Orthanc, gateway: Gateway
) -> None:
    studies = make_studies(tmp_path / "sent")
    late = studies["grows"][N_SLICES_AT_FIRST:]
    names = list(studies)
    first, second = names[::2], [*names[1::2], "plain-0", "plain-1"]  # the last two are sent twice

    def send_all(those: list[str]) -> None:
        for name in those:
            send(orthanc, [path for path in studies[name] if path not in late])

    gateway.start()
    with ThreadPoolExecutor() as senders:
        sending = [senders.submit(send_all, those) for those in (first, second)]
        for kill in range(N_KILLS):
            wait_until(lambda n=kill: gateway.n_starts() == n + 1, "the service started")
            wait_until(lambda n=kill: len(gateway.ended()) >= 3 * n, f"{3 * kill} studies ended")
            gateway.kill()
            gateway.start()
        for one in sending:
            one.result()
    wait_until(lambda: len(gateway.ended()) == len(studies), "every study ended")
    send(orthanc, late)
    wait_until(lambda: len(gateway.ended()) == len(studies) + 1, "the study that grew ended again")
    assert gateway.stop() == 0

    expected = {name: 2 if name.startswith("plain") or name == "grows" else 0 for name in studies}
    found = {name: results(orthanc, study_uid(paths[0])) for name, paths in studies.items()}
    assert {name: len(uids) for name, uids in found.items()} == expected
    assert all(len(set(uids)) == len(uids) for uids in found.values())
    assert n_images_behind(orthanc, study_uid(studies["grows"][0])) == N_SLICES
    outcome = dict(gateway.rows("SELECT state, count(*) FROM jobs GROUP BY state"))
    assert outcome == {"done": 11, "ineligible": 6, "failed": 2}
    assert {row[0] for row in gateway.rows("SELECT reason FROM jobs WHERE state = 'failed'")} == {
        "RESCALE_MISSING", "CONSTANT_PIXELS"
    }  # fmt: skip

    log = gateway.log_file.read_text()
    assert gateway.n_starts() == N_KILLS + 1
    planted = {*PATIENT.split("^"), PATIENT_ID, *(study_uid(paths[0]) for paths in studies.values())}
    assert [word for word in planted if word in log] == []
    assert dcmread(studies["grows"][0]).PatientName == PATIENT
