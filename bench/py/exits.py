# SPDX-License-Identifier: Apache-2.0
"""What an access to a device's register costs a guest: an exit to the VMM and back, timed by the guest; beside QEMU."""

import re

from start import qemu_argv
from table import Row
from world import MMIO_AT, Broken, Console, Vm, guest_config

SUITE = "Access to a device"
SCRATCH_PORT = "0x3ff"          # of the first 8250
QEMU_WINDOW = "0xfeb00000"      # microvm's first place for virtio-mmio; the register reads there without a device, too
KINDS = (
    ("port-load", "read of a port (8250)"), ("port-store", "write of a port (8250)"),
    ("mmio-load", "read of a window (virtio-mmio)"), ("mmio-store", "write of a window (virtio-mmio)"),
)


def costs(vm):
    """Microseconds an access, by kind."""
    vm.expect("^guest: done ok")
    found = {}
    for line in vm.lines:
        m = re.match(r"exits: (\S+) n=(\d+) ns=(\d+)", line or "")
        if m:
            found[m.group(1)] = int(m.group(3)) / int(m.group(2)) / 1e3
    vm.proc.wait(10)
    vm.stop()
    if len(found) != len(KINDS):
        raise Broken(f"exits: only {' '.join(found) or 'nothing'} was measured")
    return found


def run(world, rounds):
    world.need_kvm()
    disk = world.disk_file("tmpfs", "exits.img", 1 << 20)
    words = f"n=2000 port={SCRATCH_PORT}"
    config = guest_config(world, "exits", "exits.elf", f"{words} window={MMIO_AT}", devices=("mmio",), disk=disk)
    ours, theirs = [], []
    for _ in range(rounds * 5):     # each exit is as dear as the moment has it: many pairs
        ours.append(costs(world.start(Vm, "exits", config, world.path("run"))))
        theirs.append(costs(world.start(Console, "qemu", qemu_argv(
            world, "exits.elf", "-append", f"{words} window={QEMU_WINDOW} exit=debug", "-serial", "stdio",
            "-drive", f"if=none,id=d,file={disk},format=raw", "-device", "virtio-blk-device,drive=d"))))
    return [Row(SUITE, name, "µs", [o[kind] for o in ours], [t[kind] for t in theirs], "QEMU microvm",
                ("ratio", "<=", 1)) for kind, name in KINDS]
