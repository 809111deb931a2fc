#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A VM's life: how guests start, what they see, how they end, and what signals do."""

import glob
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import time

import kvmtest
from kvmtest import equal, expect


# ---- starts ----

def t_pvh(b):
    r = b.start(b.machine("hello", "word=one two"))
    r.wait(0)
    expect('cmdline="word=one two"' in r.out(), r.said())
    expect("ram_end=0x4000000" in r.out(), r.said())
    expect("guest: done ok" in r.out(), r.said())


def t_plain_elf(b):
    r = b.start(b.machine("plain64"))
    r.wait(0)
    expect("guest: done ok" in r.out(), r.said())


def t_first_instruction(b):
    """A guest whose first instructions switch the machine off."""
    b.start(b.machine("tiny")).wait(0)


def t_raw(b):
    """An unknown file starts at its first byte, in long mode: writes K to the serial port, switches off."""
    code = bytes.fromhex("66baf803 b04b ee 66ba0406 66b80034 66ef ebfe")
    r = b.start(b.machine(b.write("raw.bin", code)))
    r.wait(0)
    equal(r.out(), "K", "output")


def t_raw_at(b):
    """With an address it stands and starts there: writes the MiB in which it is."""
    code = bytes.fromhex("488d05f9ffffff 48c1e814 0430 66baf803 ee 66ba0406 66b80034 66ef ebfe")
    b.write("raw.bin", code)
    r = b.start(f"""system vm ram 64m cpu load 0x300000,raw.bin
                    vdev ioapic name pic vdev ser8250 hostdev >- intr pic:4""")
    r.wait(0)
    equal(r.out(), "3", "output")


def t_data(b):
    """A file without an address stands where nobody else writes, and the guest finds it there."""
    b.write("data.bin", b"DATA" + bytes(4092))
    code = bytes.fromhex("be00101000 66baf803" + "acee" * 4 + "66ba0406 66b80034 66ef ebfe")
    r = b.start(b.machine(b.write("raw.bin", code), cmdline="x" * 3000, extra="data load data.bin"))
    r.wait(0)
    equal(r.out(), "DATA", "what the guest read")


def t_no_rom(b):
    """QNX's layout without its rom line: the tables get a place of their own."""
    r = b.start(b.machine(ram="ram 0,0xa0000 reserve loc 0xa0000,0x20000 ram 1m,63m"))
    r.wait(0)
    expect("guest: done ok" in r.out(), r.said())
    maps = re.findall(r"map base=(\S+) size=(\S+) type=1", r.out())
    equal(maps, [("0x0", "0xa0000"), ("0x100000", "0x3f00000")], "RAM")


def t_memory_map(b):
    """Everything that ram says, nothing that rom says, holes left out, also above 4 GiB."""
    r = b.start(b.machine(ram="ram 0,0xa0000 reserve loc 0xa0000,0x20000 rom 0xc0000,0x40000 ram 1m,63m ram 4g,16m"))
    r.wait(0)
    maps = re.findall(r"map base=(\S+) size=(\S+) type=1", r.out())
    equal(maps, [("0x0", "0xa0000"), ("0x100000", "0x3f00000"), ("0x100000000", "0x1000000")], "RAM")


def t_many_pieces(b):
    """As many pieces of RAM as there may be: the start information tells of each, the last one too."""
    pieces = [(64 + 2 * i) << 20 for i in range(63)]
    r = b.start(b.machine(cmdline="sleep_ms=50000", ram="ram 0,32m " + " ".join(f"ram {at:#x},1m" for at in pieces)))
    r.until("hello: map")
    for fd in glob.glob(f"/proc/{r.process.pid}/fd/*"):
        if "guest-ram" in os.readlink(fd) and os.stat(fd).st_size == 32 << 20:
            with open(fd, "rb") as f:
                low = f.read(1 << 20)
    equal(struct.unpack_from("<I", low, 0x6000)[0], 0x336ec578, "magic of the start information")
    at, n = struct.unpack_from("<QI", low, 0x6000 + 40)
    entries = struct.iter_unpack("<QQII", low[at:at + 24 * n])
    equal([(base, size) for base, size, kind, _ in entries if kind == 1],
          [(0, 0xa0000), (1 << 20, 31 << 20), *((piece, 1 << 20) for piece in pieces)], "RAM")
    r.signal(signal.SIGQUIT)
    r.wait(3)


