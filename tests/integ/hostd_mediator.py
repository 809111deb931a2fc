#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mediator under hostd: started, killed, back with the same sockets; refused policies; statistics, priorities."""

import os
import shlex
import signal
import socket
import subprocess
import time

from hostd_world import (CONFIG, FACTOR, NO_SUCH, NOT_RUNNING, OK, POLICY, USAGE, WAIT_S, alive, check, main, same,
                         wait_for)


def running(host):
    return wait_for("the mediator", lambda: [p for p in [host.mediator()] if p["state"] == "running"])[0]


def vhost_user(host, share):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(str(host.dir / f"run/mediator/{share}.sock"))
    return s


def features(s):
    """VHOST_USER_GET_FEATURES: proof that a mediator serves this connection."""
    s.sendall(b"\x01\0\0\0\x01\0\0\0\0\0\0\0")
    got = b""
    while len(got) < 20:
        more = s.recv(20 - len(got))
        check(more, "the mediator hung up")
        got += more
    return int.from_bytes(got[12:20], "little")


def test_no_policy(host):
    host.vm("a")
    host.start()
    same(host.mediator()["state"], "off")
    host.ctl("start", "a")
    host.ctl("priorities", "off", want=NOT_RUNNING)
    host.ctl("policy", "show", want=NOT_RUNNING)
    host.ctl("explain", "cluster/root", want=NOT_RUNNING)
    answer = host.json("stats")
    same((answer["shares"], answer["mediator_error"]), ([], ""))


def test_killed_and_back(host):
    host.policy(POLICY)
    host.start()
    first = running(host)
    inode = os.stat(host.dir / "run/mediator/cluster.root.sock").st_ino
    for _ in range(3):
        pid = running(host)["pid"]
        # A client of the time before, and one that comes during the outage: it waits in the backlog.
        old = vhost_user(host, "cluster.root")
        check(features(old), "served before")
        os.kill(pid, signal.SIGKILL)
        during = vhost_user(host, "ivi.root")
        check(features(during), "served after the outage")
        same(old.recv(1), b"", "the old connection ended")
        check(features(vhost_user(host, "cluster.root")), "and can be made again")
        check(running(host)["pid"] != pid, "another process")
    same(os.stat(host.dir / "run/mediator/cluster.root.sock").st_ino, inode, "the same socket all the time")
    same(host.mediator()["starts"], first["starts"] + 3)
    told = [e for e in host.ctl("events")[1].split("\n") if "killed by signal 9 (Killed)" in e]
    same(len(told), 3, "each death is an event")


def test_death_is_told(host):
    host.policy(POLICY)
    # One that cannot come back: what is told must come from the death alone.
    host.start()
    pid = running(host)["pid"]
    (host.dir / "bin/mediator").unlink()
    os.kill(pid, signal.SIGKILL)
    wait_for("the list to say so", lambda: host.mediator()["state"] in ("waiting", "failed", "starting"))
    wait_for("the log to say so", lambda: "killed by signal 9" in host.log_text())


def test_crash_loop(host):
    host.policy(POLICY)
    program = host.dir / "bin/mediator"
    program.unlink()
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    host.start()
    m = wait_for("giving up", lambda: [p for p in [host.mediator()] if p["state"] == "failed"], 60)[0]
    check("died young 10 times within a minute" in m["reason"] and "killed by signal 9" in m["reason"], m["reason"])
    # The start of a VM is another chance.
    program.unlink()
    program.symlink_to(os.environ["MEDIATOR"])
    host.vm("a")
    host.ctl("start", "a")
    running(host)


def test_always_back(host):
    """One that has served is started again however often it is killed, and at once."""
    host.policy(POLICY)
    host.start()
    for _ in range(12):
        pid = running(host)["pid"]
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        wait_for("another", lambda: host.mediator()["pid"] not in (0, pid))
    same(running(host)["starts"], 13)
    check("died young" not in host.log_text(), host.log_text())


