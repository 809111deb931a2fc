# SPDX-License-Identifier: Apache-2.0
"""The data path at depths 1 to 128: the mediator, qemu-storage-daemon and plain io_uring on files of the same kind.

One client without a VM does 4 KiB random reads, sleeping until it is signalled or polling the ring. "disk" is a file on
the machine's own disk past the page cache. Limits: what a share that may have so many operations a second gets, beside
a throttle group of qemu-storage-daemon.
"""

import math
import time

import backend
from table import Row
from world import Guest, Mediator, StorageDaemon, Vm, guest_config

SIZE = 64 << 20
DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128)
INDIRECT = "--indirect"     # as drivers do: a request takes one place of the ring
LIMIT = 5000
SHARES = 16

POLICY = """\
[device {name}]
path = {path}
direct = {direct}
slots = 128
reserve = 0
[share bench/{name}]
device = {name}
class = normal
"""
NULL_POLICY = "[device null]\nnull = 64M\nslots = 128\nreserve = 0\n[share bench/null]\ndevice = null\n"
LIMIT_POLICY = "limit-ops = {limit}\n"


def mean(values):
    """Of ratios."""
    return math.exp(sum(math.log(v) for v in values) / len(values))


class Scene:
    """Ours, theirs and nobody's on files of one kind."""

    def __init__(self, world, name, where, direct):
        self.world, self.name = world, name
        files = {who: world.disk_file(where, f"block-{name}-{who}.img", SIZE) for who in ("ours", "qsd", "plain")}
        self.plain = files["plain"]
        self.direct = direct
        self.mediator = world.start(Mediator, POLICY.format(name=name, path=files["ours"],
                                                            direct="yes" if direct else "no"), run=f"block-{name}")
        self.sock = self.mediator.socket(f"bench/{name}")
        self.qsd = world.start(StorageDaemon, f"qsd-{name}",
                               f"driver=file,filename={files['qsd']},aio=io_uring,"
                               f"cache.direct={'on' if direct else 'off'}")

    def close(self):
        self.qsd.stop()
        self.mediator.stop()


class NullScene(Scene):
    def __init__(self, world):  # pylint: disable=super-init-not-called
        self.world, self.name, self.plain, self.direct = world, "null", None, False
        self.mediator = world.start(Mediator, NULL_POLICY, run="block-null")
        self.sock = self.mediator.socket("bench/null")
        self.qsd = world.start(StorageDaemon, "qsd-null", f"driver=null-co,size={SIZE},read-zeroes=on")


def how_of(poll):
    return "client polls" if poll else "client sleeps"


def depth_rows(m, scene, rounds, poll, target):
    """A row a depth, and what they come to together."""
    suite = f"Block: {scene.name}, 4 KiB random reads, {how_of(poll)}"
    rows = []
    for depth in DEPTHS:
        got = backend.compare(rounds, lambda d=depth: m.vublk(scene.sock, d, poll, INDIRECT),
                              qsd=lambda d=depth: m.vublk(scene.qsd.sock, d, poll, INDIRECT))
        rows.append(Row(suite, f"depth {depth}", "k/s", got["ours"], got["qsd"], "qemu-storage-daemon",
                        ("ratio", ">=", 1.0)))
    by_round = [mean([row.ratios[i] for row in rows]) for i in range(rounds)]
    rows.append(Row(suite, "all depths, geometric mean of the ratios", "times", by_round,
                    target=("median", ">=", target)))
    return rows


def plain_row(m, scene, rounds, poll):
    got = backend.compare(rounds, lambda: m.vublk(scene.sock, 32, poll, INDIRECT),
                          plain=lambda: m.plain(scene.plain, 32, scene.direct))
    return Row(f"Block: {scene.name}, beside plain io_uring", f"depth 32, {how_of(poll)}", "k/s", got["ours"],
               got["plain"], "plain io_uring", ("ratio", ">=", 0.95))


def scene_rows(m, scene, rounds, target):
    rows = []
    for poll in (True, False):
        rows += depth_rows(m, scene, rounds, poll, target)
    if scene.plain:
        rows += [plain_row(m, scene, rounds, poll) for poll in (True, False)]
    scene.close()
    return rows


