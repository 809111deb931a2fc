#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The life of a VM under hostd: start, stop, kill, force after a timeout, and why it ended, as a sentence."""

import os
import signal
import subprocess
import time

from hostd_world import (ALREADY, CONFIG, FACTOR, FAILED, NO_SUCH, NOT_RUNNING, OK, TIMEOUT, alive, check, main, same,
                         wait_for)

SHORT = "[hostd]\nstart-timeout = 1s\nstop-timeout = 300ms\ncut-timeout = 300ms\n"


def test_start_stop(host):
    host.vm("a", "print hello", "[vm]\nclass = safety\n")
    host.start()
    same(host.status("a")["state"], "off")
    _, out, _ = host.ctl("start", "a")
    check(out.startswith("a: running (process "), out)
    s = host.status("a")
    same((s["state"], s["want"], s["class"], s["starts"]), ("running", "up", "safety", 1))
    check(alive(s["pid"]), "its process lives")
    same(os.getpgid(s["pid"]), s["pid"], "its own process group")
    same(os.readlink(f"/proc/{s['pid']}/cwd"), str(host.dir / "etc/vms"), "its folder")
    host.ctl("start", "a", want=ALREADY)
    host.ctl("stop", "a")
    s = host.status("a")
    same((s["state"], s["want"], s["reason"], s["exit_code"], s["pid"]), ("off", "down", "stopped", 0, 0))
    host.ctl("stop", "a", want=ALREADY)
    host.ctl("kill", "a", want=ALREADY)
    host.ctl("start", "a")
    same(host.status("a")["starts"], 2)
    host.ctl("kill", "a")
    s = host.status("a")
    same((s["state"], s["reason"], s["exit_code"]), ("off", "power cut", 3))


def test_only_its_descriptors(host):
    host.vm("a")
    host.start()
    host.ctl("start", "a")
    pid = host.status("a")["pid"]
    fds = sorted(int(n) for n in os.listdir(f"/proc/{pid}/fd"))
    # Its console, its log, its channel; and what it keeps for a later hostd. The rest it opened itself: its lock.
    same(fds[:7], [0, 1, 2, 3, 4, 5, 6])
    check(all("qvm/a.lock" in os.readlink(f"/proc/{pid}/fd/{n}") for n in fds[7:]), fds)


def test_force(host):
    host.conf(SHORT)
    host.vm("button", "on-button ignore")
    host.vm("all", "on-button ignore\non-cut ignore")
    host.start()
    host.ctl("start", "button", "all")
    start = time.monotonic()
    host.ctl("stop", "button")
    took = time.monotonic() - start
    check(0.25 < took < 5 * FACTOR, f"the guest had its time, no more: {took}")
    same(host.status("button")["reason"], "power cut")
    host.ctl("stop", "all")
    s = host.status("all")
    same(s["state"], "off")
    check("killed by hostd" in s["reason"], s["reason"])


def test_stop_timeout_of_the_request(host):
    host.conf("[hostd]\nstop-timeout = 600s\n")
    host.vm("a", "on-button ignore")
    host.start()
    host.ctl("start", "a")
    host.ctl("stop", "a", "--timeout", "0.2")       # which waits for less than those 600 s
    same(host.status("a")["reason"], "power cut")


def test_kill_goes_further_than_stop(host):
    host.vm("a", "on-button ignore")
    host.start()
    host.ctl("start", "a")
    host.ctl("stop", "--no-wait", "a")
    same(host.status("a")["state"], "stopping")
    host.ctl("start", "a", want=FAILED)     # busy
    host.ctl("kill", "a")
    same(host.status("a")["state"], "off")


REASONS = [
    # configuration, state, exit code, what the reason says
    ("after 50 signal 11", "failed", None, "killed by signal 11 (Segmentation fault)"),
    ("after 50 signal 9", "failed", None, "killed by signal 9 (Killed)"),
    ("after 50 ended 0 guest powered off", "off", 0, "guest powered off"),
    ("after 50 ended 0 guest reset", "off", 0, "guest reset"),
    ("after 50 ended 4 watchdog", "failed", 4, "watchdog"),
    ("after 50 exit 4", "failed", 4, "exit 4: watchdog"),
    ("after 50 exit 0", "off", 0, "the guest ended"),
    ("stderr <3>disk0: full\nafter 50 exit 96", "failed", 96, "exit 96: fatal error while the guest ran: disk0: full"),
    ("after 50 exit 40", "failed", 40, "exit 40: ended by a virtual device"),
    ("after 50 exit 77", "failed", 77, "exit 77: ended with an exit code that has no meaning"),
]


