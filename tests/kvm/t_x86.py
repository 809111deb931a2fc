#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The x86 board: a PC's old devices register by register, processors, and the ways to start a guest."""

import os
import re
import signal
import struct
import time

import kvmtest
from kvmtest import equal, expect

# Every device of the board, at the places of QNX's example.
PC = """
    vdev timer8254 intr pic:0
    vdev mc146818 reg 0x0b,0x02
    vdev pckeyboard
    vdev 8259 loc 0x20
    vdev 8259 loc 0xa0
    vdev hpet loc 0xf8008000 intr pic:0,pic:8,pic:10
    vdev pci-dummy vendor 0x8086 device 0x9d4e class 0x060100
    vdev progress name bar
    vdev wdt-ib700
"""
DUMMY = "slot=1 id=0x9d4e8086 class=0x060100"


def passes(b, test, words="", extra=PC, code=0, **how):
    r = b.start(b.machine("pcdev", f"test={test} {words}", extra, **how))
    r.wait(code)
    for name in test.split(","):
        expect(f"pc: {name} ok" in r.out(), r.said())
    expect("guest: done ok" in r.out(), r.said())
    return r


# ---- devices ----

def t_hpet(b):
    passes(b, "hpet")


def t_hpet_frequency(b):
    """At the usual place, with another clock."""
    passes(b, "hpet", "hpet=0xfed00000", "vdev hpet intr pic:0,pic:8,pic:10 frequency 14318180")


def t_rtc(b):
    passes(b, "rtc", f"utc={int(time.time())} b=2")


def t_keyboard(b):
    passes(b, "kbd")


def t_keyboard_reset(b):
    """The controller's reset line ends the VM as a reboot does."""
    r = b.start(b.machine("pcdev", "test=kbd kbd=reset", PC))
    r.wait(0)
    expect('why="guest reset"' in r.err(), r.said())
    expect("pc: resetting" in r.out() and "kbd ok" not in r.out(), r.said())


def t_pic(b):
    """The kernel's own: PICs, ioapic, interval timer; named, and not named."""
    passes(b, "pic")
    passes(b, "pic", extra="")


def t_pci_dummy(b):
    passes(b, "pci", DUMMY)


def host_function():
    """A function of the host that is no bridge to a bus: (place, identity word, class), or None."""
    root = "/sys/bus/pci/devices"
    for name in sorted(os.listdir(root)) if os.path.isdir(root) else ():
        found = re.fullmatch(r"0000:(..):(..)\.(.)", name)
        with open(os.path.join(root, name, "config"), "rb") as f:
            head = f.read(64)
        if found and len(head) == 64 and head[14] & 0x7f == 0:
            place = ":".join(str(int(found[i], 16)) for i in (1, 2)) + "." + found[3]
            return place, struct.unpack_from("<I", head)[0], struct.unpack_from("<I", head, 8)[0] >> 8
    return None


def t_pci_clone(b):
    """The header of a device of the host; one that the host does not have is told."""
    r = b.start(b.machine(extra="vdev pci-dummy clone pci:254:31.7"))
    r.wait(64)
    expect("the host has no PCI device 0000:fe:1f.7" in r.err(), r.said())
    of_host = host_function()
    if of_host:
        place, identity, kind = of_host
        passes(b, "pci", f"slot=31 id={identity:#x} class={kind:#x}", f"vdev pci-dummy clone pci:{place} loc pci:0:31")


