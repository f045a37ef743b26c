"""The graph, and nothing else."""

from __future__ import annotations

from holoscan.schedulers import EventBasedScheduler
from monai.deploy.core import Application

from lungct.pipeline import N_BRANCHES
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


class ChestCtApplication(Application):
    """The graph from a chest-CT study to its findings."""

    def __init__(self, task: Task) -> None:
        """Take the task that the operators share."""
        self.task = task
        super().__init__()
        self.scheduler(EventBasedScheduler(self, worker_thread_number=N_BRANCHES, name="scheduler"))

    def compose(self) -> None:
        """Wire the operators."""
        task = self.task
        loader = DicomLoader(self, name="dicom_loader", task=task)
        selector = SeriesSelector(self, name="series_selector", task=task)
        preprocessing = Preprocessing(self, name="preprocessing", task=task)
        lung_segmenter = LungSegmenter(self, name="lung_segmenter", task=task)
        classifier = Classifier(self, name="classifier", task=task)
        slice_segmenter = SliceSegmenter(self, name="slice_segmenter", task=task)
        tree_segmenter = AirwayVesselSegmenter(self, name="airway_vessel_segmenter", task=task)
        quantifier = LobeQuantifier(self, name="lobe_quantifier", task=task)
        writer = ReportWriter(self, name="report_writer", task=task)

        self._connect(loader, selector)
        self._connect(selector, preprocessing)
        readers = (classifier, slice_segmenter, tree_segmenter, quantifier, writer)
        self._connect(preprocessing, lung_segmenter, *readers)
        self._connect(lung_segmenter, *readers)
        self._connect(classifier, writer)
        self._connect(slice_segmenter, quantifier, writer)
        self._connect(tree_segmenter, writer)
        self._connect(quantifier, writer)

        task.journal.n_stages = len(self.graph.get_nodes())

    def _connect(self, source: Stage, *targets: Stage) -> None:
        for target in targets:
            self.add_flow(source, target, {(source.output, source.output)})