def test_vm_waits_for_the_first_mediator(host):
    host.policy(POLICY)
    host.vm("a")
    slow = host.dir / "bin/mediator"
    slow.unlink()
    go = host.dir / "go"
    slow.write_text(f"#!/bin/sh\nuntil [ -e {shlex.quote(str(go))} ]; do sleep 0.01; done\n"
                    f"exec {shlex.quote(os.environ['MEDIATOR'])} \"$@\"\n")
    slow.chmod(0o755)
    host.start()
    start = subprocess.Popen([os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "start", "a"])
    time.sleep(0.2)
    check(start.poll() is None, "it waits")
    go.touch()
    same(start.wait(WAIT_S), 0, "its start")
    check(os.path.exists(host.dir / "run/mediator/cluster.root.sock"), "for the sockets")


def test_refused_policy(host):
    host.policy("[device d0]\npath = {dir}/nothing.img\nslotz = 3\n")
    host.vm("a")
    host.start()
    m = wait_for("its end", lambda: [p for p in [host.mediator()] if p["state"] == "failed"])[0]
    check("configuration refused" in m["reason"] and "slotz" in m["reason"], m["reason"])
    same(m["starts"], 1, "it is not tried again")
    _, out, _ = host.ctl("check", want=CONFIG)
    check("mediator: REFUSED" in out and "slotz" in out and "a: ok" in out, out)
    # A VM without shares does not care.
    host.ctl("start", "a")
    # Put right, the next start of a VM brings it up.
    host.policy(POLICY)
    host.ctl("stop", "a")
    host.ctl("start", "a")
    running(host)


def test_stats(host):
    host.policy(POLICY)
    host.vm("cluster")
    host.vm("mute", "no-stats")
    host.start()
    running(host)
    host.ctl("start", "cluster", "mute")
    start = time.monotonic()
    answer = host.json("stats")
    check(time.monotonic() - start < 5 * FACTOR, "a mute one costs 200 ms")
    same([s["share"] for s in answer["shares"]], ["cluster/root", "ivi/root"])
    check(answer["shares"][0]["bound_ns"] > 0, "the safety share has a bound")
    same(answer["devices"][0]["priorities"], True)
    vms = {v["name"]: v for v in answer["vms"]}
    same(vms["cluster"]["counters"]["exit.io"], 42)
    check("did not answer" in vms["mute"]["error"], vms["mute"])
    one = host.json("stats", "cluster")
    same(([s["share"] for s in one["shares"]], [v["name"] for v in one["vms"]]), (["cluster/root"], ["cluster"]))
    _, out, _ = host.ctl("stats")
    check("BOUND" in out and "cluster/root" in out and "LOWER CAP" in out, out)
    host.ctl("stats", "--reset-worst")
    host.ctl("stats", "nosuch", want=NO_SUCH)
    host.ctl("stop", "cluster")
    host.ctl("stats", "cluster", want=NOT_RUNNING)
    host.ctl("kill", "mute")


def test_stats_of_one_that_hangs(host):
    """Its state page says what was counted, and hostd has it; while it runs, its answer is what counts."""
    host.policy(POLICY)
    host.start()
    pid = running(host)["pid"]
    client = vhost_user(host, "cluster.root")
    check(features(client), "it serves")
    connected = lambda: host.json("stats")["shares"][0]["connected"]  # noqa: E731
    wait_for("the client", connected)
    same(host.json("stats")["mediator_hangs"], "")
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = host.json("stats")
        same((answer["mediator_error"], [s["share"] for s in answer["shares"]], answer["shares"][0]["connected"]),
             ("", ["cluster/root", "ivi/root"], True))
        check(answer["devices"][0]["slots"] > 0 and answer["shares"][0]["bound_ns"] > 0, answer)
        check("does not answer: counters as of" in answer["mediator_hangs"], answer)
        out = host.ctl("stats")[1]
        check("cluster/root" in out and "mediator: the mediator does not answer" in out, out)
        # Nobody serves it, but its end is not hidden from us either.
        client.close()
        same(host.json("stats")["shares"][0]["connected"], True)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("an answer", lambda: not host.json("stats")["mediator_hangs"])
    wait_for("the client's end", lambda: not connected())
    same(running(host)["pid"], pid)


def test_priorities(host):
    host.policy(POLICY)
    host.start()
    running(host)
    host.ctl("priorities", "off")
    same(host.json("stats")["devices"][0]["priorities"], False)
    same(host.json("priorities", "on", "--device", "d0"), {"schema": 1, "done": True})
    same(host.json("stats")["devices"][0]["priorities"], True)
    host.ctl("priorities", "off", "--device", "nosuch", want=NO_SUCH)


