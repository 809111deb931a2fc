#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What happens to data: verified traffic of every shape, shares that do not touch each other, read-only, discard and
write-zeroes, direct I/O with any buffer, a device that shrinks."""

import ctypes
import os
import struct
import time

import med
from med import MIB, check

TWO = """
[device disk]
path = img
direct = {direct}
[share a/data]
device = disk
class = safety
offset = 1M
length = 15M
[share b/data]
device = disk
class = best-effort
offset = 17M
length = 14M
[share c/ro]
device = disk
offset = 31M
length = 512K
read-only = yes
"""


def shapes():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, TWO.format(direct="no")) as m:
            rows = [(depth, how) for depth in (1, 2, 7, 32, 40) for how in ([], ["--poll"], ["--indirect"])]
            for depth, how in rows:
                got = med.vublk_end(med.vublk(m.socket("b/data"), "--verify", "--depth", depth, "--ops", 1500,
                                              "--read", 50, "--span", 4 * MIB, *how))
                check(got["errors"] == got["mismatches"] == 0 and got["ops"] == 1500, f"{depth} {how}: {got}")
            for bs in (512, 65536):
                got = med.vublk_end(med.vublk(m.socket("a/data"), "--verify", "--depth", 16, "--bs", bs, "--ops", 1000,
                                              "--read", 50, "--span", 4 * MIB))
                check(got["errors"] == got["mismatches"] == 0, f"{bs}: {got}")


def isolation():
    """Two shares written at once, to their ends: not a byte outside of them changes."""
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xa5")
        with med.Mediator(d, TWO.format(direct="no")) as m:
            both = [med.vublk(m.socket(s), "--verify", "--depth", 16, "--secs", 2, "--read", 40, "--seed", i)
                    for i, s in enumerate(("a/data", "b/data"), 1)]
            for p in both:
                got = med.vublk_end(p)
                check(got["errors"] == got["mismatches"] == 0, f"{got}")
        with open(d + "/img", "rb") as f:
            data = f.read()
        check(len(data) == 32 * MIB, "the image keeps its size")
        for lo, hi in ((0, 1), (16, 17), (31, 32)):
            check(data[lo * MIB : hi * MIB] == b"\xa5" * ((hi - lo) * MIB), f"MiB {lo} to {hi} belong to no writer")
        check(data[MIB : MIB + 8] != b"\xa5" * 8 and data[31 * MIB - 8 : 31 * MIB] != b"\xa5" * 8,
              "the ends were written")


def extent_is_a_fence():
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xa5")
        with med.Mediator(d, TWO.format(direct="no")) as m, med.Client(m.socket("a/data")) as c:
            c.setup()
            end = 15 * MIB // 512
            for kind, sector, data in ((med.T_OUT, end, 512), (med.T_OUT, end - 1, 1024), (med.T_OUT, 2**63, 512),
                                       (med.T_OUT, 2**55 - 1, 512)):
                check(c.request(kind, sector, b"x" * data)[0] == 1, f"sector {sector}")
            check(c.request(med.T_IN, end, read=512)[0] == 1, "read behind the end")
            check(c.zero(med.T_DISCARD, end - 1, 2) == 1 and c.zero(med.T_WRITE_ZEROES, 2**62, 8) == 1, "discard")
            check(c.request(med.T_OUT, end - 1, b"y" * 512)[0] == 0, "the last sector")
            check(c.request(med.T_GET_ID, read=20)[1].rstrip(b"\0") == b"a/data", "the serial is the share's name")
        with open(d + "/img", "rb") as f:
            data = f.read()
        check(data[16 * MIB - 512 : 16 * MIB] == b"y" * 512 and data.count(b"\xa5") == 32 * MIB - 512, "only that one")


def read_only():
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xa5")
        with med.Mediator(d, TWO.format(direct="no")) as m:
            with med.Client(m.socket("c/ro")) as c:
                offered = c.setup()
                check(offered & 1 << 5 and not offered & (med.F_DISCARD | med.F_WRITE_ZEROES), f"features {offered:x}")
                check(c.request(med.T_IN, 0, read=512) == (0, b"\xa5" * 512), "reads work")
                check(c.request(med.T_OUT, 0, b"x" * 512)[0] != 0, "writes do not")
                check(c.zero(med.T_DISCARD, 0, 8) != 0 and c.zero(med.T_WRITE_ZEROES, 0, 8) != 0, "nor these")
        with open(d + "/img", "rb") as f:
            check(f.read() == b"\xa5" * (32 * MIB), "nothing changed")


def zeroes_on(shm):
    with med.Folder(shm) as d:
        med.image(d + "/img", 32, b"\xa5")
        with med.Mediator(d, TWO.format(direct="no")) as m:
            with med.Client(m.socket("a/data")) as c:
                c.setup()
                for unmap in (False, True):
                    check(c.zero(med.T_WRITE_ZEROES, 64, 2048, unmap) == 0, "write zeroes")
                    check(c.request(med.T_IN, 63, read=1024)[1] == b"\xa5" * 512 + bytes(512), "its first edge")
                    check(c.request(med.T_IN, 2111, read=1024)[1] == bytes(512) + b"\xa5" * 512, "its last edge")
                    check(c.request(med.T_OUT, 64, b"\xa5" * MIB)[0] == 0, "written again")
                check(c.zero(med.T_WRITE_ZEROES, 3, 5) == 0, "less than a page")
                check(c.request(med.T_IN, 2, read=3584)[1] == b"\xa5" * 512 + bytes(2560) + b"\xa5" * 512, "its edges")
                check(c.zero(med.T_DISCARD, 4096, 8192) == 0, "discard")
                check(c.request(med.T_IN, 4096, read=MIB)[1] == bytes(MIB), "a hole reads as zeroes")
        with open(d + "/img", "rb") as f:
            f.seek(MIB + 4095 * 512)
            check(f.read(512) == b"\xa5" * 512, "the sector in front of the hole")
            f.seek(MIB + 12288 * 512)
            check(f.read(512) == b"\xa5" * 512, "the sector behind the hole")


def zeroes_on_disk():
    zeroes_on(False)


def zeroes_on_tmpfs():
    if os.path.isdir("/dev/shm"):
        zeroes_on(True)


def direct():
    """Buffers at odd addresses and in odd pieces, on a device that takes aligned ones only."""
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xa5")
        try:
            os.close(os.open(d + "/img", os.O_RDWR | os.O_DIRECT))
        except OSError:
            print("the file system here has no direct I/O: not tested", flush=True)
            return
        with med.Mediator(d, TWO.format(direct="yes")) as m:
            got = med.vublk_end(med.vublk(m.socket("b/data"), "--verify", "--depth", 16, "--ops", 1000, "--read", 50,
                                          "--span", 4 * MIB))
            check(got["errors"] == got["mismatches"] == 0, f"{got}")
            with med.Client(m.socket("a/data")) as c:
                c.setup()
                for at, size in ((0x10000, 4096), (0x10001, 512), (0x10203, 4096), (0x10010, MIB),
                                 (0x10fff, 65536 + 512)):
                    text = os.urandom(size)
                    check(c.request(med.T_OUT, 8, text, at=at)[0] == 0, f"write {size} at {at:#x}")
                    check(c.request(med.T_IN, 8, read=size, at=at + 0x100001) == (0, text), f"read {size} at {at:#x}")
                check(c.request(med.T_IN, 7, read=512, at=0x10003)[1] == b"\xa5" * 512, "the sector in front")
                check(c.zero(med.T_WRITE_ZEROES, 8, 8) == 0, "write zeroes")
                check(c.request(med.T_IN, 8, read=4096, at=0x10001) == (0, bytes(4096)), "zeroes")


def batched():
    """Answers of a batch are told together: far fewer signals than requests."""
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xa5")
        with med.Mediator(d, TWO.format(direct="no")) as m:
            with med.Client(m.socket("a/data")) as c:
                c.setup()
                for _ in range(8):
                    c.batch(16)
                stats = med.Control(m).stats()[0]["a/data"]
                check(stats["read_ops"] == 128, f"{stats}")
                check(1 <= stats["signals"] <= 32, f"a signal for every fourth, at most: {stats}")


def pinned():
    """Direct I/O by registered pieces of guest memory: right, counted, within the limit, and given back."""
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xa5")
        try:
            os.close(os.open(d + "/img", os.O_RDWR | os.O_DIRECT))
        except OSError:
            print("the file system here has no direct I/O: not tested", flush=True)
            return
        with med.Mediator(d, TWO.format(direct="yes\npin = 512K")) as m:
            control = med.Control(m)
            for again in (1, 2):
                got = med.vublk_end(med.vublk(m.socket("b/data"), "--verify", "--depth", 16, "--ops", 3000, "--read",
                                              50, "--span", 4 * MIB))
                check(got["errors"] == got["mismatches"] == 0, f"{got}")
                dev = control.stats()[1][0]
                check(dev["io_fixed"] > 500 * again or dev["pin_failures"] > 0, f"few were registered: {dev}")
                check(dev["io_inline"] == 0 and dev["io_bounced"] == 0, f"{dev}")
                check(dev["pinned_bytes"] <= 512 << 10, f"more than it may: {dev}")
                med.wait_for("it to be given back", lambda: control.stats()[1][0]["pinned_bytes"] == 0)


def shrinks():
    """The image is cut off under us: errors, no death; and when it is long again it works again."""
    for mode in ("no", "yes"):
        with med.Folder() as d:
            med.image(d + "/img", 32, b"\xa5")
            with med.Mediator(d, TWO.format(direct=mode)) as m:
                with med.Client(m.socket("a/data")) as c:
                    c.setup()
                    check(c.request(med.T_IN, 0, read=4096)[0] == 0, "before")
                    os.truncate(d + "/img", MIB + 2048)
                    check(c.request(med.T_IN, 0, read=4096)[0] == 1, "half of it is gone")
                    check(c.request(med.T_IN, 64, read=4096)[0] == 1, "all of it is gone")
                    check(c.request(med.T_FLUSH)[0] == 0, "flush")
                    os.truncate(d + "/img", 32 * MIB)
                    check(c.request(med.T_IN, 64, read=4096) == (0, bytes(4096)), "after")
                med.wait_for("the event", lambda: "ev=device_error share=a/data n=1" in m.log())
                check(m.log().count("ev=device_error") == 1, "told once")
                check(med.Control(m).stats()[0]["a/data"]["errors"] == 2, "counted")


def unwritten(path, off, length):
    """Pages of a file that are not on stable storage; None where the kernel (6.5) or the file system cannot tell."""
    libc = ctypes.CDLL(None, use_errno=True)
    where, told = ctypes.create_string_buffer(struct.pack("<QQ", off, length)), ctypes.create_string_buffer(40)
    fd = os.open(path, os.O_RDONLY)
    r = libc.syscall(451, fd, where, told, 0)
    os.close(fd)
    return sum(struct.unpack("<QQQQQ", told)[1:3]) if r == 0 else None


def write_through():
    """A driver that did not ask for FLUSH cannot flush: what it was told is written, is written (5.2.6.2)."""
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xaa" * 4096)
        os.sync()
        with med.Mediator(d, TWO.format(direct="no")) as m:
            with med.Client(m.socket("b/data")) as c:
                c.setup()
                check(c.request(med.T_OUT, 0, b"x" * 4096)[0] == 0, "write back")
                if not unwritten(d + "/img", 17 * MIB, 4096):
                    print("  not looked at: this kernel or file system does not tell what is unwritten")
                    return
            with med.Client(m.socket("b/data")) as c:
                c.setup(without=med.F_FLUSH)
                for sector in (64, 128, 192):
                    check(c.request(med.T_OUT, sector, b"y" * 8192)[0] == 0, "write through")
                    check(unwritten(d + "/img", 17 * MIB + sector * 512, 8192) == 0, "it is on the disk")
                check(c.zero(med.T_WRITE_ZEROES, 256, 64) == 0, "write zeroes")
                check(unwritten(d + "/img", 17 * MIB + 256 * 512, 64 * 512) == 0, "they are, too")
                check(c.request(med.T_IN, 64, read=8192) == (0, b"y" * 8192), "what was written")
                check(c.request(med.T_IN, 256, read=4096) == (0, bytes(4096)), "zeroes")


LIMITED = """
[device disk]
path = img
[group slow]
limit-bytes = 4M
[share a/data]
device = disk
length = 16M
limit-read-ops = 200
[share b/data]
device = disk
offset = 16M
length = 8M
group = slow
[share c/data]
device = disk
offset = 24M
group = slow
"""


def limits():
    """No share and no group gets more than it may, who reads and writes and floods; and it gets on."""
    secs = 2
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, LIMITED) as m:
            start = time.monotonic()
            ps = [med.vublk(m.socket(share), "--depth", 32, "--secs", secs, "--read", 50, "--bs", bs)
                  for share, bs in (("a/data", 4096), ("b/data", 4096), ("c/data", 65536))]
            for p in ps:
                med.vublk_end(p)
            took = time.monotonic() - start
            stats = med.Control(m).stats()[0]
    a, b, c = (stats[f"{x}/data"] for x in "abc")
    # One more at the start, and what was saved up.
    check(a["read_ops"] <= 200 * (took + 0.01) + 1, f"{a['read_ops']} reads in {took} s")
    moved = sum(s["read_bytes"] + s["write_bytes"] for s in (b, c))
    check(moved <= (4 * MIB) * (took + 0.01) + 65536, f"{moved} bytes in {took} s")
    # However loaded this machine is.
    check(a["read_ops"] >= 40 and moved > MIB and min(s["read_ops"] for s in (b, c)) > 0, f"{a} {b} {c}")
    check(all(s["limited"] > 0 and s["errors"] == 0 for s in (a, b, c)), f"{a} {b} {c}")


def explains():
    """The slowest requests of a safety share are there afterwards, with what stood in their way."""
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, TWO.format(direct="no")) as m:
            flood = med.vublk(m.socket("b/data"), "--depth", 32, "--secs", 3, "--read", 50, "--bs", 16384)
            with med.Client(m.socket("a/data")) as c:
                c.setup()
                for i in range(200):
                    check(c.request(med.T_IN, i * 8, read=4096)[0] == 0, "read")
            rows = med.Control(m).explain("a/data")
            worst = med.Control(m).stats()[0]["a/data"]["latency"]["max_ns"]
            check(med.Control(m).explain("b/data") == [] and med.Control(m).explain("x/y") is None, "not of these")
            med.Control(m).stats(reset=True)
            med.wait_for("nothing", lambda: med.Control(m).explain("a/data") == [])
            flood.terminate()
            flood.wait()
    check(len(rows) == 16 and rows == sorted(rows, key=lambda r: -r["latency_ns"]), rows)
    check(rows[0]["latency_ns"] == worst and len({r["sector"] for r in rows}) == 16, f"{worst} {rows}")
    for r in rows:
        check(r["op"] == "read" and r["bytes"] == 4096 and r["sector"] % 8 == 0 and r["sector"] < 1600, r)
        check(0 <= r["wait_ns"] <= r["latency_ns"] < r["age_ns"] and r["bound_ns"] > 0, r)
        check(r["own_before"] == r["safety_there"] == r["safety_passed"] == 0, r)


def changes_under_load():
    """Rules that change a hundred times under two floods that check what they read: nothing is lost or refused."""
    rows = (("a/data", "class=best-effort", "weight=1"), ("b/data", "class=safety"), ("b/data", "limit-bytes=64M"),
            ("a/data", "class=safety"), ("b/data", "class=normal", "limit-bytes=none"), ("disk", "slice=4K"),
            ("a/data", "group=both"), ("both", "limit-ops=20000"), ("disk", "slice=1M", "reserve=8"),
            ("a/data", "class=normal", "group=none", "weight=1000"), ("disk", "slice=64K", "reserve=4"))
    policy = TWO.format(direct="no") + "[group both]\nlimit-ops = 50000\n"
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, policy) as m:
            ps = [med.vublk(m.socket(share), "--verify", "--depth", 32, "--secs", 3, "--read", 50, "--bs", bs,
                            "--span", 4 * MIB) for share, bs in (("a/data", 4096), ("b/data", 16384))]
            c, n = med.Control(m), 0
            while any(p.poll() is None for p in ps):
                code, text = c.policy("set", *rows[n % len(rows)])
                check(code in (0, 9), text)
                n += code == 0
                time.sleep(0.01)
            check(n >= 20, f"{n} changes")
            for p in ps:
                med.vublk_end(p)
            check(all(s["errors"] == 0 for s in c.stats()[0].values()), "no error")
            for verb in "reload", "check":
                code, text = med.wait_for("the change before to be taken",
                                          lambda v=verb: [r for r in [c.policy(v)] if r[0] != 9])[0]
                check(code == 0, text)
            check("nothing changes" in text, f"as the file has it: {text}")


med.run_tests(shapes, isolation, extent_is_a_fence, read_only, zeroes_on_disk, zeroes_on_tmpfs, direct, pinned, batched,
              shrinks, write_through, limits, explains,
              changes_under_load)
