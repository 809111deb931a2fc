# SPDX-License-Identifier: Apache-2.0
"""What the tests of hostd and hostctl share: a host in a folder of its own, with a qvm that has no machine
(hostd_qvm.c) and the real mediator. Programs come by environment: HOSTD, HOSTCTL, MEDIATOR, FAKE_QVM."""

import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

SKIP = 77
FACTOR = int(os.environ.get("MESON_TEST_TIMEOUT_MULTIPLIER", "1"))
WAIT_S = 10 * FACTOR

OK, FAILED, USAGE, NO_SUCH, ALREADY, DENIED, TIMEOUT, NO_HOSTD, CONFIG, NOT_RUNNING = range(10)

POLICY = """[device d0]
path = {dir}/disk.img
[share cluster/root]
device = d0
class = safety
length = 4M
[share ivi/root]
device = d0
class = best-effort
offset = 4M
length = 4M
"""


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def same(got, want, what=""):
    check(got == want, f"{what}: got {got!r}, not {want!r}")


def wait_for(what, fn, secs=WAIT_S):
    end = time.monotonic() + secs
    while time.monotonic() < end:
        got = fn()
        if got:
            return got
        time.sleep(0.01)
    raise AssertionError(f"waited {secs} s for {what}")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Host:
    """A folder with etc/, run/, state/, bin/, and at most one hostd."""

    def __init__(self, policy=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="parley-hostd."))
        for name in ("etc/vms", "etc/mediator.d", "bin"):
            (self.dir / name).mkdir(parents=True)
        (self.dir / "bin/qvm").symlink_to(os.environ["FAKE_QVM"])
        (self.dir / "bin/mediator").symlink_to(os.environ["MEDIATOR"])
        with open(self.dir / "disk.img", "wb") as f:
            f.truncate(8 << 20)
        if policy:
            self.policy(policy)
        self.proc = None
        self.log = self.dir / "log"
        self.leftovers = set()

    def policy(self, text):
        (self.dir / "etc/mediator.d/a.policy").write_text(text.format(dir=self.dir))

    def conf(self, text):
        (self.dir / "etc/hostd.conf").write_text(text)

    def vm(self, name, text="", vm=None):
        (self.dir / f"etc/vms/{name}.qvmconf").write_text(text)
        if vm is not None:
            (self.dir / f"etc/vms/{name}.vm").write_text(vm)

    def argv(self):
        return [os.environ["HOSTD"], "--config-dir", str(self.dir / "etc"), "--state-dir", str(self.dir / "state"),
                "--run-dir", str(self.dir / "run"), "--bin-dir", str(self.dir / "bin"), "--foreground"]

    def start(self):
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("hostd to answer", lambda: self.ctl("version", want=None)[0] == OK)
        return self

    def ctl(self, *args, want=OK, stdin=None, secs=60):
        """hostctl ARGS: (exit code, stdout, stderr). want=None takes any code."""
        p = subprocess.run([os.environ["HOSTCTL"], "--run-dir", str(self.dir / "run"), *args], input=stdin,
                           stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True,
                           timeout=secs * FACTOR, check=False)
        out, err = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
        check(want is None or p.returncode == want, f"hostctl {args}: exit {p.returncode}, not {want}: {out}{err}")
        return p.returncode, out, err

    def json(self, *args, want=OK):
        answer = json.loads(self.ctl("--json", *args, want=want)[1])
        same(answer["schema"], 1, "schema")
        return answer

    def status(self, name):
        return self.json("status", name)["vm"]

    def mediator(self):
        return self.json("list")["processes"][0]

    def wait_state(self, name, state, secs=WAIT_S):
        return wait_for(f"{name} {state}", lambda: [s for s in [self.status(name)] if s["state"] == state], secs)[0]

    def log_text(self):
        return self.log.read_text(errors="replace")

    def pids(self):
        """Every process that hostd has started and that lives."""
        answer = self.json("list")
        return [p["pid"] for p in answer["vms"] + answer["processes"] if p["pid"]]

    def end(self, sig=signal.SIGTERM, want=0):
        self.proc.send_signal(sig)
        code = self.proc.wait(timeout=60 * FACTOR)
        self.proc = None
        same(code, want, f"hostd's exit status; its log:\n{self.log_text()}")

    def close(self):
        if self.proc:
            self.leftovers.update(self.pids() if self.proc.poll() is None else [])
            self.proc.kill()
            self.proc.wait()
        for pid in self.leftovers:
            # Only what still is a program of ours: numbers are used again.
            if alive(pid) and self.is_ours(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def is_ours(self, pid):
        try:
            return str(self.dir).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False


def hello(major=1):
    """The first frame of a client, made by hand: Envelope{hello = Hello{major}}."""
    body = b"\x08" + bytes([major])
    return frame(b"\x12" + bytes([len(body)]) + body)


def frame(envelope):
    return struct.pack("<I", len(envelope)) + envelope


def connect(host):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(WAIT_S)
    s.connect(str(host.dir / "run/hostd.sock"))
    return s


def read_to_end(s):
    got = b""
    while True:
        try:
            more = s.recv(65536)
        except ConnectionResetError:
            return got
        if not more:
            return got
        got += more


def main(scope):
    """Runs each test_* of a module; a test gets a Host that is taken away behind it."""
    names = [n for n in scope if n.startswith("test_") and (len(sys.argv) < 2 or n in sys.argv[1:])]
    failed = 0
    for name in names:
        host, start = Host(), time.monotonic()
        try:
            scope[name](host)
            print(f"ok   {name} ({time.monotonic() - start:.2f} s)", flush=True)
        except Exception:  # a test may fail in any way; the others run
            failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
            if host.log.exists():
                print("--- log of hostd\n" + host.log_text()[-6000:], flush=True)
        finally:
            host.close()
    check(names, "no test of that name")
    sys.exit(1 if failed else 0)
