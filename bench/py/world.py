# SPDX-License-Identifier: Apache-2.0
"""What the measurements run: our programs, their peers, files on several kinds of disk; all gone at the end."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import proto

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Missing(Exception):
    """Something that a measurement needs is not here; the sentence for the operator."""


class Broken(Exception):
    """Something that was measured did not work."""


class World:
    def __init__(self, build, quick):
        self.build = os.path.abspath(build)
        self.quick = quick
        self.dir = tempfile.mkdtemp(prefix="parley-bench.")
        self.shm = tempfile.mkdtemp(prefix="parley-bench.", dir="/dev/shm")
        self.running = []
        self.schema = proto.load(os.path.join(TOP, "proto", "parley.proto"))

    def close(self):
        for p in reversed(self.running):
            p.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.shm, ignore_errors=True)

    # ---- places ----

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def program(self, name):
        return self.built(name, name)

    def built(self, *parts):
        path = os.path.join(self.build, *parts)
        if not os.path.exists(path):
            raise Missing(f"{'/'.join(parts)} was not built")
        return path

    def guest(self, name):
        return self.built("tests", "guests", name)

    def peer(self, name):
        path = shutil.which(name)
        if not path:
            raise Missing(f"{name} is not installed: tools/packages bench")
        return path

    def need_kvm(self):
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise Missing("/dev/kvm is not there or may not be used")

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def disk_file(self, where, name, size):
        """A file with all its blocks written. @where: tmpfs or disk."""
        path = os.path.join(self.shm if where == "tmpfs" else self.dir, name)
        block = os.urandom(1 << 20)
        with open(path, "wb") as f:
            for _ in range(size >> 20):
                f.write(block)
            f.flush()
            os.fsync(f.fileno())
        return path

    # ---- running things ----

    def json_of(self, argv, timeout=120):
        r = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        if r.returncode:
            raise Broken(f"{os.path.basename(argv[0])} ended with {r.returncode}: "
                         f"{r.stderr.strip()[-300:] or 'it said nothing'}")
        return json.loads(r.stdout[r.stdout.index("{"):])

    def start(self, cls, *args, **kw):
        p = cls(self, *args, **kw)
        self.running.append(p)
        p.wait_ready()
        return p


class Process:
    """A process of the world: its standard error goes to a file, which is shown if it fails."""

    def __init__(self, world, name, argv, **kw):
        self.world = world
        self.name = name
        fd, self.log = tempfile.mkstemp(dir=world.dir, prefix=name + ".", suffix=".log")
        self.proc = subprocess.Popen(argv, stderr=fd, **kw)
        os.close(fd)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def check(self):
        if self.proc.poll() is not None:
            raise Broken(f"{self.name} ended with {self.proc.returncode}: {self.log_text()[-400:]}")

    def wait_ready(self):
        self.check()

    def wait_for(self, condition, what, seconds=15):
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise Broken(f"{self.name}: no {what} in {seconds} s")
            time.sleep(0.01)

    def stop(self):
        if self in self.world.running:
            self.world.running.remove(self)
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()


class Mediator(Process):
    def __init__(self, world, policy, run="run"):
        self.run_dir = world.path(run)
        path = world.write(f"{run}.policy", policy)
        super().__init__(world, "mediator", [world.program("mediator"), "--run-dir", self.run_dir,
                                             path], stdout=subprocess.DEVNULL)
        self.channel = None

    def socket(self, share):
        return os.path.join(self.run_dir, "mediator", share.replace("/", ".") + ".sock")

    def wait_ready(self):
        self.wait_for(lambda: "ev=ready" in self.log_text(), "ev=ready")

    def ask(self, body, reply):
        if not self.channel:
            self.channel = proto.Channel(self.world.schema,
                                         os.path.join(self.run_dir, "mediator", "control.sock"))
        return self.channel.ask(body, reply)

    def share(self, name, reset=False):
        stats = self.ask({"mediator_stats_request": {"reset_worst": reset}}, "mediator_stats")
        return next(s for s in stats["shares"] if s["share"] == name)

    def priorities(self, on):
        self.ask({"set_priorities": {"on": on}}, "done")

    def stop(self):
        if self.channel:
            self.channel.close()
            self.channel = None
        super().stop()


class StorageDaemon(Process):
    """qemu-storage-daemon as a demanding user runs it: an I/O thread of its own, io_uring."""

    def __init__(self, world, name, blockdev, objects=()):
        self.sock = world.path(name + ".sock")
        super().__init__(world, "qemu-storage-daemon", [
            world.peer("qemu-storage-daemon"), "--object", "iothread,id=io0",
            *(word for o in objects for word in ("--object", o)),
            "--blockdev", blockdev + ",node-name=n0", "--export",
            "type=vhost-user-blk,id=e0,node-name=n0,addr.type=unix,writable=on,iothread=io0,"
            f"addr.path={self.sock}"], stdout=subprocess.DEVNULL)

    def wait_ready(self):
        self.wait_for(lambda: os.path.exists(self.sock), "socket")


MMIO_AT, MMIO_LINE = "0xf0000000", 10


def guest_config(world, system, guest, cmdline, ram=64, devices=("blk",), disk=None, cpu="", more=""):
    """A qvm configuration, the serial port on standard input and output. Devices: blk (PCI), mmio (virtio-mmio)."""
    text = [f"system {system}", f"ram 0,{ram}M", f"cpu {cpu}".rstrip(),
            f'load "{world.guest(guest)}"', f'cmdline "{cmdline}"',
            "vdev ioapic", "    intr apic", "    name ioapic",
            "vdev ser8250", "    intr ioapic:4", "    hostdev -"]
    for i, dev in enumerate(devices):
        text += ["vdev virtio-blk"]
        if dev == "mmio":
            text += [f"    loc {MMIO_AT}", f"    intr ioapic:{MMIO_LINE}"]
        text += [f"    hostdev {disk or 'mediator:data'}", f"    name data{i or ''}"]
    return world.write(f"{system}.qvmconf", "\n".join(text) + "\n" + more)


class Console(Process):
    """A VMM with its guest's console on our pipes."""

    def __init__(self, world, name, argv):
        super().__init__(world, name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = []
        self.news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for raw in self.proc.stdout:
            with self.news:
                self.lines.append(raw.decode(errors="replace").strip())
                self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    def mark(self):
        with self.news:
            return len(self.lines)

    def key(self, key):
        self.proc.stdin.write(key.encode())
        self.proc.stdin.flush()

    def expect(self, pattern, since=0, seconds=60):
        deadline = time.monotonic() + seconds
        with self.news:
            at = since
            while True:
                for line in self.lines[at:]:
                    if line is None or "guest: FAILED" in line:
                        raise Broken(f"{self.name}: {line or 'its console ended'}: "
                                     f"{self.log_text()[-400:]}")
                    if re.search(pattern, line):
                        return line
                at = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Broken(f"{self.name} did not say {pattern} in {seconds} s")
                self.news.wait(left)


class Guest(Console):
    """A VMM, usually with a block worker in it."""

    def stats(self):
        """The guest's own statistics since the last reset."""
        at = self.mark()
        self.key("s")
        line = self.expect("^blk: stats", at)
        return {k: float(v) for k, v in re.findall(r"(\w+)=([0-9.]+)(?= |$)", line)}

    def reset_stats(self):
        at = self.mark()
        self.key("r")
        self.expect("^blk: reset", at)


class Vm(Guest):
    """A qvm."""

    def __init__(self, world, name, config, run_dir):
        super().__init__(world, name, [world.program("qvm"), "--run-dir", run_dir, "@" + config])

    def exits(self):
        """Exits to userspace so far, by reason."""
        before = self.log_text().count("ev=status")
        self.proc.send_signal(signal.SIGUSR1)
        self.wait_for(lambda: self.log_text().count("ev=status") > before and
                      "access.unowned" in self.log_text().rsplit("ev=status", 1)[1], "status")
        last = self.log_text().rsplit("ev=status", 1)[1]
        return {k: int(v) for k, v in re.findall(r"name=exit\.(\w+) value=(\d+)", last)}

    def finish(self):
        """Lets the worker end by itself and check its content."""
        at = self.mark()
        self.key("q")
        self.expect("^guest: done ok", at)
        self.proc.wait(10)
        self.stop()
