"""The whole way of one phantom: scanner, Orthanc, gateway, the real application, Orthanc, PACS."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from pathlib import Path
from urllib.error import HTTPError

import pytest
import yaml

from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax
from tests.application_runs import PLANTED, ROOT
from tests.dicom_tools import errors
from tests.lungct_services.gateway.site import WITH_NETWORKS, Gateway, wait_until
from tests.orthanc import Orthanc, run_orthanc

SPACING_MM = (3.0, 2.5, 2.5)
MIDDLE = slice(25, 80)
"""165 mm of the chest: as much as the rules want, and half the time."""
TOKEN = "a token"  # noqa: S105


def page(gateway: Gateway, path: str, token: str = TOKEN) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return str(answer.read().decode())


def settings_of_the_application(folder: Path) -> Path:
    """Those of the shipped file, without what takes long and does not leave the machine."""
    content = yaml.safe_load((ROOT / "app.yaml").read_text())
    content["lungct"]["outputs"] |= {"airways_vessels": False, "report_html": False, "label_maps": False}
    path = folder / "app.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def modalities(orthanc: Orthanc) -> Counter[str]:
    series = json.loads(orthanc.get("/series?expand")[0])
    return Counter(one["MainDicomTags"]["Modality"] for one in series)


def test_results_of_the_application_arrive_in_orthanc_and_in_the_pacs(
    tmp_path: Path, orthanc: Orthanc
) -> None:
    phantom = make_thorax(1, SPACING_MM, disease=Disease.COVID19)
    study = write_study(
        phantom.volume_hu[MIDDLE], tmp_path / "study", StudyOptions(seed=1, spacing_mm=SPACING_MM, **PLANTED)
    )
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "pacs").mkdir()
    settings = {
        "runner": {"settings": str(settings_of_the_application(tmp_path))},
        "destinations": [{"kind": "modality", "name": "PACS"}],
        "web": {"token_file": str(tmp_path / "token")},
    }
    gateway = Gateway(tmp_path, orthanc, settings, WITH_NETWORKS)
    with run_orthanc(tmp_path / "pacs", DicomAet="PACS") as pacs:
        orthanc.post("/modalities/PACS", json.dumps(["PACS", "127.0.0.1", pacs.dicom_port]), method="PUT")
        gateway.start()
        try:
            assert errors(orthanc.store(*study)) == []
            wait_until(lambda: len(gateway.ended()) == 1, "the study ended", timeout_s=1200)
            assert gateway.rows("SELECT state, reason FROM jobs") == [("done", "")]
            assert modalities(orthanc) == {"CT": 1, "SEG": 2, "SR": 1, "DOC": 1, "OT": 1}
            assert modalities(pacs) == modalities(orthanc) - Counter(CT=1)
            shown = [page(gateway, path) for path in ("/", "/metrics", "/health", "/ready")]
            assert 'lungct_gateway_jobs{state="done"} 1.0' in shown[1]
            assert shown[2:] == ["alive\n", "ready\n"]
            with pytest.raises(HTTPError, match="401"):
                page(gateway, "/", token="another")  # noqa: S106
        finally:
            assert gateway.stop() == 0
    told = gateway.log_file.read_text() + "".join(shown)
    assert [value for value in PLANTED.values() if value in told] == []
