#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""vdev shmem: real guests that share memory with doorbells, with one another and with programs of the host."""

import json
import os
import re
import signal
import struct
import subprocess
import time

import kvmtest
from kvmtest import equal, expect

MMIO = "loc 0xf0000000 intr pic:5"


def guest(b, name, words, options="", mmio=False):
    """A VM with one shmem, by PCI or by MMIO."""
    words += " shmem=0xf0000000" if mmio else ""
    return b.start(b.machine("shmem", words, f"vdev shmem {MMIO if mmio else ''} {options}", name=name))


def exchange(b, ask_mmio, answer_mmio):
    answer = guest(b, "answer", "role=answer pages=65", mmio=answer_mmio)
    answer.until("shmem: ready region=x index=0 pages=65")
    ask = guest(b, "ask", "role=ask pages=9 rounds=20", mmio=ask_mmio)
    ask.wait(0)
    answer.wait(0)
    expect("shmem: ready region=x index=1 pages=65" in ask.out(), ask.said())
    done = re.search(r"asked rounds=20 bytes=(\d+)", ask.out())
    expect(done and int(done[1]) == 20 * 64 * 4096 and "guest: done ok" in ask.out(), ask.said())
    expect("answered rounds=20" in answer.out() and "guest: done ok" in answer.out(), answer.said())
    # Attach and detach were told by interrupts.
    expect("connected=0x3" in answer.out() and answer.out().rstrip().count("connected=0x1") == 2, answer.said())
    equal(os.listdir(os.path.join(b.run_dir, "shm")), [], "regions that are left")


def t_shmem_exchange(b):
    """Bulk data both ways, checked word by word by both; doorbells are the only way to be woken."""
    exchange(b, False, False)


def t_shmem_exchange_mmio(b):
    exchange(b, True, True)


def t_shmem_exchange_mixed(b):
    exchange(b, True, False)


def t_shmem_denied(b):
    """A third guest may not: the others' region is denied to it by pattern; what it may is its own."""
    first = guest(b, "first", "role=hold name=fb_shared", "allow fb_*")
    first.until("shmem: held")
    third = guest(b, "third", "role=try name=fb_shared name=fb_other name=own name=a/b pages=3", "deny fb_*")
    third.wait(0)
    results = re.findall(r"try name=(\S+) result=(\d) pages=(\d+)", third.out())
    equal(results, [("fb_shared", "5", "0"), ("fb_other", "5", "0"), ("own", "0", "3"), ("a/b", "4", "0")], "results")
    again = guest(b, "again", "role=try name=fb_shared name=fb_none name=own find=1", "allow fb_*")
    again.wait(0)
    results = re.findall(r"try name=(\S+) result=(\d)", again.out())
    equal(results, [("fb_shared", "0"), ("fb_none", "6"), ("own", "5")], "results")
    first.signal(signal.SIGTERM)
    first.wait(0)


def t_shmem_seventeenth(b):
    """Sixteen clients, in two guests; the seventeenth is refused, and comes in when one has left."""
    first = guest(b, "first", "role=hold n=15 pages=1")
    first.until("shmem: held n=15")
    second = guest(b, "second", "role=hold n=1 pages=1", mmio=True)
    second.until("index=15 pages=1")
    late = guest(b, "late", "role=try name=x pages=1")
    late.wait(0)
    expect("try name=x result=3" in late.out(), late.said())
    second.signal(signal.SIGKILL)
    second.wait(-signal.SIGKILL)
    late = guest(b, "late", "role=hold pages=1")
    late.until("index=15 pages=1")
    for r in (first, late):
        r.signal(signal.SIGTERM)
        r.wait(0)


def t_shmem_killed(b):
    """A VM that is killed is seen to leave at once, by interrupt; its region lives on with the others."""
    stays = guest(b, "stays", "role=hold name=x pages=4")
    stays.until("shmem: held")
    for i in range(3):
        goes = guest(b, "goes", "role=hold name=x pages=4", mmio=i == 1)
        goes.until("index=1 pages=4")
        stays.until(f"(?s)(connected=0x3.*){{{i + 1}}}")
        goes.signal(signal.SIGKILL)
        goes.wait(-signal.SIGKILL)
        stays.until(f"(?s)(connected=0x3\\n.*connected=0x1\\n.*){{{i + 1}}}")
    stays.signal(signal.SIGTERM)
    stays.wait(0)


def t_shmem_created(b):
    """create: the region is there before anybody connects, with its memory, and outlives its clients."""
    keeper = guest(b, "keeper", "role=hold name=other pages=1", "create fb,256k")
    keeper.until("shmem: held")
    for _ in range(2):
        user = guest(b, "user", "role=try name=fb find=1")
        user.wait(0)
        expect("try name=fb result=0 pages=64" in user.out(), user.said())
    keeper.signal(signal.SIGTERM)
    keeper.wait(0)
    user = guest(b, "user", "role=try name=fb find=1")
    user.wait(0)
    expect("try name=fb result=6" in user.out(), user.said())


def t_shmem_cycle(b):
    """Create and detach without end: no descriptor, thread or mapping is left behind."""
    r = guest(b, "vm", "role=cycle rounds=300 pages=4 exit=none")
    fds = f"/proc/{r.process.pid}/fd"
    r.until("cycled rounds=300")
    expect(len(os.listdir(fds)) < 100, f"{len(os.listdir(fds))} descriptors")
    r.signal(signal.SIGQUIT)
    r.wait(3)
    equal(os.listdir(os.path.join(b.run_dir, "shm")), [], "regions that are left")


