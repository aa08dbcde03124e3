"""Laws over many examples that hypothesis makes: the same ones in every run, and none kept."""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**31)


def for_all(num_cases: int, law: Callable[..., None], **arguments: st.SearchStrategy) -> None:
    """Check ``law`` on so many examples of its arguments; a failing one is shown, made small."""
    repeatable = settings(
        max_examples=num_cases,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    repeatable(given(**arguments)(law))()
