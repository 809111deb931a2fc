# SPDX-License-Identifier: Apache-2.0
"""How fast a VM is there, how fast it is gone, what memory it costs; beside QEMU's microvm with the same ELF files."""

import re
import time

from table import Row
from world import Broken, Console, Vm, guest_config

SUITE = "Start and size (128 MiB guest)"
RAM_MIB = 128
KIB = 1024


def qemu_argv(world, guest, *more):
    return [world.peer("qemu-system-x86_64"), "-M", "microvm,accel=kvm", "-cpu",
            "host,-arch-capabilities", "-m", str(RAM_MIB), "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-kernel", world.guest(guest),
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4", *more]


def launch(world, argv, statuses=(0,)):
    r = world.json_of([world.built("bench", "launch"), *argv])
    if r["status"] not in statuses:
        raise Broken(f"{argv[0]} ended with {r['status']}")
    return r


def beyond_ram(pid, ram_mib):
    """(Rss, Pss) in MiB of everything but the mapping that is the guest's RAM."""
    rss = pss = 0
    is_ram = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if head:
                size = int(head.group(2), 16) - int(head.group(1), 16)
                # Ours is the memfd; QEMU's is anonymous, and the only mapping of that size.
                is_ram = "memfd:guest-ram" in line or size >= ram_mib << 20
            elif not is_ram and line.startswith("Rss:"):
                rss += int(line.split()[1])
            elif not is_ram and line.startswith("Pss:"):
                pss += int(line.split()[1])
    return rss / KIB, pss / KIB


SIX = """\
vdev virtio-net
    peer nobody/eth
    name eth
vdev virtio-console
    hostdev >/dev/null
vdev virtio-entropy
vdev mc146818
"""


def six_of_qemu(world):
    """A network whose other end nobody has come to, a console, random numbers; microvm has a clock by itself."""
    return ["-netdev", f"stream,id=n,server=on,addr.type=unix,addr.path={world.path('mem-net.sock')}",
            "-device", "virtio-net-device,netdev=n",
            "-chardev", "null,id=c", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c",
            "-device", "virtio-rng-device"]


def memory(world, six):
    """Both while their guest sleeps, with a block device on a file and a serial port, or with @six vdevs."""
    disk = world.disk_file("tmpfs", "mem.img", 1 << 20)
    sleep_ms = 1500
    config = guest_config(world, "sleeper", "hello.elf", f"sleep_ms={sleep_ms}", ram=RAM_MIB,
                          disk=disk, more=SIX if six else "")
    vm = world.start(Vm, "sleeper", config, world.path("run"))
    vm.expect("^hello: ram_end")
    time.sleep(0.2)
    ours = beyond_ram(vm.proc.pid, RAM_MIB)
    vm.expect("^guest: done ok")
    vm.proc.wait(10)
    vm.stop()
    qemu = world.start(Console, "qemu", qemu_argv(
        world, "hello.elf", "-append", f"sleep_ms={sleep_ms} exit=debug", "-serial", "stdio",
        "-drive", f"if=none,id=d,file={disk},format=raw", "-device", "virtio-blk-device,drive=d",
        *(six_of_qemu(world) if six else [])))
    qemu.expect("^hello: ram_end")
    time.sleep(0.2)
    theirs = beyond_ram(qemu.proc.pid, RAM_MIB)
    qemu.stop()
    return ours, theirs


def memory_rows(with_what, sizes, limit):
    return [
        Row(SUITE, f"memory beyond guest RAM{with_what}, Rss", "MiB", [o[0] for o, _ in sizes],
            [t[0] for _, t in sizes], "QEMU microvm", ("worst", "<=", limit),
            "libraries that others have in use counted in full"),
        Row(SUITE, f"memory beyond guest RAM{with_what}, Pss", "MiB", [o[1] for o, _ in sizes],
            [t[1] for _, t in sizes], "QEMU microvm"),
    ]


def run(world, rounds):
    world.need_kvm()
    first = guest_config(world, "first", "hello.elf", "exit=poweroff", ram=RAM_MIB, devices=())
    tiny = guest_config(world, "tiny", "tiny.elf", "", ram=RAM_MIB, devices=())
    qvm = [world.program("qvm"), "--run-dir", world.path("run")]
    got = {k: [] for k in ("first", "qemu_first", "end", "qemu_end", "cpu", "qemu_cpu")}
    for _ in range(rounds * 4):
        got["first"].append(launch(world, [*qvm, "@" + first])["first_byte_us"] / 1e3)
        got["qemu_first"].append(launch(world, qemu_argv(
            world, "hello.elf", "-append", "exit=debug", "-serial", "stdio"),
            (33,))["first_byte_us"] / 1e3)
        r = launch(world, [*qvm, "@" + tiny])
        got["end"].append(r["end_us"] / 1e3)
        got["cpu"].append(r["cpu_us"] / 1e3)
        r = launch(world, qemu_argv(world, "tiny.elf"), (33,))
        got["qemu_end"].append(r["end_us"] / 1e3)
        got["qemu_cpu"].append(r["cpu_us"] / 1e3)
    sizes = [memory(world, False) for _ in range(min(rounds, 3))]
    six = [memory(world, True) for _ in range(min(rounds, 3))]
    return [
        Row(SUITE, "exec to first byte", "ms", got["first"], got["qemu_first"], "QEMU microvm",
            ("median", "<=", 5), "the guest's first instructions write it to the serial port: the exit "
            "and the pipe are in it, so the first instruction is earlier"),
        Row(SUITE, "whole process, guest ends at once", "ms", got["end"], got["qemu_end"],
            "QEMU microvm", ("ratio", "<=", 0.3)),
        Row(SUITE, "the same, processor time", "ms", got["cpu"], got["qemu_cpu"], "QEMU microvm"),
        *memory_rows("", sizes, 3),
        *memory_rows(" with six vdevs", six, 4),
    ]