# ---- the host among them: parley-shm ----

def command(b, *words, code=0, data=None):
    """Runs parley-shm to its end; what it prints."""
    done = subprocess.run([b.shm, "--run-dir", b.run_dir, *words], input=data, capture_output=True,
                          timeout=kvmtest.WAIT_S, check=False)
    expect(done.returncode == code, f"parley-shm {words}: {done.returncode}: {done.stderr.decode()}")
    return done.stdout if code == 0 else done.stderr.decode()


def words_of(seed, n):
    """What the guest fills a payload with, and its sum."""
    mask = (1 << 64) - 1
    state, total, out = (seed << 20 | 0x9e3779b9) & mask, 0, bytearray()
    for _ in range(n):
        state ^= state << 13 & mask
        state ^= state >> 7
        state ^= state << 17 & mask
        total = (total + state) & mask
        out += struct.pack("<Q", state)
    return bytes(out), (total >> 32 ^ total) & 0xffffffff


def t_shmem_host(b):
    """A program of the host asks, a guest answers; the content is checked on both sides."""
    r = guest(b, "vm", "role=answer name=talk pages=3 stay=1", mmio=True)
    r.until("shmem: ready region=talk index=0 pages=3")
    listed = json.loads(command(b, "--json", "list"))
    equal(listed, [{"name": "talk", "bytes": 12288, "clients": [{"index": 0, "pid": r.process.pid}], "keepers": []}],
          "the list")
    expect(re.search(rf"talk +12288 +0:{r.process.pid}\n", command(b, "list").decode()), "the list as text")
    monitor = b.start_words("--run-dir", b.run_dir, "attach", "talk", program=b.shm)
    monitor.until("ready index=1 bytes=12288\nstatus rang= connected=0,1")
    for i in range(1, 6):
        payload, total = words_of(i, 1024)
        command(b, "write", "talk", "4k", data=payload)
        command(b, "write", "talk", "8", data=struct.pack("<II", i, total))
        command(b, "write", "talk", data=struct.pack("<I", i))
        command(b, "notify", "talk", "0")
        deadline = time.monotonic() + kvmtest.WAIT_S
        while struct.unpack("<I", command(b, "read", "talk", "4", "4"))[0] != i:
            expect(time.monotonic() < deadline, r.said())
        payload, total = words_of(i | 1 << 31, 1024)
        equal(command(b, "read", "talk", "0x1000"), payload, "the answer")
        equal(struct.unpack("<I", command(b, "read", "talk", "12", "4"))[0], total, "the answer's sum")
    monitor.until("rang=0 connected=0,1")
    third = b.start_words("--run-dir", b.run_dir, "attach", "talk", program=b.shm)
    third.until("ready index=2 ")
    monitor.until("connected=0,1,2\n")
    third.signal(signal.SIGINT)
    third.wait(0)
    expect(command(b, "dump", "talk", "0", "32").startswith(b"00000000  05 00 00 00 05 00 00 00  05 00 00 00 "), "dump")
    r.signal(signal.SIGKILL)
    r.wait(-signal.SIGKILL)
    monitor.until("connected=1\n")
    monitor.signal(signal.SIGTERM)
    monitor.wait(0)
    expect("no such region" in command(b, "read", "talk", code=1), "read of nothing")
    equal(json.loads(command(b, "--json", "list")), [], "regions that are left")


def t_shmem_host_creates(b):
    """create of the command keeps a region that guests find; the host is the sixteenth client."""
    keeper = b.start_words("--run-dir", b.run_dir, "create", "made", "1m", program=b.shm)
    keeper.until("ready bytes=1048576")
    r = guest(b, "vm", "role=hold name=made n=15 pages=1")
    r.until("index=14 pages=256")
    r.until("held n=15")
    host = b.start_words("--run-dir", b.run_dir, "attach", "made", program=b.shm)
    host.until("ready index=15")
    expect("takes no more" in command(b, "notify", "made", code=1), "a seventeenth")
    host.signal(signal.SIGINT)
    host.wait(0)
    command(b, "write", "made", data=b"\x11" * 8)
    command(b, "notify", "made")
    r.until("bells=0x8000 first=0x1111111111111111")
    expect("does not fit" in command(b, "write", "made", "1048570", data=b"1234567", code=1), "too much")
    equal(command(b, "read", "made", "1048570", "100"), b"123456", "the end of the region")
    for run in (r, keeper):
        run.signal(signal.SIGTERM)
        run.wait(0)
    expect("no such region" in command(b, "attach", "made", code=1), "it is gone")
    for words in ((), ("list", "x"), ("nosuch",), ("read",), ("create", "x", "0"), ("notify", "x", "16"),
                  ("--json", "read", "x"), ("--nosuch",), ("read", "x", "-1"), ("read", "x", "1", "1q")):
        command(b, *words, code=2)
    expect("no name of a region" in command(b, "create", "a/b", "4k", code=1), "a name that is none")


def t_shmem_no_run_dir(b):
    """Without a place where others could be found it does not start, and says so."""
    conf = b.machine("hello", "", "vdev shmem").replace("system vm", "")
    b.write("alone.qvmconf", conf)
    env = {k: v for k, v in os.environ.items() if k not in ("PARLEY_RUN_DIR", "XDG_RUNTIME_DIR")}
    r = b.start_words("--run-dir", "/proc/nowhere", "@alone.qvmconf", env=env)
    r.wait(64)
    expect("/proc/nowhere/shm cannot be used" in r.err(), r.said())


if __name__ == "__main__":
    kvmtest.main(globals())
