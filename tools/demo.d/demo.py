#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo itself: a whole Parley in one folder.

Part one: starts hostd (which starts the mediator), has hostctl start two VMs whose guests write, read and verify their
share of one disk image through the mediator, and measures what the safety guest sees: alone, beside a guest that floods
the disk, and the same with priorities switched off. Part two: the safety guest plays a chime over the other one's music
while both use the disk; what was heard is measured and drawn. Every step is a command that a user could type; each is
shown.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import linux
import sound

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

POLICY = """\
# One disk image, two shares.
[device disk]
path = {disk}
# Past the page cache, so that the disk is what both wait for.
direct = {direct}
slots = 32
# Slots that lower classes never take.
reserve = 4
# Lower-class requests are cut into slices of this size.
slice = 64K
# What a safety request may have to wait at most: the cap of lower-class slices follows from it.
target = 10ms
service-limit = 1ms

[share cluster/data]
device = disk
class = safety
depth = 1
offset = 0
length = {length}

[share ivi/data]
device = disk
class = best-effort
offset = {length}
length = {length}
"""

SHARE_BYTES = 32 << 20
EXTENTS = {"cluster": (0, SHARE_BYTES), "ivi": (SHARE_BYTES, SHARE_BYTES)}

GUEST = """\
system {name}
ram 0,0xa0000
rom 0xc0000,0x40000
ram 1M,63M
cpu {sched}
load "{kernel}"
cmdline "{cmdline}"
vdev ioapic
    intr apic
    name ioapic
vdev ser8250
    intr ioapic:4
    hostdev -
vdev virtio-blk
    hostdev mediator:data
    name data
"""


class Failure(Exception):
    """Something went wrong; the sentence for the operator."""


def readable(us):
    return f"{us / 1000:.2f} ms" if us >= 1000 else f"{us:.0f} us"


class SmallGuests:
    """Programs that bring their own drivers and work in ring 3: they run on every KVM."""

    ended = "^guest: done ok"
    plays = True

    def __init__(self, build):
        self.kernel = os.path.join(build, "tests", "guests", "blkworker.elf")

    def config(self, name, sched, words_):
        words_ = [*words_, sound.chime() if name == "cluster" else sound.music()]
        return GUEST.format(name=name, sched=sched, kernel=self.kernel, cmdline=" ".join(words_)) + sound.VDEV

    def fill(self, disk, extents):
        pass

    def check(self, disk, extents):
        pass


