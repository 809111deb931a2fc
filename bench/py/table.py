# SPDX-License-Identifier: Apache-2.0
"""Rows of the result: values of several rounds, a peer's beside them, a target, and the table made of them."""

import statistics


def middle(values):
    return statistics.median(values)


def number(x):
    for limit, digits in ((1, 3), (10, 2), (100, 1)):
        if abs(x) < limit and x != int(x):
            return f"{x:.{digits}f}"
    return f"{x:,.0f}".replace(",", " ")


def spread(values):
    if min(values) == max(values):
        return number(values[0])
    return f"{number(middle(values))} ({number(min(values))}–{number(max(values))})"


class Row:
    """
    @ours, @peer: one value a round, taken in turn, so that ratios are made round by round.
    @target: (what, op, value): what is "median", "worst" or "ratio" (of ours to the peer's); op is <= or >=.
    """

    def __init__(self, suite, name, unit, ours, peer=None, peer_name=None, target=None, note=""):
        self.suite, self.name, self.unit, self.note = suite, name, unit, note
        self.ours, self.peer, self.peer_name = list(ours), list(peer or []), peer_name
        self.target = target
        self.ratios = [a / b for a, b in zip(self.ours, self.peer) if b]

    def judged(self):
        what, op, _ = self.target
        if what == "ratio":
            return middle(self.ratios) if self.ratios else None
        if what == "worst":
            return max(self.ours) if op == "<=" else min(self.ours)
        return middle(self.ours)

    def verdict(self):
        if not self.target:
            return ""
        value, (_, op, limit) = self.judged(), self.target
        if value is None:
            return "no peer"
        return "met" if (value <= limit if op == "<=" else value >= limit) else "MISSED"

    def target_text(self):
        if not self.target:
            return ""
        what, op, limit = self.target
        sign = {"<=": "≤", ">=": "≥"}[op]
        return f"{'' if what == 'median' else what + ' '}{sign} {number(limit)}"

    def cells(self):
        return [self.name, spread(self.ours) + " " + self.unit,
                f"{self.peer_name}: {spread(self.peer)}" if self.peer else "",
                f"{spread(self.ratios)}" if self.ratios else "",
                self.target_text(), self.verdict()]

    def to_json(self):
        return {"suite": self.suite, "name": self.name, "unit": self.unit, "ours": self.ours,
                "peer": self.peer, "peer_name": self.peer_name, "ratios": self.ratios,
                "target": self.target, "verdict": self.verdict(), "note": self.note}


HEAD = ["", "Parley, median (min–max)", "beside", "ratio", "target", ""]


def as_text(rows):
    """For a terminal."""
    out, suite = [], None
    widths = [max(len(r.cells()[i]) for r in rows) for i in range(len(HEAD))]
    widths = [max(w, len(h)) for w, h in zip(widths, HEAD)]
    line = lambda cells: "  ".join(f"{c:<{w}}" for c, w in zip(cells, widths)).rstrip()
    out.append(line(HEAD))
    for r in rows:
        if r.suite != suite:
            suite = r.suite
            out.append(f"-- {suite}")
        out.append(line(r.cells()))
    return "\n".join(out)


def as_markdown(rows):
    out, suite = [], None
    for r in rows:
        if r.suite != suite:
            suite = r.suite
            out += ["", f"### {suite}", "", "| | Parley | beside | ratio | target | |",
                    "|---|---|---|---|---|---|"]
        out.append("| " + " | ".join(r.cells()) + " |")
        if r.note:
            out[-1] = out[-1].replace("| " + r.name + " |", f"| {r.name}<br>*{r.note}* |", 1)
    return "\n".join(out)
