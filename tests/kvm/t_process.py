#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""qvm as a process: exit statuses, status and dumps by signal, what it leaves in its directory, where its lines go."""

import ctypes
import errno
import glob
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

import kvmtest
from kvmtest import equal, expect

# Raw guests: 64-bit code that is entered at its first byte.
SAY_K = "66baf803 b04b ee"  # K on the serial port
SPIN = "ebfe"
BITE = "66ba4304 b00f ee" + SPIN  # the IB700's code 15 bites at once


def raw(b, code, name="raw.bin"):
    return b.write(name, bytes.fromhex(code))


def eventually(found, what, seconds=kvmtest.WAIT_S):
    """Waits until @found() gives something, and gives that."""
    deadline = time.monotonic() + seconds
    while True:
        result = found()
        if result:
            return result
        expect(time.monotonic() < deadline, f"{what}: not in {seconds:.0f} s")
        time.sleep(0.02)


# ---- exit statuses ----

def failing(call, arg1, result):
    """For Popen: of system call number @call with @arg1 (None: any) as its second argument, nothing is done, and it
    returns 0 or fails with errno @result."""
    allow, deny, load, jump = 0x7fff0000, 0x00050000, 0x20, 0x15
    program = [(load, 0, 0, 0), (jump, 0, 1 if arg1 is None else 3, call)]
    if arg1 is not None:
        program += [(load, 0, 0, 24), (jump, 0, 1, arg1)]
    program += [(0x06, 0, 0, deny | result), (0x06, 0, 0, allow)]
    code = b"".join(struct.pack("<HBBI", *step) for step in program)
    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        filters = ctypes.create_string_buffer(code)
        what = struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(filters))
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(what), 0, 0):
            os._exit(99)

    return install


IOCTL, IO_URING_ENTER = {"x86_64": (16, 426), "aarch64": (29, 426)}[os.uname().machine]
KVM_RUN = 0xae80


def t_watchdog(b):
    """4: a watchdog bit."""
    r = b.start(b.machine(raw(b, BITE), extra="vdev wdt-ib700"))
    r.wait(4)
    expect('ev=ended code=4 why="watchdog"' in r.err(), r.said())


def t_vdev_failed(b):
    """6: a vdev that cannot go on because its host fails it, here a disk whose io_uring takes nothing any more."""
    b.write("disk.img", bytes(1 << 20))
    r = b.start(b.machine("blkworker", "secs=1 region=1M", "vdev virtio-blk hostdev disk.img name disk"),
                preexec_fn=failing(IO_URING_ENTER, None, errno.EIO))
    r.wait(6)
    expect("ev=vdev_failed dev=disk" in r.err(), r.said())


def t_unexpected(b):
    """7: KVM_RUN comes back with a reason that nobody expects."""
    r = b.start(b.machine(), preexec_fn=failing(IOCTL, KVM_RUN, 0))
    r.wait(7)
    expect("exit that nobody expects" in r.err(), r.said())


def t_guest_codes(b):
    """32 to 63: what the guest says to its debug-exit; what is larger says nothing."""
    for number in (0, 1, 0x10, 31):
        r = b.start(b.machine(raw(b, f"b0{number:02x} e6f4" + SPIN), extra="vdev debug-exit"))
        r.wait(32 + number)
    r = b.start(b.machine(raw(b, "b020 e6f4" + SAY_K + "b0ff e6f4 b003 e6f4" + SPIN), extra="vdev debug-exit"))
    r.wait(35)
    equal(r.out(), "K", "output")
    expect("ev=guest_fault" in r.err(), r.said())


def t_run_failed(b):
    """96: KVM_RUN fails."""
    r = b.start(b.machine(), preexec_fn=failing(IOCTL, KVM_RUN, errno.EIO))
    r.wait(96)
    expect("ev=kvm_run_failed" in r.err(), r.said())


def t_reboot(b):
    """0: a guest that reboots is over, too: who started it may start it again."""
    r = b.start(b.machine(cmdline="exit=reset"))
    r.wait(0)
    equal(r.out().count("guest: done ok"), 1, "runs of the guest")


# ---- status ----

