# SPDX-License-Identifier: Apache-2.0
"""Exits to userspace of a guest that does nothing but block I/O: counted by qvm, not timed. There should be none."""

import time

from table import Row
from world import MMIO_AT, MMIO_LINE, Broken, Mediator, Vm, guest_config

SUITE = "Steady block I/O: exits to userspace"


def policy(disk):
    return (f"[device disk]\npath = {disk}\n"
            "[share steady/data]\ndevice = disk\nclass = normal\noffset = 0\nlength = 32M\n")


def one(world, rounds, title, devices, more, disk=None, target=("worst", "<=", 0)):
    common = "region=16 secs=0 init=0 final=0 verify=0 qd=8 rw=70 tick_ms=0 live=0 paused=1"
    config = guest_config(world, "steady", "blkworker.elf", f"{common} {more}", devices=devices,
                          disk=disk)
    vm = world.start(Vm, "steady", config, world.path("run"))
    vm.expect("^blk: ready")
    vm.key("g")
    time.sleep(0.3)
    n_exits, shown = [], {}
    for _ in range(rounds):
        before = vm.exits()
        time.sleep(0.3 if world.quick else 1)
        after = vm.exits()
        shown = {k: after[k] - before[k] for k in after}
        n_exits.append(sum(shown.values()))
    ops = vm.stats()["ops"]
    vm.stop()
    if ops < 100:
        raise Broken(f"steady: the guest did only {ops:.0f} requests")
    why = ", ".join(f"{n} {k}" for k, n in shown.items() if n)
    return Row(SUITE, title, "exits", n_exits, target=target,
               note=f"{ops:.0f} requests in all{'; of the last round: ' + why if why else ''}")


def run(world, rounds):
    world.need_kvm()
    disk = world.disk_file("tmpfs", "steady.img", 32 << 20)
    own = world.disk_file("tmpfs", "steady-own.img", 32 << 20)
    mediator = world.start(Mediator, policy(disk))
    rows = [
        one(world, rounds, "virtio-pci, MSI-X, mediator", ("blk",), ""),
        one(world, rounds, "virtio-mmio, guest polls, mediator", ("mmio",),
            f"mmio={MMIO_AT},{MMIO_LINE} poll=1 event_idx=0"),
        # Each interrupt is read and acknowledged in registers of the device: two exits, as the virtio
        # specification has it for this transport, whoever the VMM is.
        one(world, rounds, "virtio-mmio, interrupts, mediator", ("mmio",),
            f"mmio={MMIO_AT},{MMIO_LINE}", target=None),
        one(world, rounds, "virtio-pci, MSI-X, own file", ("blk",), "", disk=own),
    ]
    mediator.stop()
    return rows
