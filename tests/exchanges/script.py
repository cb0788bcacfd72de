"""A session told as a script: one line an event, `seconds event arguments | what the session asks for in answer`.

Events of every exchange: start, stop, opened N, closed N [hopeless], ping N, tick, overflow I, raw N TEXT (a message;
answers `feed I…` or `drop`), kernel I BITS (what the kernel said: need, gap, synced, with the book valid iff synced is
the last). Notes are left out: they are for people.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cwts.exchanges.base import SECOND, Close, Fail, Fetch, Note, Open, Reset, Send, Session
from cwts.kernel import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwts.exchanges.base import Engines

BITS = {"need": layout.Event.NEED_SNAPSHOT, "gap": layout.Event.GAP, "synced": layout.Event.SYNCED}


class Script:
    """Plays lines against a session. `messages` turns an event's name and arguments into a link and a payload."""

    def __init__(self, session: Session, messages: Callable[[Session, str, list[str]], tuple[int, bytes]]) -> None:
        self.session = session
        self.messages = messages
        self.sent: list[str] = []

    def play(self, text: str) -> None:
        for line in filter(None, (line.strip() for line in text.splitlines())):
            event, _, wanted = line.partition("|")
            found = self.step(event.strip())
            expected = [part.strip() for part in wanted.split(",") if part.strip()]
            assert found == expected, f"{line}\n  asked for: {', '.join(found) or 'nothing'}"

    def step(self, event: str) -> list[str]:
        stamp, name, *rest = event.split(" ")
        now, session = round(float(stamp) * SECOND) + SECOND, self.session
        found: list[str] = []
        if name in ("start", "tick", "stop"):
            getattr(session, name)(now)
        elif name == "opened":
            session.opened(now, int(rest[0]))
        elif name == "closed":
            session.closed(now, int(rest[0]), "cut", hopeless="hopeless" in rest)
        elif name == "ping":
            session.alive(now, int(rest[0]))
        elif name == "overflow":
            session.overflowed(now, int(rest[0]))
        elif name == "kernel":
            bits = 0
            for word in rest[1:]:
                bits |= BITS[word]
            session.events(now, int(rest[0]), bits, synced=rest[-1] == "synced")
        elif name == "fetched":
            found.append(
                fed(session.fetched(now, int(rest[0]), int(rest[1]), b'{"lastUpdateId":1,"bids":[],"asks":[]}'))
            )
        else:
            link, payload = (
                (int(rest[0]), " ".join(rest[1:]).encode()) if name == "raw" else self.messages(session, name, rest)
            )
            found.append(fed(session.message(now, link, memoryview(payload))))
        return found + [text for action in session.take() if (text := self.describe(action))]

    def describe(self, action: Any) -> str:
        if isinstance(action, Open):
            return f"open {action.link}"
        if isinstance(action, Send):
            self.sent.append(action.text)
            return f"send {action.link} {word(action.text)}"
        if isinstance(action, Close):
            return f"close {action.link}"
        if isinstance(action, Fetch):
            return f"fetch {action.request}"
        if isinstance(action, Reset):
            return f"reset {action.instrument}"
        if isinstance(action, Fail):
            return "fail bad input" if action.bad_input else "fail"
        assert isinstance(action, Note)
        return ""


def fed(instruments: Engines) -> str:
    return " ".join(["feed", *map(str, instruments)]) if instruments else "drop"


def word(text: str) -> str:
    """What a message we send is about: its method or operation, and its number where it has one."""
    if not text.startswith("{"):
        return text
    found = json.loads(text)
    return re.sub(r"\s+", " ", f"{found.get('method') or found.get('op')} {found.get('id', '')}").strip()