def t_clock(b):
    """SIGUSR1: the clock of host and guest, where each vCPU is, every vdev but those that are to be silent."""
    r = b.start(b.machine("dump", extra="cpu vdev ser8250 loc 0x2f8 name quiet set debug off"))
    r.until("K")
    times = []
    for i in range(2):
        r.signal(signal.SIGUSR1)
        last = eventually(lambda n=i + 1: r.err().count("dev=acpi-pm") >= n, "status")
        found = re.findall(r"ev=clock features=([0-9a-f]+) host_time=([0-9a-f]+) guest_time=([0-9a-f]+) "
                           r"drift=(-?[0-9a-f]+) ", r.err())
        expect(last and len(found) == i + 1, r.said())
        times.append([int(word, 16) for word in found[i]])
    expect(times[0][1] < times[1][1] and times[0][2] < times[1][2], f"the clocks stand: {times}")
    elapsed = times[1][1] - times[0][1]
    expect(abs(times[1][2] - times[0][2] - elapsed) < elapsed, f"the guest's clock is not the host's: {times}")
    ips = re.findall(r"ev=vcpu_status cpu=(\d) ip=(0x[0-9a-f]+)", r.err())
    equal([cpu for cpu, _ in ips], ["0", "1"] * 2, "vCPUs")
    expect(0x100000 <= int(ips[0][1], 16) < 0x102000, f"vCPU 0 is not in the guest's code: {ips}")
    expect("type=ser8250" in r.err() and "dev=quiet" not in r.err(), r.said())
    r.signal(signal.SIGQUIT)
    r.wait(3)


# ---- dumps ----

DUMPED = r'ev=dump_written to="([^"]+)"'


def gdb(b, core, *commands, symbols=None):
    """What gdb says of a core."""
    if not shutil.which("gdb"):
        print("skipped: there is no gdb (tools/packages test)")
        sys.exit(kvmtest.SKIPPED)
    words = ["gdb", "-q", "-nx", "-batch", *([symbols] if symbols else []), *(["-c", core] if not symbols else [core])]
    for command in commands:
        words += ["-ex", command]
    said = subprocess.run(words, cwd=b.folder, capture_output=True, text=True, check=False)
    equal(said.returncode, 0, f"gdb: {said.stdout}{said.stderr}")
    return said.stdout


def dumping(b, guest="dump", extra="", to="dumps", **how):
    os.makedirs(b.path("dumps"), exist_ok=True)
    r = b.start(b.machine(guest, extra=f'cpu dump "{to}" {extra}', name="dumpee", **how))
    r.until("K")
    return r


def ask_dump(r, n=1):
    """The @n-th dump of this run; asked for again when the one before was not over yet."""
    refused = None

    def written():
        nonlocal refused
        seen = r.err().count("ev=dump_refused")
        if refused != seen:
            refused = seen
            r.signal(signal.SIGUSR2)
        return re.findall(DUMPED, r.err())[n - 1:]

    return eventually(written, "dump")[0]


def check_core(b, core):
    """What the guest `dump` has in its registers and its memory."""
    said = gdb(b, core, "info threads", "thread 1", "bt", "p/x $rbx", "p/x $r12", "p/x $r15", "p/x *(long *)&dump_word",
               "p/x $cs", "p/x $fctrl", "thread 2", "p/x $ebx", "p/x $esi", "p/x $cs", symbols=b.guest("dump"))
    for want in ("LWP 1", "LWP 2", r"#0 .*dump_inner", r"#1 .*in dump_outer", r"#2 .*in start64",
                 "0x1111222233334444", "0x5555666677778888", "0x9999aaaabbbbcccc", "0x123456789abcdef",
                 "= 0x8$", "= 0x(37f|40)$", "= 0x4150$", "= 0xc0ffee$", "= 0x800$"):
        expect(re.search(want, said, re.M), f"no {want!r} in what gdb says:\n{said}")


def count_in(b, core):
    return int(re.search(r"= (\d+)", gdb(b, core, "p *(long *)&dump_count", symbols=b.guest("dump")))[1])


