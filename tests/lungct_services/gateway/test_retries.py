"""When a failed step is tried again."""

from lungct_services.gateway.settings import RetrySettings


def test_pauses_double_up_to_the_cap_and_differ() -> None:
    retry = RetrySettings(base_s=10, cap_s=100)
    for attempts, longest_s in ((1, 10), (2, 20), (4, 80), (5, 100), (60, 100)):
        pauses = {retry.pause_s(attempts) for _ in range(20)}
        assert len(pauses) > 1
        assert all(longest_s / 2 <= pause <= longest_s for pause in pauses)
