#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who hangs is noticed: a qvm or mediator that stands still, a qvm with a thread that does, a guest whose watchdog bit;
and what NAME.vm says is to become of it.
"""

import os
import pathlib
import signal
import socket

from hostd_world import FACTOR, POLICY, alive, check, main, same, wait_for

HANG = f"[hostd]\nqvm-hang-timeout = {3000 * FACTOR}ms\nmediator-hang-timeout = {3000 * FACTOR}ms\n"
ONCE = "restart-delay = 10ms\n"


def kinds(host, subject):
    return [line.split()[2] for line in host.ctl("events")[1].splitlines() if line.split()[3] == subject]


def stop_process(host, pid):
    """All its threads stand still when this returns; a signal alone takes its time to reach them."""
    os.kill(pid, signal.SIGSTOP)
    host.leftovers.add(pid)
    tasks = pathlib.Path(f"/proc/{pid}/task")
    wait_for("it to stand still", lambda: all(
        (t / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "T" for t in tasks.iterdir()))
    return pid


def stopped(host, name):
    """Its qvm stands still from now on."""
    return stop_process(host, host.status(name)["pid"])


def test_hung_qvm(host):
    """Killed, with the reason kept; the others do not notice."""
    host.conf(HANG)
    host.vm("a", vm="[vm]\nrestart = on-failure\n" + ONCE)
    host.vm("b")
    host.vm("c")
    host.start()
    host.ctl("start", "a", "b", "c")
    c = host.status("c")["pid"]
    hung = [stopped(host, name) for name in "ab"]
    b = host.wait_state("b", "failed")
    check("it hangs: it has not answered for" in b["reason"] and b["reason"].endswith("killed"), b["reason"])
    # This one is started again by its policy.
    wait_for("another process", lambda: host.status("a")["state"] == "running" and host.status("a")["pid"] != hung[0])
    check("vm_hung" in kinds(host, "a") and "vm_hung" in kinds(host, "b"), kinds(host, "a"))
    check(not any(alive(pid) for pid in hung), "both are gone")
    same((host.status("c")["pid"], kinds(host, "c").count("vm_hung")), (c, 0), "the third")


def test_what_becomes_of_it(host):
    """Each word of "watchdog", with the restart policy against it."""
    host.conf(HANG)
    rows = {"restart": "no", "stop": "always", "failure": "no", "nothing": "always"}
    for word, restart in rows.items():
        host.vm(word, vm=f"[vm]\nwatchdog = {word}\nrestart = {restart}\n" + ONCE)
    host.start()
    host.ctl("start", *rows)
    pids = {word: stopped(host, word) for word in rows}
    wait_for("restart", lambda: host.status("restart")["pid"] not in (0, pids["restart"]))
    for word in ("stop", "failure"):
        check("it hangs" in host.wait_state(word, "failed")["reason"], word)
    wait_for("a word about the last", lambda: "vm_hung" in kinds(host, "nothing"))
    same((host.status("nothing")["state"], host.status("nothing")["pid"]), ("running", pids["nothing"]), "left alone")
    os.kill(pids["nothing"], signal.SIGCONT)
    host.ctl("stop", "nothing")


def test_bite(host):
    """The guest's own watchdog: qvm ends with 4."""
    rows = {"restart": "no", "stop": "always", "failure": "on-failure", "nothing": "no"}
    for word, restart in rows.items():
        host.vm(word, "after 50 ended 4 watchdog\n",
                vm=f"[vm]\nwatchdog = {word}\nrestart = {restart}\nrestart-limit = 2/1min\n" + ONCE)
    host.start()
    host.ctl("start", "--no-wait", *rows)
    for word, starts in (("restart", 3), ("failure", 3), ("stop", 1), ("nothing", 1)):
        got = wait_for(word, lambda w=word, n=starts: [
            s for s in [host.status(w)] if s["state"] == "failed" and s["starts"] == n])[0]
        check("watchdog" in got["reason"], got["reason"])
    for word, loops in (("restart", 1), ("failure", 1), ("stop", 0), ("nothing", 0)):
        same(kinds(host, word).count("vm_crash_loop"), loops, word)


def test_a_thread_of_it(host):
    """It answers, and says of a vCPU that its thread stands still."""
    host.conf(HANG)
    host.vm("a", f"stalled {3000 * FACTOR}\n")
    host.vm("b", f"stalled {3000 * FACTOR - 1}\n")
    host.start()
    host.ctl("start", "a", "b")
    reason = host.wait_state("a", "failed")["reason"]
    check("it hangs: the thread of vCPU 1 has stood still for" in reason, reason)
    same(host.status("b")["state"], "running", "less than the limit is no hang")


def test_hung_mediator(host):
    """Killed and started again with the same sockets: who is connected sees an outage, who comes waits."""
    host.conf(HANG)
    host.policy(POLICY)
    host.start()
    before = wait_for("the mediator", lambda: [p for p in [host.mediator()] if p["state"] == "running"])[0]
    stop_process(host, before["pid"])
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60 * FACTOR)
    client.connect(str(host.dir / "run/mediator/cluster.root.sock"))
    client.sendall(b"\x01\0\0\0\x01\0\0\0\0\0\0\0")
    check(len(client.recv(20)) > 0, "served by the next one")
    after = wait_for("the next", lambda: [p for p in [host.mediator()] if p["state"] == "running"])[0]
    check(after["pid"] != before["pid"] and after["starts"] == before["starts"] + 1, after)
    check("mediator_hung" in kinds(host, "mediator"), kinds(host, "mediator"))
    _, out, _ = host.ctl("events")
    check("it hangs: it has not answered for" in out and not alive(before["pid"]), out)


def test_off(host):
    host.conf("[hostd]\nqvm-hang-timeout = off\nmediator-hang-timeout = 20ms\n")
    host.vm("a")
    host.start()
    host.ctl("start", "a")
    pid = stopped(host, "a")
    host.vm("b", "after 300 exit 5\n")
    host.ctl("start", "b")
    host.wait_state("b", "failed")
    same(host.status("a")["pid"], pid, "nobody asks")
    os.kill(pid, signal.SIGCONT)
    host.ctl("stop", "a")


if __name__ == "__main__":
    main(globals())
