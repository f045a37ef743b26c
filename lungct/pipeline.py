"""The analysis as one plain function: the stages of the graph, without MONAI Deploy."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from lungct.anatomy.lungs import segment_lobes
from lungct.anatomy.tree import segment_tree
from lungct.dicom_read import choose_series, read_chest, scan_folder
from lungct.dicom_read.selection import require_acceptable
from lungct.file_names import packaged_models
from lungct.findings.classification import classify
from lungct.findings.opacities import segment_opacities
from lungct.findings.quality import conclude
from lungct.findings.quantification import quantify
from lungct.journal import Journal, Watcher
from lungct.networks.models import Models, verify_models
from lungct.records import Chest, Findings, LungAnatomy, Opacities, Quantification
from lungct.report.result import Result
from lungct.run import run_into
from lungct.settings import Settings, read_settings
from lungct.volume_files import is_volume_file, read_hu_file, select_volume, volume_chest

STAGES = (
    "dicom_loader",
    "series_selector",
    "preprocessing",
    "lung_segmenter",
    "classifier",
    "slice_segmenter",
    "airway_vessel_segmenter",
    "lobe_quantifier",
    "report_writer",
)
"""Names of the stages, which are those of the graph's operators."""

N_BRANCHES = 2
"""Stages at a time: while the slices are segmented, everything else that needs the lobes only."""


class Analyser:
    """Analyses one study after the other with the same settings; the networks stay loaded in between."""

    def __init__(self, settings: Settings | Path | None = None, models: Path | None = None) -> None:
        """Take settings and weights as :func:`analyse` does; both are read with the first study."""
        self._given_settings = settings
        self._models_dir = models or packaged_models()

    @cached_property
    def settings(self) -> Settings:
        """Settings of all studies, see :func:`lungct.settings.read_settings`."""
        given = self._given_settings
        return read_settings(given) if isinstance(given, Path) else given or Settings()

    @cached_property
    def models(self) -> Models:
        """Networks of all studies, see :func:`lungct.networks.models.verify_models`."""
        return verify_models(self._models_dir, self.settings)

    def analyse(
        self,
        study: Path,
        out: Path,
        watch: Watcher | None = None,
        series_uid: str | None = None,
        accept: Iterable[str] = (),
    ) -> Result:
        """Analyse a study, see :func:`analyse`. One study at a time."""
        journal = Journal(watch, len(STAGES))
        return run_into(
            out, journal, lambda folder: self._run_stages(study, folder, journal, series_uid, accept)
        )

    def _run_stages(
        self, study: Path, folder: Path, journal: Journal, series_uid: str | None, accept: Iterable[str]
    ) -> None:
        settings, models, run = self.settings, self.models, journal.run
        limits, accepted = settings.selection, require_acceptable(accept)
        if is_volume_file(study):
            outputs = settings.outputs.without_dicom()
            source = run("dicom_loader", read_hu_file, study)
            selection = run("series_selector", select_volume, study, source, limits, accepted)
            chest = run("preprocessing", volume_chest, selection, source)
        else:
            outputs = settings.outputs
            scan = run("dicom_loader", scan_folder, study)
            selection = run("series_selector", choose_series, scan, limits, series_uid, accepted)
            chest = run("preprocessing", read_chest, selection)
        anatomy = run("lung_segmenter", segment_lobes, chest.volume, models.lobes)
        with ThreadPoolExecutor(N_BRANCHES - 1) as beside:
            measured = beside.submit(_measure, chest, anatomy, models, journal)
            classification = run("classifier", classify, chest.volume, anatomy, models.classifier)
            is_wanted = settings.outputs.airways_vessels
            tree = run(
                "airway_vessel_segmenter", segment_tree, chest.volume, anatomy, models.device, is_wanted
            )
            opacities, quantification = measured.result()

        def write() -> Findings:
            from lungct.delivery import deliver  # slow to import, and only this stage needs it

            analysis = conclude(chest, anatomy, classification, opacities, tree, quantification)
            deliver(folder, outputs, analysis)
            return analysis.findings

        run("report_writer", write)


def analyse(
    study: Path,
    out: Path,
    settings: Settings | Path | None = None,
    models: Path | None = None,
    watch: Watcher | None = None,
    series_uid: str | None = None,
    accept: Iterable[str] = (),
) -> Result:
    """Analyse a chest CT as the image does, in this process; :class:`Analyser` spares loading it all again.

    Args:
        study: DICOM file, or folder of them; it may hold other series and other files too. For research, a
            NIfTI, NRRD or MetaImage file in Hounsfield units; there are no DICOM objects then.
        out: output folder; made where missing. Files of an earlier run are removed first.
        settings: values, or an ``app.yaml``; defaults where None.
        models: folder of the weights; those that come with the package where None.
        watch: called when a stage begins and when it ended well, one call at a time.
        series_uid: the only series that may be analysed; the best one where None.
        accept: codes of eligibility rules that are set aside, for research: see
            :data:`lungct.dicom_read.selection.ACCEPTABLE_CODES`. Every output then says ``OUTSIDE_METHOD``.

    Returns:
        The content of ``result.json``. Its ``status`` is ``analysed`` if there are findings; otherwise
        ``reason`` says why there are none.

    Raises:
        OutputError: the output folder cannot be written, so there is no ``result.json`` either.

    Example:
        >>> result = lungct.analyse(Path("study"), Path("out"))
        >>> result.findings.severity_score if result.findings else result.reason
    """
    return Analyser(settings, models).analyse(study, out, watch, series_uid, accept)


def _measure(
    chest: Chest, anatomy: LungAnatomy, models: Models, journal: Journal
) -> tuple[Opacities, Quantification]:
    opacities = journal.run("slice_segmenter", segment_opacities, chest.volume, anatomy, models.opacities)
    return opacities, journal.run("lobe_quantifier", quantify, anatomy, opacities, chest.volume.voxel_ml)