class Console:
    """A `hostctl console` with a pipe at each end."""

    def __init__(self, demo, name):
        self.name = name
        self.patience = demo.args.patience
        self.lines = []
        self.news = threading.Condition()
        self.proc = subprocess.Popen(demo.hostctl_argv("console", name), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for raw in self.proc.stdout:
            with self.news:
                self.lines.append(raw.decode(errors="replace").rstrip("\r\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    def key(self, key):
        self.proc.stdin.write(key.encode())
        self.proc.stdin.flush()

    def mark(self):
        with self.news:
            return len(self.lines)

    def wait(self, pattern, since=0, seconds=30, what=None):
        """The first line from index @since on that matches."""
        deadline = time.monotonic() + seconds * self.patience
        with self.news:
            at = since
            while True:
                for line in self.lines[at:]:
                    if line is None:
                        raise Failure(f"the console of {self.name} ended while waiting for "
                                      f"{what or pattern}")
                    if re.search("guest: (FAILED|failed)", line):
                        raise Failure(f"{self.name}: {line}")
                    if re.search(pattern, line):
                        return line
                at = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failure(f"{self.name} did not say {what or pattern} in "
                                  f"{seconds * self.patience:.0f} s")
                self.news.wait(left)

    def close(self):
        self.proc.terminate()
        self.proc.wait()


def safety_sched():
    """How the vCPU of a safety VM is scheduled, as far as this user may: 8 ms of each 10 ms guaranteed, or a real-time
    priority, which the kernel takes away for 50 ms in a second where such threads leave nothing to the others."""
    if subprocess.run(["chrt", "--deadline", "--sched-runtime", "8000000", "--sched-period", "10000000",
                       "--sched-deadline", "10000000", "0", "true"],
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return "sched 10,1,1,10000000,8000000s"
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return "sched 10r"
    except PermissionError:
        return ""


def words(line):
    return dict(re.findall(r"(\w+)=([^ ]+)", line))


class Table:
    """Rows that fill while the measurement runs, in place on a terminal."""

    COLUMNS = ("", "p50", "p99", "worst", "mediator worst", "bound")
    WIDTHS = (34, 10, 10, 10, 15, 10)

    def __init__(self):
        self.live = sys.stdout.isatty()
        print()
        self.show(self.COLUMNS)
        self.show(["-" * (w - 1) for w in self.WIDTHS])

    def show(self, cells, end="\n"):
        text = "  ".join(f"{c:<{w}}" if i == 0 else f"{c:>{w}}"
                         for i, (c, w) in enumerate(zip(cells, self.WIDTHS)))
        print(text, end=end, flush=True)

    def update(self, cells):
        if self.live:
            print("\r", end="")
            self.show(cells, end="\x1b[K")

    def settle(self, cells):
        if self.live:
            print("\r\x1b[K", end="")
        self.show(cells)


class Demo:
    def __init__(self, args):
        self.args = args
        self.build = os.path.abspath(args.build)
        self.dir = args.dir or tempfile.mkdtemp(prefix="parley-demo.")
        self.dir = os.path.abspath(self.dir)
        self.hostd = None
        self.consoles = []
        self.guests = SmallGuests(self.build)

    # ---- which guests ----

    def probe(self):
        """What kind of KVM this is."""
        r = subprocess.run([os.path.join(self.build, "tools", "kvmprobe"), "--json"],
                           capture_output=True, text=True, timeout=60, check=False)
        if r.returncode:
            raise Failure(f"this machine's KVM runs no guest: {r.stderr.strip()}")
        return json.loads(r.stdout)

    def choose_guests(self):
        kvm = self.probe()
        speed = f"{kvm['ns_per_instruction']:.{1 if kvm['native'] else 0}f} ns an instruction"
        if not kvm["native"]:
            if self.args.linux:
                raise Failure(f"this machine's KVM emulates a guest's kernel ({speed}), and not all of its "
                              "instructions: Debian's does not boot here. It does on the emulated board: "
                              "tools/board x86")
            print(f"This machine's KVM emulates a guest's kernel ({speed}): the guests are small programs "
                  "that do their work in ring 3.\n")
            return
        if not self.args.linux:
            print(f"This machine's KVM runs a guest's kernel natively ({speed}): with --linux, Debian's is in "
                  "both guests.\n")
            return
        print(f"This machine's KVM runs a guest's kernel natively ({speed}): both guests are Debian's.\n")
        folder = self.args.linux_guest or self.make_linux_guest()
        self.guests = linux.LinuxGuests(folder, self.build, self.dir, self.args.region)

    def make_linux_guest(self):
        try:
            subprocess.run([os.path.join(TOP, "tools", "packages"), "guest"], check=True)
            return subprocess.run([os.path.join(TOP, "tools", "board"), "x86", "--make-guest"], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout.strip()
        except subprocess.CalledProcessError as e:
            raise Failure("there is no Linux to boot: tools/board x86 --make-guest could not make it") from e

    # ---- the world ----

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, text, *parts):
        os.makedirs(os.path.dirname(self.path(*parts)), exist_ok=True)
        with open(self.path(*parts), "w", encoding="utf-8") as f:
            f.write(text)

    def program(self, name):
        return os.path.join(self.build, name, name)

    def guest_config(self, name, klass, cmdline):
        sched = safety_sched() if klass == "safety" else ""
        self.write(self.guests.config(name, sched, cmdline.split()), "etc", "vms", f"{name}.qvmconf")
        limit_s = 10 * self.args.patience
        self.write(f"class = {klass}\nstop-timeout = {limit_s}s\n", "etc", "vms", f"{name}.vm")

    def direct_io(self):
        """Whether the disk image's file system does direct I/O (a tmpfs of an older kernel does not)."""
        try:
            os.close(os.open(self.path("disk.img"), os.O_RDWR | os.O_DIRECT))
            return "yes"
        except OSError:
            return "no"

    def lay_out(self):
        os.makedirs(self.path("bin"), exist_ok=True)
        for name in ("qvm", "mediator", "hostd", "hostctl"):
            if not os.path.exists(self.program(name)):
                raise Failure(f"{self.program(name)} is not there: it was not built")
            link = self.path("bin", name)
            if os.path.lexists(link):
                os.unlink(link)
            os.symlink(self.program(name), link)
        with open(self.path("disk.img"), "wb") as f:
            # Written, not only sized: blocks that come into being under load would be the file system's time.
            for _ in range(2 * SHARE_BYTES >> 20):
                f.write(bytes(1 << 20))
            os.fsync(f.fileno())
        self.guests.fill(self.path("disk.img"), EXTENTS)
        self.write(f"start-timeout = {10 * self.args.patience}s\n", "etc", "hostd.conf")
        policy = POLICY.format(disk=self.path("disk.img"), direct=self.direct_io(),
                               length=SHARE_BYTES)
        self.write(policy, "etc", "mediator.d", "disk.policy")
        if self.guests.plays:
            # A mediator goes on with the file that it finds.
            shutil.rmtree(self.path("sound"), ignore_errors=True)
            os.makedirs(self.path("sound"))
            self.write(sound.policy(self.path("sound", "speaker.wav")), "etc", "mediator.d", "sound.policy")
        common = f"region={self.args.region} secs=0 verify=1 init=1 final=1"
        self.guest_config("cluster", "safety", f"{common} seed=1 qd=1 bs=4096 rw=70 live=1")
        self.guest_config("ivi", "best-effort",
                          f"{common} seed=2 qd=64 bs=4096 rw=50 paused=1")

    # ---- commands ----

    def hostctl_argv(self, *words_):
        return [self.path("bin", "hostctl"), "--run-dir", self.path("run"), *words_]

    def hostctl(self, *words_, quiet=False):
        if not quiet:
            print(f"$ hostctl {' '.join(words_)}", flush=True)
        r = subprocess.run(self.hostctl_argv(*words_), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60 * self.args.patience,
                           check=False)
        if not quiet and r.stdout:
            print(r.stdout.rstrip())
        if r.returncode:
            raise Failure(f"hostctl {' '.join(words_)}: exit {r.returncode}: "
                          f"{r.stdout.strip() or 'it said nothing'}")
        return r.stdout

    def start_hostd(self):
        log = open(self.path("hostd.log"), "wb")
        argv = [self.path("bin", "hostd"), "--config-dir", self.path("etc"),
                "--state-dir", self.path("state"), "--run-dir", self.path("run"),
                "--bin-dir", self.path("bin")]
        print("$ hostd --config-dir etc --state-dir state --run-dir run &", flush=True)
        self.hostd = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10 * self.args.patience
        while time.monotonic() < deadline:
            if self.hostd.poll() is not None:
                raise Failure(f"hostd ended at once; see {self.path('hostd.log')}")
            r = subprocess.run(self.hostctl_argv("list", "--json"), capture_output=True, text=True,
                               timeout=10 * self.args.patience, check=False)
            if r.returncode == 0:
                procs = json.loads(r.stdout)["processes"]
                if any(p.get("state") == "running" for p in procs):
                    return
            time.sleep(0.05)
        raise Failure(f"hostd did not get its mediator running in 10 s; see {self.path('hostd.log')}")

    # ---- the measurement ----

    def share_stats(self, share, reset=False):
        words_ = ["stats", "--json"] + (["--reset-worst"] if reset else [])
        stats = json.loads(self.hostctl(*words_, quiet=True))
        for s in stats["shares"]:
            if s["share"] == share:
                return s
        raise Failure(f"hostctl stats does not know the share {share}")

    def measure(self, table, title, cluster):
        self.share_stats("cluster/data", reset=True)
        since = cluster.mark()
        cluster.key("r")
        cluster.wait("^blk: reset", since)
        until = time.monotonic() + self.args.seconds
        while time.monotonic() < until:
            at = cluster.mark()
            w = words(cluster.wait("^blk: t=", at, 10, "its line of the second"))
            table.update([title, *(readable(float(w[k])) for k in ("p50_us", "p99_us", "max_us")),
                          "...", "..."])
        at = cluster.mark()
        cluster.key("s")
        w = words(cluster.wait("^blk: stats", at, 10))
        s = self.share_stats("cluster/data")
        row = {k: float(w[k]) for k in ("p50_us", "p99_us", "max_us")}
        row["worst_us"] = s["latency"]["max_ns"] / 1000
        row["bound_us"] = s["bound_ns"] / 1000
        row["violations"] = s["bound_violations"]
        table.settle([title, *(readable(row[k]) for k in ("p50_us", "p99_us", "max_us", "worst_us",
                                                          "bound_us"))])
        return row

    def run_phases(self, cluster, ivi):
        print(f"\nWhat the safety guest sees: 4 KiB requests, one after the other, "
              f"{self.args.seconds} s each")
        table = Table()
        rows = [self.measure(table, "(a) cluster alone", cluster)]
        ivi.key("g")
        rows.append(self.measure(table, "(b) ivi floods, 64 x 4 KiB", cluster))
        self.hostctl("priorities", "off", quiet=True)
        rows.append(self.measure(table, "(c) the same, priorities off", cluster))
        self.hostctl("priorities", "on", quiet=True)
        return rows

    def explain(self, rows):
        a, b, c = rows
        print(f"""
The first three columns are the guest's own clock, interrupts and all; "mediator worst" is from taking the
request off the ring to completing it. The bound is what the policy promises for that, whatever ivi does.
With priorities the flood costs the safety guest a factor of {b['p99_us'] / a['p99_us']:.1f} at p99; without \
them, {c['p99_us'] / a['p99_us']:.1f}.""")
        if b["violations"]:
            print(f"NOTE: {b['violations']:.0f} requests took longer than the bound: this machine took the "
                  "processor away from the mediator.")

    # ---- part two ----

    def wait_heard(self, frames):
        wav = self.path("sound", "speaker.wav")
        deadline = time.monotonic() + 30 * self.args.patience
        while sound.frames_of(wav) < frames:
            if time.monotonic() > deadline:
                raise Failure(f"the loudspeaker's file does not grow: {wav}")
            time.sleep(0.05)

    def sound_stats(self):
        stats = json.loads(self.hostctl("stats", "--json", quiet=True))
        voices = {v["voice"]: v for v in stats["voices"]}
        return stats["sounds"][0], voices["cluster/sound"], voices["ivi/sound"]

    def part_two(self, cluster, ivi):
        print("\nA chime over music: ivi plays, cluster strikes a chime, and both go on with their disk")
        self.hostctl("stats", "--reset-worst", "--json", quiet=True)
        wav = self.path("sound", "speaker.wav")
        frame, at, rang = sound.frames_of(wav), (cluster.mark(), ivi.mark()), sound.music_seconds() / 3
        xruns = [v["xruns"] for v in self.sound_stats()[1:]]
        ivi.key("m")
        self.wait_heard(frame + int(rang * sound.RATE))
        cluster.key("m")
        self.wait_heard(frame + int((rang + sound.chime_seconds() / 2) * sound.RATE))
        self.hostctl("explain", "ivi/sound")
        cluster.wait("^snd: played", at[0], 20, "that its chime was played")
        ivi.wait("^snd: played", at[1], 20, "that its music was played")
        self.wait_heard(sound.frames_of(wav) + sound.RATE // 2)
        device, *voices = self.sound_stats()
        share = self.share_stats("cluster/data")
        try:
            heard = sound.Heard(sound.read_left(wav, frame))
        except ValueError as e:
            raise Failure(f"{e}: listen to {wav}") from e
        self.tell_sound(heard, device, [v["xruns"] - was for v, was in zip(voices, xruns)], share)

    def tell_sound(self, heard, device, xruns, share):
        heard.save(self.path("sound", "heard.wav"))
        picture = self.path("sound", "heard.png")
        try:
            sound.draw(heard, picture)
        except ImportError:
            picture = "none: python3-pil is not there (tools/packages demo)"
        before, ducked, after = heard.before(), heard.ducked(), heard.after()
        print(f"""
  chime, from sending to hearing  worst {readable(device['heard_worst_ns'] / 1000)}, \
bound {readable(device['heard_bound_ns'] / 1000)}
  music before, under, after it   {before:.1f}, {ducked:.1f}, {after:.1f} dB of full scale: \
{before - ducked:.1f} dB down, policy {sound.DUCK_DB} dB
  xruns of cluster and of ivi     {xruns[0]} and {xruns[1]}; {device['late']} periods of the device late
  cluster's disk meanwhile        mediator worst {readable(share['latency']['max_ns'] / 1000)}, \
bound {readable(share['bound_ns'] / 1000)}
  what was heard                  {self.path('sound', 'heard.wav')}
  a picture of it                 {picture}""")
        if abs(before - ducked - sound.DUCK_DB) > 3 or abs(after - before) > 3:
            print("NOTE: the music was not as loud as it should have been: this machine took the processor away from "
                  "the guest or the mediator.")

    # ---- the whole ----

    def guest_started(self, name):
        console = Console(self, name)
        self.consoles.append(console)
        line = console.wait("^blk: ready", 0, 30)
        for said in console.lines[:console.mark()]:
            if said and said.startswith("guest: "):
                print(f"  {name}: {said}")
        print(f"  {name}: {line}")
        return console

    def stop_vm(self, console):
        at = console.mark()
        self.hostctl("stop", console.name)
        final = console.wait("^blk: final done", at, 20, "that all content was right")
        console.wait(self.guests.ended, at, 20)
        print(f"  {console.name}: {final}: all content verified")

    def run(self):
        self.choose_guests()
        self.lay_out()
        print(f"All state is in {self.dir}\n")
        self.start_hostd()
        self.hostctl("start", "cluster")
        self.hostctl("start", "ivi")
        cluster = self.guest_started("cluster")
        ivi = self.guest_started("ivi")
        for console in (cluster, ivi):
            console.wait("^blk: init done", 0, 60, "that its region is written")
            print(f"  {console.name}: {self.args.region} MiB written through the mediator, verified from now on")
        self.hostctl("list")
        rows = self.run_phases(cluster, ivi)
        self.explain(rows)
        if self.guests.plays:
            self.part_two(cluster, ivi)
        if self.args.keep:
            self.hand_over()
            return
        print()
        self.stop_vm(ivi)
        self.stop_vm(cluster)
        self.hostctl("list")
        self.end_hostd()
        self.guests.check(self.path("disk.img"), EXTENTS)
        print(f"""
Everything was right. To go on from here:
  tools/demo --keep        the same, and everything stays up for play
  {self.path('etc')}    the configuration of this run: two guests, one policy
  tools/check              every test
  README.md                a session with hostctl, and where to read first""")

    def leave_only(self, name):
        """Of a folder that nobody named: what somebody may want to look at."""
        for entry in os.listdir(self.dir):
            if entry != name and os.path.isdir(self.path(entry)) and not os.path.islink(self.path(entry)):
                shutil.rmtree(self.path(entry))
            elif entry != name:
                os.unlink(self.path(entry))
        if not os.listdir(self.dir):
            os.rmdir(self.dir)

    def hand_over(self):
        ctl = " ".join(f"'{w}'" if " " in w else w for w in self.hostctl_argv())
        print(f"""
Everything runs on. Try:
  {ctl} stats --watch 1
  {ctl} console cluster          (Ctrl-] leaves; s prints statistics, m strikes the chime)
  {ctl} priorities off
  kill -9 $(pgrep -x mediator)   and look at the guests: a stall, no error
and at the end:
  {ctl} stop cluster; {ctl} stop ivi; kill {self.hostd.pid}""")
        self.hostd = None

    def end_hostd(self):
        if not self.hostd:
            return
        self.hostd.send_signal(signal.SIGTERM)
        try:
            code = self.hostd.wait(30)
        except subprocess.TimeoutExpired as e:
            raise Failure("hostd did not end in 30 s after SIGTERM") from e
        self.hostd = None
        if code:
            raise Failure(f"hostd ended with {code}; see {self.path('hostd.log')}")

    def clean_up(self):
        for console in self.consoles:
            console.close()
        if self.hostd and self.hostd.poll() is None:
            self.hostd.send_signal(signal.SIGTERM)
            try:
                self.hostd.wait(30)
            except subprocess.TimeoutExpired:
                self.hostd.kill()


def main():
    sys.stdout.reconfigure(line_buffering=True)
    p = argparse.ArgumentParser(prog="demo")
    p.add_argument("--build", required=True)
    p.add_argument("--dir")
    p.add_argument("--seconds", type=int, default=6)
    p.add_argument("--keep", action="store_true")
    p.add_argument("--linux", action="store_true")
    # For a test on an emulated board, which is slow, and has no apt.
    p.add_argument("--linux-guest", metavar="DIR", help="has vmlinux and initrd already")
    p.add_argument("--region", type=int, default=16, metavar="MIB", help="what each guest works on")
    p.add_argument("--patience", type=int, default=1, help="waits so many times longer")
    args = p.parse_args()
    demo = Demo(args)
    try:
        demo.run()
        if not args.keep and not args.dir:
            demo.leave_only("sound")
        return 0
    except (Failure, linux.Wrong) as e:
        print(f"\ndemo: {e}", file=sys.stderr)
        if os.path.exists(demo.path("hostd.log")):
            print(f"demo: logs are in {demo.dir}", file=sys.stderr)
        elif not args.dir:
            shutil.rmtree(demo.dir)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 1
    finally:
        demo.clean_up()


if __name__ == "__main__":
    sys.exit(main())
