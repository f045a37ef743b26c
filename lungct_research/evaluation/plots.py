"""Pictures of an evaluation: opacities against experts, and the classifier as in the paper's figures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from lungct.networks.classifier3d import CLASSES
from lungct_research.evaluation.agreement import Estimate, bland_altman
from lungct_research.evaluation.classification import (
    Predictions,
    bin_confidences,
    count_confusion,
    net_benefit,
)
from lungct_research.evaluation.opacity_measures import ScanMeasures

PANEL_INCHES = (4.4, 4.2)
PIXELS_AN_INCH = 120
THRESHOLDS = np.linspace(0.01, 0.95, 95)

Draw = Callable[[Axes], None]


def draw_panels(panels: Sequence[Draw], file: Path | IO[bytes], title: str = "") -> None:
    """Draw panels side by side into a PNG file."""
    inches = (PANEL_INCHES[0] * len(panels), PANEL_INCHES[1])
    figure = Figure(inches, PIXELS_AN_INCH, layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes)
    figure.suptitle(title)
    figure.savefig(file, format="png")


def draw_opacities(scans: Sequence[ScanMeasures], path: Path, title: str) -> None:
    """Draw volumes against each other, Bland-Altman, and Dice by scan; all scans have expert masks."""
    found_ml, true_ml = (np.array([getattr(scan, key) for scan in scans]) for key in ("found_ml", "true_ml"))

    def volumes(axes: Axes) -> None:
        axes.axline((0, 0), slope=1, color="grey", linewidth=1)
        axes.scatter(true_ml, found_ml, s=14)
        axes.set(xlabel="true volume (ml)", ylabel="found volume (ml)", title="Volumes")

    def differences(axes: Axes) -> None:
        bias, *limits = bland_altman(found_ml, true_ml)
        axes.scatter((found_ml + true_ml) / 2, found_ml - true_ml, s=14)
        for level, style in zip((bias.value, *limits), ("-", "--", "--"), strict=True):
            if level is not None:
                axes.axhline(level, linestyle=style, color="grey", linewidth=1)
        axes.set(xlabel="mean of both (ml)", ylabel="found less true (ml)", title="Bland-Altman")

    def overlap(axes: Axes) -> None:
        dice = sorted((scan.dice or 0.0, scan.name) for scan in scans if scan.counts_for_dice)
        axes.barh([name for _, name in dice], [value for value, _ in dice])
        axes.set(xlim=(0, 1), xlabel="Dice coefficient", title="Overlap")
        axes.tick_params(axis="y", labelsize=6)

    draw_panels((volumes, differences, overlap), path, title)


def draw_classification(predictions: Predictions, found: dict[str, Estimate]) -> dict[str, str]:
    """Draw predictions and their areas; returns pictures as PNG in Base64 by title."""
    pictures = {}
    for title, draw in {
        "ROC curves (Fig. 3)": partial(_draw_roc, predictions=predictions, found=found),
        "Confusion at the paper's rule (Fig. 4)": partial(
            _draw_confusion, counts=count_confusion(predictions)
        ),
        "Reliability": partial(_draw_reliability, predictions=predictions),
        "Decision curves": partial(_draw_decision, predictions=predictions),
    }.items():
        file = BytesIO()
        draw_panels([draw], file)
        pictures[title] = base64.b64encode(file.getvalue()).decode("ascii")
    return pictures


def _draw_roc(axes: Axes, predictions: Predictions, found: dict[str, Estimate]) -> None:
    """Draw the curves of the classes, their mean (macro), and that of all pairs of case and class (micro)."""
    positive = np.eye(len(CLASSES), dtype=bool)[predictions.labels]
    shares = predictions.probabilities
    curves = {
        name: roc_curve(positive[:, i], shares[:, i])[:2]
        for i, name in enumerate(CLASSES)
        if found[f"auroc/{name}"].value is not None
    }
    if curves:
        wrong = np.unique(np.concatenate([curve[0] for curve in curves.values()]))
        curves["macro"] = wrong, np.mean([np.interp(wrong, *curve) for curve in curves.values()], axis=0)
        curves["micro"] = roc_curve(positive.ravel(), shares.ravel())[:2]
    for name, curve in curves.items():
        style = {"micro": "--", "macro": ":"}.get(name, "-")
        axes.plot(*curve, label=f"{name} {found[f'auroc/{name}'].value:.2f}", linestyle=style)
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1))
    if curves:
        axes.legend(loc="lower right", title="area under the curve")


def _draw_confusion(axes: Axes, counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}\n{share:.0%}", ha="center", va="center", color=colour)
    names = [name.replace("_", "\n") for name in CLASSES]
    axes.set_xticks(range(len(CLASSES)), names)
    axes.set_yticks(range(len(CLASSES)), names)
    axes.set(xlabel="said", ylabel="true")


def _draw_reliability(axes: Axes, predictions: Predictions) -> None:
    bins = bin_confidences(predictions.probabilities, predictions.labels)
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    axes.plot(bins[:, 0], bins[:, 1], marker="o")
    for confidence, accuracy, n in bins:
        axes.annotate(f"{n:.0f}", (confidence, accuracy), (4, -10), textcoords="offset points")
    axes.set(xlabel="probability of the most probable class", ylabel="share that was right")
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _draw_decision(axes: Axes, predictions: Predictions) -> None:
    for index, name in enumerate(CLASSES):
        positive, shares = predictions.labels == index, predictions.probabilities[:, index]
        (line,) = axes.plot(THRESHOLDS, net_benefit(shares, positive, THRESHOLDS), label=name)
        everyone = net_benefit(np.ones_like(shares), positive, THRESHOLDS)
        axes.plot(THRESHOLDS, everyone, color=line.get_color(), linestyle=":", linewidth=0.8)
    axes.axhline(0, color="grey", linewidth=0.8)
    highest = np.bincount(predictions.labels).max() / len(predictions.labels)
    axes.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.1, highest + 0.05))
    axes.legend(title="dotted: everyone is said to have it")
