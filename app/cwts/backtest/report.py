"""The report of a backtest: as text, and as one HTML file that needs nothing else, its plots drawn here as SVG."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.backtest.account import E8, SECOND, Run
from cwts.backtest.metrics import drawdown

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 200, 76, 22
POINTS = 1500  # most points of a line: more cannot be seen


def number(value: float | None, digits: int = 6) -> str:
    """For a person: few digits, no exponent."""
    if value is None:
        return "–"
    text = f"{value:,.{digits if abs(value) < 1 else 2}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value, in the order of the report."""
    asset, random = result["asset"], result["random_entry"]
    share = "–" if result["hit_rate"] is None else f"{result['hit_rate']:.1%}"
    hold = "–" if result["mean_hold_s"] is None else f"{result['mean_hold_s']:.1f} s"
    between = f"{number(random['mean'])} in the mean, 5 to 95 %: {number(random['p5'])} to {number(random['p95'])}"
    return [
        ("recording", f"{result['seconds']:,} s, {result['messages']:,} messages"),
        ("account", f"{number(result['capital'])} to {number(result['equity'])} {asset}"),
        ("orders", f"{result['orders']:,}, {result['rejected']:,} rejected, {result['cancelled']:,} cancelled"),
        ("trades", f"{result['trades']:,}"),
        ("result before fees", f"{number(result['pnl_before_fees'])} {asset}"),
        ("fees", f"{number(result['fees'])} {asset}"),
        ("result after fees", f"{number(result['pnl_after_fees'])} {asset}"),
        ("open, dust", f"{number(result['open_or_dust'])} {asset}"),
        ("slippage", f"{number(result['slippage'])} {asset} beyond the touch at decision, part of the result"),
        ("largest fall", f"{number(result['drawdown'])} {asset}"),
        ("turnover", f"{number(result['turnover'])} {asset}"),
        ("in the market", f"{result['exposure']:.1%} of the time, {hold} a trade"),
        ("trades that won", share),
        ("buy and hold", f"{number(result['buy_and_hold'])} {asset}"),
        (f"random entry, {random['draws']} draws", between),
    ]


def human(result: dict[str, Any]) -> str:
    """The report as text."""
    table = [(f"{result['symbol']} on {result['exchange']}", ", ".join(result["captures"])), *rows(result)]
    table += [("verdict", result["verdict"])] + [("note", note) for note in result["notes"]]
    width = max(len(name) for name, _ in table)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in table)


