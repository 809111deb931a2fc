#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hostctl inject: off unless hostd.conf allows it; begun, listed, told, cleared; processes killed on purpose; and the
end of a quarantine by an operator."""

import socket
import struct

from hostd_world import (ALREADY, DENIED, NO_SUCH, NOT_RUNNING, OK, POLICY, USAGE, main, same, check, wait_for)

INJECT = "[hostd]\ninject = yes\n"


def start(host, conf=INJECT, policy=POLICY):
    host.conf(conf)
    host.policy(policy)
    host.start()
    wait_for("the mediator", lambda: host.mediator()["state"] == "running")


def events(host, kind):
    lines = [line.split(maxsplit=4) for line in host.ctl("events")[1].splitlines()]
    return [(e[3], e[4] if len(e) > 4 else "") for e in lines if e[2] == kind]


def test_off(host):
    for conf in ("", "inject = no\n"):
        start(host, conf)
        pid = host.mediator()["pid"]
        for args in (("list",), ("error", "d0"), ("clear",), ("kill", "mediator")):
            err = host.ctl("inject", *args, want=DENIED)[2]
            check("inject = yes" in err and "hostd.conf" in err, err)
        same(host.mediator()["pid"], pid, "nothing was killed")
        host.end()


def test_wrong(host):
    start(host)
    rows = ((("lst",), USAGE, "cannot be injected"), (("kill",), USAGE, "expected mediator or a VM"),
            (("kill", "nobody"), NO_SUCH, "nobody"), (("kill", "mediator", "signal=HUP"), USAGE, "expected signal="),
            (("kill", "mediator", "x=1"), USAGE, "expected signal="), (("list", "x"), USAGE, "no argument"),
            (("clear", "99"), NO_SUCH, "no injection"), (("error", "d1"), NO_SUCH, "did you mean 'd0'"),
            (("stall", "cluster/root", "for=never"), USAGE, "expected a time"))
    for args, code, text in rows:
        err = host.ctl("inject", *args, want=code)[2]
        check(text in err, f"{args}: {err}")
    host.vm("a")
    host.ctl("list")
    host.ctl("inject", "kill", "a", want=NOT_RUNNING)


def test_begun_listed_cleared(host):
    start(host)
    same(host.ctl("inject", "list")[1], "nothing is injected\n")
    out = host.ctl("inject", "stall", "d0", "for=60s", "ops=read,write")[1]
    check("stall" in out and "read,write" in out and "d0" in out, out)
    host.ctl("inject", "late", "ivi/root", "delay=5ms", "count=3", "for=60s")
    got = host.json("inject", "list")["injections"]
    same([(i["id"], i["kind"], i["device"], i["share"], i["ops"], i["count_left"], i["delay_ns"], i["hits"])
          for i in got],
         [(1, "stall", "d0", "", "read,write", 0, 0, 0), (2, "late", "d0", "ivi/root", "all", 3, 5000000, 0)])
    check(all(0 < i["left_ns"] <= 60 * 10**9 for i in got), f"{got}")
    same([i["id"] for i in host.json("inject", "clear", "1")["injections"]], [2])
    same(host.json("inject", "clear")["injections"], [])
    wait_for("both ends", lambda: len(events(host, "inject_ended")) == 2)
    same([e[0] for e in events(host, "inject_begun")], ["d0", "ivi/root"])
    host.ctl("inject", "error", "d0", "for=20ms")
    wait_for("its own end", lambda: len(events(host, "inject_ended")) == 3)


def test_kill(host):
    start(host)
    host.vm("a")
    host.ctl("start", "a")
    pid = host.mediator()["pid"]
    same(host.json("inject", "kill", "mediator"), {"schema": 1, "done": True})
    wait_for("another mediator", lambda: host.mediator()["state"] == "running" and host.mediator()["pid"] != pid)
    host.ctl("inject", "kill", "a", "signal=ABRT")
    check("signal 6" in host.wait_state("a", "failed")["reason"], "why")
    told = events(host, "injected")
    same([e[0] for e in told], ["mediator", "a"])
    check("signal KILL" in told[0][1] and "signal ABRT" in told[1][1] and "user" in told[0][1], f"{told}")


def refused(host, share):
    """Breaks the protocol on a new connection. True when it was hung up on."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(host.dir / f"run/mediator/{share}.sock"))
        try:
            s.sendall(struct.pack("<III", 999, 1, 4096))
            return s.recv(1) == b""
        except ConnectionError:
            return True


def quarantined(host, share):
    return next(s["quarantined"] for s in host.json("stats")["shares"] if s["share"] == share)


def test_unquarantine(host):
    start(host, "", POLICY + "fault-budget = 2\nfault-window = 3600s\n")
    host.ctl("policy", "unquarantine", "ivi/root", want=ALREADY)
    host.ctl("policy", "unquarantine", "ivi/roof", want=NO_SUCH)
    host.ctl("policy", "unquarantine", want=USAGE)
    for _ in range(2):
        check(refused(host, "ivi.root"), "hung up on")
    wait_for("the quarantine", lambda: quarantined(host, "ivi/root"))
    same(host.ctl("policy", "unquarantine", "ivi/root")[0], OK)
    wait_for("its end", lambda: not quarantined(host, "ivi/root"))
    wait_for("the event", lambda: events(host, "quarantine_ended"))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(host.dir / "run/mediator/ivi.root.sock"))
        s.sendall(b"\x01\0\0\0\x01\0\0\0\0\0\0\0")
        check(s.recv(1), "served again")
    check(refused(host, "ivi.root"), "hung up on")
    check(not quarantined(host, "ivi/root"), "breaches are counted anew")


main(dict(globals()))