def t_dump(b):
    """SIGUSR2: a core with each vCPU's registers and the guest's memory, which gdb opens; the guest goes on."""
    r = dumping(b)
    first = b.path(ask_dump(r))
    expect(re.fullmatch(r"dumpee-\d{8}-\d{6}(-\d)?\.gcore", os.path.basename(first)), first)
    check_core(b, first)
    second = b.path(ask_dump(r, 2))
    check_core(b, second)
    expect(count_in(b, first) < count_in(b, second), "the guest did not run between the two dumps")
    st = os.stat(first)
    expect(st.st_size > 64 << 20 and st.st_blocks * 512 < 8 << 20, f"{st.st_size} bytes, {st.st_blocks} blocks")
    equal(stat.S_IMODE(st.st_mode), 0o600, "mode of the file")
    notes = subprocess.run(["readelf", "-n", first], capture_output=True, text=True, check=False).stdout
    equal(notes.count("PARLEY"), 3, f"notes of our own:\n{notes}")
    r.signal(signal.SIGQUIT)
    r.wait(3)


def t_dump_names(b):
    """Ten dumps may have the name of a second; then it says that it gives up. The guest goes on."""
    r = dumping(b)
    now = time.time()
    for s in range(-1, 61):
        name = time.strftime("dumpee-%Y%m%d-%H%M%S", time.localtime(now + s))
        for suffix in ("", *(f"-{i}" for i in range(1, 9))):
            b.write(f"dumps/{name}{suffix}.gcore", "")
    core = ask_dump(r)
    expect(core.endswith("-9.gcore"), core)
    for s in range(-1, 61):
        name = time.strftime("dumpee-%Y%m%d-%H%M%S", time.localtime(now + s))
        b.write(f"dumps/{name}-9.gcore", "")
    r.signal(signal.SIGUSR2)
    r.until("ev=dump_failed .*ten dumps have the name", "err")
    equal(r.process.poll(), None, "after a dump that failed")
    r.signal(signal.SIGQUIT)
    r.wait(3)


def t_dump_pipe(b):
    """Into a shell command: the same core, zeroes and all; and again."""
    r = dumping(b, to="|ls -l /proc/self/fd >fds; cat >piped.gcore && mv piped.gcore whole.gcore")
    with open(f"/proc/{r.process.pid}/task/{r.process.pid}/children", encoding="ascii") as f:
        helper, = f.read().split()
    equal(sorted(os.listdir(f"/proc/{helper}/fd")), ["0", "1", "2", "3"], "descriptors of the helper")
    for n in (1, 2):
        ask_dump(r, n)
        eventually(lambda: os.path.exists(b.path("whole.gcore")), "the command's file")
        check_core(b, "whole.gcore")
        expect(os.stat(b.path("whole.gcore")).st_size > 64 << 20, "length")
        with open(b.path("fds"), encoding="utf-8") as f:
            expect("socket:" not in f.read(), "the command has the helper's socket")
        os.remove(b.path("whole.gcore"))
    r.signal(signal.SIGQUIT)
    r.wait(3)
    eventually(lambda: not os.path.exists(f"/proc/{helper}"), "the end of the helper")


def t_dump_pipe_fails(b):
    """A command that does not read it all, and says so: told, and the guest goes on."""
    r = dumping(b, to="|head -c 1000 >/dev/null; exit 3")
    r.signal(signal.SIGUSR2)
    r.until("ev=dump_failed .*did not read it all", "err")
    r.until("ev=dump_command exit_status=3", "err")
    equal(r.process.poll(), None, "after a dump that failed")
    r.signal(signal.SIGQUIT)
    r.wait(3)


def t_dump_given_up(b):
    """A power cut does not wait for a command that does not read; while it is held, the guest's state says so."""
    r = dumping(b, to="|exec sleep 8")
    r.signal(signal.SIGUSR2)
    eventually(lambda: env_of(b, "dumpee").get("state") == "held", "the guest is held")
    equal([cpu["last_known_ip"] for cpu in env_of(b, "dumpee")["cpus"]], ["0x0", "0x0"], "last known ip")
    r.signal(signal.SIGQUIT)
    r.wait(3, 7)
    expect("ev=dump_failed" in r.err(), r.said())


def t_dump_refused(b):
    """Without `dump` there is none; a directory that is not there is told before the guest runs."""
    r = b.start(b.machine(raw(b, SAY_K + SPIN)))
    r.until("K")
    r.signal(signal.SIGUSR2)
    r.until('ev=dump_refused .*the configuration has no dump', "err")
    r.signal(signal.SIGQUIT)
    r.wait(3)
    r = b.start(b.machine(extra="dump nowhere"))
    expect(r.process.wait(kvmtest.WAIT_S) in (64, 65), r.said())
    expect("nowhere" in r.err() and not r.out(), r.said())


