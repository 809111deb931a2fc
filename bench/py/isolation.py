# SPDX-License-Identifier: Apache-2.0
"""What a safety guest sees beside one that floods the same disk, with the mediator's order of classes and without it.

Two real VMs on one image, as in tools/demo: cluster (safety) does 4 KiB requests one after the other, ivi (best
effort) keeps 64 of 64 KiB out. The guest's own clock gives its p50, p99 and worst; the mediator's worst and its promise
(the bound) come from its control socket.
"""

import time

from table import Row, middle
from world import Mediator, Vm, guest_config

POLICY = """\
[device disk]
path = {path}
direct = {direct}
slots = 32
reserve = 4
slice = 64K
target = 10ms
service-limit = 1ms
[share cluster/data]
device = disk
class = safety
depth = 1
offset = 0
length = 32M
[share ivi/data]
device = disk
class = best-effort
offset = 32M
length = 32M
"""

DISKS = (("file in tmpfs", "tmpfs", "no"), ("file in the page cache", "disk", "no"),
         ("file, O_DIRECT", "disk", "yes"))
COMMON = "region=16 secs=0 verify=0 init=1 final=0 live=0 tick_ms=0"


class Scene:
    def __init__(self, world, where, direct, seconds):
        self.seconds = seconds
        path = world.disk_file(where, "isolation.img", 64 << 20)
        self.mediator = world.start(Mediator, POLICY.format(path=path, direct=direct), run="iso")
        run_dir = self.mediator.run_dir
        # As an operator would have it: a processor for the safety vCPU, 8 ms of each 10 ms.
        self.cluster = world.start(Vm, "cluster", guest_config(
            world, "cluster", "blkworker.elf", f"{COMMON} seed=1 qd=1 bs=4096 rw=70",
            cpu="sched 10,1,1,10000000,8000000s"), run_dir)
        self.ivi = world.start(Vm, "ivi", guest_config(
            world, "ivi", "blkworker.elf", f"{COMMON} seed=2 qd=64 bs=65536 rw=50"), run_dir)
        for vm in (self.cluster, self.ivi):
            vm.expect("^blk: init done", 0, 60)
        self.ivi.key("p")

    def measure(self):
        self.mediator.share("cluster/data", reset=True)
        self.cluster.reset_stats()
        time.sleep(self.seconds)
        s = self.cluster.stats()
        share = self.mediator.share("cluster/data")
        return {"p50": s["p50_us"], "p99": s["p99_us"], "max": s["max_us"], "ops": s["ops"],
                "worst": share["latency"]["max_ns"] / 1e3, "bound": share["bound_ns"] / 1e3,
                "violations": share["bound_violations"]}

    def round(self):
        """(alone, flooded, flooded without priorities)."""
        alone = self.measure()
        self.ivi.key("g")
        time.sleep(0.2)
        flooded = self.measure()
        self.mediator.priorities(False)
        without = self.measure()
        self.mediator.priorities(True)
        self.ivi.key("p")
        time.sleep(0.2)
        return alone, flooded, without

    def close(self):
        self.ivi.stop()
        self.cluster.stop()
        self.mediator.stop()


def rows_of(suite, rounds):
    alone, flooded, without = zip(*rounds)
    pick = lambda runs, key: [r[key] for r in runs]
    bounds = [f["bound"] for f in flooded]
    limit = 1.5 * middle(pick(alone, "p99")) + middle(bounds)
    return [
        Row(suite, "safety guest's p50: flooded, beside alone", "µs", pick(flooded, "p50"),
            pick(alone, "p50"), "alone"),
        Row(suite, "safety guest's p99: flooded, beside alone", "µs", pick(flooded, "p99"),
            pick(alone, "p99"), "alone", ("median", "<=", limit), "target: 1.5 × alone + bound"),
        Row(suite, "safety guest's worst: flooded, beside alone", "µs", pick(flooded, "max"),
            pick(alone, "max"), "alone"),
        Row(suite, "mediator's worst, flooded, beside the bound", "µs", pick(flooded, "worst"),
            bounds, "bound", ("ratio", "<=", 1.0), "from the ring to the completion"),
        Row(suite, "requests above the bound", "requests", pick(flooded, "violations"),
            pick(flooded, "ops"), "of", ("worst", "<=", 0)),
        Row(suite, "priorities off: safety guest's p99", "µs", pick(without, "p99"),
            pick(flooded, "p99"), "priorities on"),
        Row(suite, "priorities off: mediator's worst", "µs", pick(without, "worst"),
            pick(flooded, "worst"), "priorities on"),
    ]


def run(world, rounds):
    world.need_kvm()
    rows = []
    for title, where, direct in DISKS[:1] if world.quick else DISKS:
        scene = Scene(world, where, direct, 0.5 if world.quick else 3)
        rows += rows_of(f"Isolation: {title}", [scene.round() for _ in range(rounds)])
        scene.close()
    return rows
