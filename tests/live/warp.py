"""An event loop whose time jumps to the next timer whenever nothing is ready: minutes of waiting take no time at all.

Sockets are real. A busy machine cannot make a time-out fire, because time stands still while anything is to be done.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class WarpLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self.virtual = 1_000_000.0
        self.threads = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.virtual

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Any) -> None:
        self.threads -= 1


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self, loop: WarpLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if self._loop.threads or timeout is None:
            return super().select(0.005)  # someone else works
        self._loop.virtual += max(timeout, 1e-6)  # what was sent on this machine has arrived: nothing is on its way
        return found


def _monotonic() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


_clock = SimpleNamespace(
    monotonic=_monotonic,
    time=lambda: 1_790_000_000.0 + _monotonic(),
    time_ns=lambda: 1_790_000_000_000_000_000 + int(_monotonic() * 1e9),
    perf_counter=_monotonic,
    gmtime=time.gmtime,
    strftime=time.strftime,
)


def now_ns() -> int:
    """Nanoseconds since 1970 on the loop's clock."""
    return 1_790_000_000_000_000_000 + int(_monotonic() * 1e9)


def warp(main: Coroutine[Any, Any, T]) -> T:
    """Runs to the end in warped time, the simulated exchange included."""
    changed = [
        m for name, m in sys.modules.items() if name.startswith("cwts.simulator") and getattr(m, "time", None) is time
    ]
    for module in changed:
        module.time = _clock  # type: ignore[attr-defined]
    try:
        with asyncio.Runner(loop_factory=WarpLoop) as runner:
            return runner.run(main)
    finally:
        for module in changed:
            module.time = time  # type: ignore[attr-defined]
