"""What the cards of the three networks say."""

from __future__ import annotations

from lungct.networks.classifier3d import CLASSES
from lungct.networks.inputs import CLASSIFIER_SHAPE, SEGMENTER_SHAPE
from lungct.records import Lobe
from lungct_research.evaluation.model_cards import FIRST, Card

LUNGS = Card(
    name="lungs",
    task="Segmentation of both lungs and the five lobes on chest CT",
    description="3-D U-Net on the whole chest at 2.5 mm, refined by intensity at full resolution",
    input_shape=("32*n", "32*n", "32*n"),
    input_channels=1,
    outputs=("background", *map(str, Lobe)),
    classes_key="label_classes",
    output_type="logits",
    limits=(
        "Lobes were learned from synthetic chests: on real CT only the outline of the lungs was supervised.",
        "Lobectomy and collapse of a whole lobe were not trained.",
        "In three of six chests without infection the network took the trachea for lung (16 to 38 mL): the "
        "application finds it by its shape and takes it out.",
    ),
    history="from scratch with `--seed 3`, 5.2 minutes on one H100 that two other trainings shared: 3134 "
    "steps of 4 views. Loss after each minute: 0.106, 0.076, 0.060, 0.054, 0.051; at the end 0.050. The real "
    "chests had been averaged to 1.25 mm in the plane before. Version 0.2.0 (930 steps on a CPU, half as "
    "many channels) had a mean Dice of the lobes of 0.896 on the same healthy test chests. The rule about "
    "fat was found by looking at lidc-0001 and cptac-c3n-00249, so lidc-0001 is blind for the weights only; "
    "before the rule it had 0.917 for the lobes and 0.974 for the lungs; that the trachea is taken out was "
    "prompted by lidc-0003 and both CPTAC chests.\n\n"
    "Attempts at a recall of 0.95 inside the experts' opacities; what is certain was chosen on validation "
    "chests:\n\n"
    "| attempt | vol1 | vol2 | vol5 | vol8 |\n|---|---|---|---|---|\n"
    "| 0.2.0, half as many channels | 0.836 | 0.931 | 0.987 | 0.996 |\n"
    "| 0.3.0, lung certain above 0.7 | 0.904 | 0.878 | 0.990 | 0.996 |\n"
    "| 0.3.0, certain above 0.6, and in dents of the outline above 0.3 | 0.928 | 0.906 | 0.993 | 0.996 |",
    changelog=FIRST
    | {
        "0.2.0": "grid of 2.5 mm, which shows fissures; vessels that grow from the hilum, effusion, motion",
        "0.3.0": "wider network, trained on a GPU; chests painted on finer grids, sharpness and slice "
        "thickness changed at random, confounders",
    },
)
OPACITY = Card(
    name="opacity",
    task="Segmentation of infectious lung opacities on axial chest CT slices",
    description="2-D U-Net with a ResNet-34 encoder, trained from scratch, slice by slice",
    input_shape=SEGMENTER_SHAPE,
    input_channels=3,
    outputs=("opacity",),
    classes_key="label_classes",
    output_type="logit",
    limits=(
        "No expert mask was used in training; the opacities are painted.",
        "AdamW and crops at full size replace the staged SGD and the growing slices of the paper.",
        "Tumours, fibrosis, effusion and atelectasis may be marked; thin bands, "
        "tree-in-bud and small nodules are missed.",
        "The five worst errors on the real chests that were looked at: the blurred dome of the diaphragm "
        "(vol5) and the hazy base beside it are marked; small faint opacities are missed (vol8); lung beside "
        "the spine and the hilum is marked without infection (cptac-c3n-00249); so is partial volume at the "
        "very apex (normal-normal001).",
    ),
    history="from scratch with `--seed 3`, 3.0 minutes on one H100 that two other trainings shared: 3879 "
    "steps of 32 crops. Loss after each minute: 0.285, 0.200, 0.181. The real chests had been averaged to "
    "1.25 mm in the plane before. 0.1.0 had 66 minutes on two cores, 0.2.0 65 minutes more on one core and "
    "other lesions; on the validation cases above they have a mean Dice of 0.762 and 0.855.\n\n"
    "On real chests, by `lungct evaluate opacities --set medseg --set labelled_studies --set "
    "no_infection`, with `--models` for earlier weights, which run in float. "
    "Of them cptac-c3n-00249 had a part in choices, lidc-0001 in the rule about fat; the "
    "others chose nothing. Goals in brackets:\n\n"
    "| attempt | 0.1.0 | 0.2.0 | 0.3.0 |\n|---|---|---|---|\n"
    "| mean Dice on the grey COVID-19 chests (0.70) | 0.547 | 0.634 | 0.731 (0.643 to 0.819) |\n"
    "| the same in the experts' lungs; the classical baseline has 0.633 | 0.577 | 0.663 | 0.746 |\n"
    "| correlation of volumes (0.95) | 0.783 | 0.815 | **0.937** |\n"
    "| the same in the experts' lungs | 0.872 | 0.895 | 0.970 |\n"
    "| AUROC of slices with infection, covid-P001 (0.90) | 0.925 | 0.912 | 0.933 |\n"
    "| the same, cap-cap001 (0.90) | 0.947 | 0.948 | 0.941 |\n"
    "| infected lobes before all others, AUROC (1) | 0.583 | 0.583 | **0.583** |\n"
    "| % of the lungs marked, lidc-0001 (1) | 0.3 | 0.4 | 0.4 |\n"
    "| the same, cptac-c3n-00249 (1) | 0.5 | 0.6 | **1.3** |\n"
    "| the same, normal-normal001 (1) | 0.1 | 0.1 | 0.1 |\n\n"
    "So three goals are missed. What finds less without infection finds less of one, too.\n\n"
    "On painted chests around the eight test anatomies and on phantoms, which trained and chose nothing, "
    "by `lungct evaluate opacities --set painted`: mean Dice 0.818 (0.692 to 0.899) in the true lungs, "
    "0.797 (0.672 to 0.876) in those of the application, 0.718 of the classical baseline. "
    "With one kind of lesion in a chest, three chests a kind, by `--set painted_kinds`, in the true lungs "
    "(in those of the application): ground-glass 0.80 (0.79), crazy paving 0.74 (0.72), reversed halo 0.89 "
    "(0.87), consolidation 0.91 (0.77), nodules 0.08 (0.05), bands 0.02 (0.02), tree-in-bud 0.02 "
    "(0.01): what is thin or small is missed, and in a chest with 15 mL of bands 166 mL were marked.\n\n"
    "The paper's own recipe (`lungct_research/training/configs/opacity_paper.yaml`) runs and was not trained "
    "to its end: a comparison at equal length needs hours of a GPU.",
    changelog=FIRST
    | {
        "0.2.0": "seven kinds of lesions, what looks like them and is none, other kernels, slice thickness "
        "and lighting in training; opacities agree with density",
        "0.3.0": "trained on a GPU: five times as many slices, three times as many steps, each with four "
        "times as many crops, which are larger",
    },
)
CLASSIFIER = Card(
    name="classifier",
    task="Classification of chest CT: COVID-19, other infection, no signs of infection",
    description="3-D convolutional network of the paper's Fig. 1",
    input_shape=CLASSIFIER_SHAPE,
    input_channels=1,
    outputs=CLASSES,
    classes_key="pred_classes",
    output_type="logits",
    limits=(
        "No patient with an infection was used in training: the diseases are painted by rule, so the "
        "probabilities say how a chest resembles those rules and nothing about a disease.",
        "Trained for minutes instead of the paper's 200 epochs, and at half the paper's size.",
    ),
    history="with `--seed 3` on two cores, beginning with the weights of 0.2.0: 56 of 65 minutes on one "
    "core, of which 23 at a third and 26 at half of the size and the others at the whole of it, then 34 "
    "minutes at half of it (2117 steps of 10 chests). Half the size was chosen on validation patients. "
    "The code had stages for the 65 minutes that are gone.\n\n"
    "Attempts, all on the test cohort above, goals in brackets:\n\n"
    "| attempt | AUROC, micro (0.95) | macro (0.93) | COVID-19 by the rule: sensitivity (0.87) | specificity "
    "(0.94) | calibration error (0.05) |\n|---|---|---|---|---|---|\n"
    "| 0.1.0: 14 minutes on two cores, another cohort | 0.697 | 0.698 | 0.395 | 0.670 | 0.100 |\n"
    "| 0.2.0: 340 steps on an H100 | 0.803 | 0.836 | 0.184 | 1.000 | 0.086 |\n"
    "| all of the 65 minutes, at the whole size | 0.820 | 0.871 | 0.289 | 0.996 | 0.065 |\n"
    "| 0.3.0 | 0.952 | 0.948 | **0.763** | 0.942 | 0.026 |\n\n"
    "Of the real chests above only covid-P001, cap-cap001, normal-normal001 and lidc-0001 are strange to the "
    "classifier: the others were hosts in training or validation. They prove nothing; "
    "lidc-0001 has a tumour.",
    changelog=FIRST
    | {
        "0.2.0": "synthetic patients of institutions with their own scanners, prevalences and severity",
        "0.3.0": "trained longer, and at half the size",
    },
    validated_on={"data": "synthetic", "cases": 300, "institutions": 6},
)
