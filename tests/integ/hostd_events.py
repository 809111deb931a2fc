#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: what happened is known after hostd was killed, after a reboot, whatever became of its file."""

import json
import os
import signal
import struct
import subprocess
import time
import zlib

from hostd_world import NO_SUCH, NOT_RUNNING, USAGE, check, main, same

OLD_BOOT = "0badb007-0000-4000-8000-000000000001"


def recorded(host, *args):
    out = host.ctl("--json", "events", *args)[1]
    return [json.loads(line) for line in out.splitlines()]


def ring(host):
    return host.dir / "state/events.ring"


def record(seq, time_ms, boot, text):
    """A record of another boot, as its hostd would have left it."""
    body = struct.pack("<QQQ36s32s72s340s", seq, time_ms, 1000, boot.encode(), b"vm_state", b"old", text.encode())
    return struct.pack("<II", 0x31764550, zlib.crc32(body)) + body


def test_killed_and_asked(host):
    host.vm("a")
    host.start()
    host.ctl("start", "a")
    host.ctl("stop", "a")
    pid = host.proc.pid
    os.kill(pid, signal.SIGKILL)
    host.proc.wait()
    host.start()
    events = recorded(host, "--boot", "0")
    texts = [e["text"] for e in events if e["subject"] == "a"]
    check("off -> starting: asked to start" in texts and any(t.startswith("stopping -> off") for t in texts), texts)
    same([e["seq"] for e in events], list(range(1, len(events) + 1)), "numbers")
    same(len([e for e in events if e["kind"] == "hostd_start"]), 2, "both starts")
    check(all(e["boot"] == events[0]["boot"] and e["uptime_ms"] > 0 for e in events), events)
    # What this hostd has in memory is less: it began anew.
    check(not any("asked to start" in line for line in host.ctl("events")[1].splitlines()), "memory")


def test_since_until(host):
    host.vm("a")
    host.start()
    host.ctl("start", "a")
    events = recorded(host, "--since", "-1h")
    same(events, recorded(host, "--since", "-1h", "--until", "now"), "all of it")
    middle = events[len(events) // 2]["time_ms"]
    at = f"@{middle // 1000}.{middle % 1000:03}"
    same(recorded(host, "--since", at), [e for e in events if e["time_ms"] >= middle], "since")
    same(recorded(host, "--until", at), [e for e in events if e["time_ms"] <= middle], "until")
    same(recorded(host, "--since", "@1", "--until", "@2"), [], "another time")
    _, out, _ = host.ctl("events", "--since", "yesterday")
    same(len(out.splitlines()), len(events), "lines")
    host.ctl("events", "--since", "half past three", want=USAGE)
    host.ctl("events", "--since", "now", "--until", "-1h", want=USAGE)
    host.ctl("events", "--boot", "-1", want=NO_SUCH)


def test_after_a_reboot(host):
    """More than a piece of an answer, of the boot before, with a torn record in it."""
    n, then = 1500, int(time.time() * 1000) - 86400_000
    image = bytearray(8192 * 512)
    for seq in range(1, n + 1):
        image[seq * 512 : (seq + 1) * 512] = record(seq, then + seq, OLD_BOOT, f"event {seq}")
    image[700 * 512 + 180 : 701 * 512] = bytes(332)
    ring(host).parent.mkdir()
    ring(host).write_bytes(image)
    host.start()
    before = recorded(host, "--boot=-1")
    seqs = [e["seq"] for e in before]
    check(seqs == [s for s in range(1, n + 1) if s != 700], f"{len(seqs)} records, without the torn one: {seqs[:3]}")
    check(all(e["boot"] == OLD_BOOT for e in before), "of that boot")
    same(recorded(host, "--boot", OLD_BOOT[:8]), before, "by its name")
    now = recorded(host, "--boot", "0")
    check(now and now[0]["seq"] == n + 1 and now[0]["kind"] == "hostd_start", now[:1])
    same(recorded(host, "--since", "-2d"), before + now, "both")


def test_damaged(host):
    """A file that is none, is cut, or full of noise: hostd starts, and goes on recording."""
    ring(host).parent.mkdir()
    for content in (b"", b"x", os.urandom(100 * 512 + 7), record(1 << 61, 1, OLD_BOOT, "late") * 8192):
        ring(host).write_bytes(content)
        host.start()
        check("hostd_start" in [e["kind"] for e in recorded(host, "--boot", "0")], "it records")
        same(ring(host).stat().st_size, 8192 * 512, "its size")
        host.end()
    ring(host).unlink()
    ring(host).mkdir()
    host.start()
    check("nothing is recorded" in host.ctl("events", "--boot", "0", want=NOT_RUNNING)[2], "it says so")
    check("ev=recorder_failed" in host.log_text(), "in the log as well")


def test_bounded(host):
    host.conf("[hostd]\nevents-kept = 16\n")
    host.vm("a")
    host.start()
    for _ in range(8):
        host.ctl("start", "a")
        host.ctl("stop", "a")
    events = recorded(host, "--boot", "0")
    same(len(events), 16, "the newest")
    same(ring(host).stat().st_size, 16 * 512, "its size")
    last = events[-1]["seq"]
    host.end()
    host.conf("[hostd]\nevents-kept = 0\n")
    host.start()
    host.ctl("events", "--since", "-1h", want=NOT_RUNNING)
    host.end()
    host.conf("[hostd]\nevents-kept = 99999999\n")
    same(subprocess.run(host.argv(), capture_output=True, check=False).returncode, 65, "refused")
    host.conf("")
    host.start()
    events = recorded(host, "--boot", "0")
    check(events[0]["seq"] <= last < events[-1]["seq"], "what was kept before is there again")


if __name__ == "__main__":
    main(globals())