def test_reasons(host):
    for i, (text, _, _, _) in enumerate(REASONS):
        host.vm(f"r{i}", text)
    host.start()
    for i, (text, state, code, reason) in enumerate(REASONS):
        host.ctl("start", f"r{i}")
        s = host.wait_state(f"r{i}", state)
        same(s["exit_code"], code, text)
        check(reason in s["reason"], f"{text}: {s['reason']!r} says not {reason!r}")


START_FAILURES = [
    ("fail kvm 64 /dev/kvm is not there: load the module kvm", FAILED, "could not start: /dev/kvm is not there"),
    ("fail config 65 x.qvmconf:3:1: error: ram is missing", CONFIG, "x.qvmconf:3:1: error: ram is missing"),
    ("bad no such option", CONFIG, "configuration"),
    ("never-ready", FAILED, "not ready within 1 s"),
    ("stderr <3>what a pity\nafter 0 signal 6\nnever-ready", FAILED, "not ready within 1 s"),
]


def test_start_failures(host):
    host.conf(SHORT)
    for i, (text, _, _) in enumerate(START_FAILURES):
        host.vm(f"f{i}", text)
    host.start()
    for i, (text, code, said) in enumerate(START_FAILURES):
        _, _, err = host.ctl("start", f"f{i}", want=code)
        check(said in err, f"{text}: {err!r} says not {said!r}")
        s = host.status(f"f{i}")
        same((s["state"], s["want"]), ("failed", "up"), text)
        host.ctl("stop", f"f{i}")       # the failure is acknowledged
        same(host.status(f"f{i}")["state"], "off", text)


def test_no_program(host):
    (host.dir / "bin/qvm").unlink()
    host.vm("a")
    host.start()
    _, _, err = host.ctl("start", "a", want=FAILED)
    check("could not be executed: cannot execute" in err and "No such file" in err, err)


def test_stop_before_ready(host):
    host.vm("a", "never-ready")
    host.start()
    host.ctl("start", "--no-wait", "a")
    same(host.status("a")["state"], "starting")
    host.ctl("start", "--timeout", "0.1", "a", want=TIMEOUT)
    # It cannot hear the power cut: SIGKILL after the cut's time.
    host.ctl("stop", "a")
    same(host.status("a")["state"], "off")


def test_crash_while_stopping(host):
    host.vm("a", "on-button crash")
    host.start()
    host.ctl("start", "a")
    _, _, err = host.ctl("stop", "a", want=FAILED)
    check("killed by signal 11" in err, err)
    same(host.status("a")["state"], "failed")


def test_others_are_not_touched(host):
    host.vm("good")
    host.vm("bad", "garbage")
    host.start()
    host.ctl("start", "good")
    pid = host.status("good")["pid"]
    # Its channel is ended for the garbage, so its Ready is never heard.
    host.conf("")
    host.ctl("start", "--no-wait", "bad")
    wait_for("the fault in the log", lambda: "vm=bad why=frame_size" in host.log_text())
    host.ctl("kill", "bad")
    s = host.status("good")
    same((s["state"], s["pid"]), ("running", pid))
    os.kill(pid, signal.SIGKILL)
    wait_for("the death to be told", lambda: host.status("good")["state"] == "failed")


def test_new_and_removed_files(host):
    host.start()
    same(host.json("list")["vms"], [])
    host.vm("late")
    host.ctl("start", "late")
    (host.dir / "etc/vms/late.qvmconf").unlink()
    same([v["name"] for v in host.json("list")["vms"]], ["late"], "a VM that runs stays known")
    host.ctl("stop", "late")
    same(host.json("list")["vms"], [])
    host.ctl("start", "late", want=NO_SUCH)


def test_vm_file_refused(host):
    host.vm("a", "", "[vm]\nclas = safety\nuser = me\nstop-timeout = 5\n")
    host.start()
    _, _, err = host.ctl("start", "a", want=CONFIG)
    for said in ("a.vm:2:", "did you mean 'class'", "a.vm:3:", "'user' is not supported", "a.vm:4:", "as 10s"):
        check(said in err, f"{said!r} is missing: {err}")
    host.vm("a", "", "[vm]\nclass = best-effort\n")
    host.ctl("start", "a")


