"""Write the phantom of a seed as a DICOM study and say how many millilitres each lobe truly holds.

Example:
    python -m lungct_research.synthesis.phantom /tmp/study --seed 1 --pattern covid --truth /tmp/truth.json
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from lungct.records import Lobe
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_encoding import Syntax
from lungct_research.synthesis.phantom.dicom_faults import Fault
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.opacities import Opacity, OpacityKind
from lungct_research.synthesis.phantom.scanner import Kernel
from lungct_research.synthesis.phantom.study_options import Orientation, StudyOptions
from lungct_research.synthesis.phantom.thorax import DEFAULT_SPACING_MM, Phantom, make_thorax

PATTERNS = {
    "covid": Disease.COVID19,
    "pneumonia": Disease.OTHER_INFECTION,
    "normal": Disease.NO_INFECTION,
}
"""Diseases by the names that the command line takes."""

KERNEL_NAMES: dict[Kernel, str] = {"soft": "SOFT", "standard": "STANDARD", "sharp": "LUNG"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.truth is not None and args.truth.resolve().is_relative_to(args.out.resolve()):
        parser.error(f"--truth {args.truth} lies inside the DICOM folder {args.out}: choose another place")
    spacing_mm = tuple(args.spacing)
    try:
        phantom = make_thorax(
            args.seed,
            spacing_mm,
            opacities=[Opacity(kind, Lobe(lobe), float(ml)) for kind, lobe, ml in args.opacity],
            disease=PATTERNS[args.pattern],
            noise_hu=args.noise,
            kernel=args.kernel,
        )
        paths = write_study(phantom.volume_hu, args.out, _study_options(args, spacing_mm))
    except ValueError as error:
        parser.error(str(error))
    if args.truth is not None:
        args.truth.write_text(json.dumps(truth(phantom, args.seed), indent=2) + "\n", encoding="utf-8")
    _print_table(phantom)
    print(f"{len(paths)} files in {args.out}")
    return 0


def truth(phantom: Phantom, seed: int) -> dict[str, Any]:
    """What is known of the phantom, as plain values; volumes in millilitres."""
    lobes = {
        lobe.value: {
            "lung_ml": round(phantom.lobe_ml[lobe], 3),
            "opacity_ml": round(phantom.opacity_ml[lobe], 3),
        }
        for lobe in Lobe
    }
    return {"seed": seed, "spacing_mm": list(phantom.spacing_mm), "lobes": lobes}


def _study_options(args: Namespace, spacing_mm: tuple[float, float, float]) -> StudyOptions:
    return StudyOptions(
        seed=args.seed,
        spacing_mm=spacing_mm,
        kernel=KERNEL_NAMES[args.kernel],
        patient_name=args.patient_name,
        patient_age_years=args.patient_age,
        series_number=args.series_number,
        orientation=args.orientation,
        reversed_files=args.reversed_files,
        transfer_syntax=args.transfer_syntax,
        enhanced=args.enhanced,
        faults=tuple(args.fault),
    )


def _print_table(phantom: Phantom) -> None:
    print(f"{'lobe':<14}{'lung ml':>10}{'opacity ml':>12}")
    for lobe in Lobe:
        print(f"{lobe.value:<14}{phantom.lobe_ml[lobe]:>10.1f}{phantom.opacity_ml[lobe]:>12.1f}")
    lung_ml, opacity_ml = sum(phantom.lobe_ml.values()), sum(phantom.opacity_ml.values())
    print(f"{'both lungs':<14}{lung_ml:>10.1f}{opacity_ml:>12.1f}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m lungct_research.synthesis.phantom",
        description="Write a thorax phantom as a DICOM study.",
    )
    parser.add_argument("out", type=Path, help="folder of the DICOM files")
    parser.add_argument("--truth", type=Path, help="JSON file for the true volumes, outside the DICOM folder")
    _add_thorax_options(parser)
    _add_study_options(parser)
    return parser


def _add_thorax_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("thorax")
    group.add_argument("--seed", type=int, default=1, help="which person (default %(default)s)")
    group.add_argument(
        "--pattern", choices=tuple(PATTERNS), default="normal", help="disease to draw (default: healthy)"
    )
    group.add_argument(
        "--opacity",
        nargs=3,
        action="append",
        default=[],
        metavar=("KIND", "LOBE", "ML"),
        help=f"one more opacity: {', '.join(get_args(OpacityKind))}; {', '.join(Lobe)}; may be repeated",
    )
    group.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        default=DEFAULT_SPACING_MM,
        metavar=("SLICE", "ROW", "COLUMN"),
        help="voxel spacing in mm (default 2.5 1.4 1.4)",
    )
    group.add_argument("--noise", type=float, metavar="HU", help="standard deviation (default: drawn)")
    group.add_argument("--kernel", choices=get_args(Kernel), default="standard")


def _add_study_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("DICOM study")
    group.add_argument(
        "--orientation", type=Orientation, choices=list(Orientation), default=Orientation.HEAD_FIRST_SUPINE
    )
    group.add_argument("--transfer-syntax", type=Syntax, choices=list(Syntax), default=Syntax.EXPLICIT)
    group.add_argument(
        "--fault", type=Fault, choices=list(Fault), action="append", default=[], help="may be repeated"
    )
    group.add_argument("--enhanced", action="store_true", help="one multi-frame Enhanced CT file")
    group.add_argument("--reversed-files", action="store_true", help="instance numbers count down")
    group.add_argument("--series-number", type=int, default=1)
    group.add_argument("--patient-name", default="Phantom^Thorax")
    group.add_argument("--patient-age", type=int, default=50, metavar="YEARS")


if __name__ == "__main__":
    sys.exit(main())
