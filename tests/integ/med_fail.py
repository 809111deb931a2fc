#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Devices that fail on purpose: what was injected happens, is told, listed and ends; requests wait or fail as their
share's policy says, and what waited is done when the device is back."""

import json
import os
import subprocess
import threading

import med
from med import MIB, check, wait_for

E_USAGE, E_NO_SUCH, E_DENIED = 1, 2, 4
OK, IOERR = 0, 1
FOREVER = "for=600s"

POLICY = """
[device disk]
path = img
[share w/data]
device = disk
length = 4M
wait-on-error = yes
[share f/data]
device = disk
offset = 4M
length = 4M
[share l/data]
device = disk
offset = 8M
length = 4M
wait-on-error = yes
wait-limit = 100ms
"""


class World:
    """A mediator that lets things fail, a disk of 12 MiB, its control socket."""

    def __init__(self, args=("--inject",)):
        self.folder = med.Folder()
        med.image(self.folder.path + "/img", 12)
        self.m = med.Mediator(self.folder.path, POLICY, args=args)
        self.ctl = med.Control(self.m)

    def client(self, share):
        c = med.Client(self.m.socket(share))
        c.setup()
        return c

    def add(self, kind, obj, *settings):
        code, rows = self.ctl.inject("add", kind, obj, *settings)
        check(code == 0, f"{kind} {obj} {settings}: {rows}")
        return max(r["id"] for r in rows)

    def clear(self, number=""):
        code, rows = self.ctl.inject("clear", "", str(number))
        check(code == 0, f"clear {number}: {rows}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.ctl.close()
        self.m.__exit__(kind)
        self.folder.__exit__()


def refused():
    """Off it is off; on, what is wrong is refused with a sentence and begins nothing."""
    rows = (
        (("add", "explode", "disk"), E_USAGE, "cannot be injected"),
        (("add", "eror", "disk"), E_USAGE, "did you mean 'error'"),
        (("add", "error", "dsk"), E_NO_SUCH, "did you mean 'disk'"),
        (("add", "error", "w/date"), E_NO_SUCH, "no share"),
        (("add", "gone", "w/data"), E_USAGE, "name the device"),
        (("add", "full", "disk", "ops=read"), E_USAGE, "write"),
        (("add", "error", "disk", "ops=reed"), E_USAGE, "expected read"),
        (("add", "error", "disk", "ops="), E_USAGE, "expected read"),
        (("add", "error", "disk", "count=0"), E_USAGE, "expected a number"),
        (("add", "error", "disk", "for=0s"), E_USAGE, "expected a time"),
        (("add", "error", "disk", "for=3601s"), E_USAGE, "expected a time"),
        (("add", "error", "disk", "delay=1s"), E_USAGE, "no setting"),
        (("add", "error", "disk", "colour=red"), E_USAGE, "no setting"),
        (("add", "error", "disk", "often"), E_USAGE, "key=value"),
        (("add", "refuse", "disk", "ops=read"), E_USAGE, "no setting"),
        (("clear", "", "77"), E_NO_SUCH, "no injection"),
        (("clear", "", "x"), E_USAGE, "number"),
        (("kill", "", "mediator"), E_USAGE, "hostd"),
    )
    with World() as w:
        for ask, code, text in rows:
            got = w.ctl.inject(*ask)
            check(got[0] == code and text in got[1], f"{ask}: {got}")
        check(w.ctl.inject("list") == (0, []), "nothing began")
    with World(args=()) as w:
        for ask in (("list",), ("add", "error", "disk"), ("clear",)):
            code, text = w.ctl.inject(*ask)
            check(code == E_DENIED and "--inject" in text, f"{ask}: {code} {text}")


def errors_fail():
    """Of a share that does not wait: the operations that were named fail, so many, of that share only."""
    with World() as w, w.client("f/data") as f, w.client("w/data") as other:
        check(f.request(med.T_OUT, 0, b"a" * 512)[0] == OK, "before")
        w.add("error", "f/data", FOREVER, "ops=write", "count=2")
        check(f.request(med.T_IN, 0, read=512) == (OK, b"a" * 512), "reads are not hit")
        for i in range(2):
            check(f.request(med.T_OUT, 0, b"b" * 512)[0] == IOERR, f"write {i}")
        check(f.request(med.T_OUT, 8, b"c" * 512)[0] == OK, "the third write")
        check(f.request(med.T_IN, 0, read=512) == (OK, b"a" * 512), "what failed has not happened")
        w.m.told("inject_begun", "f/data")
        w.m.told("inject_ended", "f/data")
        check(w.ctl.inject("list") == (0, []), "it ended with its count")
        check(other.request(med.T_OUT, 0, b"d" * 512)[0] == OK, "the other share")
        number = w.add("error", "disk", FOREVER, "ops=flush")
        check(f.request(med.T_FLUSH)[0] == IOERR, "a flush")
        check(f.request(med.T_OUT, 0, b"e" * 512)[0] == OK, "a write")
        rows = w.ctl.inject("list")[1]
        check([(r["id"], r["kind"], r["ops"], r["share"] or "", r["hits"]) for r in rows] ==
              [(number, "error", "flush", "", 1)], f"{rows}")
        check(0 < rows[0]["left_ns"] <= 600 * 10**9, f"{rows}")
        w.clear(number)
        check(f.request(med.T_FLUSH)[0] == OK, "cleared")
        w.add("full", "f/data", FOREVER)
        check(f.request(med.T_OUT, 0, b"f" * 512)[0] == IOERR, "full")
        check(f.request(med.T_IN, 0, read=512) == (OK, b"e" * 512), "full is to be read")
        check(f.request(med.T_FLUSH)[0] == OK, "full is to be flushed")


class Later(threading.Thread):
    """Does it beside us; the result is asked for later."""

    def __init__(self, fn, *args, **kw):
        super().__init__(daemon=True)
        self.fn, self.args, self.kw, self.got = fn, args, kw, None
        self.start()

    def run(self):
        self.got = self.fn(*self.args, **self.kw)

    def end(self):
        self.join(med.WAIT_S)
        check(not self.is_alive(), "it does not come")
        return self.got


def errors_wait():
    """Of a share that waits: nothing is answered until it ends, then all is done, flushes too."""
    for kind, settings in (("error", ()), ("full", ()), ("gone", ()), ("stall", ()), ("lost", ())):
        with World() as w, w.client("w/data") as c, w.client("f/data") as f:
            check(c.request(med.T_OUT, 0, b"a" * 4096)[0] == OK, "before")
            number = w.add(kind, "disk", FOREVER, *settings)
            write = Later(c.request, med.T_OUT, 0, b"b" * 4096)
            wait_for("a hit", lambda: w.ctl.inject("list")[1][0]["hits"] > 0)
            if kind in ("error", "full", "gone"):
                w.m.told("share_waits", "w/data")
                check(f.request(med.T_OUT, 0, b"x" * 512)[0] == IOERR, f"{kind}: who does not wait is told")
            if kind == "gone":
                w.m.told("device_gone", "disk")
            check(write.is_alive(), f"{kind}: nothing is answered")
            w.clear(number)
            check(write.end()[0] == OK, f"{kind}: it is done")
            check(c.request(med.T_IN, 0, read=4096) == (OK, b"b" * 4096), f"{kind}: it is there")
            check(c.request(med.T_FLUSH)[0] == OK, f"{kind}: nothing was lost")
            if kind in ("error", "full", "gone"):
                w.m.told("share_served", "w/data")
            if kind == "gone":
                w.m.told("device_back", "disk")
            w.m.told("inject_ended", "disk")


def flush_waits():
    with World() as w, w.client("w/data") as c:
        check(c.request(med.T_OUT, 0, b"a" * 512)[0] == OK, "before")
        number = w.add("gone", "disk", FOREVER)
        flush = Later(c.request, med.T_FLUSH)
        w.m.told("share_waits", "w/data")
        w.clear(number)
        check(flush.end()[0] == OK, "an injected failure loses nothing: the flush is good")


def ends_by_itself():
    with World() as w, w.client("w/data") as c:
        for kind in ("error", "gone", "stall", "lost", "late"):
            w.add(kind, "disk", "for=50ms")
            check(c.request(med.T_OUT, 0, kind.encode() * 512)[0] == OK, f"{kind}: answered when it was over")
            wait_for(f"the end of {kind}", lambda: w.ctl.inject("list")[1] == [])
        w.m.told("inject_ended", "disk", 5)
        w.add("late", "disk", FOREVER, "delay=20ms", "count=1")
        began = med.time.monotonic()
        check(c.request(med.T_IN, 0, read=512)[0] == OK, "late")
        check(med.time.monotonic() - began >= 0.02, "not before its delay")


def waits_no_longer_than_its_limit():
    with World() as w, w.client("l/data") as c:
        number = w.add("error", "l/data", FOREVER)
        check(c.request(med.T_OUT, 0, b"a" * 512)[0] == IOERR, "an error when its time was over")
        w.clear(number)
        check(wait_for("service", lambda: c.request(med.T_OUT, 0, b"b" * 512)[0] == OK), "served again")


def another_file():
    """A device that comes back as another file: what was not flushed may be lost, so the next flush says so, once."""
    with World() as w, w.client("w/data") as c:
        check(c.request(med.T_OUT, 0, b"a" * 512)[0] == OK, "before")
        number = w.add("gone", "disk", FOREVER)
        write = Later(c.request, med.T_OUT, 8, b"b" * 512)
        w.m.told("device_gone", "disk")
        path = w.folder.path + "/img"
        med.image(path + ".new", 12)
        os.rename(path + ".new", path)
        w.clear(number)
        check(write.end()[0] == OK, "what waited is done")
        with open(path, "rb") as f:
            data = f.read(8 * 512 + 512)
        check(data[8 * 512 :] == b"b" * 512, "in the new file")
        check(c.request(med.T_FLUSH)[0] == IOERR, "what was acknowledged before is not: the guest is told")
        check(c.request(med.T_FLUSH)[0] == OK, "once")


def a_flush_that_waited_for_another_file():
    """It is the first to be done on the other file, and says what the next one would: then the share goes on."""
    with World() as w, w.client("w/data") as c:
        check(c.request(med.T_OUT, 0, b"a" * 512)[0] == OK, "before")
        number = w.add("gone", "disk", FOREVER)
        flush = Later(c.request, med.T_FLUSH)
        w.m.told("share_waits", "w/data")
        w.m.told("device_gone", "disk")
        path = w.folder.path + "/img"
        med.image(path + ".new", 12)
        os.rename(path + ".new", path)
        w.clear(number)
        check(flush.end()[0] == IOERR, "what was acknowledged before is not there: the guest is told")
        check(c.request(med.T_OUT, 8, b"b" * 512)[0] == OK, "served again")
        check(c.request(med.T_FLUSH)[0] == OK, "once")
        w.m.told("share_served", "w/data")


def too_small_a_file():
    """A file that is smaller than before is not the device: it stays away until the right one is back."""
    with World() as w, w.client("w/data") as c:
        number = w.add("gone", "disk", FOREVER)
        write = Later(c.request, med.T_OUT, 0, b"b" * 512)
        w.m.told("device_gone", "disk")
        path = w.folder.path + "/img"
        os.rename(path, path + ".old")
        med.image(path, 1)
        w.clear(number)
        w.m.told("inject_ended", "disk")
        os.rename(path + ".old", path)
        check(write.end()[0] == OK, "back")
        check(os.path.getsize(path) == 12 * MIB, "the old file")


def client_leaves():
    """Who leaves while his requests wait takes them along; the next is served."""
    with World() as w:
        number = w.add("error", "w/data", FOREVER)
        with w.client("w/data") as c:
            Later(lambda: c.put_desc(0, 0, 0))
            c.mem[0x3000:0x3010] = med.struct.pack("<IIQ", med.T_OUT, 0, 0)
            c.put_desc(0, 0x3000, 16, med.NEXT, 1)
            c.put_desc(1, c.DATA, 4096, med.NEXT, 2)
            c.put_desc(2, 0x3010, 1, med.WRITE)
            c.put_avail(0)
            w.m.told("share_waits", "w/data")
        wait_for("the share to be free", lambda: not w.ctl.stats("w/data")[0]["w/data"]["connected"])
        w.clear(number)
        with w.client("w/data") as c:
            check(c.request(med.T_OUT, 0, b"a" * 512)[0] == OK, "the next client")


def socket_dies():
    """A socket that accepts and dies: who is there is cut off, who comes is hung up on, until it ends."""
    with World() as w:
        c = w.client("w/data")
        check(c.request(med.T_OUT, 0, b"a" * 512)[0] == OK, "before")
        number = w.add("refuse", "w/data", FOREVER)
        check(c.ended(), "cut off")
        c.close()
        for _ in range(5):
            with med.Client(w.m.socket("w/data")) as again:
                check(again.ended(), "hung up on")
        with w.client("f/data") as f:
            check(f.request(med.T_OUT, 0, b"a" * 512)[0] == OK, "the other share")
        check(w.ctl.inject("list")[1][0]["hits"] >= 5, "counted")
        w.clear(number)
        w.m.told("inject_ended", "w/data")
        with w.client("w/data") as c:
            check(c.request(med.T_IN, 0, read=512) == (OK, b"a" * 512), "served again")


def vuclient(sock, secs, seed):
    """Until its seconds are over, or it is terminated."""
    return subprocess.Popen([os.environ["VUCLIENT"], sock, str(secs), str(seed)], stdout=subprocess.PIPE)


def under_load():
    """Thirty-two requests out all the time, every kind in turn: no error, every block as acknowledged."""
    with World() as w:
        p = vuclient(w.m.socket("w/data"), 600, 5)
        wait_for("writes", lambda: w.ctl.stats("w/data")[0]["w/data"]["write_ops"] > 2000)
        for kind in ("error", "full", "gone", "stall", "lost", "late", "gone"):
            number = w.add(kind, "disk", FOREVER)
            wait_for(f"{kind}: hits", lambda: w.ctl.inject("list")[1][0]["hits"] > 0)
            w.clear(number)
            ops = w.ctl.stats("w/data")[0]["w/data"]["write_ops"]
            wait_for(f"service after {kind}",
                     lambda: w.ctl.stats("w/data")[0]["w/data"]["write_ops"] > ops + 200)
        p.terminate()
        out, _ = p.communicate(timeout=100)
        got = json.loads(out)
        print(got, flush=True)
        check(p.returncode == 0 and got["errors"] == got["wrong"] == got["reconnects"] == 0, f"{got}")


def killed_while_it_waits():
    """The mediator dies with requests that wait; the next one knows nothing of what was injected, and does them."""
    with World() as w:
        w.add("gone", "disk", FOREVER)
        p = vuclient(w.m.socket("w/data"), 1, 6)
        w.m.told("share_waits", "w/data")
        w.ctl.close()
        w.m.kill()
        w.m.start()
        w.ctl = med.Control(w.m)
        out, _ = p.communicate(timeout=100)
        got = json.loads(out)
        check(p.returncode == 0 and got["errors"] == got["wrong"] == 0 and got["reconnects"] == 1, f"{got}")


med.run_tests(refused, errors_fail, errors_wait, flush_waits, ends_by_itself, waits_no_longer_than_its_limit,
              another_file, a_flush_that_waited_for_another_file, too_small_a_file, client_leaves, socket_dies,
              under_load, killed_while_it_waits)
