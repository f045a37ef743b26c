"""What the person who watches an analysis sees of its stages."""

import logging

import pytest

from lungct.journal import Journal, logger


def test_stages_that_begin_together_have_numbers_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    journal.n_stages = 2

    def begin_the_other(record: logging.LogRecord) -> bool:
        if "[1/2]" in record.getMessage() and "airways" not in journal.timings_s:
            with journal.stage("airways"):
                pass
        return True

    logger.addFilter(begin_the_other)
    try:
        with caplog.at_level(logging.INFO, logger.name), journal.stage("slices"):
            pass
    finally:
        logger.removeFilter(begin_the_other)
    begun = {message for message in caplog.messages if message.endswith("...")}
    assert begun == {"[1/2] slices ...", "[2/2] airways ..."}