def test_taken_over(host):
    """A hostd that comes after a killed one has the same mediator, with its counters, and can change its policy."""
    host.policy(POLICY)
    host.start()
    pid = running(host)["pid"]
    for _ in range(3):
        host.leftovers.add(pid)
        host.end(signal.SIGKILL, want=-signal.SIGKILL)
        host.start()
        wait_for("its word", lambda: host.mediator()["reason"] == "")
        same((host.mediator()["pid"], host.mediator()["state"]), (pid, "running"))
        same([s["share"] for s in host.json("stats")["shares"]], ["cluster/root", "ivi/root"])
        host.ctl("policy", "set", "ivi/root", "weight=7")
    # The state page came with it: it tells of a mediator that hangs.
    os.kill(pid, signal.SIGSTOP)
    check(host.json("stats")["mediator_hangs"], "it hangs, and that is known")
    os.kill(pid, signal.SIGCONT)
    # One that dies is followed by another, as ever.
    os.kill(pid, signal.SIGKILL)
    wait_for("another", lambda: host.mediator()["pid"] not in (0, pid) and host.mediator()["state"] == "running")


def test_explain(host):
    host.policy(POLICY)
    host.start()
    running(host)
    answer = host.json("explain", "cluster/root")
    same(set(answer), {"schema", "share", "bound_ns", "target_ns", "missed", "ladder", "ladder_ups", "worst"})
    same((answer["schema"], answer["share"], answer["ladder"], answer["missed"], answer["worst"]),
         (1, "cluster/root", "free", 0, []))
    check(0 < answer["bound_ns"] <= answer["target_ns"], answer)
    check("nothing was done yet" in host.ctl("explain", "cluster/root")[1], "in words")
    host.ctl("explain", "nosuch/root", want=NO_SUCH)
    host.ctl("explain", want=USAGE)


def test_policy(host):
    """Shown, checked, set and read again while it runs; what is refused changes nothing."""
    host.policy(POLICY)
    host.start()
    pid = running(host)["pid"]
    shown = host.ctl("policy", "show")[1]
    check("[share ivi/root]\n" in shown and "weight = 100\n" in shown, shown)
    check("nothing changes" in host.ctl("policy", "check")[1], "as the files are")
    _, out, _ = host.ctl("policy", "set", "ivi/root", "weight=7", "limit-ops=500")
    check("share ivi/root: weight = 7 (was 100)" in out and "limit-ops = 500 (was none)" in out, out)
    lines = host.json("policy", "show")["lines"]
    check("# set since the files were read: ivi/root weight=7" in lines and "limit-ops = 500" in lines, lines)
    for words, said in ((("ivi/root", "wieght=7"), "did you mean 'weight'?"),
                        (("ivi/root", "weight=0"), "from 1 to 1000"),
                        (("ivi/rot", "weight=1"), "no share, voice, device or group 'ivi/rot'"),
                        (("ivi/root", "weight"), "expected key=value"),
                        (("ivi/root", "weight=9", "length=4K"), "restart the mediator"),
                        (("d0", "reserve=32"), "leaves none for lower classes")):
        _, _, err = host.ctl("policy", "set", *words, want=CONFIG)
        check(said in err, f"{words}: {err}")
    same(host.json("policy", "show")["lines"], lines)
    host.policy(POLICY.replace("class = best-effort", "class = normal"))
    check("policy check" in host.ctl("policy", "set", "ivi/root", "weight=8", want=CONFIG)[2], "files have changed")
    _, out, _ = host.ctl("policy", "check")
    check("share ivi/root: class = normal (was best-effort)" in out and "weight = 100 (was 7)" in out, out)
    same(host.json("policy", "show")["lines"], lines)
    host.ctl("policy", "reload")
    shown = host.ctl("policy", "show")[1]
    check("class = normal\n" in shown and "weight = 7" not in shown and "limit-ops" not in shown, shown)
    wait_for("the class", lambda: host.json("stats")["shares"][1]["class"] == "normal")
    for words in (("policy",), ("policy", "shw"), ("policy", "show", "x"), ("policy", "set", "x")):
        host.ctl(*words, want=USAGE)
    same(running(host)["pid"], pid)


