"""When a failed step is tried again."""

from __future__ import annotations

import random

from pydantic import PositiveFloat, PositiveInt

from lungct_services.settings import Section

_MOST_DOUBLINGS = 30
"""Own decision: far beyond any cap, and far from overflowing."""


class RetrySettings(Section):
    """When a failed step is tried again: after ``base_s``, twice that, and so on up to ``cap_s``.

    Attributes:
        max_attempts: runs of the analysis.
        max_deliveries: attempts to send results on; the other side may be down for a night.
        delivery_s: longest time that one attempt to send results on may take.
    """

    base_s: PositiveFloat = 30.0
    cap_s: PositiveFloat = 3600.0
    max_attempts: PositiveInt = 5
    max_deliveries: PositiveInt = 48
    delivery_s: PositiveFloat = 3600.0

    def pause_s(self, attempts: int) -> float:
        """Return the seconds to wait after some attempts, at random so that jobs do not return together."""
        longest_s = min(self.cap_s, self.base_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS))
        return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - no secret