def t_dump_watchdog(b):
    """A watchdog that dumps: first the core, then the end, with the watchdog's code."""
    code = SAY_K + "48bb8877665544332211" + BITE
    r = b.start(b.machine(raw(b, code), extra="dump . vdev wdt-ib700 action dump,terminate", name="bitten"))
    r.wait(4)
    core, = glob.glob(b.path("bitten-*.gcore"))
    expect("0x1122334455667788" in gdb(b, core, "p/x $rbx"), "rbx")
    equal(re.findall(DUMPED, r.err()), ["./" + os.path.basename(core)], "what it said")
    r = b.start(b.machine(raw(b, code), extra="vdev wdt-ib700 action dump,terminate"))
    r.wait(4)
    expect("ev=dump_refused" in r.err(), r.said())


def t_held_at_work(b):
    """Dumps and status in the middle of disk I/O and interrupts: nothing is lost, torn or done twice."""
    b.write("disk.img", bytes(16 << 20))
    os.makedirs(b.path("dumps"))
    r = b.start(b.machine("blkworker", "secs=0 region=8M qd=16 segs=4 flush_every=50",
                          "cpu dump dumps vdev virtio-blk hostdev disk.img"))
    r.until("blk: init done")
    for n in range(1, 6):
        for _ in range(10):
            r.signal(signal.SIGUSR1)
            time.sleep(0.005)
        ask_dump(r, n)
    r.signal(signal.SIGTERM)
    r.wait(0)
    total = re.search(r"blk: total .* ops=(\d+) err=0 .* verified=(\d+)", r.out())
    expect(total and int(total[1]) > 10 and "guest: done ok" in r.out(), r.said())
    cores = sorted(glob.glob(b.path("dumps/*.gcore")))
    equal(len(cores), 5, "dumps")
    expect("LWP 2" in gdb(b, cores[-1], "info threads"), "vCPUs of the last one")


# ---- the runtime directory ----

def env_of(b, name="vm"):
    try:
        with open(os.path.join(b.run_dir, "qvm", name, "env"), encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def t_env(b):
    """`env`: JSON, renewed, with the vCPUs' last known addresses, vdevs and counters; gone with the VM."""
    r = b.start(b.machine(cmdline="sleep_ms=60000", extra="cpu vdev progress name post"))
    r.until("hello: map base=0xe0000000")
    env = eventually(lambda: (e := env_of(b)) and e["cpus"][0]["last_known_ip"] != "0x0" and e, "an address")
    equal(next(iter(env)), "schema", "first member")
    equal((env["schema"], env["system"], env["pid"], env["state"], env["ram_bytes"]),
          (1, "vm", r.process.pid, "running", 64 << 20), "what it says")
    expect(0x100000 <= int(env["cpus"][0]["last_known_ip"], 16) < 0x4000000, env["cpus"])
    equal([cpu["id"] for cpu in env["cpus"]], [0, 1], "vCPUs")
    for cpu in env["cpus"]:
        with open(f"/proc/{r.process.pid}/task/{cpu['thread']}/comm", encoding="ascii") as f:
            equal(f.read(), f"vm-vCPU{cpu['id']}\n", "thread")
    expect(env["cpus"][0]["exits"]["io"] > 0 and env["counters"]["exit.io"] > 0, env)
    vdevs = {vdev["name"]: vdev for vdev in env["vdevs"]}
    equal((vdevs["post"]["type"], vdevs["acpi-pm"]["type"]), ("progress", "acpi-pm"), "vdevs")
    with open(os.path.join(b.run_dir, "qvm/vm/post"), encoding="ascii") as f:
        equal(f.read(), "type=progress codes=0\n", "the vdev's own file")
    eventually(lambda: env_of(b)["uptime_ms"] > env["uptime_ms"], "renewal")
    r.signal(signal.SIGTERM)
    r.wait(0)
    expect(not os.path.exists(os.path.join(b.run_dir, "qvm/vm")), "the directory is left behind")


def t_taken_over(b):
    """What a killed qvm left is gone with the next one of the name; while it lives, a second one touches nothing."""
    place = os.path.join(b.run_dir, "qvm/vm")
    first = b.start(b.machine(cmdline="sleep_ms=60000"))
    first.until("hello: map")
    eventually(lambda: env_of(b), "env")
    second = b.start(b.machine())
    second.wait(64)
    expect(f"process {first.process.pid} " in second.err(), second.said())
    equal(env_of(b)["pid"], first.process.pid, "env after a second one was refused")
    first.process.kill()
    first.process.wait()
    with open(os.path.join(place, "left"), "wb"):
        pass
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.join(place, "old"))
    third = b.start(b.machine(cmdline="sleep_ms=60000"))
    third.until("hello: map")
    equal(sorted(set(os.listdir(place)) & {"left", "old"}), [], "left over")
    eventually(lambda: env_of(b).get("pid") == third.process.pid, "env of the third")
    third.signal(signal.SIGTERM)
    third.wait(0)
    expect(not os.path.exists(place), "the directory is left behind")


