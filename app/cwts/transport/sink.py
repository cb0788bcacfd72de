"""The way into an engine: a preallocated buffer of frames, fed in one call, recorded as fed, and counted.

Owns what happens when the engine cannot keep up: the buffer is thrown away and the book declared invalid; nothing is
lost silently. Needs NumPy alone, so that every host can use it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cwts.kernel import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwts.kernel import Engine

CAPACITY = 4 << 20
HEADER = struct.Struct("<qIHH")  # cwts_frame
COMMAND = struct.Struct("<II")  # cwts_command
OWN_STREAM = 15  # timers and commands: no connection brought them

_RAW, _TIMER, _COMMAND = int(layout.Kind.RAW), int(layout.Kind.TIMER), int(layout.Kind.COMMAND)


class Sink:
    """An engine and the frames that wait for it.

    `clock`: nanoseconds since 1970 that never go back. `tap`: gets every batch exactly as it is fed, before it is fed.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], int],
        *,
        tap: Callable[[memoryview], None] | None = None,
        capacity: int = CAPACITY,
        budget_ns: int = 10_000_000,
    ) -> None:
        self.engine = engine
        self.tap = tap
        self.budget_ns = budget_ns
        self.frames = 0  # fed
        self.batches = 0
        self.lost = 0  # dropped because there was no room
        self.overflows = 0
        self.over_budget = 0  # batches that took longer than the budget
        self.slowest_ns = 0
        self.paused = False  # the consumer is busy: frames wait
        self.overflowed = False  # frames were dropped: the book must be reset before anything else is fed
        self.highest = 0  # most bytes that ever waited
        self._clock = clock
        self._buffer = bytearray(capacity)
        self._view = memoryview(self._buffer)
        self._used = 0
        self._waiting = 0
        self._oldest_ns = 0
        offset = layout.BLOCK.fields["sync"][1] + layout.SYNC.fields["synced"][1]  # type: ignore[index]
        self._synced = engine.block[offset : offset + 4].view("<u4")

    @property
    def synced(self) -> bool:
        """Whether the engine's book is valid."""
        return bool(self._synced[0])

    @property
    def waiting(self) -> int:
        """Bytes that wait."""
        return self._used

    def push(self, now: int, stream: int, payload: bytes | bytearray | memoryview, kind: int = _RAW) -> bool:
        """Appends a frame. Returns False where it was dropped for want of room."""
        length = len(payload)
        size = HEADER.size + (length + 7 & ~7)
        if self.overflowed:
            self.lost += 1
            return False
        if self._used + size > len(self._buffer):
            if self.paused:
                self.lost += self._waiting + 1
                self.overflows += 1
                self.overflowed = True
                self._used = self._waiting = 0
                return False
            self.flush()
            if size > len(self._buffer):
                self._buffer = bytearray(size)
                self._view = memoryview(self._buffer)
        at = self._used
        HEADER.pack_into(self._buffer, at, now, length, stream, kind)
        start = at + HEADER.size
        self._view[start : start + length] = payload
        if length & 7:
            self._view[start + length : at + size] = bytes(-length & 7)
        if not self._waiting:
            self._oldest_ns = now
        self._used = at + size
        self._waiting += 1
        return True

    def timer(self, now: int) -> None:
        """Time alone."""
        self.push(now, OWN_STREAM, b"", _TIMER)

    def command(self, now: int, op: int, value: int = 0) -> None:
        """An instruction to the engine, in order with the messages."""
        if op == layout.CommandOp.RESET_BOOK and self.overflowed and not self.paused:
            self.overflowed = False
        self.push(now, OWN_STREAM, COMMAND.pack(op, value), _COMMAND)

    def flush(self) -> int:
        """Feeds what waits; returns the kernel's event bits."""
        if not self._used or self.paused:
            return 0
        batch = self._view[: self._used]
        if self.tap is not None:
            self.tap(batch)
        started = self._clock()
        events = self.engine.feed(batch)
        ended = self._clock()
        took = ended - started
        latency = self.engine.latency
        latency(layout.Stage.QUEUE, started - self._oldest_ns)
        latency(layout.Stage.FEED, took // self._waiting)
        latency(layout.Stage.TOTAL, ended - self._oldest_ns)
        if took > self.budget_ns:
            self.over_budget += 1
        self.slowest_ns = max(self.slowest_ns, took)
        self.highest = max(self.highest, self._used)
        self.frames += self._waiting
        self.batches += 1
        self._used = self._waiting = 0
        return events

    def pause(self) -> None:
        """The consumer is busy: frames wait from now on."""
        self.paused = True

    def resume(self) -> None:
        """It is free again. Where `overflowed` is set, the host resets the book next."""
        self.paused = False