class _Plot:
    """Axes and what is drawn in them."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], title: str) -> None:
        self.x0, self.x1 = x if x[1] > x[0] else (x[0], x[0] + 1)
        margin = (y[1] - y[0]) * 0.05 or abs(y[0]) * 1e-4 or 1.0
        self.y0, self.y1 = y[0] - margin, y[1] + margin
        self.title = title
        self.inside: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - 8)
        return across, 8 + (self.y1 - y) / (self.y1 - self.y0) * (HEIGHT - BOTTOM - 8)

    def line(self, x: NDArray[np.float64], y: NDArray[np.float64], name: str) -> None:
        step = max(1, len(x) // POINTS)
        points = " ".join("{:.1f},{:.1f}".format(*self.at(a, b)) for a, b in zip(x[::step], y[::step], strict=True))
        self.inside.append(f'<polyline class="{name}" points="{points}"/>')

    def mark(self, x: float, y: float, name: str, up: bool, said: str) -> None:
        a, b = self.at(x, y)
        d = 5 if up else -5
        self.inside.append(
            f'<path class="{name}" d="M{a:.1f},{b:.1f}l-4,{2 * d}h8z"><title>{escape(said)}</title></path>'
        )

    def bar(self, x0: float, x1: float, y: float, name: str) -> None:
        (a, top), (b, low) = self.at(x0, y), self.at(x1, 0)
        self.inside.append(
            f'<rect class="{name}" x="{a:.1f}" y="{top:.1f}" width="{max(1, b - a - 1):.1f}" height="{low - top:.1f}"/>'
        )

    def svg(self, unit: str = "s") -> str:
        ticks = []
        for share in (0.0, 0.5, 1.0):
            y = self.y0 + share * (self.y1 - self.y0)
            x = self.x0 + share * (self.x1 - self.x0)
            across, down = self.at(x, y)
            anchor = ("start", "middle", "end")[int(share * 2)]
            ticks.append(f'<path class="grid" d="M{LEFT},{down:.1f}H{WIDTH - 8}"/>')
            ticks.append(f'<text x="{LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{number(y, 4)}</text>')
            ticks.append(f'<text x="{across:.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{number(x, 4)} {unit}</text>')
        head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">'
        return (
            f"<figure><figcaption>{escape(self.title)}</figcaption>{head}{''.join(ticks + self.inside)}</svg></figure>"
        )


STYLE = """
:root{--paper:#fff;--ink:#1b2430;--soft:#6b7787;--line:#dfe4ea;--blue:#1f6feb;--red:#c62f2f;--green:#1a8a4a}
@media(prefers-color-scheme:dark){:root{--paper:#10151c;--ink:#e6ebf2;--soft:#93a0b2;--line:#2a3442;
--blue:#6ea8ff;--red:#ff7b72;--green:#56d38a}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:760px;
margin:2em auto;padding:0 1em}
table{border-collapse:collapse;width:100%}td,th{padding:.2em .6em;border-bottom:1px solid var(--line);text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
figure{margin:1.4em 0}figcaption{color:var(--soft)}svg{width:100%}
svg text{fill:var(--soft);font-size:11px}polyline{fill:none;stroke-width:1.4}.grid{stroke:var(--line)}
.equity,.price{stroke:var(--blue)}.fall{stroke:var(--red)}.buy,.won{fill:var(--green)}.sell,.lost{fill:var(--red)}
.verdict{border-left:4px solid var(--blue);padding:.4em 1em}
"""


def page(run: Run, result: dict[str, Any]) -> str:
    """The report as one HTML file."""
    title = f"Backtest: {result['symbol']} on {result['exchange']}"
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows(result))
    notes = "".join(f"<p>{escape(note)}</p>" for note in result["notes"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{escape(title)}</h1>'
        f'<p class="verdict">{escape(result["verdict"])}</p><table>{table}</table>{notes}{_plots(run, result["asset"])}'
        f"<h2>Trades</h2>{_trades(run)}</html>\n"
    )


def _plots(run: Run, asset: str) -> str:
    if not len(run.second):
        return ""
    x = (run.second - run.second[0]).astype(np.float64)
    span = float(x[0]), float(x[-1])
    plots = []
    equity = run.equity_e8 / E8
    for values, name, what in (
        (equity, "equity", f"equity, {asset}"),
        (-drawdown(run.equity_e8) / E8, "fall", f"below its peak, {asset}"),
    ):
        plot = _Plot(span, (float(values.min()), float(values.max())), what)
        plot.line(x, values, name)
        plots.append(plot.svg())
    good = (run.bid > 0) & (run.ask > 0)
    if good.any():
        mid = (run.bid[good] + run.ask[good]) / 2
        plot = _Plot(span, (float(mid.min()), float(mid.max())), "price, entries and exits")
        plot.line(x[good], mid, "price")
        for order in run.orders:
            if order.filled:
                when = order.done_ns / SECOND - float(run.second[0])
                side = "buy" if order.buy else "sell"
                said = f"{side} {'to close' if order.reduce_only else 'to open'} at {number(order.price, 4)}"
                plot.mark(when, order.price, side, order.buy, said)
        plots.append(plot.svg())
    if run.trades:
        net = np.array([trade.net_e8 for trade in run.trades]) / E8
        counts, edges = np.histogram(net, bins=min(40, max(8, len(net))))
        plot = _Plot((float(edges[0]), float(edges[-1])), (0.0, float(counts.max())), "trades by result after fees")
        for count, low, high in zip(counts, edges, edges[1:], strict=False):
            plot.bar(float(low), float(high), float(count), "won" if low >= 0 else "lost")
        plots.append(plot.svg(asset))
    return "".join(plots)


def _trades(run: Run) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("opened, UTC", "side", "held, s", "entry", "exit", "fees", "net"))
    lines = []
    for t in run.trades:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t.opened_ns // SECOND))
        cells = f"{(t.closed_ns - t.opened_ns) / SECOND:.2f}", number(t.entry), number(t.exit)
        money = number(t.fee_e8 / E8, 8), number(t.net_e8 / E8, 8)
        figures = "".join(f'<td class="n">{cell}</td>' for cell in (*cells, *money))
        lines.append(f"<tr><td>{clock}</td><td>{'long' if t.buy else 'short'}</td>{figures}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
