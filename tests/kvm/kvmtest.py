# SPDX-License-Identifier: Apache-2.0
"""What the tests of tests/kvm share: running qvm with a guest, and looking at what came out.

A test is a function with one argument, a Bench: its own folder, made anew, and the programs. A test file ends with
kvmtest.main(globals()); `FILE --qvm QVM --guests DIR NAME` runs the function t_NAME. Exit status 77: skipped.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
WAIT_S = 60.0  # for anything that a healthy machine does in a second, on one that is busy


class Failed(Exception):
    """The test's verdict."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def equal(got, want, what):
    expect(got == want, f"{what}: {got!r}, expected {want!r}")


class Run:
    """One qvm process and what it prints."""

    def __init__(self, bench, argv, stdin=subprocess.DEVNULL, pass_fds=(), env=None, preexec_fn=None):
        self.out_path = os.path.join(bench.folder, f"out{bench.n_runs}")
        self.err_path = os.path.join(bench.folder, f"err{bench.n_runs}")
        bench.n_runs += 1
        bench.runs.append(self)
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=err, cwd=bench.folder,
                                            pass_fds=pass_fds, env=env, preexec_fn=preexec_fn)

    def out(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def err(self):
        with open(self.err_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def said(self):
        return f"--- stdout:\n{self.out()}\n--- stderr:\n{self.err()}"

    def wait(self, code, seconds=WAIT_S):
        """Waits for the end; it must be exit status @code."""
        try:
            got = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"qvm still runs after {seconds:.0f} s\n{self.said()}") from None
        expect(got == code, f"exit status {got}, expected {code}\n{self.said()}")

    def until(self, pattern, where="out", seconds=WAIT_S):
        """Waits until @pattern stands in what it printed; the match."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.out() if where == "out" else self.err())
            if found:
                return found
            expect(not ended, f"qvm ended ({self.process.returncode}) before it said {pattern!r}\n{self.said()}")
            expect(time.monotonic() < deadline, f"qvm did not say {pattern!r} in {seconds:.0f} s\n{self.said()}")
            time.sleep(0.01)

    def signal(self, number):
        self.process.send_signal(number)


class Bench:
    def __init__(self, qvm, guests, mediator, shm=""):
        self.qvm, self.guests, self.mediator, self.shm = qvm, guests, mediator, shm
        self.folder = tempfile.mkdtemp(prefix="parley-kvm.")
        self.run_dir = os.path.join(self.folder, "run")
        self.n_runs = 0
        self.runs = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def guest(self, name):
        return os.path.join(self.guests, name + ".elf")

    def machine(self, guest="hello", cmdline="", extra="", ram="ram 64m", serial="hostdev >-", name="vm"):
        """The words of a small VM with a serial port on stdout."""
        load = guest if "/" in guest else self.guest(guest)
        return f"""
            system {name}
            {ram}
            cpu
            load "{load}"
            cmdline "{cmdline}"
            vdev ioapic name pic
            vdev ser8250 {serial} intr pic:4
            {extra}
        """

    def start(self, conf, *options, **how):
        """Runs qvm on a configuration file of its own, vm<N>.qvmconf."""
        name = f"vm{self.n_runs}.qvmconf"
        self.write(name, conf)
        return Run(self, [self.qvm, "--run-dir", self.run_dir, *options, "@" + name], **how)

    def start_words(self, *words, program=None, **how):
        return Run(self, [program or self.qvm, *words], **how)

    def close(self):
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def why_not():
    """Why guests cannot run here, or None."""
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        return f"/dev/kvm cannot be opened: {e.strerror}"
    return None


def main(names):
    parser = argparse.ArgumentParser()
    parser.add_argument("--qvm", required=True)
    parser.add_argument("--guests", required=True)
    parser.add_argument("--mediator", default="")
    parser.add_argument("--shm", default="")
    parser.add_argument("test")
    options = parser.parse_args()
    reason = why_not()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    bench = Bench(os.path.abspath(options.qvm), os.path.abspath(options.guests),
                  os.path.abspath(options.mediator), os.path.abspath(options.shm))
    try:
        names["t_" + options.test](bench)
    except Failed as e:
        print(f"FAILED {options.test}: {e}")
        sys.exit(1)
    finally:
        bench.close()
