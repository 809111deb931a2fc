#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mediator is killed at any moment and started again: clients that keep their memory and in-flight region go on,
no acknowledged write is lost, none lands elsewhere. Clients that are killed leave the share to the next."""

import json
import os
import random
import signal
import subprocess
import time

import med
from med import check

POLICY = """
[device disk]
path = img
direct = {direct}
[share a/data]
device = disk
class = safety
length = 16M
[share b/data]
device = disk
class = best-effort
offset = 16M
length = 16M
"""


def vuclient(sock, seed):
    """Works until it is ended."""
    return subprocess.Popen([os.environ["VUCLIENT"], sock, "600", str(seed)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def vuclient_end(p):
    p.terminate()
    out, err = p.communicate(timeout=100)
    check(p.returncode == 0, f"vuclient ended with {p.returncode}: {out.decode()}{err.decode()}")
    return json.loads(out)


def killed_again_and_again(direct, shm, kills):
    rng = random.Random(1)
    with med.Folder(shm) as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY.format(direct=direct)) as m:
            clients = [vuclient(m.socket("a/data"), 1), vuclient(m.socket("b/data"), 2)]
            slowest = 0
            for _ in range(kills):
                time.sleep(rng.uniform(0.02, 0.2))
                m.kill()
                began = time.monotonic()
                m.start()
                slowest = max(slowest, time.monotonic() - began)
            control = med.Control(m)
            med.wait_for("the first to be through with its first writes", lambda:
                         control.stats()[0]["a/data"]["read_ops"] > 0, 4 * med.WAIT_S)
            got = [vuclient_end(c) for c in clients]
            print(f"{kills} kills, slowest start {slowest * 1000:.0f} ms: {got}", flush=True)
            check(all(g["reconnects"] >= kills // 2 for g in got), f"they had to reconnect: {got}")
            check(all(g["errors"] == g["wrong"] == 0 for g in got), f"{got}")


def killed_on_disk():
    killed_again_and_again("no", False, 15)


def killed_on_tmpfs():
    if os.path.isdir("/dev/shm"):
        killed_again_and_again("no", True, 15)


def killed_with_direct_io():
    with med.Folder() as d:
        try:
            os.close(os.open(d, os.O_RDWR | os.O_DIRECT | os.O_TMPFILE))
        except OSError:
            print("the file system here has no direct I/O: not tested", flush=True)
            return
    killed_again_and_again("yes", False, 15)


def killed_at_any_moment():
    """Also while it starts; four clients, 1 to 128 requests out, writes that overlap. MED_KILLS=10000: the long one."""
    kills = int(os.environ.get("MED_KILLS", "120"))
    signal.alarm(60 * med.WAIT_S // 10 + kills // 10)
    with med.Folder() as d:
        p = subprocess.run([os.environ["KILLRUN"], "--kills", str(kills), os.environ["MEDIATOR"], d],
                           capture_output=True, check=False)
        check(p.returncode == 0, f"killrun ended with {p.returncode}: {p.stdout.decode()}{p.stderr.decode()}")
        got = json.loads(p.stdout)
        print(got, flush=True)
        check(got["errors"] == got["wrong"] == 0 and got["kills"] == kills, f"{got}")
        check(got["reconnects"] >= kills // 4 and got["ops"] > kills, f"they worked, and had to come back: {got}")


def clients_are_killed():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY.format(direct="no")) as m:
            stay = vuclient(m.socket("a/data"), 3)
            for i in range(20):
                p = med.vublk(m.socket("b/data"), "--depth", 40, "--secs", 30, "--read", 30)
                time.sleep(0.02 + i * 0.008)
                p.kill()
                p.communicate()
            check(med.vublk_end(med.vublk(m.socket("b/data"), "--ops", 1000))["errors"] == 0, "the next is served")
            got = vuclient_end(stay)
            check(got["reconnects"] == 0, f"who stayed saw nothing of it: {got}")


med.run_tests(killed_on_disk, killed_on_tmpfs, killed_with_direct_io, killed_at_any_moment, clients_are_killed)
