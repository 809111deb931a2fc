# SPDX-License-Identifier: Apache-2.0
"""A safety client that wants a steady rate, beside eight that flood the same disk: two read, two write, two write and
flush, two write and discard. No VMs: vublk is each client, so that the disk and who shares it out are all there is.

On a simulated device, whose capacity is known, and on a file beside qemu-storage-daemon, whose means against this is a
throttle group around the eight.
"""

import json
import os
import subprocess

from table import Row, middle
from world import Broken, Mediator, Missing, Process

MIB = 1 << 20
RATE, BLOCK, DEPTH = 200, 65536, 32
FLOODS = [("--read", "100")] * 2 + [("--read", "0")] * 2 + \
         [("--read", "0", "--flush", "50")] * 2 + [("--read", "0", "--discard", "50")] * 2
SHARE_MIB = 16

# Slow enough that the machine below never is what is measured.
PARALLEL = 4
TIMES_US = {"reads": (600, 2), "writes": (800, 2), "flushes": (2500, 0), "discards": (1500, 0)}
SIMULATED = f"""\
null = 1G
simulate = yes
sim-parallel = {PARALLEL}
sim-read = {TIMES_US["reads"][0]}us
sim-read-kib = {TIMES_US["reads"][1]}us
sim-write = {TIMES_US["writes"][0]}us
sim-write-kib = {TIMES_US["writes"][1]}us
sim-flush = {TIMES_US["flushes"][0]}us
sim-discard = {TIMES_US["discards"][0]}us
service-limit = 1ms
flush-limit = 4ms
target = 20ms
"""


def policy(device):
    text = ["[device disk]", device, "slots = 32", "reserve = 4", "[share safe/data]", "device = disk",
            "class = safety", f"length = {SHARE_MIB}M"]
    for i in range(len(FLOODS)):
        text += [f"[share flood{i}/data]", "device = disk", "class = best-effort",
                 f"offset = {SHARE_MIB * (i + 1)}M", f"length = {SHARE_MIB}M"]
    return "\n".join(text) + "\n"