def t_background(b):
    """On a terminal that is another's (qvm in the background), with the console there: it runs, and is not stopped."""
    b.write("bg.qvmconf", b.machine(serial="hostdev -"))
    pid, ours = pty.fork()
    if pid == 0:
        # We lead the session and keep the foreground; qvm is in a process group of its own.
        child = subprocess.Popen([b.qvm, "--run-dir", b.run_dir, "@bg.qvmconf"], cwd=b.folder, preexec_fn=os.setpgrp)
        try:
            os._exit(child.wait(20))
        except subprocess.TimeoutExpired:
            child.kill()
            os._exit(99)
    seen = b""
    while b"guest: done ok" not in seen:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        seen += part
    status = os.waitpid(pid, 0)[1]
    equal(os.waitstatus_to_exitcode(status), 0, f"exit status; it said {seen!r}")


def t_two_vcpus(b):
    r = b.start(b.machine(cmdline="sleep_ms=3000", extra="cpu sched 5r", name="twins"))
    r.until("hello: map")
    names = sorted(open(p, encoding="ascii").read().strip()
                   for p in glob.glob(f"/proc/{r.process.pid}/task/*/comm"))
    expect("twins-vCPU0" in names and "twins-vCPU1" in names, f"threads: {names}")
    r.signal(signal.SIGTERM)
    r.wait(0)


def tables_of(memory, base):
    """{signature: [tables]} from the RSDP at the first byte; every sum is right."""
    def table(at):
        size = struct.unpack_from("<I", memory, at - base + 4)[0]
        found = memory[at - base:at - base + size]
        equal(sum(found) & 255, 0, f"sum of {found[:4]}")
        return found

    equal(memory[:8], b"RSD PTR ", "signature")
    equal((sum(memory[:20]) & 255, sum(memory[:36]) & 255), (0, 0), "sums of the RSDP")
    xsdt = table(struct.unpack_from("<Q", memory, 24)[0])
    listed = [table(at) for at, in struct.iter_unpack("<Q", xsdt[36:])]
    listed += [table(struct.unpack_from("<Q", t, 140)[0]) for t in listed if t[:4] == b"FACP"]
    found = {}
    for t in [xsdt, *listed]:
        found.setdefault(t[:4].decode(), []).append(t)
    return found


def t_acpi(b):
    """The ACPI tables, as they stand in guest memory: sums, addresses, what they say, and ACPICA's opinion of them."""
    r = b.start(b.machine(cmdline="sleep_ms=50000", ram="ram 0,0xa0000 ram 1m,63m",
                          extra="vdev ser8250 loc 0x2f8 hostdev >/dev/null intr pic:3 cpu cpu"))
    r.until("hello: map")
    for fd in glob.glob(f"/proc/{r.process.pid}/fd/*"):
        if "guest-rom" in os.readlink(fd):
            with open(fd, "rb") as f:
                memory = f.read()
    r.signal(signal.SIGQUIT)
    r.wait(3)
    found = tables_of(memory, 0xe0000)
    equal({k: len(v) for k, v in found.items()},
          {"XSDT": 1, "FACP": 1, "DSDT": 1, "APIC": 1, "MCFG": 1, "SSDT": 2}, "tables")
    equal(struct.unpack_from("<H", found["FACP"][0], 46)[0], 9, "line of the SCI")
    madt, at, cpus = found["APIC"][0], 44, []
    while at < len(madt):
        if madt[at] == 0:
            cpus.append(madt[at + 3])
        at += madt[at + 1]
    equal((at, cpus), (len(madt), [0, 1, 2]), "processors of the MADT")
    for name in [k for k in found if k != "XSDT"]:
        for table in found[name]:
            b.write("table.aml", table)
            for words in (["-d", "table.aml"], ["table.dsl"]):
                said = subprocess.run(["iasl", *words], cwd=b.folder, capture_output=True, text=True, check=False)
                text = said.stdout + said.stderr
                equal(said.returncode, 0, f"iasl on {name}: {text}")
                expect(not re.search(r"Invalid|Unknown|[1-9]\d* (Errors|Warnings)", text), f"iasl on {name}: {text}")