def t_progress(b):
    """What the guest has written last is in the status."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stdin, os.fdopen(write_end, "wb") as keys:
        r = b.start(b.machine("pcdev", "test=progress", PC, serial="hostdev -"), stdin=stdin)
        r.until("pc: progress told")
        r.signal(signal.SIGUSR1)
        r.until(r"dev=bar type=progress code=0xbeef codes=4 changes=3", "err")
        for kind in ("timer8254", "8259", "ioapic"):
            r.until(rf"ev=vdev_status dev=\S+ type={kind} \S+=", "err")
        keys.write(b"x")
        keys.flush()
        r.wait(0)


def t_watchdog_ib700(b):
    """It bites: exit 4. Kept quiet and stopped, it does not."""
    r = b.start(b.machine("pcdev", "test=wdt wdt=bite", PC))
    r.wait(4)
    expect("ev=watchdog_bite" in r.err(), r.said())
    passes(b, "wdt")


def t_all_devices(b):
    """One guest drives them all in turn."""
    passes(b, "pic,hpet,rtc,kbd,pci", f"utc={int(time.time())} {DUMMY}")


# QNX's own x86 example, line by line, but for the files, the network's peer, and what passes a device through.
QNX_EXAMPLE = """
    ram 0,0xa0000
    reserve loc 0xa0000,0x20000
    rom 0xc0000,0x40000
    ram 1m,63m
    cpu
    cpu
    load "{kernel}"
    initrd load ./initrd.gz
    cmdline "{cmdline}"
    vdev ioapic
        loc 0xf8000000
        intr apic
        name myioapic
    vdev ser8250
        intr myioapic:4 hostdev >-
    vdev timer8254
        intr myioapic:0
    vdev mc146818
        reg 0x0b,0x02
    vdev shmem
    vdev virtio-blk
        hostdev disk.img
    vdev pckeyboard
    vdev 8259 loc 0x20
    vdev 8259 loc 0xa0
    vdev hpet
        loc 0xf8008000
        intr myioapic:0,myioapic:8,myioapic:10
    {dummy}
"""


def t_qnx_example(b):
    """It runs as it is, and its guest finds every device of it."""
    b.write("initrd.gz", b"\x1f\x8b" + bytes(1000))
    b.write("disk.img", bytes(1 << 20))
    of_host = host_function()
    dummy = f"vdev pci-dummy clone pci:{of_host[0]} loc pci:0:31" if of_host else "vdev pci-dummy vendor 1 device 2"
    words = f"test=pic,hpet,rtc,kbd,smp utc={int(time.time())} cpus=2"
    if of_host:
        words += f" slot=31 id={of_host[1]:#x} class={of_host[2]:#x}"
        words = words.replace("kbd,", "kbd,pci,")
    r = b.start(QNX_EXAMPLE.format(kernel=b.guest("pcdev"), cmdline=words, dummy=dummy))
    r.wait(0)
    for name in ("pic", "hpet", "rtc", "kbd", "smp", "pci")[:6 if of_host else 5]:
        expect(f"pc: {name} ok" in r.out(), r.said())
    expect(r.err().count("warning: vdev ioapic") == 1, r.said())


# ---- processors ----

def t_cpuid(b):
    r = passes(b, "cpu", extra="")
    expect(re.search("pc: cpuid deadline=[01]", r.out()), r.said())


def t_deadline(b):
    """The local APIC's deadline timer, where CPUID offers it."""
    if "deadline=1" in passes(b, "cpu", extra="").out():
        passes(b, "deadline", extra="")


def t_smp(b):
    for n in (2, 9):
        r = passes(b, "smp", f"cpus={n}", "cpu " * (n - 1))
        expect(f"pc: smp others={n - 1}" in r.out(), r.said())


# ---- a guest that knows no shame ----

# Each kind of virtio device by each transport, of this time and of virtio 0.9.5, beside the old devices.
STORMED = PC + """
    vdev ser8250 loc 0x2f8 hostdev >/dev/null intr pic:3
    vdev virtio-blk hostdev disk0.img
    vdev virtio-blk hostdev disk1.img legacy
    vdev virtio-blk hostdev disk2.img loc 0xf8010000 intr pic:5
    vdev virtio-blk hostdev disk3.img loc 0xf8011000 intr pic:6 legacy
    vdev virtio-net peer nobody/a name a
    vdev virtio-net peer nobody/b name b legacy
    vdev virtio-net peer nobody/c name c loc 0xf8012000 intr pic:7
    vdev virtio-console hostdev >/dev/null
    vdev virtio-console hostdev >/dev/null loc 0xf8013000 intr pic:11
    vdev virtio-entropy
    vdev virtio-entropy loc 0xf8014000 intr pic:14
    vdev shmem create storm,4096 allow storm
"""
WINDOWS = " ".join(f"window={0xf8010000 + 0x1000 * n:#x}" for n in range(5))


def t_board_storm(b):
    """Every register of every device at random: qvm lives, and what it says is bounded. STORM_MS=60000: a minute."""
    ms = int(os.environ.get("STORM_MS", "3000"))
    for n in range(4):
        b.write(f"disk{n}.img", bytes(1 << 20))
    for seed in (1, 2):
        r = b.start(b.machine("pcdev", f"test=storm storm_ms={ms} seed={seed} {WINDOWS}", STORMED))
        r.wait(0, kvmtest.WAIT_S + ms / 1000)
        expect("guest: done ok" in r.out(), r.said())
        expect(int(re.search(r"accesses=(\d+)", r.out())[1]) > 1000, r.said())
        expect(len(r.err().splitlines()) < 300, f"{len(r.err().splitlines())} lines of log")


