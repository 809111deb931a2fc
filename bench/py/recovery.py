# SPDX-License-Identifier: Apache-2.0
"""How long the clients of a mediator that is killed wait: from SIGKILL to the first answer of the next one. A program
in hostd's place starts it (tests/integ/killrun); clients without a VM, on a file past the page cache
where that can be."""

import os

from table import Row
from world import Broken

SUITE = "Recovery (mediator killed, back in service)"
KIB = 1024
# Clients' requests out, MiB of each client's memory, whether the mediator has used all of it.
SCENES = (("two clients, depths 1 and 32", "1,32", 0, False),
          ("one client of 6 GiB, all of it used", "8", 6 * KIB, True))
TARGET_MS = 100


def has_memory(mib):
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") >> 20 > 2 * mib


def one(world, name, depths, mem_mib, use, kills):
    folder = world.path("recovery")
    os.makedirs(folder, exist_ok=True)
    argv = [world.built("tests", "integ", "killrun"), "--kills", str(kills), "--serve", "1", "--pause-us", "3000",
            "--depths", depths, "--mem-mib", str(mem_mib), *(["--use"] if use else []), world.program("mediator"),
            folder]
    got = world.json_of(argv)
    if got["errors"] or got["wrong"] or not got["back_us"]["n"]:
        raise Broken(f"{name}: {got}")
    return {mark: got["back_us"][mark] / 1000 for mark in ("p50", "p99")}


def run(world, rounds):
    rows = []
    for name, depths, mem_mib, use in SCENES:
        if not has_memory(mem_mib):
            continue
        kills = 5 if world.quick else 20 if use else 100
        got = [one(world, name, depths, mem_mib, use, kills) for _ in range(rounds)]
        for mark in ("p50", "p99"):
            rows.append(Row(SUITE, f"{name}: {mark}", "ms", [g[mark] for g in got],
                            target=("median", "<=", TARGET_MS) if mark == "p99" else None))
    return rows
