"""Each eligibility rule, and how eligible series rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungct.dicom_read import judge, select_series
from lungct.dicom_read.vendor_kernels import is_lung_kernel
from lungct.records import Scan, Series
from lungct.settings import SelectionLimits


def _codes(series: Series) -> list[str]:
    return [reason.code for reason in judge(series).reasons]


def _with_slices(series: Series, **changes: Any) -> Series:
    return replace(series, slices=tuple(replace(image, **changes) for image in series.slices))


def _every(series: Series, step: int) -> Series:
    return replace(series, slices=series.slices[::step])


def _scan(*series: Series) -> Scan:
    return Scan(Path("study"), series)


def test_thin_axial_chest_of_an_adult_is_eligible(eligible: Series) -> None:
    assert judge(eligible).eligible


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"modality": "MR"}, "NOT_CT"),
        ({"slice_thickness_mm": 5.0}, "SLICE_TOO_THICK"),
        ({"age_years": 17.0}, "UNDER_AGE"),
        ({"age_years": 0.0}, "UNDER_AGE"),
        ({"body_part": "ABDOMEN"}, "NOT_CHEST"),
        ({"body_part": "HEAD"}, "NOT_CHEST"),
        ({"body_part": "LSPINE"}, "NOT_CHEST"),
        ({"body_part": "Left arm"}, "NOT_CHEST"),
    ],
)
@pytest.mark.fault("series", "Series with {changes}", "exit code 3, `{code}`")
def test_series_attribute_breaks_a_rule(eligible: Series, changes: dict[str, Any], code: str) -> None:
    assert _codes(replace(eligible, **changes)) == [code]


@pytest.mark.parametrize(
    ("image_type", "codes"),
    [
        ("DERIVED\\PRIMARY\\AXIAL\\IODINE", ["DERIVED"]),
        ("DERIVED\\PRIMARY\\AXIAL\\SUBTRACTION", ["DERIVED"]),
        ("ORIGINAL\\SECONDARY\\SCREEN SAVE", ["SECONDARY"]),
        ("ORIGINAL\\PRIMARY\\LOCALIZER", ["LOCALIZER"]),
        ("ORIGINAL\\PRIMARY\\MPR", ["MPR"]),
        ("DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE", ["MPR"]),
        ("DERIVED\\SECONDARY\\MIP", ["MIP"]),
        ("DERIVED\\PRIMARY\\AXIAL\\CSA RESAMPLED", ["MPR"]),
        ("DERIVED\\PRIMARY\\PROJECTION IMAGE", ["MIP"]),
    ],
)
@pytest.mark.fault("series", "Image type `{image_type}`", "exit code 3, `{codes}`")
def test_image_type_breaks_rules(eligible: Series, image_type: str, codes: list[str]) -> None:
    assert _codes(_with_slices(eligible, image_type=tuple(image_type.split("\\")))) == codes


@pytest.mark.parametrize(
    "image_type",
    [
        "DERIVED\\SECONDARY\\AXIAL\\LOSSY_COMPRESSED",
        "DERIVED\\PRIMARY\\AXIAL\\CT_SOM5 SPI",
        "ORIGINAL\\SECONDARY\\AXIAL",
        "DERIVED\\SECONDARY",
    ],
)
@pytest.mark.fault("series", "Image type `{image_type}`", "flag `DERIVED_IMAGES`; ranks behind originals")
def test_derived_originals_are_taken_last(eligible: Series, image_type: str) -> None:
    derived = _with_slices(replace(eligible, series_uid="1.1"), image_type=tuple(image_type.split("\\")))
    thick = replace(eligible, slice_thickness_mm=3.0)
    first, second = select_series(Scan(Path(), (derived, thick))).verdicts
    assert (first.series, second.series) == (thick, derived)
    assert "DERIVED_IMAGES" in [preference.code for preference in second.preferences]


@pytest.mark.parametrize("body_part", ["ABDOMEN", "HEAD", "CSPINE"])
@pytest.mark.fault("series", "Body part {body_part}, descriptions say chest", "flag `BODY_PART_CONTRADICTED`")
def test_descriptions_outweigh_the_body_part(eligible: Series, body_part: str) -> None:
    (verdict,) = select_series(
        Scan(Path(), (replace(eligible, body_part=body_part, says_chest=True),))
    ).verdicts
    assert verdict.rank == 1
    assert "BODY_PART_CONTRADICTED" in [preference.code for preference in verdict.preferences]


def test_animal_is_refused(eligible: Series) -> None:
    assert _codes(replace(eligible, is_animal=True)) == ["NOT_HUMAN"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"slice_thickness_mm": 5.0}, "SLICE_TOO_THICK"), ({"age_years": 12.0}, "UNDER_AGE")],
)
def test_accepted_rule_does_not_exclude_and_is_told(
    eligible: Series, changes: dict[str, Any], code: str
) -> None:
    broken = Scan(Path(), (replace(eligible, **changes),))
    assert select_series(broken).chosen is None
    selection = select_series(broken, accepted=frozenset((code, "NOT_CT")))
    assert selection.chosen == broken.series[0]
    assert selection.accepted_codes == (code,)


def test_rule_that_nothing_breaks_is_not_told_as_accepted(eligible: Series) -> None:
    assert select_series(Scan(Path(), (eligible,)), accepted=frozenset(("UNDER_AGE",))).accepted_codes == ()


def test_series_that_is_asked_for_is_the_only_one(eligible: Series) -> None:
    thick = replace(eligible, series_uid="1.2.9", slice_thickness_mm=3.0)
    selection = select_series(Scan(Path(), (eligible, thick)), series_uid="1.2.9")
    assert selection.chosen == thick
    assert [reason.code for reason in selection.verdicts[1].reasons] == ["OTHER_SERIES_ASKED_FOR"]


def test_lossy_compression_alone_does_not_make_an_image_derived(eligible: Series) -> None:
    image_type = ("DERIVED", "PRIMARY", "AXIAL")
    assert _codes(_with_slices(eligible, image_type=image_type, is_lossy=True)) == []


def test_one_localizer_inside_a_series_is_named(eligible: Series) -> None:
    stray = replace(eligible.slices[7], image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    (reason,) = judge(replace(eligible, slices=(*eligible.slices, stray))).reasons
    assert (reason.code, "first 7.dcm" in reason.message) == ("LOCALIZER", True)


@pytest.mark.parametrize("orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), None])
@pytest.mark.fault("series", "Image orientation {orientation}", "exit code 3, `NOT_AXIAL`")
def test_slices_must_be_axial(eligible: Series, orientation: Any) -> None:
    assert "NOT_AXIAL" in _codes(_with_slices(eligible, orientation=orientation))


def test_gantry_tilt_is_still_axial(eligible: Series) -> None:
    tilt = np.radians(25)
    assert _codes(_with_slices(eligible, orientation=(1, 0, 0, 0, np.cos(tilt), np.sin(tilt)))) == []


@pytest.mark.fault("series", "Thin slices far apart", "exit code 3, `SLICE_SPACING_TOO_WIDE`")
def test_thin_slices_far_apart_are_refused(eligible: Series) -> None:
    assert _codes(_every(eligible, 4)) == ["SLICE_SPACING_TOO_WIDE"]


def test_unknown_thickness_falls_back_on_spacing(eligible: Series) -> None:
    assert _codes(replace(eligible, slice_thickness_mm=None)) == []


@pytest.mark.fault("series", "Neither thickness nor positions", "exit code 3, `SLICE_THICKNESS_UNKNOWN`")
def test_neither_thickness_nor_positions_is_refused(eligible: Series) -> None:
    blind = _with_slices(replace(eligible, slice_thickness_mm=None), position_mm=None)
    assert _codes(blind) == ["SLICE_THICKNESS_UNKNOWN", "POSITION_MISSING"]


def test_three_millimetres_are_allowed(eligible: Series) -> None:
    assert _codes(replace(eligible, slice_thickness_mm=3.0)) == []


@pytest.mark.fault("series", "Too few slices", "exit code 3, `TOO_FEW_SLICES`")
def test_too_few_slices_are_refused(eligible: Series) -> None:
    assert _codes(replace(eligible, slices=eligible.slices[:20])) == ["TOO_FEW_SLICES", "EXTENT_TOO_SHORT"]


@pytest.mark.fault("series", "Too short a part of the chest", "exit code 3, `EXTENT_TOO_SHORT`")
def test_too_short_a_part_of_the_chest_is_refused(eligible: Series) -> None:
    assert _codes(replace(eligible, slices=eligible.slices[:100])) == ["EXTENT_TOO_SHORT"]


@pytest.mark.parametrize(
    "body_part",
    [
        "",
        "Thorax",
        "LUNG",
        "CHESTABDPELVIS",
        "CHEST_ABDOMEN",
        "TORAX",
        "NECK CHEST",
        "TÓRAX",
        "CAP",
        "UNKNOWN",
    ],
)
def test_body_parts_that_are_not_known_to_be_others_are_accepted(eligible: Series, body_part: str) -> None:
    assert _codes(replace(eligible, body_part=body_part)) == []


@pytest.mark.fault("series", "Unknown age", "analysed")
def test_unknown_age_is_allowed(eligible: Series) -> None:
    assert _codes(replace(eligible, age_years=None)) == []


def test_every_broken_rule_is_listed(eligible: Series) -> None:
    assert _codes(
        replace(eligible, modality="PT", age_years=9.0, body_part="HEAD", slice_thickness_mm=8.0)
    ) == [
        "NOT_CT",
        "SLICE_TOO_THICK",
        "UNDER_AGE",
        "NOT_CHEST",
    ]


def test_limits_can_be_set(eligible: Series) -> None:
    assert not judge(eligible, SelectionLimits(max_slice_thickness_mm=1.0)).eligible


def test_no_eligible_series_is_a_result(eligible: Series) -> None:
    selection = select_series(_scan(replace(eligible, modality="MR")))
    assert selection.chosen is None
    assert [verdict.rank for verdict in selection.verdicts] == [None]


@pytest.mark.parametrize(
    "worse",
    [
        {"slice_thickness_mm": 2.0},
        {"kernel": "B30f"},
        {"slices": 199},
        {"image_type": ("ORIGINAL", "PRIMARY")},
        {"series_uid": "1.2.4"},
    ],
    ids=lambda worse: next(iter(worse)),
)
def test_better_series_is_chosen(eligible: Series, worse: dict[str, Any]) -> None:
    other = replace(eligible, series_uid="1.2.2")
    if "slices" in worse:
        other = replace(other, slices=eligible.slices[: worse["slices"]])
    elif "image_type" in worse:
        other = _with_slices(other, **worse)
    else:
        other = replace(other, **worse)
    assert select_series(_scan(other, eligible)).chosen == eligible


def _second_phase(series: Series) -> Series:
    """Every position twice, as where two phases share a series."""
    return replace(series, slices=(*series.slices, *(replace(i, name="2nd") for i in series.slices)))


def _gap(series: Series) -> Series:
    return replace(series, slices=(*series.slices[:100], *series.slices[140:]))


@pytest.mark.parametrize(("spoil", "code"), [(_second_phase, "REPEATED_POSITIONS"), (_gap, "GAP_TOO_WIDE")])
@pytest.mark.fault("series", "Best series spoilt, another there", "the other is analysed; `{code}` tells why")
def test_series_that_forms_no_volume_ranks_last_and_says_why(
    eligible: Series, spoil: Callable[[Series], Series], code: str
) -> None:
    clean = replace(eligible, series_uid="1.2.9", slice_thickness_mm=3.0, kernel="")
    first, second = select_series(_scan(spoil(eligible), clean)).verdicts
    assert (first.series.series_uid, second.rank) == ("1.2.9", 2)
    assert second.preferences[0].code == code


def test_enhanced_image_can_be_original_axial(eligible: Series) -> None:
    enhanced = _with_slices(eligible, image_type=("ORIGINAL", "PRIMARY", "VOLUME", "NONE"))
    (verdict,) = select_series(_scan(enhanced)).verdicts
    assert "ORIGINAL_AXIAL" in [preference.code for preference in verdict.preferences]


def test_ranking_does_not_depend_on_the_order_of_series(eligible: Series) -> None:
    series = (
        eligible,
        replace(eligible, series_uid="1.2.1", kernel="B30f"),
        replace(eligible, series_uid="1.2.0", slice_thickness_mm=3.0),
        replace(eligible, series_uid="1.2.9", modality="MR"),
    )
    ranks = {
        tuple((verdict.series.series_uid, verdict.rank) for verdict in select_series(_scan(*order)).verdicts)
        for order in permutations(series)
    }
    assert ranks == {(("1.2.3", 1), ("1.2.1", 2), ("1.2.0", 3), ("1.2.9", None))}


def test_preferences_explain_the_rank(eligible: Series) -> None:
    thick = replace(eligible, series_uid="1.2.9", slice_thickness_mm=3.0, kernel="")
    first, second = select_series(_scan(thick, eligible)).verdicts
    assert [p.code for p in first.preferences] == [
        "THIN_SLICES",
        "LUNG_KERNEL",
        "ORIGINAL_AXIAL",
        "SLICE_COUNT",
    ]
    assert [p.code for p in second.preferences][:2] == ["THICK_SLICES", "OTHER_KERNEL"]


@pytest.mark.parametrize(
    ("manufacturer", "kernel", "expected"),
    [
        ("GE MEDICAL SYSTEMS", "LUNG", True),
        ("GE MEDICAL SYSTEMS", "BONEPLUS", True),
        ("GE MEDICAL SYSTEMS", "STANDARD", False),
        ("SIEMENS", "B70f", True),
        ("SIEMENS", "I50f\\3", True),
        ("Siemens Healthineers", "Bl57d\\3", True),
        ("SIEMENS", "B30f", False),
        ("SIEMENS", "D40s", False),
        ("Philips", "YA", True),
        ("Philips", "L", True),
        ("Philips", "B", False),
        ("TOSHIBA", "FC52", True),
        ("CANON_MEC", "FC52", True),
        ("CANON_MEC", "FC08", False),
        ("Canon Medical Systems", "FC51", True),
        ("Unknown", "LUNG", False),
        ("", "", False),
    ],
)
def test_lung_kernels_of_the_vendors(manufacturer: str, kernel: str, expected: bool) -> None:
    assert is_lung_kernel(manufacturer, kernel) is expected