# ---- ends ----

def t_unsupported(b):
    """Code fetched from where no memory is: KVM gives up on the guest. Exit 5, said once."""
    r = b.start(b.machine(b.write("nowhere.bin", bytes.fromhex("b8 000000d0 ffe0")),
                          extra="unsupported instruction abort"))
    r.wait(5)
    equal(r.err().count("ev=vcpu_stopped"), 1, "lines that say so")


def t_reset(b):
    r = b.start(b.machine(cmdline="exit=reset"))
    r.wait(0)
    expect('why="guest reset"' in r.err(), r.said())


def t_triple_fault(b):
    r = b.start(b.machine(cmdline="exit=triple"))
    r.wait(0)
    expect("triple fault" in r.err(), r.said())


def t_button(b):
    """SIGTERM, SIGINT, SIGHUP are the power button; a guest that sees it goes by itself."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        r = b.start(b.machine(cmdline="sleep_ms=50000"))
        r.until("hello: map base=0xe0000000")
        time.sleep(0.2)  # its next instructions switch the button on
        r.signal(number)
        r.wait(0)
        expect("pressed=1" in r.out(), r.said())


def t_second_signal(b):
    """A guest that sees the button and does not go: the second signal ends it."""
    r = b.start(b.machine(cmdline="exit=none"))
    r.until("guest: done ok")
    time.sleep(0.2)
    r.signal(signal.SIGTERM)
    r.until("ev=power_button", "err")
    equal(r.process.poll(), None, "after one signal")
    r.signal(signal.SIGTERM)
    r.wait(3)


def t_no_listener(b):
    """A guest that never looks at its button ends at once."""
    r = b.start(b.machine(b.write("loop.bin", bytes.fromhex("66baf803 b04b ee ebfe"))))
    r.until("K")
    r.signal(signal.SIGTERM)
    r.wait(3)


def t_power_cut(b):
    r = b.start(b.machine(cmdline="sleep_ms=50000"))
    r.until("hello: map")
    r.signal(signal.SIGQUIT)
    r.wait(3)


def t_status(b):
    """SIGUSR1 says what is going on, and the guest goes on."""
    r = b.start(b.machine(cmdline="sleep_ms=1500"))
    r.until("hello: map base=0xe0000000")
    r.signal(signal.SIGUSR1)
    exits = r.until(r"name=exit\.io value=(\d+)", "err")
    expect(int(exits[1]) > 0, "no port access was counted")
    r.until(r"ev=vdev_status dev=\S+ type=ser8250", "err")
    r.wait(0)
    slept = re.search(r"slept_ms=(\d+)", r.out())
    expect(slept and int(slept[1]) >= 1500, r.said())


def t_privileges(b):
    """No new privileges, nobody else's descriptors, in every thread."""
    fd = os.open("/dev/null", os.O_RDONLY)
    r = b.start(b.machine(cmdline="sleep_ms=50000"), pass_fds=(fd,))
    r.until("hello: map")
    for status in glob.glob(f"/proc/{r.process.pid}/task/*/status"):
        with open(status, encoding="ascii") as f:
            expect("NoNewPrivs:\t1" in f.read(), f"{status} may gain privileges")
    for link in glob.glob(f"/proc/{r.process.pid}/fd/*"):
        if int(os.path.basename(link)) > 2:
            expect(os.readlink(link) != "/dev/null", "a descriptor of ours is open in qvm")
    r.signal(signal.SIGQUIT)
    r.wait(3)


