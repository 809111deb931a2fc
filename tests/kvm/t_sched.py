#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sched, runmask and exit-on-halt: what the threads of the vCPUs really have, and what is refused before the guest
runs because the host does not give it."""

import fcntl
import glob
import os
import signal
import subprocess
import sys

import kvmtest
from kvmtest import equal, expect

SCHED_DEADLINE, RESET_ON_FORK = 6, 0x40000000
KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS, DISABLE_EXITS_HLT = 0xae03, 143, 2


def machine(b, cpus, name="vm"):
    return b.machine(cmdline="sleep_ms=50000", name=name).replace("cpu\n", cpus + "\n", 1)


def threads(r):
    """{name: thread id} of the process."""
    found = {}
    for path in glob.glob(f"/proc/{r.process.pid}/task/*/comm"):
        with open(path, encoding="ascii") as f:
            found[f.read().strip()] = int(path.split("/")[4])
    return found


def end(r):
    r.signal(signal.SIGQUIT)
    r.wait(3)


def t_given(b):
    """Each thread has what its line says; the I/O thread what qvm has."""
    here = sorted(os.sched_getaffinity(0))
    rows = (
        ("cpu sched 10r", os.SCHED_RR, 10, here),
        ("cpu sched 7f", os.SCHED_FIFO, 7, here),
        ("cpu sched 3o", os.SCHED_OTHER, 0, here),
        (f"cpu runmask {here[-1]}", os.SCHED_OTHER, 0, here[-1:]),
        (f"cpu sched 5 runmask {here[0]}", os.SCHED_RR, 5, here[:1]),
    )
    for words, policy, priority, cpus in rows:
        r = b.start(machine(b, words))
        r.until("hello: map")
        tid = threads(r)["vm-vCPU0"]
        equal((os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority, sorted(os.sched_getaffinity(tid))),
              (policy, priority, cpus), words)
        equal(os.sched_getscheduler(threads(r)["vm-io"]), os.SCHED_OTHER, "policy of the I/O thread")
        end(r)


def t_vdev(b):
    """The I/O thread has the most urgent of what the vdevs ask for; qvm does not start without."""
    rows = (
        ("sched 3", os.SCHED_RR, 3),
        ("sched 3 vdev ser8250 loc 0x2f8 sched 9f", os.SCHED_FIFO, 9),
        ("sched 9 vdev ser8250 loc 0x2f8 sched 3f vdev ser8250 loc 0x3e8 sched 20o", os.SCHED_RR, 9),
        ("sched 5o", os.SCHED_OTHER, 0),
    )
    for words, policy, priority in rows:
        r = b.start(machine(b, "cpu").replace("hostdev >-", "hostdev >- " + words.split(" vdev", maxsplit=1)[0], 1)
                    + words.removeprefix(words.split(" vdev", maxsplit=1)[0]))
        r.until("hello: map")
        tid = threads(r)["vm-io"]
        equal((os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority), (policy, priority), words)
        end(r)


def t_sporadic(b):
    """A budget that the kernel grants, or a refusal by name where it grants it to nobody."""
    probe = subprocess.run(["chrt", "-d", "-T", "2500000", "-P", "10000000", "0", "true"], check=False,
                           capture_output=True)
    r = b.start(machine(b, "cpu sched 20,5,4,10000000,2500000s"))
    if probe.returncode == 0:
        r.until("hello: map")
        equal(os.sched_getscheduler(threads(r)["vm-vCPU0"]) & ~RESET_ON_FORK, SCHED_DEADLINE, "policy")
        end(r)
    else:
        r.wait(64)
        expect("SCHED_DEADLINE" in r.err(), r.said())


def refused(r, *words):
    r.wait(64)
    for word in words:
        expect(word in r.err(), f"no {word!r}\n{r.said()}")
    equal(r.out(), "", "output of a guest that must not have run")


def t_no_such_cpu(b):
    """A set of which the host has none, and one of which it has a part."""
    absent = os.cpu_count() + 20
    refused(b.start(machine(b, f"cpu runmask {absent}")), "vm0.qvmconf:4", "cpu 0", "runmask")
    refused(b.start(machine(b, f"cpu cpu runmask {min(os.sched_getaffinity(0))},{absent}")), "cpu 1", "runmask")


def locked_kib(r):
    with open(f"/proc/{r.process.pid}/status", encoding="utf-8") as f:
        return int(next(line for line in f if line.startswith("VmLck:")).split()[1])


def t_locked_memory(b):
    """The memory of a safety VM is there and locked; without the right to that it does not start, and says why."""
    if "ASAN_OPTIONS" in os.environ:
        print("skipped: the address sanitizer makes nothing of mlock(2)")
        sys.exit(kvmtest.SKIPPED)

    def start(cls, prefix=()):
        b.write("class.qvmconf", machine(b, "cpu"))
        return kvmtest.Run(b, [*prefix, b.qvm, "--run-dir", b.run_dir, f"--class={cls}", "@class.qvmconf"])

    for cls, locked in (("safety", True), ("normal", False), ("best-effort", False)):
        r = start(cls)
        r.until("hello: map")
        expect((locked_kib(r) >= 16 * 1024) == locked, f"{cls}: {locked_kib(r)} KiB are locked")
        end(r)
    r = start("urgent")
    r.wait(65)
    expect("expected safety, normal or best-effort" in r.err(), r.said())
    less = ["setpriv", "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock", "prlimit", "--memlock=65536:65536"]
    if subprocess.run([*less, "true"], check=False, capture_output=True).returncode != 0:
        print("skipped: privileges cannot be given up here")
        sys.exit(kvmtest.SKIPPED)
    refused(start("safety", less), "locked in memory", "CAP_IPC_LOCK", "ulimit -l")


def t_not_permitted(b):
    """Without the privilege: no guest that only seems to have its priority. An ordinary thread is fine."""
    less = ["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice", "prlimit", "--rtprio=0:0"]
    if subprocess.run([*less, "true"], check=False, capture_output=True).returncode != 0:
        print("skipped: privileges cannot be given up here")
        sys.exit(kvmtest.SKIPPED)

    def start(conf):
        b.write("less.qvmconf", conf)
        return kvmtest.Run(b, [*less, b.qvm, "--run-dir", b.run_dir, "@less.qvmconf"])

    refused(start(machine(b, "cpu cpu sched 10r")), "less.qvmconf:4", "cpu 1", "sched", "CAP_SYS_NICE")
    refused(start(machine(b, "cpu sched 20,5,4,10000000,2500000s")), "cpu 0", "CAP_SYS_NICE")
    r = start(machine(b, "cpu sched 3o"))
    r.until("hello: map")
    end(r)


def t_exit_on_halt(b):
    """Off is done where this host's KVM can do it, and refused by name where it cannot."""
    with open("/dev/kvm", "rb") as kvm:
        can = fcntl.ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS) & DISABLE_EXITS_HLT
    r = b.start(b.machine(cmdline="sleep_ms=100", extra="set exit-on-halt off"))
    if can:
        r.wait(0)
        expect("guest: done ok" in r.out(), r.said())
        print("served")
    else:
        refused(r, "exit-on-halt off")
        print("refused: this host's KVM cannot")
    r = b.start(b.machine(cmdline="sleep_ms=100", extra="set exit-on-halt on"))
    r.wait(0)


if __name__ == "__main__":
    kvmtest.main(globals())
