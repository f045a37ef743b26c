"""Pictures of a classifier: ROC (the paper's Fig. 3), confusion (Fig. 4), reliability, decision curves."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_curve

from lungct.networks.classifier3d import CLASSES
from lungct_research.evaluation.agreement import Estimate
from lungct_research.evaluation.calibration import reliability
from lungct_research.evaluation.classification import Predictions, confusion, net_benefit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (5.0, 4.4)
PIXELS_AN_INCH = 110
THRESHOLDS = np.linspace(0.01, 0.95, 95)


def pictures(predictions: Predictions, found: dict[str, Estimate]) -> dict[str, str]:
    """Base64 PNG by title."""
    from matplotlib.figure import Figure

    drawn = {}
    for title, draw in (
        ("ROC curves (Fig. 3)", _roc),
        ("Confusion at the paper's rule (Fig. 4)", _confusion),
        ("Reliability", _reliability),
        ("Decision curves", _decision),
    ):
        figure = Figure(INCHES, PIXELS_AN_INCH, layout="constrained")
        draw(figure.subplots(), predictions, found)
        file = BytesIO()
        figure.savefig(file, format="png")
        drawn[title] = base64.b64encode(file.getvalue()).decode("ascii")
    return drawn


def _roc(axes: Axes, predictions: Predictions, found: dict[str, Estimate]) -> None:
    """Curves of the classes, of all pairs of case and class (micro), and the mean of the classes' (macro)."""
    positive = np.eye(len(CLASSES), dtype=bool)[predictions.labels]
    shares = predictions.probabilities
    curves = {
        name: roc_curve(positive[:, i], shares[:, i])[:2]
        for i, name in enumerate(CLASSES)
        if found[f"auroc/{name}"].value is not None
    }
    wrong = np.unique(np.concatenate([curve[0] for curve in curves.values()] or [[0.0, 1.0]]))
    if curves:
        curves["macro"] = wrong, np.mean([np.interp(wrong, *curve) for curve in curves.values()], axis=0)
        curves["micro"] = roc_curve(positive.ravel(), shares.ravel())[:2]
    for name, curve in curves.items():
        style = {"micro": "--", "macro": ":"}.get(name, "-")
        axes.plot(*curve, label=f"{name} {found[f'auroc/{name}'].value:.2f}", linestyle=style)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1))
    if curves:
        axes.legend(loc="lower right", title="area under the curve")


def _confusion(axes: Axes, predictions: Predictions, _: dict[str, Estimate]) -> None:
    counts = confusion(predictions)
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = count / max(int(counts[row].sum()), 1)
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{count}\n{share:.0%}", ha="center", va="center", color=colour)
    names = [name.replace("_", "\n") for name in CLASSES]
    axes.set_xticks(range(len(CLASSES)), names)
    axes.set_yticks(range(len(CLASSES)), names)
    axes.set(xlabel="said", ylabel="true")


def _reliability(axes: Axes, predictions: Predictions, _: dict[str, Estimate]) -> None:
    bins = reliability(predictions.probabilities, predictions.labels)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.plot([one.confidence for one in bins], [one.accuracy for one in bins], marker="o")
    for one in bins:
        axes.annotate(str(one.n), (one.confidence, one.accuracy), (4, -10), textcoords="offset points")
    axes.set(xlabel="probability of the most probable class", ylabel="share that was right")
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _decision(axes: Axes, predictions: Predictions, _: dict[str, Estimate]) -> None:
    for index, name in enumerate(CLASSES):
        positive = predictions.labels == index
        (line,) = axes.plot(
            THRESHOLDS, net_benefit(predictions.probabilities[:, index], positive, THRESHOLDS), label=name
        )
        everyone = net_benefit(np.ones(len(predictions)), positive, THRESHOLDS)
        axes.plot(THRESHOLDS, everyone, color=line.get_color(), linestyle=":", linewidth=0.8)
    axes.axhline(0, color="grey", linewidth=0.8)
    highest = np.bincount(predictions.labels).max() / len(predictions)
    axes.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.1, highest + 0.05))
    axes.legend(title="dotted: everyone is said to have it")