def t_threads(b):
    """Threads have the VM's name; the number of a vCPU survives a long one."""
    r = b.start(b.machine(raw(b, SAY_K + SPIN), extra="cpu " * 10, name="a-very-long-name"))
    r.until("K")

    def names():
        found = set()
        for path in glob.glob(f"/proc/{r.process.pid}/task/*/comm"):
            with open(path, encoding="ascii") as f:
                found.add(f.read().strip())
        return found

    want = {"a-very-lo-vCPU0", "a-very-lo-vCPU9", "a-very-l-vCPU10", "a-very-long--io"}
    expect(want <= names(), f"{sorted(names())}")
    r.signal(signal.SIGQUIT)
    r.wait(3)


# ---- log lines ----

class Syslog:
    def __init__(self, b):
        self.path = b.path("syslog")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)

    def lines(self):
        found = []
        self.sock.setblocking(False)
        try:
            while True:
                found.append(self.sock.recv(4096).decode())
        except BlockingIOError:
            return found


PROGRESS = "b012 e680"  # 0x12 to port 0x80
FAULT = "b040 e6f4"  # debug-exit does not know this


def t_loggers(b):
    """A set of severities to each destination; no severity that was not named, no second line of one that was."""
    log = Syslog(b)
    r = b.start(b.machine(raw(b, FAULT + "b001 e6f4" + SPIN), serial="hostdev >serial",
                          extra="vdev debug-exit logger info slog logger warn stdout"), "--syslog", log.path)
    r.wait(33)
    lines = log.lines()
    equal(len(lines), 1, f"lines of the system's log: {lines}")
    expect(re.fullmatch(rf'<30>qvm\[{r.process.pid}\]: ev=ended code=33 why=".*" vm=vm', lines[0]), lines[0])
    expect("ev=guest_fault" in r.out() and "ev=ended" not in r.out(), r.said())
    equal(r.err(), "", "stderr")
    r = b.start(b.machine(raw(b, "b001 e6f4" + SPIN), extra="vdev debug-exit logger info slog"),
                "--syslog", b.path("nobody"))
    r.wait(33)
    expect("ev=ended" in r.err(), "without a system's log, stderr stands for it: " + r.said())
    r = b.start(b.machine(raw(b, "b001 e6f4" + SPIN), extra="vdev debug-exit logger fatal,error none"))
    r.wait(33)
    equal(r.err(), "", "stderr")


def t_vdev_log(b):
    """`log` of a vdev takes the place of the loggers, for its lines alone."""
    log = Syslog(b)
    code = PROGRESS + FAULT + "b001 e6f4" + SPIN
    r = b.start(b.machine(raw(b, code), extra="vdev progress vdev debug-exit"))
    r.wait(33)
    expect("ev=progress" not in r.err() and "ev=guest_fault" in r.err(), r.said())
    r = b.start(b.machine(raw(b, code), extra="vdev progress log debug stderr vdev debug-exit log warn slog"),
                "--syslog", log.path)
    r.wait(33)
    expect("ev=progress" in r.err() and "ev=guest_fault" not in r.err() and "ev=ended" in r.err(), r.said())
    expect([line for line in log.lines() if "dev=debug-exit" in line and line.startswith("<28>")], "slog")
    r = b.start(b.machine(raw(b, code), extra="vdev progress vdev debug-exit log error stderr"))
    r.wait(33)
    expect("ev=guest_fault" not in r.err(), r.said())


if __name__ == "__main__":
    kvmtest.main(globals())
