"""The graph of the operators."""

from __future__ import annotations

from pathlib import Path

from holoscan.schedulers import EventBasedScheduler
from monai.deploy.core import Application

from lungct.journal import Journal
from lungct.networks.models import Models
from lungct.pipeline import N_BRANCHES
from lungct.settings import Settings
from operators.airway_vessel_segmenter import AirwayVesselSegmenter
from operators.classifier import Classifier
from operators.dicom_loader import DicomLoader
from operators.lobe_quantifier import LobeQuantifier
from operators.lung_segmenter import LungSegmenter
from operators.preprocessing import Preprocessing
from operators.report_writer import ReportWriter
from operators.series_selector import SeriesSelector
from operators.slice_segmenter import SliceSegmenter
from operators.stage import Stage


class ChestCtApplication(Application):
    """The graph from a chest-CT study to its findings."""

    def __init__(
        self, input_path: Path, folder: Path, settings: Settings, models: Models, journal: Journal
    ) -> None:
        """Take the folders, and the settings, networks and journal that the operators share."""
        self.input_path, self.folder = input_path, folder
        self.settings, self.models, self.journal = settings, models, journal
        super().__init__()
        self.scheduler(EventBasedScheduler(self, worker_thread_number=N_BRANCHES, name="scheduler"))

    def compose(self) -> None:
        """Wire the operators."""
        noted = {"journal": self.journal}
        models = self.models
        loader = DicomLoader(self, name="dicom_loader", input_path=self.input_path, **noted)
        selector = SeriesSelector(self, name="series_selector", limits=self.settings.selection, **noted)
        preprocessing = Preprocessing(self, name="preprocessing", **noted)
        lung_segmenter = LungSegmenter(self, name="lung_segmenter", models=models, **noted)
        classifier = Classifier(self, name="classifier", models=models, **noted)
        slice_segmenter = SliceSegmenter(self, name="slice_segmenter", models=models, **noted)
        tree_segmenter = AirwayVesselSegmenter(
            self,
            name="airway_vessel_segmenter",
            device=models.device,
            is_wanted=self.settings.outputs.airways_vessels,
            **noted,
        )
        quantifier = LobeQuantifier(self, name="lobe_quantifier", **noted)
        writer = ReportWriter(
            self, name="report_writer", folder=self.folder, outputs=self.settings.outputs, **noted
        )

        self._connect(loader, selector)
        self._connect(selector, preprocessing)
        readers = (classifier, slice_segmenter, tree_segmenter, quantifier, writer)
        self._connect(preprocessing, lung_segmenter, *readers)
        self._connect(lung_segmenter, *readers)
        self._connect(classifier, writer)
        self._connect(slice_segmenter, quantifier, writer)
        self._connect(tree_segmenter, writer)
        self._connect(quantifier, writer)

        self.journal.n_stages = len(self.graph.get_nodes())

    def _connect(self, source: Stage, *targets: Stage) -> None:
        for target in targets:
            self.add_flow(source, target, {(source.output, source.output)})
