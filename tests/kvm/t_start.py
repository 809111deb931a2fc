#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What does not start says why in a sentence, with the exit status of its kind, and leaves nothing behind."""

import json
import os
import struct
import subprocess
import sys

import kvmtest
from kvmtest import equal, expect


def refused(b, conf, code, *words):
    r = b.start(conf)
    r.wait(code)
    for word in words:
        expect(word in r.err(), f"no {word!r} in what it says\n{r.said()}")
    equal(r.out(), "", "output of the guest")


def t_command_line(b):
    for options, code, word in (((), 65, "no configuration"), (("--nonsense",), 65, "--help"),
                                (("--control-fd", "x", "@f"), 65, "descriptor"), (("--help",), 0, ""),
                                (("--version",), 0, "")):
        r = b.start_words(*options)
        r.wait(code)
        expect(word in r.err(), r.said())


def t_configuration(b):
    """Every error in one run, with its place; nothing is started."""
    r = b.start("system a\nram 64m\nrma 1m\ncpu\nload x\nvdev nonsense\n")
    r.wait(65)
    expect("vm0.qvmconf:3:1: error:" in r.err() and "vm0.qvmconf:6:" in r.err(), r.said())
    expect(not os.path.exists(b.run_dir), "a wrong configuration made a directory")


def t_dryrun(b):
    r = b.start(b.machine() + " dryrun")
    r.wait(0)
    expect("Exiting: dryrun completed" in r.err(), r.said())
    expect("hello: " not in r.out() and "guest: " not in r.out(), r.said())


def t_plan_json(b):
    """The plan for programs says the same as the one for people; --json without a plan is refused."""
    b.write("vm.qvmconf", b.machine() + " dryrun")
    r = kvmtest.Run(b, [b.qvm, "--json", "@vm.qvmconf"])
    r.wait(0)
    plan = json.loads(r.out())
    equal(next(iter(plan)), "schema", "first member")
    equal((plan["system"], len(plan["cpus"]), plan["memory"][0]["bytes"]), ("vm", 1, 64 << 20), "plan")
    b.write("vm.qvmconf", b.machine())
    r = kvmtest.Run(b, [b.qvm, "--json", "@vm.qvmconf"])
    r.wait(65)
    expect("dryrun" in r.err(), r.said())


def t_long_paths(b):
    """Names that are too long are told as such, and nothing is made under a name that was cut."""
    long = os.path.join(b.folder, "d" * 200, "e" * 200, "f" * 200)
    r = kvmtest.Run(b, [b.qvm, "--run-dir", long, "system", "vm", "ram", "64m", "load", b.guest("hello")])
    r.wait(64)
    expect("too long" in r.err(), r.said())
    expect(not os.path.exists(os.path.join(b.folder, "d" * 200)), "a directory was made")
    refused(b, b.machine(extra="vdev virtio-blk hostdev mediator:disk").replace("mediator:disk",
            "vhost-user:/" + "x" * 150), 64, "too long")


def t_low_memory(b):
    """Files stay out of what the machine writes itself; an entry where no memory is."""
    b.write("data", "x" * 4096)
    for at, what in ((0x500, "descriptors"), (0x6800, "start information"), (0x7000, "boot parameters"),
                     (0x9000, "page tables"), (0x20000, "command line"), (0xe8000, "ACPI tables")):
        refused(b, b.machine(extra=f"data load {at:#x},data"), 64, "data", "taken", what)
    head = bytearray(elf(segments=[(0, 0x100000, 64, 64)]))
    struct.pack_into("<Q", head, 24, 0x90000000)
    refused(b, b.machine(b.write("bad.elf", bytes(head))), 64, "bad.elf", "starts at 0x90000000")


def t_check(b):
    r = b.start(b.machine(), "--check")
    r.wait(0)
    equal(r.out(), "", "output")
    r = b.start("system a ram 1 load x", "--check")
    r.wait(65)


def t_no_guest_file(b):
    refused(b, b.machine(b.path("absent")), 65, "vm0.qvmconf:", "absent", "no such file")


def t_nothing_to_start(b):
    refused(b, "ram 64m cpu", 65, "nothing to run")


def elf(phoff=64, machine=62, kind=2, segments=(), phnum=None, elf_class=2):
    head = b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0x100000, phoff, 0, 0, 64, 56,
                        len(segments) if phnum is None else phnum, 0, 0, 0)
    return head + b"".join(struct.pack("<IIQQQQQQ", 1, 5, off, paddr, paddr, filesz, memsz, 4096)
                           for off, paddr, filesz, memsz in segments)


