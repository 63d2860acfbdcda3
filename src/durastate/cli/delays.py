"""What delayed a run: a small table on stderr, for `--stat`."""

from __future__ import annotations

from durastate import Statistics

from .streams import say

_NAMES = {
    "rate ceiling": "waited_for_rate_s",
    "throttling": "waited_for_throttling_s",
    "bytes in flight": "waited_for_bytes_s",
    "requests in flight": "waited_for_requests_s",
    "retries": "waited_for_retries_s",
    "outages": "waited_for_outages_s",
    "slow consumer": "waited_for_consumer_s",
    "the service": "waited_for_service_s",
}


def print_delays(statistics: Statistics) -> None:
    """The seconds by cause, each in a line."""
    say(
        "What requests waited for, in seconds summed over all of them, which wait side by side, "
        "so a sum may be longer than the run:"
    )
    for name, field in _NAMES.items():
        say(f"  {name:<20}{getattr(statistics, field):>12,.1f}")
