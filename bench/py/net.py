# SPDX-License-Identifier: Apache-2.0
"""Network between two guests: beside two QEMU microvms with the same guest, and the path between two qvm alone."""

import os
import re

from table import Row
from world import Console, Vm

SUITE = "Network guest to guest"
RAM_MIB = 64
# name, payload bytes of a frame, words for both guests, unit of the row
SHAPES = (
    ("frames of 1400 bytes", 1400, "", "MB/s"),
    ("frames of 60 000 bytes, merged buffers", 60000, "win=16 n_rx=256", "MB/s"),
    ("frames of 64 bytes", 64, "", "thousand frames/s"),
)
PATHS = (("of 100 bytes", 100), ("of 1514 bytes", 1514), ("of 60 000 bytes", 60000))


def words(system, size, n_bytes, more):
    ip, peer = (1, 2) if system == "a" else (2, 1)
    send = f"send={n_bytes}" if system == "a" else ""
    return f"ip={ip} peer={peer} verify=0 bs={size} linger_ms=100 {send} {more}".strip()


def qvm(world, system, cmdline):
    other = "b" if system == "a" else "a"
    text = [f"system {system}", f"ram 0,{RAM_MIB}M", "cpu", f'load "{world.guest("networker.elf")}"',
            f'cmdline "{cmdline}"', "vdev ioapic", "    intr apic", "    name ioapic", "vdev ser8250",
            "    intr ioapic:4", "    hostdev -", "vdev virtio-net", "    name eth", f"    peer {other}/eth"]
    config = world.write(f"net-{system}.qvmconf", "\n".join(text) + "\n")
    return world.start(Vm, f"net-{system}", config, world.path("run"))


def qemu(world, system, cmdline):
    path = world.path("net.sock")
    server = "on" if system == "b" else "off"
    mac = "02:00:00:00:00:0" + ("1" if system == "a" else "2")
    return world.start(Console, f"qemu-{system}", [
        world.peer("qemu-system-x86_64"), "-M", "microvm,accel=kvm,acpi=off", "-cpu", "host,-arch-capabilities",
        "-m", str(RAM_MIB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-global", "virtio-mmio.force-legacy=false", "-kernel", world.guest("networker.elf"),
        "-append", cmdline + " exit=debug", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
        "-netdev", f"stream,id=n,server={server},addr.type=unix,addr.path={path}",
        "-device", f"virtio-net-device,netdev=n,mac={mac}"])


def transfer(world, start, size, n_bytes, more):
    """(MB/s, thousand frames/s) as the sending guest saw it."""
    if os.path.exists(world.path("net.sock")):
        os.unlink(world.path("net.sock"))
    receiver = start(world, "b", words("b", size, n_bytes, more))
    receiver.expect("^net: ready")
    sender = start(world, "a", words("a", size, n_bytes, more))
    line = sender.expect("^net: sent")
    got = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)}
    for p in (sender, receiver):
        p.expect("^guest: done ok")
        p.proc.wait(20)
        p.stop()
    return got["kb_s"] / 1e3, got["frames"] / got["us"] * 1e3


def guests(world, rounds):
    rows = []
    for name, size, more, unit in SHAPES:
        n_bytes = {64: 4 << 20, 1400: 64 << 20, 60000: 256 << 20}[size] >> (3 if world.quick else 0)
        which = 0 if unit == "MB/s" else 1
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(transfer(world, qvm, size, n_bytes, more)[which])
            theirs.append(transfer(world, qemu, size, n_bytes, more)[which])
        rows.append(Row(SUITE, name, unit, ours, theirs, "QEMU microvm, -netdev stream", ("ratio", ">=", 1)))
    return rows


def paths(world, rounds):
    """The rings beside what they were weighed against; no guests."""
    rows = []
    for name, size in PATHS:
        n = str(max(2000, (1 << 28 if world.quick else 1 << 30) // max(size, 1000) // 4))
        ring, sock = ([], [])
        for _ in range(rounds):
            ring.append(world.json_of([world.built("bench", "netpath"), "ring", n, str(size)])["frames_s"] / 1e3)
            sock.append(world.json_of([world.built("bench", "netpath"), "socket", n, str(size)])["frames_s"] / 1e3)
        rows.append(Row(SUITE, f"the path alone, frames {name}", "thousand frames/s", ring, sock,
                        "SOCK_SEQPACKET, 32 a call"))
    return rows


def run(world, rounds):
    rows = paths(world, rounds)
    world.need_kvm()
    return rows + guests(world, rounds)