def t_board_storm_ends(b):
    """The same, writes that end the machine among them: it ends by a documented code."""
    for seed in range(1, 4):
        r = b.start(b.machine("pcdev", f"test=storm storm_ms=20000 ends=1 pci=0 seed={seed}", PC))
        code = r.process.wait(kvmtest.WAIT_S)
        expect(code in (0, 4), f"seed {seed}: exit status {code}\n{r.said()}")


# ---- starts ----

# Checks the magic number and the flags; writes the command line, a blank, the first byte of the first module if there
# is one, and K; F when something is wrong; powers off.
MULTIBOOT_CODE = bytes.fromhex(
    "3d02b0ad2b752cf7034d0200007424baf80300008b7310ac84c07403eeebf8b020ee837b140074078b7b188b37aceeb04beb07b046"
    "baf8030000ee66ba040666b8003466efebfe")
MB_MAGIC = 0x1BADB002
MB_BASE = 0x200000


def mb_header(flags=0, addresses=(), checksum=None):
    sums = -(MB_MAGIC + flags) & 0xffffffff if checksum is None else checksum
    return struct.pack(f"<III{len(addresses)}I", MB_MAGIC, flags, sums, *addresses)


def mb_image(before=64, flags=0x10003, load=None, load_end=0, bss_end=0, entry=None, header=None):
    """By addresses: @before bytes, the header, the code."""
    at = MB_BASE + before
    head = mb_header(flags, (at if header is None else header, MB_BASE if load is None else load, load_end, bss_end,
                             at + 32 if entry is None else entry))
    return bytes(before) + head + MULTIBOOT_CODE


def elf32(header=mb_header(3), entry=MB_BASE + 64, segments=((0x100, MB_BASE, 0x100, 0x2000),), phnum=None,
          elf_class=1):
    head = b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, entry, 52, 0, 0, 52, 32, len(segments) if phnum is None else phnum,
                        0, 0, 0)
    for off, paddr, filesz, memsz in segments:
        head += struct.pack("<IIIIIIII", 1, off, paddr, paddr, filesz, memsz, 7, 4)
    return head.ljust(0x100, b"\0") + header.ljust(64, b"\0") + MULTIBOOT_CODE.ljust(0xc0, b"\0")


def elf64_multiboot():
    head = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, MB_BASE + 64, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 7, 0x100, MB_BASE, MB_BASE, 0x100, 0x100, 4)
    return head.ljust(0x100, b"\0") + mb_header(3).ljust(64, b"\0") + MULTIBOOT_CODE.ljust(0xc0, b"\0")


def t_multiboot(b):
    """By the header's addresses, as ELF of 32 and of 64 bits; with and without an initrd."""
    b.write("initrd", b"Initial")
    for image in (mb_image(), mb_image(before=8000), mb_image(bss_end=MB_BASE + 0x10000), elf32(), elf64_multiboot(),
                  elf32(mb_header(0x10003, (MB_BASE, MB_BASE, 0, 0, MB_BASE + 64)))):
        r = b.start(b.machine(b.write("mb.bin", image), cmdline="root=here"))
        r.wait(0)
        equal(r.out(), "root=here K", "what it saw")
    r = b.start(b.machine(b.write("mb.bin", mb_image()), extra="initrd load initrd"))
    r.wait(0)
    equal(r.out(), " IK", "with a module")


def refused(b, name, content, *words, code=64, extra=""):
    r = b.start(b.machine(b.write(name, content), extra=extra))
    r.wait(code)
    for word in (name, *words):
        expect(word in r.err(), f"{word!r} is not in\n{r.said()}")
    equal(r.out(), "", "the guest's output")