def test_shares_come_and_go(host):
    """Their sockets are hostd's: made when they come, taken away when they go, kept for the next mediator."""
    def there():
        return sorted(name for name in os.listdir(host.dir / "run/mediator") if name.endswith(".sock"))

    def reload(policy):
        host.policy(policy)
        # A change that is under way is waited for.
        done = wait_for("the reload", lambda: [r for r in [host.ctl("policy", "reload", want=None)] if r[0] == OK])
        return done[0][1]
    host.policy(POLICY)
    host.start()
    pid = running(host)["pid"]
    stays = vhost_user(host, "cluster.root")
    was = there()
    new = POLICY + "[device n]\nnull = 1M\n" + "".join(
        f"[share new/d{i}]\ndevice = n\noffset = {i * 4}K\nlength = 4K\n" for i in range(40))
    check("device n: is new\nshare new/d0: is new\n" in reload(new), "what it brings")
    same(len(there()), len(was) + 40)
    for i in (0, 16, 39):
        check(features(vhost_user(host, f"new.d{i}")), "it serves")
    same(len(host.json("stats")["shares"]), 42)
    check("share new/d39: is there no more\n" in reload(POLICY), "what it takes")
    wait_for("their sockets to go", lambda: there() == was)
    same(len(host.json("stats")["shares"]), 2)
    reload(new)
    same(len(there()), len(was) + 40)
    check(features(stays), "who stays notices nothing")
    same(running(host)["pid"], pid)
    os.kill(pid, signal.SIGKILL)
    wait_for("another", lambda: host.mediator()["pid"] not in (0, pid))
    running(host)
    check(features(vhost_user(host, "new.d39")), "the next one has the same")


def test_one_mediator_a_disk(host):
    """A mediator that survives its hostd is left alone; its successor gets sockets of the next hostd."""
    host.policy(POLICY)
    host.start()
    pid = running(host)["pid"]
    host.leftovers.add(pid)
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    check(alive(pid), "it lives")
    host.start()
    same(running(host)["pid"], pid, "no second one beside it")
    check(features(vhost_user(host, "cluster.root")), "it serves")
    os.kill(pid, signal.SIGKILL)
    wait_for("another", lambda: host.mediator()["pid"] not in (0, pid))
    running(host)
    check(features(vhost_user(host, "cluster.root")), "the next one serves")


def test_hostile_share_names(host):
    """Whatever a mediator calls its shares, no socket is made outside RUN/mediator."""
    bad = host.dir / "bin/mediator"
    bad.unlink()
    bad.write_text(
        "#!/usr/bin/python3\n"
        "import os, socket, struct, sys, time\n"
        "s = socket.socket(fileno=3)\n"
        "def field(n, b): return bytes([n << 3 | 2, len(b)]) + b\n"
        "def send(b): s.sendall(struct.pack('<I', len(b)) + b)\n"
        "send(field(2, b'\\x08\\x01'))\n"
        "for name in (b'../../evil', b'a/../b', b'/x', b'x/', b'a/b/c', b'.a/b', b'a\\\\x/b'):\n"
        "    body = field(1, name)\n"
        "    send(b'\\x08\\x01' + bytes([0xa2, 0x01, len(body)]) + body)\n"
        # Shares that are none any more, and VMs to be frozen: neither is there, or has such a name.
        "    body = field(2, name) + field(2, b'cluster/root')\n"
        "    send(b'\\x08\\x01' + bytes([0xa2, 0x01, len(body)]) + body)\n"
        "    body = field(1, name) + field(1, b'nosuch') * 3\n"
        "    send(bytes([0x82, 0x02, len(body)]) + body)\n"
        "time.sleep(60)\n")
    bad.chmod(0o755)
    host.policy(POLICY)
    host.start()
    wait_for("the refusals", lambda: host.log_text().count("ev=mediator_socket") == 7)
    same(os.listdir(host.dir / "run/mediator"), [])
    host.ctl("list")
    same(sorted(os.listdir(host.dir)), ["bin", "disk.img", "etc", "log", "run", "state"])


main(globals())
