# SPDX-License-Identifier: Apache-2.0
"""What a decision of the mediator's scheduler costs, in its own process and virtual time."""

import json
import subprocess

from table import Row

SUITE = "A decision of the scheduler"
LIMIT_NS = 300


def run(world, rounds):
    found = {}
    for _ in range(rounds):
        out = subprocess.run([world.built("bench", "decide")], check=True, capture_output=True, timeout=120).stdout
        for line in out.splitlines():
            got = json.loads(line)
            found.setdefault(got["shares"], []).append(got)
    rows = []
    for shares, got in found.items():
        rows.append(Row(SUITE, f"a pick among {shares} shares, 99th percentile", "ns", [g["pick_p99_ns"] for g in got],
                        target=("median", "<=", LIMIT_NS)))
        rows.append(Row(SUITE, f"the same with the next head and the end of a slice ({shares})", "ns",
                        [g["all_p99_ns"] for g in got]))
    return rows
