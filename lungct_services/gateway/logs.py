"""One JSON object a line on standard error; studies are named by pseudonym, errors by type and place."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from lungct.errors import hide_text

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def configure_logging(level: str) -> None:
    """Set up the log of this process; other libraries say nothing below an error.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """
    logging.basicConfig(level=logging.CRITICAL)  # their texts may quote URLs and values
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def described(error: Exception) -> dict[str, Any]:
    """Return an unforeseen error as fields of a log line, without its text, which may name a patient."""
    safe = hide_text(error)
    return {"error": safe.code, "where": str(safe)}
