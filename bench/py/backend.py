# SPDX-License-Identifier: Apache-2.0
"""The mediator's data path without a VM: 4 KiB random reads by one client; qemu-storage-daemon and plain io_uring."""

from table import Row
from world import Mediator, StorageDaemon

SUITE = "Mediator, 4 KiB random reads without a VM"
SIZE = 64 << 20

POLICY = """\
[device file]
path = {file}
[share bench/file]
device = file
class = normal
offset = 0
length = 64M
[device safe]
path = {safe}
[share bench/safe]
device = safe
class = safety
depth = 1
offset = 0
length = 64M
[device null]
null = 64M
[share bench/null]
device = null
class = normal
offset = 0
length = 64M
"""


class Measure:
    def __init__(self, world, msecs):
        self.world, self.msecs = world, msecs

    def vublk(self, socket, depth, poll, *more):
        r = self.world.json_of([self.world.built("bench", "vublk"), "--depth", str(depth), "--msecs",
                                str(self.msecs), *(["--poll"] if poll else []), *more, socket])
        return r["iops"] / 1e3

    def plain(self, path, depth, direct=False):
        r = self.world.json_of([self.world.built("bench", "uring"), "--depth", str(depth), "--msecs",
                                str(self.msecs), *(["--direct"] if direct else []), path])
        return r["iops"] / 1e3

    def fio(self, path, depth):
        r = self.world.json_of([
            self.world.peer("fio"), "--name=x", "--ioengine=io_uring", "--rw=randread", "--bs=4k",
            f"--iodepth={depth}", f"--filename={path}", "--time_based",
            f"--runtime={self.msecs}ms", "--output-format=json"])
        return r["jobs"][0]["read"]["iops"] / 1e3


def compare(rounds, ours, **peers):
    """Rounds of ours and each peer in turn: {name: values}."""
    got = {name: [] for name in ("ours", *peers)}
    for _ in range(rounds):
        got["ours"].append(ours())
        for name, measure in peers.items():
            got[name].append(measure())
    return got


def file_rows(m, rounds, mediator, qsd, paths):
    rows = []
    for depth in (1, 32):
        for poll in (False, True):
            how = f"depth {depth}, client {'polls' if poll else 'sleeps'}"
            peers = {"qsd": lambda: m.vublk(qsd.sock, depth, poll)}
            if depth == 32:
                peers["plain"] = lambda: m.plain(paths["plain"], depth)
                peers["fio"] = lambda: m.fio(paths["plain"], depth)
            got = compare(rounds, lambda: m.vublk(mediator.socket("bench/file"), depth, poll),
                          **peers)
            rows.append(Row(SUITE, f"tmpfs file, {how}", "k/s", got["ours"], got["qsd"],
                            "qemu-storage-daemon", ("ratio", ">=", 1.2)))
            if depth == 32:
                rows.append(Row(SUITE, f"tmpfs file, {how}", "k/s", got["ours"], got["plain"],
                                "plain io_uring", ("ratio", ">=", 0.9)))
                rows.append(Row(SUITE, f"tmpfs file, {how}", "k/s", got["ours"], got["fio"],
                                "fio io_uring", ("ratio", ">=", 0.9)))
                rows.append(Row(SUITE, f"(qemu-storage-daemon, {how})", "k/s", got["qsd"],
                                got["plain"], "plain io_uring"))
    return rows


def safe_rows(m, rounds, mediator, qsd):
    """The same with the thread's real-time priority, which a safety share brings."""
    rows = []
    for depth in (1, 32):
        got = compare(rounds, lambda: m.vublk(mediator.socket("bench/safe"), depth, False),
                      qsd=lambda: m.vublk(qsd.sock, depth, False))
        rows.append(Row(SUITE, f"tmpfs file, safety class, depth {depth}, client sleeps", "k/s",
                        got["ours"], got["qsd"], "qemu-storage-daemon"))
    return rows


def null_rows(m, rounds, mediator, qsd):
    rows = []
    for depth in (1, 32):
        for poll in (False, True):
            got = compare(rounds, lambda: m.vublk(mediator.socket("bench/null"), depth, poll),
                          qsd=lambda: m.vublk(qsd.sock, depth, poll))
            rows.append(Row(SUITE, f"null device, depth {depth}, client {'polls' if poll else 'sleeps'}",
                            "k/s", got["ours"], got["qsd"], "qemu-storage-daemon null-co",
                            ("ratio", ">=", 1.0)))
    return rows


def run(world, rounds):
    m = Measure(world, 200 if world.quick else 1000)
    paths = {name: world.disk_file("tmpfs", name + ".img", SIZE)
             for name in ("file", "safe", "qsd", "plain")}
    mediator = world.start(Mediator, POLICY.format(**paths), run="backend")
    qsd = world.start(StorageDaemon, "qsd", f"driver=file,filename={paths['qsd']},aio=io_uring")
    rows = file_rows(m, rounds, mediator, qsd, paths) + safe_rows(m, rounds, mediator, qsd)
    qsd.stop()
    qsd = world.start(StorageDaemon, "qsd-null", f"driver=null-co,size={SIZE},read-zeroes=on")
    rows += null_rows(m, rounds, mediator, qsd)
    qsd.stop()
    mediator.stop()
    return rows