def limit_rows(world, rounds):
    """A limit on operations: what comes of it, in percent of what was asked for."""
    files = [world.disk_file("tmpfs", f"limit-{who}.img", SIZE) for who in ("ours", "qsd")]
    mediator = world.start(Mediator, POLICY.format(name="limit", path=files[0], direct="no") +
                           LIMIT_POLICY.format(limit=LIMIT), run="block-limit")
    qsd = world.start(StorageDaemon, "qsd-limit",
                      f"driver=throttle,throttle-group=g0,file.driver=file,file.filename={files[1]},file.aio=io_uring",
                      objects=[f"throttle-group,id=g0,x-iops-total={LIMIT}"])
    m = backend.Measure(world, 500 if world.quick else 2000)
    percent = lambda sock, depth: m.vublk(sock, depth, False, INDIRECT) * 1e5 / LIMIT
    rows = []
    for depth in (1, 32):
        got = backend.compare(min(rounds, 3), lambda d=depth: percent(mediator.socket("bench/limit"), d),
                              qsd=lambda d=depth: percent(qsd.sock, d))
        rows.append(Row("Block: a limit of 5000 operations a second, of 2 s", f"depth {depth}", "%", got["ours"],
                        got["qsd"], "throttle group"))
    qsd.stop()
    mediator.stop()
    return rows


GUEST = "region=32 secs=0 init=0 final=0 verify=0 rw=100 live=0 paused=1 tick_ms=0 mode=rand"


def qvm_guest(world, qd):
    return world.start(Vm, f"block-q{qd}", guest_config(world, "bench", "blkworker.elf", f"{GUEST} qd={qd}",
                                                        disk="mediator:guest"), world.path("block-guest"))


def qemu_guest(world, qd, disk):
    return world.start(Guest, f"block-qemu{qd}", [
        world.peer("qemu-system-x86_64"), "-M", "microvm,accel=kvm,acpi=off", "-cpu", "host,-arch-capabilities",
        "-m", "64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-global", "virtio-mmio.force-legacy=false", "-kernel", world.guest("blkworker.elf"),
        "-append", f"{GUEST} qd={qd} exit=debug", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
        "-object", "iothread,id=io0", "-drive", f"if=none,id=d,file={disk},format=raw,aio=io_uring",
        "-device", "virtio-blk-device,drive=d,iothread=io0"])


def guest_speed(world, vm):
    vm.expect("^blk: ready")
    vm.key("g")
    time.sleep(0.2)
    vm.reset_stats()
    time.sleep(0.3 if world.quick else 1)
    speed = vm.stats()["iops"] / 1e3
    vm.stop()
    return speed


def vm_rows(world, rounds):
    """The same guest on a mediator's share (by PCI) and on QEMU's own device (by MMIO, which microvm has)."""
    world.need_kvm()
    files = [world.disk_file("tmpfs", f"vm-{who}.img", SIZE) for who in ("ours", "qemu")]
    mediator = world.start(Mediator, POLICY.format(name="guest", path=files[0], direct="no"), run="block-guest")
    rows = []
    for qd in (1, 32):
        got = backend.compare(rounds, lambda q=qd: guest_speed(world, qvm_guest(world, q)),
                              qemu=lambda q=qd: guest_speed(world, qemu_guest(world, q, files[1])))
        rows.append(Row("Block: a guest's 4 KiB random reads, tmpfs", f"depth {qd}, interrupts", "k/s", got["ours"],
                        got["qemu"], "QEMU virtio-blk, iothread, io_uring", ("ratio", ">=", 1.0)))
    mediator.stop()
    return rows


def private_kib(pid):
    """What the process has alone and must be kept: neither a file's pages nor those that it shares."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        fields = dict(line.split(":", 1) for line in f if ":" in line)
    return int(fields["Private_Dirty"].split()[0])


def memory_row(world, m, rounds):
    """After work on every share."""
    path = world.disk_file("tmpfs", "memory.img", SIZE)
    policy = f"[device disk]\npath = {path}\n" + "".join(
        f"[share bench/s{i}]\ndevice = disk\noffset = {4 * i}M\nlength = 4M\n" for i in range(SHARES))
    got = []
    for _ in range(min(rounds, 3)):
        mediator = world.start(Mediator, policy, run="block-memory")
        for i in range(SHARES):
            m.vublk(mediator.socket(f"bench/s{i}"), 32, False, INDIRECT)
        time.sleep(0.1)
        got.append(private_kib(mediator.proc.pid) / 1024)
        mediator.stop()
    limit = 1 + SHARES * 128 / 1024
    return Row("Block: memory", f"the mediator's own, {SHARES} shares that have worked", "MiB", got,
               target=("worst", "<=", limit), note="Private_Dirty; 1 MiB and 128 KiB a share")


def run(world, rounds):
    m = backend.Measure(world, 100 if world.quick else 300)
    rows = []
    for name, where, direct, target in (("tmpfs", "tmpfs", False, 1.5), ("disk", "disk", True, 1.0)):
        rows += scene_rows(m, Scene(world, name, where, direct), rounds, target)
    rows += scene_rows(m, NullScene(world), rounds, 1.0)
    return rows + limit_rows(world, rounds) + vm_rows(world, rounds) + [memory_row(world, m, rounds)]