def t_damaged_multiboot(b):
    rows = (
        (mb_image(header=MB_BASE + 100), ("damaged", "header")),
        (mb_image(load=MB_BASE + 0x1000), ("damaged", "loads from")),
        (mb_image(load_end=MB_BASE - 1), ("damaged", "before it begins")),
        (mb_image(load_end=MB_BASE + 0x100000), ("damaged", "not inside the file")),
        (mb_image(bss_end=MB_BASE + 16), ("damaged", "inside the file")),
        (mb_image(bss_end=0xffffffff), ("no memory", "ram")),
        (mb_image(entry=0xc0000000), ("damaged", "starts at 0xc0000000")),
        (mb_image(flags=0x10083), ("no loader knows", "0x80")),
        (elf32(header=b""), ("32-bit", "multiboot")),
        (elf32(mb_header(3, checksum=1)), ("32-bit", "multiboot")),
        (elf32(phnum=0), ("damaged", "0 program headers")),
        (elf32(phnum=1000), ("damaged", "1000 program headers")),
        (elf32(segments=((0x100, MB_BASE, 0x100, 0x80),)), ("damaged", "segment")),
        (elf32(segments=((0x100, MB_BASE, 0xffffff00, 0xffffff00),)), ("damaged", "not inside the file")),
        (elf32(segments=((0x100, 0xfffff000, 0x100, 0x2000),)), ("no memory",)),
        (elf32(segments=((0x100, MB_BASE, 0x100, 0x100), (0x100, MB_BASE + 8, 8, 8))), ("taken",)),
        (elf32()[:0x120], ("damaged",)),
        (mb_image()[:70], None),
    )
    for content, words in rows:
        if words:
            refused(b, "bad.bin", content, *words)
    # A header that the file's end cuts is none: the file is raw, and the guest's own affair.


def t_big_initrd(b):
    """An initrd that is larger than what is left of RAM."""
    with open(b.path("initrd"), "wb") as f:
        f.truncate(60 << 20)
    r = b.start(b.machine(extra="initrd load initrd", ram="ram 32m"))
    r.wait(64)
    expect("initrd" in r.err() and "no free RAM" in r.err(), r.said())


# ---- tables of the operator ----

def acpi_table(signature=b"OEMX", body=b"Parley" * 10, length=None, total=None):
    size = 36 + len(body) if length is None else length
    head = struct.pack("<4sIBB6s8sI4sI", signature, size, 1, 0, b"TESTER", b"TESTTABL", 1, b"TEST", 1)
    table = bytearray(head + body)
    table[9] = -sum(table) & 255 if total is None else total
    return bytes(table)


def low_rom(b, r):
    for fd in os.listdir(f"/proc/{r.process.pid}/fd"):
        path = f"/proc/{r.process.pid}/fd/{fd}"
        if "guest-rom" in os.readlink(path):
            with open(path, "rb") as f:
                return f.read()
    raise kvmtest.Failed("there is no rom")


def tables_of(rom):
    """[(signature, table)] of the XSDT, and the DSDT behind the FADT."""
    def table(at):
        return rom[at - 0xe0000:at - 0xe0000 + struct.unpack_from("<I", rom, at - 0xe0000 + 4)[0]]

    xsdt = table(struct.unpack_from("<Q", rom, 24)[0])
    found = [table(at) for at, in struct.iter_unpack("<Q", xsdt[36:])]
    found += [table(struct.unpack_from("<Q", t, 140)[0]) for t in found if t[:4] == b"FACP"]
    for t in found:
        equal(sum(t) & 255, 0, f"sum of {t[:4]}")
    return [(t[:4].decode(), t) for t in found]


def t_acpi_devices(b):
    """What the configuration names is in the tables, and nothing else."""
    for extra, names, flags, century in (("", [], 0x25, 0), (PC, ["HPET", "SSDT", "SSDT", "SSDT"], 0x7, 0x32)):
        r = b.start(b.machine(cmdline="sleep_ms=50000", ram="ram 0,0xa0000 ram 1m,63m", extra=extra))
        r.until("hello: map")
        found = tables_of(low_rom(b, r))
        r.signal(signal.SIGQUIT)
        r.wait(3)
        equal(sorted(name for name, _ in found), sorted(["APIC", "DSDT", "FACP", "MCFG", "SSDT", *names]), "tables")
        fadt = dict(found)["FACP"]
        equal((fadt[108], struct.unpack_from("<H", fadt, 109)[0]), (century, flags), "century, devices")
        if extra:
            equal(struct.unpack_from("<I4xQBH", dict(found)["HPET"], 36), (0x1c05a201, 0xf8008000, 0, 5000), "HPET")
            claims = [t for _, t in found if bytes.fromhex("0c41d00103") in t]      # EISA id PNP0103
            expect(len(claims) == 1 and struct.pack("<II", 0xf8008000, 0x400) in claims[0], "no device claims the HPET")


