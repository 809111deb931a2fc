#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Shares and devices come and go while others are served: nobody who stays sees any of it, who goes is told of in
numbers, and comes back when his share does; what is refused changes nothing."""

import json
import os
import subprocess

import med
from med import check, wait_for

DISK = "[device disk]\npath = img\n"
SAFETY = "[share a/data]\ndevice = disk\nclass = safety\nlength = 8M\n"
OTHER = "[share b/data]\ndevice = disk\nclass = best-effort\noffset = 8M\nlength = 8M\n"
THIRD = "[share c/data]\ndevice = disk\nclass = best-effort\noffset = 16M\nlength = 8M\n"
CONFIG = 6  # the code of a policy that is refused
SECOND = "[device two]\npath = img2\nslots = 8\n[share d/data]\ndevice = two\nclass = safety\n"


class Guest:
    """A client that checks all that it reads, and comes back whenever its back end goes."""

    def __init__(self, m, share, seed=1):
        self.m, self.share = m, share
        self.proc = subprocess.Popen([os.environ["VUCLIENT"], m.socket(share), "600", str(seed)],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def serves(self, control, more=50):
        """It is served: so many more requests than now."""
        def ops():
            shares = control.stats()[0]
            return shares[self.share]["read_ops"] + shares[self.share]["write_ops"] if self.share in shares else -1
        wait_for(f"{self.share} to be there", lambda: ops() >= 0)
        had = ops()
        wait_for(f"{self.share} to be served", lambda: ops() >= had + more, 4 * med.WAIT_S)

    def end(self, reconnects):
        self.proc.terminate()
        out, err = self.proc.communicate(timeout=100)
        check(self.proc.returncode == 0, f"vuclient ended with {self.proc.returncode}: {out.decode()}{err.decode()}")
        got = json.loads(out)
        check(got["errors"] == got["wrong"] == 0 and got["reconnects"] == reconnects, f"{self.share}: {got}")


def reload(m, control, policy, want=0):
    """What it said. A change that is under way is waited for: code 9."""
    with open(m.policy, "w", encoding="utf-8") as f:
        f.write(policy)
    got = wait_for("an answer but 'busy'", lambda: [r for r in [control.policy("reload")] if r[0] != 9],
                   4 * med.WAIT_S)[0]
    check(got[0] == want, f"{got}")
    return got[1]


def settled(control):
    wait_for("the change to be taken", lambda: control.policy("check")[0] != 9, 4 * med.WAIT_S)


def gone(m, control, share):
    m.told("share_removed", share)
    wait_for("its socket to go", lambda: not os.path.exists(m.socket(share)))
    check(share not in control.stats()[0], "it is in no statistics")
    check(share not in control.policy("show")[1], "nor in the policy")


def shares_come_and_go():
    with med.Folder() as d:
        med.image(d + "/img", 24)
        with med.Mediator(d, DISK + SAFETY + OTHER) as m:
            control = med.Control(m)
            a, b = Guest(m, "a/data"), Guest(m, "b/data")
            a.serves(control)
            b.serves(control)
            check("share c/data: is new" in reload(m, control, DISK + SAFETY + OTHER + THIRD), "it is said")
            m.told("share_added", "c/data")
            c = Guest(m, "c/data")
            for g in (a, b, c):
                g.serves(control)
            check("share b/data: is there no more" in reload(m, control, DISK + SAFETY + THIRD), "it is said")
            gone(m, control, "b/data")
            check("requests out, its client is hung up on" in m.log(), "what became of its client")
            for g in (a, c):
                g.serves(control)
            check(control.explain("b/data") is None, "nobody of that name")
            # It comes back, and with it what its client had out.
            reload(m, control, DISK + SAFETY + OTHER + THIRD)
            for g in (a, b, c):
                g.serves(control)
            c.end(0)
            b.end(1)
            # One without a client goes as well; the last one, and the first.
            reload(m, control, DISK + OTHER)
            gone(m, control, "c/data")
            gone(m, control, "a/data")
            reload(m, control, DISK + OTHER + SAFETY)
            a.serves(control)
            a.end(1)


def devices_come_and_go():
    with med.Folder() as d:
        med.image(d + "/img", 16)
        med.image(d + "/img2", 8)
        with med.Mediator(d, DISK + SAFETY) as m:
            control = med.Control(m)
            fds = m.fds()
            a = Guest(m, "a/data")
            for _ in range(3):
                a.serves(control)
                out = reload(m, control, DISK + SAFETY + SECOND)
                check("device two: is new" in out and "share d/data: is new" in out, out)
                other = Guest(m, "d/data")
                other.serves(control)
                check([x["device"] for x in control.stats()[1]] == ["disk", "two"], "its record")
                check(control.stats()[0]["d/data"]["device"] == "two", "whose share it is")
                check(control.explain("d/data") is not None and control.policy("set", "two", "target=8ms")[0] == 0,
                      "it is a device like any other")
                settled(control)
                # The same file as another device: refused, while it is ours.
                twin = SECOND.replace("two", "dos").replace("d/", "e/")
                text = reload(m, control, DISK + SAFETY + SECOND + twin, CONFIG)
                check(f"{m.policy}:13: error: device 'dos'" in text and "locked" in text, text)
                out = reload(m, control, DISK + SAFETY)
                check("device two: is there no more" in out, out)
                gone(m, control, "d/data")
                wait_for("its end", lambda: "ev=device_removed dev=two" in m.log())
                check([x["device"] for x in control.stats()[1]] == ["disk"], "no record is left")
                reload(m, control, DISK + SAFETY + SECOND)
                other.serves(control)
                other.end(1)
                reload(m, control, DISK + SAFETY)
                settled(control)
            a.end(0)
            wait_for("no descriptor to be left", lambda: m.fds() <= fds)


def refused_as_a_whole():
    """Each of these brings something that could be, beside what cannot."""
    with med.Folder() as d:
        med.image(d + "/img", 24)
        with med.Mediator(d, DISK + SAFETY + OTHER) as m:
            control = med.Control(m)
            a = Guest(m, "a/data")
            a.serves(control)
            before = control.policy("show")[1]
            for policy, said in (
                    (DISK + SAFETY + OTHER + THIRD + THIRD.replace("c/", "e/"), ":17: error: share 'e/data' (offset"),
                    (DISK + SAFETY + OTHER + THIRD.replace("length = 8M", "length = 80M"), "beyond the end of device"),
                    (DISK + SAFETY + OTHER + SECOND, ":12: error: device 'two': "),
                    (DISK + SAFETY + OTHER.replace("length = 8M", "length = 7M") + THIRD, "restart the mediator"),
                    (DISK + SAFETY + OTHER + THIRD + "[sound s]\n[voice c/snd]\ndevice = s\n",
                     "voice 'c/snd' is new; for that, restart the mediator"),
                    (DISK + SAFETY.replace("[share", "depth = 9\n[share") + THIRD, "unknown key 'depth'"),
                    (DISK + SAFETY.replace("class = safety\n", "class = safety\ndepth = 9\n") + THIRD,
                     "only 4 slots are reserved"),
            ):
                text = reload(m, control, policy, CONFIG)
                check(said in text and "test.policy:" in text, f"'{said}' is not in: {text}")
                check(control.policy("show")[1] == before, "the policy is what it was")
                check(sorted(control.stats()[0]) == ["a/data", "b/data"], "and so are the shares")
                check(not os.path.exists(m.socket("c/data")), "no socket was made")
            a.serves(control)
            a.end(0)


def one_that_cannot_go_yet():
    """What is at a device cannot be taken back: its share goes when it ends, and others are served meanwhile."""
    with med.Folder() as d:
        med.image(d + "/img", 16)
        with med.Mediator(d, DISK + SAFETY + OTHER, args=["--inject"]) as m:
            control = med.Control(m)
            a, b = Guest(m, "a/data"), Guest(m, "b/data")
            a.serves(control)
            b.serves(control)
            code, rows = control.inject("add", "stall", "b/data", "for=600s")
            check(code == 0 and len(rows) == 1, f"{rows}")
            wait_for("something of it to be kept", lambda: control.inject("list")[1][0]["hits"] > 0)
            reload(m, control, DISK + SAFETY)
            m.told("share_leaves", "b/data")
            check(control.policy("reload")[0] == 9, "another change waits for this one")
            a.serves(control)
            check(m.events("share_removed", "b/data") == 0, "it waits for its I/O")
            check(control.inject("clear")[0] == 0, "cleared")
            gone(m, control, "b/data")
            check(control.inject("list") == (0, []), "no rule is left for a share that is none")
            a.serves(control)
            reload(m, control, DISK + SAFETY + OTHER)
            b.serves(control)
            b.end(1)
            a.end(0)


def many_at_a_time():
    """More than a message carries descriptors, again and again, each where another was until then."""
    def policy(first, n):
        return DISK + SAFETY + "".join(
            f"[share s{i}/data]\ndevice = disk\nclass = best-effort\noffset = {8192 + 64 * ((7 * i + first) % 64)}K\n"
            "length = 64K\n" for i in range(first, first + n))
    with med.Folder() as d:
        med.image(d + "/img", 16)
        with med.Mediator(d, DISK + SAFETY) as m:
            control = med.Control(m)
            a = Guest(m, "a/data")
            fds = m.fds()
            for first in range(0, 400, 40):
                reload(m, control, policy(first, 40))
                m.told("share_added", f"s{first + 39}/data")
                check(len(control.stats()[0]) == 41, "they are there")
                with med.Client(m.socket(f"s{first + 39}/data")) as c:
                    c.setup()
                    check(c.request(med.T_OUT, 127, b"x" * 512)[0] == 0, "served to its last sector")
                    check(c.request(med.T_IN, 128, read=512)[0] == 1, "and no further")
            reload(m, control, DISK + SAFETY)
            settled(control)
            a.serves(control)
            a.end(0)
            wait_for("no descriptor to be left", lambda: m.fds() <= fds)


med.run_tests(shares_come_and_go, devices_come_and_go, refused_as_a_whole, one_that_cannot_go_yet, many_at_a_time)