def t_damaged_elf(b):
    big = 1 << 63
    rows = (
        (elf()[:40] + bytes(30), ("program headers",)),
        (elf(segments=[(0, 0x100000, 64, 64)], phoff=1 << 40), ("damaged", "program headers")),
        (elf(segments=[(0, 0x100000, 64, 64)], phnum=2000), ("damaged", "2000")),
        (elf(segments=[(0, 0x100000, 1 << 40, 1 << 40)]), ("damaged",)),
        (elf(segments=[(big, 0x100000, big, big)]), ("damaged",)),
        (elf(segments=[(0, 0x100000, 64, 32)]), ("damaged", "segment")),
        (elf(segments=[(0, 0xfff00000, 64, 64)]), ("no memory", "ram")),
        (elf(segments=[(0, (1 << 64) - 32, 64, 64)]), ("no memory",)),
        (elf(segments=[(0, 0x100000, 64, 64), (0, 0x100020, 64, 64)]), ("taken",)),
        (elf(segments=[(0, 0x100000, 64, 64)], machine=40), ("another processor",)),
        (elf(segments=[(0, 0x100000, 64, 64)], kind=1), ("linked",)),
        (elf(segments=[(0, 0x100000, 64, 64)], elf_class=1), ("64-bit",)),
    )
    for content, words in rows:
        refused(b, b.machine(b.write("bad.elf", content)), 64, "bad.elf", *words)


def bzimage(version=0x20f, setup_sects=4, size=8192, flags=1, paragraphs=0):
    image = bytearray(size)
    struct.pack_into("<I", image, 0x1f4, paragraphs)
    image[0x1f1] = setup_sects
    struct.pack_into("<H", image, 0x1fe, 0xaa55)
    image[0x200:0x202] = b"\xeb\x66"
    struct.pack_into("<IH", image, 0x202, 0x53726448, version)
    image[0x211] = flags
    struct.pack_into("<I", image, 0x230, 0x200000)
    struct.pack_into("<Q", image, 0x258, 0x1000000)
    struct.pack_into("<I", image, 0x260, 1 << 30)
    return bytes(image)


def t_damaged_kernel(b):
    rows = (
        (bzimage(version=0x200), ("too old",)),
        (bzimage(flags=0), ("loaded low",)),
        (bzimage(setup_sects=60), ("damaged", "setup")),
        (bzimage(paragraphs=(8192 - 5 * 512) // 16 + 1), ("damaged", "cut short")),
        (bzimage(), ("no memory",)),
        (bytes(56) + b"ARM\x64" + bytes(200), ("arm64",)),
    )
    for content, words in rows:
        refused(b, b.machine(b.write("bad.img", content)), 64, "bad.img", *words)
    refused(b, b.machine(b.write("bad.img", b"")), 65, "bad.img", "empty")


def t_initrd(b):
    refused(b, b.machine(extra="initrd load absent"), 65, "absent")
    b.write("large", b"x" * 1000)
    os.truncate(b.path("large"), 1 << 30)
    refused(b, b.machine(extra="initrd load large"), 64, "large", "no free RAM")


def t_no_disk(b):
    refused(b, b.machine(extra="vdev virtio-blk hostdev absent"), 64, "vm", "absent", "No such file")
    refused(b, b.machine(extra=f"vdev virtio-blk hostdev {b.folder}"), 64, "directory")
    b.write("tiny", "x")
    refused(b, b.machine(extra="vdev virtio-blk hostdev tiny"), 64, "tiny", "sector")


def t_no_serial(b):
    refused(b, b.machine(serial="hostdev absent/x"), 64, ".qvmconf:", "absent/x")


def t_no_kvm(b):
    """A missing device, and one that may not be opened: a sentence that says what to do."""
    hide = "mount -t tmpfs none /dev && exec \"$0\" \"$@\""
    trial = subprocess.run(["unshare", "-m", "sh", "-c", hide, "true"], check=False, capture_output=True)
    if trial.returncode != 0:
        print("skipped: no mount namespace of our own here")
        sys.exit(kvmtest.SKIPPED)
    b.write("vm.qvmconf", b.machine())
    r = kvmtest.Run(b, ["unshare", "-m", "sh", "-c", hide, b.qvm, "--run-dir", b.run_dir, "@vm.qvmconf"])
    r.wait(64)
    expect("/dev/kvm is not there" in r.err() and "kvm_intel" in r.err(), r.said())
    deny = "mount -t tmpfs none /dev && touch /dev/kvm && chmod 0 /dev/kvm && exec setpriv --reuid 65534 " \
           "--clear-groups \"$0\" \"$@\""
    os.chmod(b.folder, 0o777)
    r = kvmtest.Run(b, ["unshare", "-m", "sh", "-c", deny, b.qvm, "--run-dir", b.path("run2"), "@vm.qvmconf"])
    r.wait(64)
    expect("may not be opened" in r.err() and "group" in r.err(), r.said())


def t_bad_name(b):
    r = b.start(b.machine(name="a/b"))
    expect(r.process.wait(kvmtest.WAIT_S) in (64, 65), r.said())
    expect(not os.path.exists(os.path.join(b.run_dir, "qvm", "a")), "the name became a path")


if __name__ == "__main__":
    kvmtest.main(globals())