def t_acpi_load(b):
    """Tables of the operator stand among ours; a DSDT takes the place of ours."""
    b.write("own.aml", acpi_table())
    b.write("dsdt.aml", acpi_table(b"DSDT", b""))
    r = b.start(b.machine(cmdline="sleep_ms=50000", ram="ram 0,0xa0000 ram 1m,63m",
                          extra="acpi load own.aml acpi load own.aml acpi load dsdt.aml"))
    r.until("hello: map")
    found = tables_of(low_rom(b, r))
    r.signal(signal.SIGQUIT)
    r.wait(3)
    equal([t for name, t in found if name == "OEMX"], [acpi_table()] * 2, "the operator's")
    equal([t for name, t in found if name == "DSDT"], [acpi_table(b"DSDT", b"")], "the DSDT")


def t_acpi_load_wrong(b):
    rows = (
        (b"DefinitionBlock", ("no ACPI table", "iasl")),
        (acpi_table(length=4000), ("no ACPI table",)),
        (acpi_table(total=1), ("damaged", "sum")),
        (acpi_table(b"FACP"), ("qvm makes itself",)),
        (acpi_table(b"APIC"), ("qvm makes itself",)),
        (acpi_table(body=bytes(60000)), ("no room",)),
        (acpi_table(body=bytes(100000)), ("0x1",)),
    )
    for content, words in rows:
        b.write("bad.aml", content)
        r = b.start(b.machine(extra="acpi load bad.aml"))
        r.wait(64)
        for word in ("bad.aml", *words):
            expect(word in r.err(), f"{word!r} is not in\n{r.said()}")


# ---- a device tree as a start option ----

def dtb(size=64, total=None, magic=0xd00dfeed):
    return struct.pack(">II", magic, size if total is None else total).ljust(size, b"T")


def ram_of(r):
    for fd in os.listdir(f"/proc/{r.process.pid}/fd"):
        path = f"/proc/{r.process.pid}/fd/{fd}"
        if "guest-ram" in os.readlink(path):
            with open(path, "rb") as f:
                return f.read()
    raise kvmtest.Failed("there is no ram")


def bzimage(code):
    """A Linux kernel's header before @code, which starts in long mode."""
    image = bytearray(5 * 512)
    image[0x1f1] = 4
    struct.pack_into("<H", image, 0x1fe, 0xaa55)
    image[0x200:0x202] = b"\xeb\x66"
    struct.pack_into("<IH", image, 0x202, 0x53726448, 0x20f)
    image[0x211] = 1
    struct.pack_into("<I", image, 0x22c, 0x7fffffff)
    struct.pack_into("<I", image, 0x230, 0x200000)
    struct.pack_into("<BBH", image, 0x234, 1, 21, 1)
    struct.pack_into("<I", image, 0x238, 2047)
    struct.pack_into("<Q", image, 0x258, 0x1000000)
    struct.pack_into("<I", image, 0x260, 0x10000)
    return bytes(image) + bytes(512) + code


# mov rsi+0x250 (setup_data) to rbx; type to al; two bytes of the data; power off.
SETUP_DATA_CODE = bytes.fromhex(
    "488b9e50020000" "66baf803" "8a4308" "0430" "ee" "8a430c" "ee" "8a4318" "ee" "66ba0406" "66b80034" "66ef" "ebfe")


def t_fdt(b):
    """Linux gets it as setup data: type 2, its length, its bytes."""
    b.write("board.dtb", dtb(ord("@")))
    r = b.start(b.machine(b.write("linux", bzimage(SETUP_DATA_CODE)), extra="fdt load board.dtb"))
    r.wait(0)
    equal(r.out(), "2@T", "what Linux' first code saw")
    r = b.start(b.machine(b.write("mb.bin", mb_image()), extra="fdt load 0x1000000,board.dtb"))
    r.wait(0)
    equal(r.out(), " \xd0K".encode("latin-1").decode("utf-8", "replace"), "the module of a multiboot guest")


def t_fdt_wrong(b):
    for content, words in ((b"/dts-v1/; / { };", ("no device tree", "dtc")), (dtb(total=100), ("damaged", "100")),
                           (b"xx", ("no device tree",))):
        b.write("bad.dtb", content)
        r = b.start(b.machine(extra="fdt load bad.dtb"))
        r.wait(64)
        for word in ("bad.dtb", *words):
            expect(word in r.err(), f"{word!r} is not in\n{r.said()}")


if __name__ == "__main__":
    kvmtest.main(globals())
