"""Screenshots of a study and its DICOM results in OHIF, for people to look at.

Orthanc serves the study, a headless Chromium runs the prebuilt OHIF of the npm package in front of it.

Example:
    make ohif STUDY=demo/study RESULTS=demo/out
"""

from __future__ import annotations

import mimetypes
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from urllib.parse import urlparse

from playwright.sync_api import Page, Route, sync_playwright
from pydicom import dcmread

from tests.dicom_tools import command, errors
from tests.orthanc import Orthanc, run_orthanc

CONFIGURATION = Path(__file__).parent / "app-config.js"
LOAD_MS = 10_000
"""On two cores, with software rendering."""

BROWSER_OPTIONS = (
    "--headless=new",  # the old mode has no PDF viewer
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = ArgumentParser(prog="python -m tests.ohif", description="Screenshots of results in OHIF.")
    parser.add_argument("study", type=Path, help="folder of the source series")
    parser.add_argument("results", type=Path, help="folder that the application wrote")
    parser.add_argument("ohif", type=Path, help="folder dist of the npm package @ohif/app")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, run_orthanc(Path(folder)) as orthanc:
        files = [path for place in (args.study, args.results / "dicom") for path in place.rglob("*.dcm")]
        if problems := errors(orthanc.store(*files)):
            print(*problems, sep="\n", file=sys.stderr)
            return 1
        _take_pictures(orthanc, _most_affected(files), args.ohif, args.out)
    print(f"pictures in {args.out}")
    return 0


def _most_affected(files: list[Path]) -> tuple[str, int]:
    """Study Instance UID, and how many slices lie above the most affected one."""
    datasets = [dcmread(path, stop_before_pixels=True) for path in files]
    (capture,) = (data for data in datasets if data.Modality == "OT" and data.InstanceNumber == 1)
    heights = {
        data.SOPInstanceUID: data.ImagePositionPatient[2] for data in datasets if data.Modality == "CT"
    }
    height = heights[capture.SourceImageSequence[0].ReferencedSOPInstanceUID]
    return capture.StudyInstanceUID, sum(other > height for other in heights.values())


def _take_pictures(orthanc: Orthanc, place: tuple[str, int], ohif: Path, out: Path) -> None:
    study_uid, n_above = place
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=command("chromium"),
            headless=False,
            args=BROWSER_OPTIONS,
        )
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        address = f"http://127.0.0.1:{orthanc.http_port}"
        page.route(f"{address}/**", lambda route: _serve(route, ohif))
        page.goto(f"{address}/viewer?StudyInstanceUIDs={study_uid}")
        page.get_by_text("Skip all").click(timeout=6 * LOAD_MS)
        for series, name in (
            ("Lung lobes", "anatomy"),
            ("Lung opacities", "opacities"),
            ("Report", "pdf"),
            ("Key slices", "key_slices"),
            ("Measurements", "report"),
        ):
            _open(page, series, n_above)
            page.screenshot(path=out / f"{name}.png")
        browser.close()


def _serve(route: Route, ohif: Path) -> None:
    """OHIF expects to be at the root; all that is not DICOMweb is a file of it or its only page."""
    path = urlparse(route.request.url).path
    if path.startswith("/dicom-web"):
        route.continue_()
        return
    file = CONFIGURATION if path == "/app-config.js" else ohif / path.lstrip("/")
    if not file.is_file():
        file = ohif / "index.html"
    kind, _ = mimetypes.guess_type(file.name)
    route.fulfill(body=file.read_bytes(), content_type=kind or "application/octet-stream")


def _open(page: Page, series: str, n_above: int) -> None:
    """Open a series; in the stack of slices, scroll down from the first one that has a mask."""
    entry = page.get_by_text(f"{series} (AI").first
    if not entry.count():
        return
    entry.dblclick()
    page.wait_for_timeout(LOAD_MS)
    if (confirm := page.get_by_text("Yes", exact=True)).count():
        confirm.first.click()
        page.wait_for_timeout(LOAD_MS)
    if series.startswith("Lung"):
        page.mouse.move(800, 500)
        page.keyboard.press("Home")
        for _ in range(n_above):
            page.mouse.wheel(0, 100)
            page.wait_for_timeout(50)
    page.wait_for_timeout(LOAD_MS // 3)


if __name__ == "__main__":
    sys.exit(main())