def test_console(host):
    host.vm("a", "print first\nprint second")
    host.vm("off")
    host.start()
    host.ctl("console", "off", want=NOT_RUNNING)
    host.ctl("start", "a")
    same(host.ctl("console", "--log", "a")[1], "first\nsecond\n")
    host.ctl("stop", "a")
    same(host.ctl("console", "--no-input", "a")[1], "first\nsecond\n", "kept when it is off")


def test_stderr_is_logged(host):
    host.vm("a", "stderr <4>look \x1b[31m here\nstderr plain\nstderr " + "x" * 3000)
    host.start()
    host.ctl("start", "a")
    wait_for("the lines", lambda: "vm=a plain" in host.log_text())
    check("<4>hostd: vm=a look ?[31m here" in host.log_text(), host.log_text())
    check(max(len(line) for line in host.log_text().split("\n")) < 700, "long lines are cut")


def test_flood_is_bounded(host):
    host.vm("a", "flood 20000")
    host.start()
    host.ctl("start", "a")
    same(len(host.status("a")["log"]), 64)
    check(host.log_text().count("stderr line") < 1000, "a VM cannot fill the log")
    out = host.ctl("console", "--log", "a")[1]
    check(60000 < len(out) <= 65536 and out.endswith("console line 19999\n"), f"the last 64 KiB: {len(out)}")


def test_term_stops_all(host):
    host.vm("s", "", "[vm]\nclass = safety\n")
    host.vm("n", "", "[vm]\nclass = normal\n")
    host.vm("b", "", "[vm]\nclass = best-effort\n")
    host.start()
    host.ctl("start", "s", "n", "b")
    pids = host.pids()
    host.end()
    check(not any(alive(p) for p in pids), "all are gone")
    log = host.log_text()
    offs = [log.index(f"vm={n} why=\"stopping -> off") for n in "bns"]
    same(offs, sorted(offs), "best-effort first, safety last")


def test_second_term_forces(host):
    host.vm("a", "on-button ignore", "[vm]\nstop-timeout = 1min\n")
    host.start()
    host.ctl("start", "a")
    host.proc.send_signal(signal.SIGTERM)
    host.wait_state("a", "stopping")
    host.end()


