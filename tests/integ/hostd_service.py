#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hostd as a service of systemd's: what it says on the notification socket, and how a restart differs from a stop."""

import os
import signal
import socket
import subprocess

from hostd_world import WAIT_S, alive, check, main, same, wait_for


class Notified:
    """The socket on which systemd hears a service."""

    def __init__(self, host):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = str(host.dir / "notify")
        self.sock.bind(path)
        self.sock.setblocking(False)
        self.heard = []
        os.environ["NOTIFY_SOCKET"] = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
        os.environ.pop("NOTIFY_SOCKET", None)
        os.environ.pop("WATCHDOG_USEC", None)

    def listen(self):
        try:
            while True:
                self.heard.append(self.sock.recv(4096).decode())
        except BlockingIOError:
            return self.heard

    def wait(self, text):
        wait_for(text, lambda: text in self.listen())


def test_ready_and_status(host):
    host.vm("a", vm="[vm]\nautostart = yes\n")
    host.vm("b")
    with Notified(host) as systemd:
        host.start()
        systemd.wait("READY=1")
        systemd.wait("STATUS=1 of 2 VMs running, mediator off")
        with open(f"/proc/{host.status('a')['pid']}/environ", "rb") as f:
            check(b"NOTIFY_SOCKET" not in f.read(), "a child has nothing to say to systemd")
        check("STOPPING=1" not in systemd.heard, "too early")
        host.end()
        systemd.wait("STOPPING=1")


def test_watchdog(host):
    with Notified(host) as systemd:
        os.environ["WATCHDOG_USEC"] = "20000"
        host.start()
        wait_for("three feedings", lambda: systemd.listen().count("WATCHDOG=1") >= 3)
        # One that hangs feeds nobody.
        host.proc.send_signal(signal.SIGSTOP)
        with open(f"/proc/{host.proc.pid}/stat", encoding="ascii") as f:
            wait_for("it to stand still", lambda: (f.seek(0), f.read().rsplit(")", 1)[1].split()[0])[1] == "T")
        systemd.listen()
        count = systemd.heard.count("WATCHDOG=1")
        same(systemd.listen().count("WATCHDOG=1"), count)
        host.proc.send_signal(signal.SIGCONT)
        wait_for("it to go on", lambda: systemd.listen().count("WATCHDOG=1") > count)


def test_refused(host):
    """A hostd that cannot start is never ready."""
    host.conf("[hostd]\nwhat = ever\n")
    with Notified(host) as systemd:
        same(subprocess.run(host.argv(), capture_output=True, timeout=WAIT_S, check=False).returncode, 65)
        check("READY=1" not in systemd.listen(), systemd.heard)


def test_restart_leaves_vms(host):
    host.vm("a", vm="[vm]\nautostart = yes\n")
    host.vm("b", vm="[vm]\nautostart = yes\n")
    host.start()
    for name in ("a", "b"):
        host.wait_state(name, "running")
    host.ctl("stop", "b")
    pid = host.status("a")["pid"]
    host.leftovers.add(pid)
    host.end(signal.SIGUSR1)
    check(alive(pid), "it runs on")
    host.start()
    same(host.status("a")["pid"], pid)
    same(host.status("b")["state"], "off", "a restart is no boot")
    host.end()
    wait_for("its end", lambda: not alive(pid))


if __name__ == "__main__":
    main(globals())
