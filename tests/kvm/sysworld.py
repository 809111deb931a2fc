# SPDX-License-Identifier: Apache-2.0
"""What the tests of the whole product share: a host in a folder of its own, with hostd, the mediator and real guests.

A test is a function with one argument, a Host. A test file ends with sysworld.main(globals()); `FILE --build BUILD
NAME`
runs the function t_NAME. Exit status 77: skipped, with the reason. Nothing here outlives the test: close() ends every
process that hostd has said it started, by its number.
"""

import argparse
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import kvmtest
from kvmtest import Failed, equal, expect

WAIT_S = kvmtest.WAIT_S
MIB = 1 << 20
SECTOR = 512
PROGRAMS = ("qvm", "mediator", "hostd", "hostctl")

# hostctl's exit codes.
OK, FAILED, USAGE, NO_SUCH, ALREADY, DENIED, TIMEOUT, NO_HOSTD, CONFIG, NOT_RUNNING = range(10)

GUEST = """\
system {name}
ram 64m
cpu
load "{kernel}"
cmdline "{cmdline}"
vdev ioapic name apic
vdev ser8250 intr apic:4 hostdev -
{disks}
"""

MEDIATED = "vdev virtio-blk hostdev mediator:data name data"

# Shares of 16 MiB, one behind the other, in the order of the arguments.
SHARE = """\
[share {name}/data]
device = disk
class = {klass}
offset = {offset}M
length = 16M
{extra}
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(what, fn, seconds=WAIT_S):
    deadline = time.monotonic() + seconds
    while True:
        got = fn()
        if got:
            return got
        expect(time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


def fields(line):
    return dict(re.findall(r"(\w+)=([^ ]+)", line))


class Console:
    """A `hostctl console`, with its lines so far and a keyboard."""

    def __init__(self, host, name):
        self.host, self.name = host, name
        self.lines, self.ended = [], False
        self.news = threading.Condition()
        self.process = subprocess.Popen(host.argv("console", name), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for raw in self.process.stdout:
            with self.news:
                self.lines.append(raw.decode(errors="replace").rstrip("\r\n"))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def key(self, key):
        self.process.stdin.write(key.encode())
        self.process.stdin.flush()

    def mark(self):
        with self.news:
            return len(self.lines)

    def text(self):
        with self.news:
            return "\n".join(self.lines)

    def wait(self, pattern, since=0, seconds=WAIT_S):
        """The first line from number @since on that matches."""
        deadline = time.monotonic() + seconds
        at = since
        with self.news:
            while True:
                for line in self.lines[at:]:
                    if re.search(pattern, line):
                        return line
                    expect("guest: FAILED" not in line, f"{self.name}: {line}")
                at = len(self.lines)
                tail = "\n".join(self.lines[-20:])
                expect(not self.ended, f"the console of {self.name} ended without {pattern!r}:\n{tail}")
                left = deadline - time.monotonic()
                expect(left > 0, f"{self.name} did not say {pattern!r} in {seconds:.0f} s:\n{tail}")
                self.news.wait(left)

    def close(self):
        self.process.kill()
        self.process.wait()


class Host:
    """A folder with etc/, run/, state/, bin/ and a disk, and at most one hostd."""

    def __init__(self, build, folder=None):
        self.build = os.path.abspath(build)
        self.folder = folder or tempfile.mkdtemp(prefix="parley-sys.")
        for part in ("etc/vms", "etc/mediator.d", "bin"):
            os.makedirs(self.path(part), exist_ok=True)
        for name in PROGRAMS:
            os.symlink(os.path.join(self.build, name, name), self.path("bin", name))
        self.hostd, self.consoles, self.pids = None, [], set()
        self.others = []
        self.hostd_prefix = []  # what runs hostd, when it is not run directly
        self.log_path = self.path("hostd.log")

    # ---- files ----

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, text, *parts):
        with open(self.path(*parts), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(*parts)

    def disk(self, mib=32, name="disk.img"):
        """A disk image with known bytes."""
        with open(self.path(name), "wb") as f:
            for _ in range(mib):
                f.write(b"\x5a" * MIB)

    def read_disk(self, offset, length, name="disk.img"):
        with open(self.path(name), "rb") as f:
            f.seek(offset)
            return f.read(length)

    def policy(self, *shares, extra=""):
        """One disk; each share is NAME, CLASS and perhaps further lines."""
        text = f"[device disk]\npath = {self.path('disk.img')}\n{extra}\n"
        for i, (name, klass, *more) in enumerate(shares):
            text += SHARE.format(name=name, klass=klass, offset=16 * i, extra="\n".join(more))
        self.write(text, "etc", "mediator.d", "disk.policy")

    def guest_file(self, guest):
        return os.path.join(self.build, "tests", "guests", guest + ".elf")

    def vm(self, name, klass, cmdline, guest="blkworker", disks=MEDIATED):
        self.write(GUEST.format(name=name, kernel=self.guest_file(guest), cmdline=cmdline, disks=disks),
                   "etc", "vms", name + ".qvmconf")
        self.write(f"class = {klass}\nstop-timeout = 50s\n", "etc", "vms", name + ".vm")

    # ---- hostd ----

    def start(self, mediator=True):
        """Until it answers and, if @mediator, until its mediator runs."""
        argv = [*self.hostd_prefix, self.path("bin", "hostd"), "--config-dir", self.path("etc"),
                "--state-dir", self.path("state"), "--run-dir", self.path("run"), "--bin-dir", self.path("bin")]
        with open(self.log_path, "ab") as log:
            self.hostd = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("hostd to answer", lambda: self.run_ctl("version").returncode == OK or self.hostd.poll() is not None)
        expect(self.hostd.poll() is None, f"hostd ended at once:\n{self.log()}")
        if mediator:
            wait_for("the mediator to run", lambda: self.mediator()["state"] == "running")
        return self

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def end_hostd(self, number=signal.SIGTERM, code=0):
        self.note_pids()
        self.hostd.send_signal(number)
        try:
            got = self.hostd.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"hostd still runs {WAIT_S:.0f} s after signal {number}") from None
        self.hostd = None
        equal(got, code, f"hostd's exit status; its log:\n{self.log()}")

    # ---- hostctl ----

    def argv(self, *words):
        return [self.path("bin", "hostctl"), "--run-dir", self.path("run"), *words]

    def run_ctl(self, *words):
        return subprocess.run(self.argv(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=2 * WAIT_S, check=False)

    def ctl(self, *words, code=OK):
        """What `hostctl WORDS` printed, its complaints behind; it must end with @code."""
        r = self.run_ctl(*words)
        equal(r.returncode, code, f"exit status of hostctl {' '.join(words)}\n{r.stdout}{r.stderr}")
        return r.stdout + r.stderr

    def json(self, *words, code=OK):
        r = self.run_ctl("--json", *words)
        equal(r.returncode, code, f"exit status of hostctl --json {' '.join(words)}\n{r.stdout}{r.stderr}")
        answer = json.loads(r.stdout)
        equal(answer["schema"], 1, "schema")
        return answer

    def status(self, name):
        return self.json("status", name)["vm"]

    def mediator(self):
        return self.json("list")["processes"][0]

    def events(self):
        """One JSON object a line."""
        return [json.loads(line) for line in self.ctl("--json", "events").splitlines()]

    def event(self, subject, text, since_ms=0):
        """The first event about @subject since then whose text has @text in it; waits for it."""
        def look():
            return [e for e in self.events()
                    if e["subject"] == subject and e["time_ms"] >= since_ms and re.search(text, e["text"])]
        return wait_for(f"an event of {subject}: {text}", look)[0]

    def share(self, name):
        return next(s for s in self.json("stats")["shares"] if s["share"] == name)

    def start_vm(self, name):
        self.ctl("start", name)
        return self.console(name)

    def console(self, name):
        self.consoles.append(Console(self, name))
        return self.consoles[-1]

    def note_pids(self):
        """Remembers every process of hostd's, for close()."""
        r = self.run_ctl("--json", "list")
        if r.returncode == OK:
            answer = json.loads(r.stdout)
            self.pids |= {p["pid"] for p in answer["vms"] + answer["processes"] if p["pid"]}
        return self.pids

    def spawn(self, argv, **how):
        """A process beside hostd; the test ends it, or close()."""
        p = subprocess.Popen(argv, **{"stdin": subprocess.DEVNULL, **how})
        self.others.append(p)
        return p

    def close(self):
        for console in self.consoles:
            console.close()
        if self.hostd:
            self.note_pids()
            self.hostd.kill()
            self.hostd.wait()
        for p in self.others:
            if p.poll() is None:
                p.kill()
                p.wait()
        for pid in self.pids:
            # Only what still is a program of ours: numbers are used again.
            if alive(pid) and self.is_ours(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_ours(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return self.folder.encode() in f.read()
        except OSError:
            return False


# ---- what a guest has written, seen from the host ----

PATTERN_MAGIC = 0x3159454c52415021  # tests/guests/blkworker/pattern.c
PATTERN_WORDS = struct.Struct("<64Q")


def generations(data, first_sector, seed, block_bytes):
    """Of each block, the oldest generation that one of its sectors has; every sector must be whole and the worker's."""
    oldest = []
    for at in range(0, len(data), SECTOR):
        words, sector = PATTERN_WORDS.unpack_from(data, at), first_sector + at // SECTOR
        equal(words[:2], (PATTERN_MAGIC, sector), f"magic and number of sector {sector}")
        equal(words[3], seed, f"seed of sector {sector}")
        equal(words[63], sum(words[:63]) & (1 << 64) - 1, f"sum of sector {sector}")
        if at % block_bytes == 0:
            oldest.append(words[2])
        oldest[-1] = min(oldest[-1], words[2])
    return oldest


def worker_done(console, seconds=WAIT_S):
    """Until the guest is done and says that all was right: the fields of its total."""
    total = fields(console.wait("^blk: total", 0, seconds))
    console.wait("^blk: final done", 0, seconds)
    console.wait("^guest: done ok", 0, seconds)
    equal(total["err"], "0", f"I/O errors of {console.name}")
    return total


def main(names):
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("test")
    options = parser.parse_args()
    reason = kvmtest.why_not()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(kvmtest.SKIPPED)
    host = Host(options.build)
    try:
        names["t_" + options.test](host)
    except Exception as e:  # whatever went wrong, the log of hostd belongs to it
        print(f"FAILED {options.test}: {e if isinstance(e, Failed) else traceback.format_exc()}")
        print("--- log of hostd:\n" + "\n".join(host.log().splitlines()[-60:]))
        sys.exit(1)
    finally:
        host.close()