class Clients:
    """The nine, at sockets that @socket tells by number: 0 is the safety client."""

    def __init__(self, world, socket, seconds):
        self.world, self.socket, self.seconds = world, socket, seconds
        self.vublk = world.built("bench", "vublk")

    def start(self, number, seconds, *args):
        return subprocess.Popen([self.vublk, "--msecs", str(int(seconds * 1000)), "--seed", str(number + 1), *args,
                                 self.socket(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def end(p):
        out, err = p.communicate(timeout=120)
        if p.returncode:
            raise Broken(f"vublk ended with {p.returncode}: {err.strip()[-300:]}")
        return json.loads(out)

    def safe(self):
        r = self.end(self.start(0, self.seconds, "--rate", str(RATE), "--read", "70"))
        r["kept"] = 100 * r["ops"] / (RATE * r["secs"])
        return r

    def floods(self, seconds):
        return [self.start(i + 1, seconds, "--depth", str(DEPTH), "--bs", str(BLOCK), "--indirect", *args)
                for i, args in enumerate(FLOODS)]

    def flooded(self):
        """(the safety client's figures, those of the eight)"""
        others = self.floods(self.seconds + 1)
        try:
            try:
                # They are all there, and have filled their rings.
                others[0].wait(0.5)
                raise Broken("a client ended before its time")
            except subprocess.TimeoutExpired:
                pass
            safe = self.safe()
            return safe, [self.end(p) for p in others]
        finally:
            for p in others:
                if p.poll() is None:
                    p.kill()
                    p.wait()


def busy_percent(results):
    """Of the simulated device: what it did for the eight, by its own times, of what it could have done while the
    longest of them ran."""
    per_kib = BLOCK // 1024
    work_us = sum(r[kind] * (us + kib * per_kib) for r in results for kind, (us, kib) in TIMES_US.items())
    return work_us / 1e4 / PARALLEL / max(r["secs"] for r in results)


def mib_per_second(results):
    return sum((r["reads"] + r["writes"]) * BLOCK / r["secs"] for r in results) / MIB


# ---- the simulated device ----

def simulated_round(mediator, clients):
    mediator.share("safe/data", reset=True)
    alone = clients.safe()
    mediator.share("safe/data", reset=True)
    flooded, others = clients.flooded()
    share = mediator.share("safe/data")
    flooded["busy"] = busy_percent(others)
    flooded["worst"] = share["latency"]["max_ns"] / 1e3
    flooded["bound"] = share["bound_ns"] / 1e3
    flooded["above"] = share["bound_violations"]
    mediator.priorities(False)
    without, _ = clients.flooded()
    mediator.priorities(True)
    return alone, flooded, without


def simulated_rows(rounds):
    alone, flooded, without = zip(*rounds)
    pick = lambda runs, key: [r[key] for r in runs]
    limit = 1.2 * middle(pick(alone, "p99_us")) + middle(pick(flooded, "bound"))
    suite = f"Isolation: simulated device, {PARALLEL} at once; 8 clients that read, write, flush and discard"
    return [
        Row(suite, f"safety client's rate, of {RATE} a second", "%", pick(flooded, "kept"), pick(alone, "kept"),
            "alone", ("median", ">=", 99)),
        Row(suite, "safety client's p99: flooded, beside alone", "µs", pick(flooded, "p99_us"), pick(alone, "p99_us"),
            "alone", ("median", "<=", limit), "target: 1.2 × alone + bound"),
        Row(suite, "mediator's worst, flooded, beside the bound", "µs", pick(flooded, "worst"),
            pick(flooded, "bound"), "bound", ("ratio", "<=", 1.0)),
        Row(suite, "requests above the bound", "requests", pick(flooded, "above"), None, None, ("worst", "<=", 0)),
        Row(suite, "of the device's capacity used by the eight", "%", pick(flooded, "busy"), None, None,
            ("median", ">=", 85)),
        Row(suite, "priorities off: safety client's rate", "%", pick(without, "kept"), pick(flooded, "kept"),
            "priorities on"),
        Row(suite, "priorities off: safety client's p99", "µs", pick(without, "p99_us"), pick(flooded, "p99_us"),
            "priorities on"),
    ]


def simulated(world, rounds):
    mediator = world.start(Mediator, policy(SIMULATED), run="simulated")
    names = ["safe/data"] + [f"flood{i}/data" for i in range(len(FLOODS))]
    clients = Clients(world, lambda i: mediator.socket(names[i]), 1 if world.quick else 4)
    rows = simulated_rows([simulated_round(mediator, clients) for _ in range(rounds)])
    mediator.stop()
    return rows


# ---- a file, beside qemu-storage-daemon ----

class Throttling(Process):
    """Nine parts of a file, eight of them in one throttle group."""

    def __init__(self, world, path, mib_a_second):
        self.folder = world.path("throttling")
        os.makedirs(self.folder, exist_ok=True)
        argv = [world.peer("qemu-storage-daemon"), "--object", "iothread,id=io0", "--object",
                f"throttle-group,id=floods,x-bps-total={int(mib_a_second * MIB)}"]
        for i in range(len(FLOODS) + 1):
            node = f"part{i}"
            # A node of the file each: QEMU 7.2 aborts when exports of one I/O thread share one.
            argv += ["--blockdev", f"driver=file,filename={path},cache.direct=on,aio=io_uring,locking=off,"
                                   f"discard=unmap,node-name=file{i}",
                     "--blockdev", f"driver=raw,file=file{i},offset={i * SHARE_MIB * MIB},size={SHARE_MIB * MIB},"
                                   f"discard=unmap,node-name={node}"]
            if i > 0 and mib_a_second:
                argv += ["--blockdev", f"driver=throttle,throttle-group=floods,file={node},discard=unmap,"
                                       f"node-name=slow{i}"]
                node = f"slow{i}"
            argv += ["--export", f"type=vhost-user-blk,id=e{i},node-name={node},addr.type=unix,writable=on,"
                                 f"iothread=io0,addr.path={self.socket(i)}"]
        super().__init__(world, "qemu-storage-daemon", argv, stdout=subprocess.DEVNULL)

    def socket(self, i):
        return os.path.join(self.folder, f"{i}.sock")

    def wait_ready(self):
        self.wait_for(lambda: all(os.path.exists(self.socket(i)) for i in range(len(FLOODS) + 1)), "sockets")

    def stop(self):
        super().stop()
        for i in range(len(FLOODS) + 1):
            if os.path.exists(self.socket(i)):
                os.unlink(self.socket(i))


def peer_round(world, path, seconds):
    """The eight alone first: 85 % of that is what the group lets through then."""
    peer = world.start(Throttling, path, 0)
    free = Clients(world, peer.socket, seconds)
    speed = mib_per_second([free.end(p) for p in free.floods(seconds)])
    peer.stop()
    peer = world.start(Throttling, path, max(0.85 * speed, 1))
    safe, others = Clients(world, peer.socket, seconds).flooded()
    peer.stop()
    return safe, mib_per_second(others)


def our_round(world, path, seconds):
    mediator = world.start(Mediator, policy(f"path = {path}\ndirect = yes"), run="shared")
    names = ["safe/data"] + [f"flood{i}/data" for i in range(len(FLOODS))]
    safe, others = Clients(world, lambda i: mediator.socket(names[i]), seconds).flooded()
    mediator.stop()
    return safe, mib_per_second(others)


def on_a_file(world, rounds):
    world.peer("qemu-storage-daemon")
    seconds = 1 if world.quick else 4
    path = world.disk_file("disk", "shared.img", SHARE_MIB * MIB * (len(FLOODS) + 1))
    both = [(our_round(world, path, seconds), peer_round(world, path, seconds)) for _ in range(rounds)]
    ours, peers = zip(*both)
    peer = "throttle group at 85 %"
    suite = "Isolation: file, O_DIRECT, beside qemu-storage-daemon; 8 clients that read, write, flush and discard"
    return [
        Row(suite, f"safety client's rate, of {RATE} a second", "%", [s["kept"] for s, _ in ours],
            [s["kept"] for s, _ in peers], peer),
        Row(suite, "safety client's p99", "µs", [s["p99_us"] for s, _ in ours], [s["p99_us"] for s, _ in peers],
            peer),
        Row(suite, "safety client's worst", "µs", [s["max_us"] for s, _ in ours], [s["max_us"] for s, _ in peers],
            peer),
        Row(suite, "what the eight move", "MiB/s", [m for _, m in ours], [m for _, m in peers], peer),
    ]


def run(world, rounds):
    rows = simulated(world, rounds)
    try:
        rows += on_a_file(world, rounds)
    except Missing:
        # The peer is not installed; what needs none stands.
        pass
    return rows