def test_hostd_dies_vms_live(host):
    """The next hostd has all that the first had of a VM: state, uptime, console, log, statistics, why it ended."""
    host.vm("a", "stderr it starts\nprint hello")
    host.start()
    host.ctl("start", "a")
    pid = host.status("a")["pid"]
    host.leftovers.add(pid)
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    check(alive(pid), "hostd's death takes no VM with it")
    host.start()
    s = wait_for("its word", lambda: [s for s in [host.status("a")] if s["uptime_ms"] >= 3_600_000])[0]
    same((s["state"], s["pid"], s["reason"]), ("running", pid, ""))
    check("exit.io" in host.ctl("--json", "stats")[1], "statistics")
    with subprocess.Popen([os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "console", "a"],
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as keyboard:
        keyboard.stdin.write(b"typed\n")
        keyboard.stdin.flush()
        wait_for("the console", lambda: "echo:typed" in host.ctl("console", "--log", "a")[1])
        keyboard.terminate()
    host.ctl("start", "a", want=ALREADY)
    host.ctl("stop", "a")
    same((host.status("a")["state"], host.status("a")["reason"]), ("off", "stopped"))
    check(not alive(pid), "and can be stopped")
    host.ctl("start", "a")


def test_adopted_again_and_again(host):
    host.vm("a", "no-console-read")
    host.start()
    host.ctl("start", "a")
    pid = host.status("a")["pid"]
    host.leftovers.add(pid)
    for _ in range(5):
        host.end(signal.SIGKILL, want=-signal.SIGKILL)
        host.start()
        wait_for("its word", lambda: host.status("a")["uptime_ms"] >= 3_600_000)
    same(host.status("a")["pid"], pid)
    host.ctl("kill", "a")
    same(list((host.dir / "state/run").glob("a.*")), [], "what is left of it")


def test_adopted_ends_by_itself(host):
    """Its exit status is for its parent, who is dead; what it says itself is enough."""
    host.vm("good", "after 400 ended 0 guest powered off")
    host.vm("bad", "after 400 exit 7")
    host.start()
    for name in ("good", "bad"):
        host.ctl("start", name)
        host.leftovers.add(host.status(name)["pid"])
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    host.start()
    s = host.wait_state("good", "off")
    same((s["reason"], s["exit_code"]), ("guest powered off", 0))
    s = host.wait_state("bad", "failed")
    check("earlier hostd" in s["reason"], s["reason"])


def test_adopted_writes_much(host):
    """Without a hostd nobody reads: the VM does not wait for that, and what is lost is the newest of its log."""
    host.vm("a", "no-console-read")
    host.start()
    host.ctl("start", "a")
    pid = host.status("a")["pid"]
    host.leftovers.add(pid)
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    with open(f"/proc/{pid}/fdinfo/2", encoding="ascii") as f:
        flags = int([line.split()[1] for line in f if line.startswith("flags:")][0], 8)
    check(flags & os.O_NONBLOCK, "a full log pipe stops nobody")
    host.start()
    wait_for("its word", lambda: host.status("a")["uptime_ms"] >= 3_600_000)
    host.ctl("stop", "a")


def test_pause(host):
    host.vm("a")
    host.start()
    host.ctl("pause", "a", want=NOT_RUNNING)
    host.ctl("start", "a")
    host.leftovers.add(host.status("a")["pid"])
    check(host.ctl("pause", "a")[1].startswith("a: paused"), "said")
    s = host.status("a")
    same((s["state"], s["paused"]), ("running", True))
    check("paused" in host.ctl("list")[1], "in the list")
    host.ctl("pause", "a", want=ALREADY)
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    host.start()
    wait_for("the next hostd to know", lambda: host.status("a")["paused"])
    host.ctl("resume", "a")
    same(host.status("a")["paused"], False)
    host.ctl("resume", "a", want=ALREADY)
    host.ctl("pause", "a")
    host.ctl("stop", "a")
    s = host.status("a")
    same((s["state"], s["paused"], s["reason"]), ("off", False, "stopped"))


def test_reboot(host):
    host.vm("a")
    host.vm("deaf", "on-button ignore")
    host.start()
    host.ctl("reboot", "a", want=NOT_RUNNING)
    host.ctl("start", "a", "deaf")
    pids = [host.status(name)["pid"] for name in ("a", "deaf")]
    host.ctl("reboot", "a")
    host.ctl("reboot", "--timeout", "0.2", "deaf")
    for name, pid in zip(("a", "deaf"), pids):
        s = host.status(name)
        same((s["state"], s["starts"], s["want"]), ("running", 2, "up"))
        check(s["pid"] != pid, "another process")
    # A stop that comes while it reboots is the last word.
    host.ctl("reboot", "--no-wait", "--timeout", "10", "deaf")
    host.ctl("kill", "deaf")
    same((host.status("deaf")["state"], host.status("deaf")["want"]), ("off", "down"))
    host.vm("a", "bad no such thing")
    _, _, err = host.ctl("reboot", "a", want=CONFIG)
    check("no such thing" in err or "see stderr" in err, err)


def test_dump_refused(host):
    host.vm("a")
    host.start()
    host.ctl("dump", "a", want=NOT_RUNNING)
    host.ctl("start", "a")
    _, _, err = host.ctl("dump", "a", want=CONFIG)
    check("no dump" in err, err)


def test_no_duplicates(host):
    host.vm("a")
    host.start()
    host.ctl("start", "a")
    pid = host.status("a")["pid"]
    host.leftovers.add(pid)
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    # Without the note of the first hostd, the VM's own lock is what is left.
    (host.dir / "state/run/a.pid").unlink()
    host.start()
    _, _, err = host.ctl("start", "a", want=FAILED)
    check(f"runs already: process {pid}" in err, err)


def test_second_hostd(host):
    host.start()
    p = subprocess.run(host.argv(), capture_output=True, timeout=30, check=False)
    same(p.returncode, 64)
    check(f"process {host.proc.pid}".encode() in p.stderr, p.stderr)
    same(host.ctl("version")[0], OK, "the first goes on")


main(globals())
