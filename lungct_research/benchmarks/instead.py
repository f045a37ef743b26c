"""Reading a study with the application and with the operators of MONAI Deploy, each alone in a process."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from lungct.dicom_read import choose_series, read_chest, scan_folder
from lungct_research.benchmarks.measure import run_measured

N_RUNS = 3
"""Runs of which the fastest counts, after one that does not: it imports what is imported late."""


def read_ours(study: Path) -> Callable[[], object]:
    """Read the headers of all series and the pixels of the chosen one."""
    return lambda: read_chest(choose_series(scan_folder(study)))


def read_sdk(study: Path) -> Callable[[], object]:
    """Read with the operators that MONAI Deploy brings, and a rule that selects CT."""
    from monai.deploy.core import Fragment
    from monai.deploy.operators import (
        DICOMDataLoaderOperator,
        DICOMSeriesSelectorOperator,
        DICOMSeriesToVolumeOperator,
    )

    logging.getLogger("monai.deploy").setLevel(logging.ERROR)
    fragment = Fragment()
    loader = DICOMDataLoaderOperator(fragment, name="loader", input_folder=study)
    rules = {"selections": [{"name": "CT", "conditions": {"Modality": "CT"}}]}
    selector = DICOMSeriesSelectorOperator(fragment, name="selector", rules=json.dumps(rules))
    to_volume = DICOMSeriesToVolumeOperator(fragment, name="to_volume")
    return lambda: to_volume.convert_to_image(selector.filter(rules, loader.load_data_to_studies(study)))


READERS = {"reading, application": read_ours, "reading, SDK operators": read_sdk}


def measure_reading(what: str, study: Path) -> dict[str, float]:
    """Return the seconds of one of the readers, and the peak in MB of memory above what the imports took."""
    read = READERS[what](study)
    read()
    seconds, peak_mb = min(run_measured(read)[1:] for _ in range(N_RUNS))
    return {"seconds": seconds, "peak_mb": peak_mb}