def t_sealed(b):
    """With --sandbox on: no capability and the list of system calls, in every thread of a guest that runs."""
    if "ASAN_OPTIONS" in os.environ:
        print("skipped: a sanitizer's leak check needs what a sealed process may not do")
        sys.exit(kvmtest.SKIPPED)
    r = b.start(b.machine(cmdline="sleep_ms=50000"), "--sandbox", "on")
    r.until("hello: map")
    paths = glob.glob(f"/proc/{r.process.pid}/task/*/status")
    expect(len(paths) >= 3, f"{len(paths)} threads")
    for path in paths:
        with open(path, encoding="ascii") as f:
            status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        if status["Name"].startswith("iou-"):
            continue  # the kernel's own, for io_uring
        equal((status["NoNewPrivs"], status["Seccomp"], int(status["CapEff"], 16), int(status["CapPrm"], 16)),
              ("1", "2", 0, 0), path)
    r.signal(signal.SIGQUIT)
    r.wait(3)


# ---- serial ports ----

def t_serial_in(b):
    r = b.start(b.machine(cmdline="sleep_ms=60000", serial="hostdev -"), stdin=subprocess.PIPE)
    r.until("hello: map base=0xe0000000")
    r.process.stdin.write(b"aZ")
    r.process.stdin.flush()
    r.until("hello: key=97")
    r.until("hello: key=90")
    r.signal(signal.SIGTERM)
    r.wait(0)


def t_serial_file(b):
    """Output is appended to a file, input read from another. What comes before the guest listens is lost."""
    b.write("log", "before\n")
    b.write("keys", "k" * 2000)
    r = b.start(b.machine(cmdline="sleep_ms=1000", serial="hostdev >log hostdev <keys"))
    r.wait(0)
    with open(b.path("log"), encoding="ascii") as f:
        log = f.read()
    expect(log.startswith("before\n") and "key=107" in log and log.rstrip().endswith("guest: done ok"), log)


def t_serial_pty(b):
    """A PTY, both ways, bytes as they are."""
    ours, theirs = pty.openpty()
    r = b.start(b.machine(cmdline="sleep_ms=60000", serial=f"hostdev {os.ttyname(theirs)}"))
    seen, deadline = b"", time.monotonic() + kvmtest.WAIT_S
    os.set_blocking(ours, False)
    typed = False
    while b"key=13\n" not in seen:
        expect(time.monotonic() < deadline, f"the guest did not say which key: {seen!r}\n{r.said()}")
        try:
            seen += os.read(ours, 4096)
        except BlockingIOError:
            time.sleep(0.01)
        if b"base=0xe0000000" in seen and not typed:
            os.write(ours, b"\r")
            typed = True
    expect(b"\r\n" not in seen, "the terminal changed the guest's bytes")
    r.signal(signal.SIGTERM)
    r.wait(0)


# ---- one VM of a name ----

def t_same_name(b):
    """A second VM of a name is refused, and told which process has it; a dead one hinders nobody."""
    first = b.start(b.machine(cmdline="sleep_ms=50000"))
    first.until("hello: map")
    second = b.start(b.machine())
    second.wait(64)
    expect(f"process {first.process.pid} " in second.err(), second.said())
    first.process.kill()
    first.process.wait()
    expect(os.path.exists(os.path.join(b.run_dir, "qvm/vm/pid")), "a killed qvm cannot have cleaned up")
    b.start(b.machine()).wait(0)
    expect(not os.path.exists(os.path.join(b.run_dir, "qvm/vm")), "the runtime directory is left behind")


if __name__ == "__main__":
    kvmtest.main(globals())
