"""All rates of this machine, one after another."""

import time

from bathyscope import progress, runtime
from bathyscope.planning.measure.copy import copy_rate
from bathyscope.planning.measure.disk import disk_rates
from bathyscope.planning.measure.forward import pass_rate
from bathyscope.planning.measure.index import index_rates
from bathyscope.planning.measure.product import product_rate
from bathyscope.planning.measure.step import step_rates

ROUNDS = 7
N_MEASURES = 5


def measured(*, rounds: int = ROUNDS) -> tuple[dict[str, float], float]:
    """Sort → amount a second, and the seconds it took to find out."""
    runtime.keep_freed_memory()  # as the stages do
    start = time.perf_counter()
    product = product_rate(rounds=rounds)
    copied = copy_rate(rounds=rounds)
    rates = {"product": product}
    later = (
        lambda: step_rates(product, copied, rounds=rounds),
        lambda: {"pass": pass_rate(product, rounds=rounds)},
        lambda: index_rates(product, copied, rounds=max(1, rounds // 2)),
        lambda: disk_rates(rounds=max(1, rounds // 2)),
    )
    for done, measure in enumerate(later, start=1):
        progress.report("calibrate", done, N_MEASURES, "measures")
        with progress.listening(_unheard):
            rates |= measure()
    progress.report("calibrate", N_MEASURES, N_MEASURES, "measures")
    return rates, time.perf_counter() - start


def _unheard(_step: progress.Step) -> None:
    """The steps of what is measured are no progress of the measuring."""
