"""What becomes of a job, whatever happens on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from structlog.testing import capture_logs

from lungct.errors import SettingsError
from lungct.settings import SelectionLimits
from lungct_services.deidentify.pseudonyms import Pseudonyms
from lungct_services.gateway.entries import Change, Page, StudyEntry
from lungct_services.gateway.feed import Feed
from lungct_services.gateway.jobs import GatewayJobs
from lungct_services.gateway.metrics import Metrics
from lungct_services.gateway.outcomes import Outcomes
from lungct_services.gateway.processing import Processor
from lungct_services.gateway.screening import RECENT, ROUTINE, STAT, arrival_of
from lungct_services.gateway.sending import Sender
from lungct_services.gateway.settings import GatewaySettings, PrioritySettings
from lungct_services.jobs.errors import TransientError, Unreachable
from lungct_services.jobs.queue import Arrival, State
from tests.lungct_services.gateway.fakes import Bomb, Killed, MemoryOrthanc, MemoryRunner
from tests.lungct_services.gateway.site import write_chest

N_IMAGES, N_FIRST = 5, 4
LIMITS = SelectionLimits(min_slices=3, min_extent_mm=0)
DESTINATIONS = ({"kind": "modality", "name": "PACS"}, {"kind": "dicomweb", "name": "CLOUD"})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_chest(tmp_path_factory.mktemp("chest"), seed=1, n_slices=N_IMAGES)


class Life:
    """A service from its start to its end, in one thread."""

    def __init__(
        self, folder: Path, orthanc: MemoryOrthanc, runner: MemoryRunner, bomb: Bomb, **settings: Any
    ) -> None:
        common = {
            "state_dir": folder,
            "orthanc": {"first_start": "beginning"},
            "retry": {"base_s": 1e-6, "cap_s": 1e-6, "max_attempts": 3},
            "destinations": DESTINATIONS,
        }
        self.settings = GatewaySettings.model_validate(common | settings)
        self.open_jobs = GatewayJobs(folder)
        self.open_jobs.take_over()
        self.jobs, self.bomb = bomb.watch(self.open_jobs), bomb
        metrics, watched = Metrics(self.open_jobs), bomb.watch(orthanc)
        self.feed = Feed(self.settings, self.jobs, watched, Pseudonyms(b"k" * 32), metrics)
        outcomes = Outcomes(self.settings, self.jobs, metrics, threading.Event())
        self.processor = Processor(self.settings, LIMITS, self.jobs, watched, bomb.watch(runner), outcomes)
        self.sender = Sender(self.settings, self.jobs, watched, outcomes)

    def work(self, at_most: int = 100) -> None:
        """Until nothing is to do."""
        while not self.feed.step():
            pass
        for _ in range(at_most):
            if (job := self.jobs.claim()) is not None:
                self.processor.process(job)
            elif (job := self.jobs.claim(sending=True)) is not None:
                self.sender.process(job)
            else:
                return
            self.feed.step()


@pytest.fixture
def orthanc() -> MemoryOrthanc:
    return MemoryOrthanc()


@pytest.fixture
def runner() -> MemoryRunner:
    return MemoryRunner()


@pytest.fixture
def life(tmp_path: Path, orthanc: MemoryOrthanc, runner: MemoryRunner) -> Iterator[Life]:
    life = Life(tmp_path / "state", orthanc, runner, Bomb())
    yield life
    life.open_jobs.close()


def states(life: Life) -> dict[str, int]:
    return {state.value: n for state, n in life.open_jobs.counts().items() if n}


def reasons(life: Life) -> list[str]:
    return [row["reason"] for row in life.open_jobs.latest(tuple(State), -1)]


def watched(life: Life) -> list[str]:
    return [study for study, _ in life.open_jobs.watched(before=life.open_jobs.now() + 1)]


def grow_and_work(folder: Path, images: list[Path], bomb: Bomb) -> tuple[MemoryOrthanc, MemoryRunner]:
    """A study comes, is analysed, grows and is analysed again; a killed service is started again."""
    orthanc, runner = MemoryOrthanc(), MemoryRunner()
    for paths in (images[:N_FIRST], images[N_FIRST:]):
        orthanc.receive(paths)
        while True:
            life = Life(folder, orthanc, runner, bomb)
            try:
                life.work()
                break
            except Killed:
                pass
            finally:
                life.open_jobs.close()
    return orthanc, runner


def test_a_service_killed_at_any_moment_leaves_one_whole_result_set(
    tmp_path: Path, images: list[Path]
) -> None:
    undisturbed = Bomb()
    grow_and_work(tmp_path / "undisturbed", images, undisturbed)
    assert undisturbed.n_moments > 60
    for moment in range(undisturbed.n_moments):
        orthanc, runner = grow_and_work(tmp_path / str(moment), images, Bomb(moment))
        assert set(orthanc.results) == runner.sets[-1], moment
        assert runner.n_images[-1] == len(images), moment
        assert len(runner.sets) <= 3, moment
        assert all(runner.sets[-1] <= orthanc.sent[name] for name in ("PACS", "CLOUD")), moment


def test_own_results_cause_no_second_analysis(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    orthanc.receive(images)
    life.work()
    assert len(orthanc.feed) > 1
    life.work()
    assert len(runner.sets) == 1
    assert states(life) == {"done": 1}


def test_a_study_that_is_sent_twice_is_analysed_once(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    for _ in range(2):
        orthanc.receive(images)
        life.work()
    assert len(runner.sets) == 1


def test_a_study_that_grew_before_its_turn_is_analysed_once(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    orthanc.receive(images[:N_FIRST])
    life.feed.step()
    orthanc.receive(images)
    life.work()
    assert runner.n_images == [len(images)]
    assert states(life) == {"superseded": 1, "done": 1}


def test_nothing_is_fetched_of_an_ineligible_study(
    life: Life, orthanc: MemoryOrthanc, images: list[Path]
) -> None:
    orthanc.receive(images[:2])
    life.work()
    assert states(life) == {"ineligible": 1}
    assert reasons(life) == ["TOO_FEW_SLICES"]
    assert orthanc.downloaded == []


@pytest.fixture
def two_series(images: list[Path], tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """The chest, and a copy of it with thicker slices in a series of its own."""
    copies = []
    for path in images:
        dataset = dcmread(path)
        dataset.SeriesInstanceUID, dataset.SliceThickness = "1.2.3.4.5", 3
        dataset.SOPInstanceUID += ".1"
        dataset.save_as(copy := tmp_path / f"copy-{path.name}")
        copies.append(copy)
    return images, copies


def test_every_series_that_headers_allow_is_fetched_for_the_application_to_look_at(
    life: Life, orthanc: MemoryOrthanc, two_series: tuple[list[Path], list[Path]]
) -> None:
    orthanc.receive([*two_series[0], *two_series[1]])
    life.work()
    assert sorted(orthanc.downloaded) == sorted(path.name for series in two_series for path in series)


def test_series_are_fetched_up_to_the_limit_of_bytes(
    tmp_path: Path, orthanc: MemoryOrthanc, runner: MemoryRunner, two_series: tuple[list[Path], list[Path]]
) -> None:
    n_bytes = sum(path.stat().st_size for path in two_series[0])
    life = Life(tmp_path / "state", orthanc, runner, Bomb(), limits={"max_bytes": int(1.5 * n_bytes)})
    orthanc.receive([*two_series[0], *two_series[1]])
    life.work()
    life.open_jobs.close()
    assert len(orthanc.downloaded) == N_IMAGES


def test_a_study_without_ct_is_not_even_screened(
    life: Life, orthanc: MemoryOrthanc, images: list[Path]
) -> None:
    orthanc.modality = "MR"
    orthanc.receive(images)
    life.work()
    assert states(life) == {"ineligible": 1}
    assert reasons(life) == ["NOT_CT"]


def test_a_fault_of_the_images_is_not_tried_again(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    runner.result = {"status": "bad_input", "reason": {"code": "GAP_TOO_WIDE", "message": ""}}
    orthanc.receive(images)
    life.work()
    assert (states(life), reasons(life)) == ({"failed": 1}, ["GAP_TOO_WIDE"])
    assert len(runner.sets) == 1


def test_any_other_fault_is_tried_again_until_the_attempts_are_used_up(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    runner.result = {"status": "internal_error", "reason": {"code": "ValueError", "message": ""}}
    orthanc.receive(images)
    life.work()
    assert (states(life), reasons(life)) == ({"failed": 1}, ["ValueError"])
    assert len(runner.sets) == life.settings.retry.max_attempts
    assert orthanc.results == {}


def test_an_analysis_that_makes_no_dicom_objects_is_told_at_once(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    runner.n_objects = 0
    orthanc.receive(images)
    life.work()
    assert (states(life), reasons(life)) == ({"failed": 1}, ["NO_DICOM_RESULTS"])


def test_a_dead_letter_can_be_tried_again(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    analysed = runner.result
    runner.result = {"status": "bad_model", "reason": {"code": "ModelError", "message": ""}}
    orthanc.receive(images)
    life.work()
    runner.result = analysed
    assert life.open_jobs.again("all") == 1
    life.work()
    assert states(life) == {"done": 1}


def test_an_absent_orthanc_costs_no_attempt(
    life: Life, orthanc: MemoryOrthanc, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    orthanc.receive(images)
    life.feed.step()
    with monkeypatch.context() as away:

        def no_answer(*_: str) -> None:
            raise Unreachable("ORTHANC_UNREACHABLE")

        away.setattr(orthanc, "headers", no_answer)
        for _ in range(10):
            life.work(at_most=1)
        assert states(life) == {"queued": 1}
    life.work()
    assert states(life) == {"done": 1}


def test_an_absent_destination_holds_up_no_other(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    orthanc.refuse = lambda name: name == "PACS"
    orthanc.receive(images)
    life.work(at_most=3)
    assert states(life) == {"sending": 1}
    assert orthanc.sent == {"CLOUD": runner.sets[0]}
    orthanc.refuse = lambda _: False
    life.work()
    assert states(life) == {"done": 1}
    assert orthanc.sent["PACS"] == runner.sets[0]
    assert len(runner.sets) == 1


def test_a_study_that_still_comes_waits(life: Life, orthanc: MemoryOrthanc, images: list[Path]) -> None:
    orthanc.is_stable = False
    orthanc.receive(images)
    life.work(at_most=2)
    assert (states(life), reasons(life)) == ({"queued": 1}, ["STILL_COMING"])


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_instances": N_IMAGES - 1}, "TOO_MANY_INSTANCES"), ({"max_bytes": 1000}, "TOO_MANY_BYTES")],
)
def test_a_study_above_the_limits_is_not_fetched(
    tmp_path: Path,
    orthanc: MemoryOrthanc,
    runner: MemoryRunner,
    images: list[Path],
    limits: dict[str, int],
    reason: str,
) -> None:
    life = Life(tmp_path, orthanc, runner, Bomb(), limits=limits)
    orthanc.receive(images)
    life.work()
    assert (states(life), reasons(life), orthanc.downloaded) == ({"failed": 1}, [reason], [])


def test_a_run_that_always_takes_the_service_with_it_is_given_up(
    tmp_path: Path, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    orthanc.receive(images)
    for _ in range(20):
        life = Life(tmp_path, orthanc, runner, Bomb())
        life.processor.runner._watched.run = _killed
        try:
            life.work()
        except Killed:
            continue
        finally:
            counts, why = states(life), reasons(life)
            life.open_jobs.close()
        break
    assert (counts, why) == ({"failed": 1}, ["SERVICE_DIED"])


def _killed(*_: Any) -> None:
    raise Killed


@pytest.mark.parametrize("kind", ["NewStudy", "NewSeries", "NewInstance"])
def test_a_study_whose_end_orthanc_forgot_to_tell_is_asked_for(
    life: Life, orthanc: MemoryOrthanc, images: list[Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    orthanc.receive(images, kind=kind)
    life.work()
    assert states(life) == {}
    monkeypatch.setattr("lungct_services.gateway.feed.SETTLED_S", -1)
    life.work()
    assert states(life) == {"done": 1}


def test_a_study_that_orthanc_cannot_tell_about_stops_no_other_and_is_asked_for_later(
    life: Life, orthanc: MemoryOrthanc, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    orthanc.feed.append(Change(1, "StableStudy", "odd", "20261128"))
    orthanc.receive(images)
    tell = orthanc.study

    def study(study_id: str) -> StudyEntry:
        if study_id == "odd":
            raise TransientError("ORTHANC_500")
        return tell(study_id)

    monkeypatch.setattr(orthanc, "study", study)
    life.work()
    assert states(life) == {"done": 1}
    assert watched(life) == ["odd"]


def test_images_that_come_after_a_study_was_complete_are_remembered(
    life: Life, orthanc: MemoryOrthanc, images: list[Path]
) -> None:
    orthanc.receive(images[:N_FIRST])
    orthanc.receive(images, kind="NewInstance")
    life.feed.step()
    assert watched(life) == ["study"]


@pytest.mark.parametrize("n_changes", [1, 30])
def test_studies_of_another_database_are_all_looked_at_wherever_its_sequence_is(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path], n_changes: int
) -> None:
    for _ in range(10):
        orthanc.receive(images[:N_FIRST], kind="NewInstance")
    orthanc.receive(images[:N_FIRST])
    life.work()
    orthanc.delete_study()
    orthanc.feed, orthanc.set_up = [], "20261129"
    for _ in range(n_changes):
        orthanc.receive(images)
    life.work()
    assert runner.n_images == [N_FIRST, N_IMAGES]
    assert set(orthanc.results) == runner.sets[-1]


def test_results_of_a_study_that_was_deleted_meanwhile_are_not_stored(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    runner.meanwhile = orthanc.delete_study
    orthanc.receive(images)
    life.work()
    assert (states(life), reasons(life)) == ({"failed": 1}, ["GONE"])
    assert (orthanc.results, orthanc.sent) == ({}, {})


def test_results_that_were_stored_while_the_study_was_deleted_are_taken_back(
    life: Life, orthanc: MemoryOrthanc, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = orthanc.store

    def store_too_late(path: Path) -> str:
        orthanc.images.clear()
        return store(path)

    monkeypatch.setattr(orthanc, "store", store_too_late)
    orthanc.receive(images)
    life.work()
    assert (states(life), orthanc.results) == ({"failed": 1}, {})


def test_a_study_that_was_deleted_and_sent_again_is_analysed_again(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    for _ in range(3):
        orthanc.receive(images, kind="NewStudy")
        orthanc.receive(images)
        life.work()
        assert set(orthanc.results) == runner.sets[-1]
        orthanc.delete_study()
    assert states(life) == {"done": 3}


def test_a_study_whose_results_alone_were_removed_is_left_alone(
    life: Life, orthanc: MemoryOrthanc, runner: MemoryRunner, images: list[Path]
) -> None:
    orthanc.receive(images)
    life.work()
    orthanc.results.clear()
    orthanc.receive(images)
    life.work()
    assert len(runner.sets) == 1


@pytest.mark.parametrize("code", ["ORTHANC_UNREACHABLE", "ORTHANC_REFUSES"])
def test_the_first_question_without_an_answer_is_logged_with_what_to_do(
    life: Life, orthanc: MemoryOrthanc, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    stopping = threading.Event()

    def no_answer(*_: int) -> None:
        stopping.set()
        raise Unreachable(code)

    monkeypatch.setattr(orthanc, "last_changes", no_answer)
    with capture_logs() as logged:
        life.feed.follow(stopping)
    assert [(line["event"], line["reason"]) for line in logged] == [("disconnected", code)]
    assert "Orthanc" in logged[0]["hint"]


def test_what_ended_long_ago_is_forgotten(life: Life, orthanc: MemoryOrthanc, images: list[Path]) -> None:
    orthanc.receive(images)
    life.work()
    assert life.open_jobs.prune(time.time() - 60) == 0
    assert life.open_jobs.prune(time.time() + 60) == 1
    assert (states(life), life.open_jobs.results("study")) == ({}, [])


def test_urgent_studies_come_first_then_recent_ones_then_those_that_came_first(life: Life) -> None:
    arrivals = [
        Arrival(name, name, "v", priority) for name, priority in (("a", 2), ("b", 1), ("c", 1), ("d", 0))
    ]
    life.open_jobs.advance(Page((), 1, is_last=True), arrivals)
    claimed = [life.open_jobs.claim() for _ in arrivals]
    assert [job.study for job in claimed if job] == ["d", "b", "c", "a"]
    assert life.open_jobs.claim() is None


@pytest.mark.parametrize(
    ("study_date", "stat_aets", "priority"),
    [
        (date.today().strftime("%Y%m%d"), set(), RECENT),
        ("20200401", set(), ROUTINE),
        ("", set(), ROUTINE),
        ("20200401", {"ORTHANC"}, STAT),
    ],
)
def test_urgency_comes_from_the_called_title_and_the_study_date(
    orthanc: MemoryOrthanc, images: list[Path], study_date: str, stat_aets: set[str], priority: int
) -> None:
    orthanc.receive(images)
    study = replace(orthanc.study("study"), study_date=study_date)
    settings = PrioritySettings(stat_called_aets=frozenset(stat_aets))
    assert arrival_of(study, orthanc, Pseudonyms(b"k" * 32), settings).priority == priority


def test_a_second_service_on_the_same_state_is_refused(life: Life) -> None:
    with pytest.raises(SettingsError, match="another service"):
        GatewayJobs(life.settings.state_dir).take_over()
