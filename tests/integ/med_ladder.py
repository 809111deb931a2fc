#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A safety share misses its target while others work: the mediator throttles them, makes them wait, tells hostd, and
lets them on again when it is calm, each step an event with its numbers; nobody's request fails. And a client whose
requests are costly spends its own time. Nothing here is measured against a clock."""

import os
import re
import struct

import med
from med import MIB, check, wait_for

STEPS = ["throttle", "pause", "freeze"]

# A device that takes 3 ms for everything, whatever its policy says of it.
POLICY = """
[device disk]
null = 64M
simulate = yes
ladder = freeze
sim-parallel = 1
sim-read = 3ms
sim-write = 3ms
sim-distribution = fixed
service-limit = 1us
flush-limit = 1us
poll = 0us
[share cluster/data]
device = disk
class = safety
target = 10us
length = 4M
[share ivi/data]
device = disk
class = best-effort
offset = 4M
length = 4M
freeze = yes
"""


def steps(m):
    """The steps that the log tells, in order: (subject, step, text)."""
    return re.findall(r'ev=ladder share=(\S+) n=\d+ why="(\w+): ([^"]*)"', m.log())


def ladder_climbs_and_comes_back():
    with med.Folder() as d, med.Mediator(d, POLICY) as m:
        ctl = med.Control(m)
        flood = med.vublk(m.socket("ivi/data"), "--depth", 4, "--ops", 400, "--read", 50, "--span", MIB)
        with med.Client(m.socket("cluster/data")) as c:
            c.setup()
            # Each takes far longer than its target: a step at a time, to the last one.
            wait_for("the last step", lambda: c.request(med.T_IN, read=512)[0] == 0 and "freeze" in
                     [s for _, s, _ in steps(m)])
            # Without what was taken back in between, on a machine that stalled.
            climbed = [t for t in steps(m) if t[0] != "disk"]
            told = climbed[:[s for _, s, _ in climbed].index("freeze") + 1]
            check([told[0][1], *(s for _, s, _ in told[-2:])] == STEPS, f"every step in its order: {told}")
            for subject, _, text in told:
                check(subject == "cluster/data", f"who missed: {subject}")
                got = re.match(r"(took|waits for) (\d+) us, target 10 us, bound \d+ us; lower classes: ", text)
                check(got and int(got[2]) > 10, f"the numbers: {text}")
            device = ctl.stats()[1][0]
            check(device["ladder_ups"] >= 3, f"{device}")
            share = ctl.stats()[0]["cluster/data"]
            check(share["missed"] >= 1 and share["target_ns"] == 10000, f"{share}")
        # Its client is gone: it is calm, and each step is taken back.
        wait_for("the way back", lambda: ctl.stats()[1][0]["ladder_step"] == 0, 10 * med.WAIT_S)
        back = [(subject, s) for subject, s, _ in steps(m)][-3:]
        check(back == [("disk", "pause"), ("disk", "throttle"), ("disk", "free")], f"the way back: {back}")
        got = med.vublk_end(flood)
        check(got["errors"] == 0 and got["ops"] == 400, f"the others only waited: {got}")
        ctl.close()


def alone_nobody_is_to_blame():
    """A device that is just slow: no step is taken for what misses its target all alone."""
    with med.Folder() as d, med.Mediator(d, POLICY) as m:
        ctl = med.Control(m)
        with med.Client(m.socket("cluster/data")) as c:
            c.setup()
            for _ in range(20):
                check(c.request(med.T_IN, read=512)[0] == 0, "a read")
        share = wait_for("misses", lambda: ctl.stats()[0]["cluster/data"])
        check(share["missed"] == 20, f"{share}")
        check(not steps(m) and ctl.stats()[1][0]["ladder_ups"] == 0, f"{steps(m)}")
        ctl.close()


COSTLY = """
[device disk]
path = img
direct = yes
[share a/data]
device = disk
length = 4M
[share b/data]
device = disk
offset = 4M
length = 4M
"""
N_COSTLY, COSTLY_BYTES = 20, 65536


def put_costly(c):
    """Reads to odd addresses, told of at once: direct I/O cannot put them there, and what is copied is charged."""
    for i in range(N_COSTLY):
        meta = 0x3000 + 32 * i
        c.mem[meta : meta + 16] = struct.pack("<IIQ", med.T_IN, 0, i * COSTLY_BYTES // 512)
        c.put_desc(3 * i, meta, 16, med.NEXT, 3 * i + 1)
        c.put_desc(3 * i + 1, c.DATA + 1, COSTLY_BYTES, med.NEXT | med.WRITE, 3 * i + 2)
        c.put_desc(3 * i + 2, meta + 16, 1, med.WRITE)
        struct.pack_into("<H", c.mem, c.AVAIL + 4 + 2 * ((c.avail + i) % c.NUM), 3 * i)
    c.avail = (c.avail + N_COSTLY) & 0xFFFF
    c.publish(c.avail)
    os.eventfd_write(c.kick, 1)


def costly_requests_cost_their_own_client():
    """Such a batch costs more than two rounds have. Who has but small requests is served beside it, and charged for
    these only; he may be charged for a moment in which the machine did something else, so no number is his bound."""
    with med.Folder() as d:
        med.image(d + "/img", 8)
        try:
            os.close(os.open(d + "/img", os.O_RDWR | os.O_DIRECT))
        except OSError:
            print("the file system here has no direct I/O: not tested", flush=True)
            return
        with med.Mediator(d, COSTLY) as m:
            ctl = med.Control(m)
            with med.Client(m.socket("a/data")) as a, med.Client(m.socket("b/data")) as b:
                a.setup()
                b.setup()

                def b_waits_for_what_it_owes():
                    put_costly(b)
                    check(a.request(med.T_IN, read=4096)[0] == 0, "a read")
                    wait_for("its answers", lambda: struct.unpack_from("<H", b.mem, b.USED + 2)[0] == b.avail)
                    got = ctl.stats()[0]
                    return got["b/data"]["cpu_waits"] >= 20 and got["b/data"]["cpu_ns"] > got["a/data"]["cpu_ns"] > 0

                wait_for("rounds in which it has to", b_waits_for_what_it_owes)
            got = ctl.stats()[0]
            check(got["b/data"]["errors"] == got["a/data"]["errors"] == 0, f"{got}")
            ctl.close()


med.run_tests(ladder_climbs_and_comes_back, alone_nobody_is_to_blame, costly_requests_cost_their_own_client)
