#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""qvm and its back end, without a supervisor: one that comes late, never, or frozen, and how qvm ends meanwhile.

What a guest sees of a mediator that is killed is in sys_kill.py, and each step of the protocol in t_vd_vhu.c.
"""

import os
import re
import signal
import socket
import subprocess
import time

import kvmtest
from kvmtest import Failed, equal, expect

POLICY = """
[device disk]
path = {folder}/disk.img
[share vm/disk]
device = disk
class = normal
offset = 0
length = {length}
{extra}
"""
START_WAIT_S = 5  # what qvm waits for its back ends
END_S = 10        # what an end may take: a job with a back end that does not answer, and time for a slow host


def mediator(b, length="8M", extra=""):
    """A mediator of our own, serving; it ends with the bench."""
    if not os.path.exists(b.path("disk.img")):
        b.write("disk.img", b"")
        os.truncate(b.path("disk.img"), 16 << 20)
    b.write("disk.policy", POLICY.format(folder=b.folder, length=length, extra=extra))
    return kvmtest.Run(b, [b.mediator, "--run-dir", b.run_dir, b.path("disk.policy")])


def wait_socket(b):
    deadline = time.monotonic() + kvmtest.WAIT_S
    while not os.path.exists(os.path.join(b.run_dir, "mediator/vm.disk.sock")):
        expect(time.monotonic() < deadline, "the mediator makes no socket")
        time.sleep(0.01)


def worker(b, words):
    return b.start(b.machine("blkworker", words, "vdev virtio-blk hostdev mediator:disk"))


def t_queues(b):
    """Several queues at once: as many as the VM has processors, or as it says; all content is right."""
    mmio = "loc mem:0xf0000000 intr pic:5"
    mediator(b)
    wait_socket(b)
    for words, device, cpus in (("queues=4", "", 4), ("queues=4 packed=1", "queues 4", 1),
                                ("queues=3 mmio=0xf0000000,5", "queues 8 " + mmio, 1)):
        r = b.start(b.machine("blkworker", f"ops=2000 qd=16 segs=2 flush_every=50 region=2M {words}",
                              f"vdev virtio-blk hostdev mediator:disk {device}" + " cpu" * (cpus - 1)))
        r.wait(0)
        expect("guest: done ok" in r.out() and words.split()[0] in r.out() and "err=0" in r.out(), r.said())
    r = worker(b, "queues=2 ops=10 region=2M")
    r.until("guest: FAILED .*has fewer queues than were asked for")


def kill(m):
    m.process.kill()
    m.process.wait()


def ends(r, code, seconds=END_S):
    began = time.monotonic()
    r.wait(code, seconds)
    return time.monotonic() - began


def t_late(b):
    """The mediator comes while qvm waits for it."""
    r = worker(b, "secs=1 region=4M")
    time.sleep(1)
    equal(r.process.poll(), None, "qvm, before the mediator is there")
    mediator(b)
    r.wait(0)
    expect("guest: done ok" in r.out(), r.said())


def t_old_guests(b):
    """Guests of virtio 0.9.5, by PCI and MMIO, and one without MSI-X, which the mediator does not tell from others."""
    mmio = "loc mem:0xf0000000 intr pic:5"
    mediator(b)
    wait_socket(b)
    for words, extra, says in (("", "legacy", "legacy=1"), ("mmio=0xf0000000,5", "legacy " + mmio, "legacy=1"),
                               ("intx=1", "", "legacy=0"), ("packed=1", "", "packed=0")):
        r = b.start(b.machine("blkworker", f"ops=500 qd=8 segs=3 flush_every=40 region=2M {words}",
                              f"vdev virtio-blk hostdev mediator:disk {extra}"))
        r.wait(0)
        expect("guest: done ok" in r.out() and says in r.out() and "err=0" in r.out(), r.said())
        irqs = re.search(r"blk: total .* irqs=(\d+)", r.out())
        expect(irqs and int(irqs[1]) > 0, r.said())


def t_never(b):
    """Nobody comes: after 5 s a sentence with the place in the configuration; no guest ran."""
    began = time.monotonic()
    r = worker(b, "secs=1")
    r.wait(64, START_WAIT_S + END_S)
    expect(time.monotonic() - began >= START_WAIT_S, "it did not wait")
    expect(re.search(r"vm0\.qvmconf:\d+:\d+: error: .*mediator:disk is not there", r.err()), r.said())
    equal(r.out(), "", "output of the guest")


def t_refuses(b):
    """Somebody listens and hangs up, always: that is said, and is another sentence."""
    os.makedirs(os.path.join(b.run_dir, "mediator"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(b.run_dir, "mediator/vm.disk.sock"))
    listener.listen(8)
    listener.settimeout(0.1)
    r = worker(b, "secs=1")
    deadline = time.monotonic() + START_WAIT_S + END_S
    while r.process.poll() is None and time.monotonic() < deadline:
        try:
            listener.accept()[0].close()
        except socket.timeout:
            pass
    listener.close()
    r.wait(64)
    expect("mediator:disk hangs up" in r.err(), r.said())


def t_full(b):
    """A listener that accepts nobody: qvm is not caught in connect(), at its start or while the guest runs."""
    m = mediator(b)
    wait_socket(b)
    r = worker(b, "secs=0 region=4M live=1 stall_ms=600000")
    r.until("blk: t=")
    kill(m)
    path = os.path.join(b.run_dir, "mediator/vm.disk.sock")
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(0)
    time.sleep(6)  # attempts, each given up after a second, fill the backlog
    second = b.start(b.machine("blkworker", "secs=1", "vdev virtio-blk hostdev mediator:disk")
                     .replace("system vm", "system vm2").replace("mediator:disk", f"vhost-user:{path}"))
    second.wait(64, START_WAIT_S + END_S)
    r.signal(signal.SIGTERM)
    r.until("ev=power_button", "err", END_S)
    r.signal(signal.SIGTERM)
    ends(r, 3)
    listener.close()


def t_button_while_lost(b):
    """SIGTERM during an outage: the guest is told, and when it cannot finish, the second one ends it; a cut always."""
    for numbers in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,)):
        m = mediator(b)
        wait_socket(b)
        r = worker(b, "secs=0 region=4M live=1 stall_ms=600000")
        r.until("blk: t=")
        kill(m)
        r.until("ev=backend_lost", "err")
        for number in numbers:
            time.sleep(0.3)
            equal(r.process.poll(), None, "qvm during the outage")
            r.signal(number)
        ends(r, 3)


def t_button_then_back(b):
    """SIGTERM during an outage, and the mediator comes back: the guest finishes its check and goes by itself."""
    m = mediator(b)
    wait_socket(b)
    r = worker(b, "secs=0 region=4M live=1 stall_ms=600000")
    r.until("blk: t=")
    kill(m)
    r.until("ev=backend_lost", "err")
    r.signal(signal.SIGTERM)
    time.sleep(0.5)
    mediator(b)
    r.wait(0)
    expect("guest: done ok" in r.out() and "err=0" in r.out(), r.said())


def t_frozen(b):
    """A mediator that does not answer at all: qvm ends all the same, in bounded time, in the middle of work."""
    m = mediator(b)
    wait_socket(b)
    r = worker(b, "secs=0 region=4M live=1 stall_ms=600000")
    r.until("blk: t=")
    m.signal(signal.SIGSTOP)
    time.sleep(0.3)
    r.signal(signal.SIGQUIT)
    took = ends(r, 3)
    print(f"{took:.1f} s")
    kill(m)


def t_other_features(b):
    """One that comes back with less than the guest was promised: refused, said once, and the right one serves."""
    m = mediator(b)
    wait_socket(b)
    r = worker(b, "secs=0 region=4M live=1 stall_ms=600000")
    r.until("blk: t=")
    kill(m)
    r.until("ev=backend_lost", "err")
    # A share that is read-only cannot discard.
    other = mediator(b, extra="read-only = yes")
    r.until("ev=backend_differs", "err")
    time.sleep(1.5)
    equal(r.err().count("ev=backend_differs"), 1, "lines that say so")
    kill(other)
    mediator(b)
    r.until("ev=backend_back", "err")
    n = r.out().count("blk: t=")
    deadline = time.monotonic() + kvmtest.WAIT_S
    while r.out().count("blk: t=") < n + 2:
        expect(time.monotonic() < deadline, f"the guest does not go on\n{r.said()}")
        time.sleep(0.05)
    r.signal(signal.SIGTERM)
    r.wait(0)
    expect("guest: done ok" in r.out(), r.said())


def t_early_signal(b):
    """A signal before the guest runs is not lost: qvm, which waits for its back end, ends when it would start. A guest
    that is quick listens to its power button by then, and goes by itself."""
    r = worker(b, "secs=0")
    time.sleep(1)
    r.signal(signal.SIGTERM)
    mediator(b)
    try:
        code = r.process.wait(START_WAIT_S + END_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"the signal was lost\n{r.said()}") from None
    expect(code == 3 or (code == 0 and "ev=power_button" in r.err()), f"exit status {code}\n{r.said()}")


if __name__ == "__main__":
    kvmtest.main(globals())
