#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Consoles: virtio-console and its ports; what they and serial lines are connected to; entropy; a UART's registers."""

import fcntl
import os
import pty
import random
import re
import select
import signal
import socket
import struct
import termios
import time

import kvmtest
from kvmtest import equal, expect

KIB = 1 << 10
MMIO = "loc mem:0xf0000000 intr pic:5"
MMIO_KEY = "mmio=0xf0000000,5"


class Guest:
    """The console guest: its report on the serial line, keys to it, and the ends of its ports."""

    def __init__(self, bench, words, extra, guest="console"):
        keys, self.keys = os.pipe()
        try:
            self.run = bench.start(bench.machine(guest, words, extra, serial="hostdev -"), stdin=keys)
        finally:
            os.close(keys)
        self.bench = bench

    def key(self, letter):
        os.write(self.keys, letter.encode())

    def until(self, pattern):
        return self.run.until(pattern)

    def said(self):
        return self.run.said()

    def finish(self):
        self.key("q")
        self.run.wait(0)
        os.close(self.keys)
        expect("guest: done ok" in self.run.out(), self.said())


def connect(guest, path):
    """A client at a socket that qvm makes; it may not be there yet."""
    deadline = time.monotonic() + kvmtest.WAIT_S
    while True:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(path)
            return s
        except OSError as e:
            s.close()
            expect(guest.run.process.poll() is None and time.monotonic() < deadline,
                   f"{path}: {e.strerror}\n{guest.said()}")
            time.sleep(0.01)


def read_some(guest, fd, limit=1 << 16, what="bytes"):
    """What is there, within the time that a test has."""
    ready, _, _ = select.select([fd], [], [], kvmtest.WAIT_S)
    expect(ready, f"no {what} came\n{guest.said()}")
    return os.read(fd, limit)


def expect_read(guest, fd, want):
    got = b""
    while len(got) < len(want):
        more = read_some(guest, fd)
        expect(more, f"hung up after {got!r}\n{guest.said()}")
        got += more
    equal(got, want, "what came")


def echo(guest, fd, data, window):
    """Sends @data, with at most @window bytes not seen again; it must come back as it was."""
    sent, got = 0, b""
    os.set_blocking(fd, False)
    while len(got) < len(data):
        room = min(len(data), len(got) + window) - sent
        readable, writable, _ = select.select([fd], [fd] if room > 0 else [], [], kvmtest.WAIT_S)
        expect(readable or writable, f"{len(got)} of {len(data)} bytes came back, {sent} were sent\n{guest.said()}")
        if writable:
            sent += os.write(fd, data[sent:sent + room])
        if readable:
            more = os.read(fd, 1 << 16)
            expect(more, f"hung up after {len(got)} of {len(data)} bytes\n{guest.said()}")
            got += more
    equal(got == data, True, f"{len(data)} bytes came back as they were")


def some_bytes(n, seed=1):
    return random.Random(seed).randbytes(n)


def echo_at(b, words, place, rings="packed=0"):
    """320 KiB through port 0, at most 16 KiB on their way: the console would drop what nobody reads."""
    g = Guest(b, f"multiport=0 {words}", f"vdev virtio-console hostdev socket:con.sock {place}")
    g.until(f"con: device dev=.* {rings}\n")
    g.until("con: ready")
    with connect(g, b.path("con.sock")) as s:
        echo(g, s.fileno(), some_bytes(320 * KIB), 16 * KIB)
    g.finish()
    expect(f"con: total id=0 in={320 * KIB}" in g.run.out(), g.said())
    expect(not os.path.exists(b.path("con.sock")), "the socket is still there")


def t_echo_pci(b):
    echo_at(b, "", "")


def t_echo_mmio(b):
    echo_at(b, MMIO_KEY, MMIO)


def t_packed(b):
    """Packed rings: port 0 by PCI, every port by MMIO, and the random source by both."""
    echo_at(b, "packed=1", "", "packed=1")
    ports_at(b, "packed=1 " + MMIO_KEY, MMIO, "packed=1")
    random_at(b, "packed=1", "packed=1")


def t_legacy(b):
    """The same for a driver of virtio 0.9.5, by PCI and by MMIO; and a named port."""
    echo_at(b, "", "legacy")
    echo_at(b, MMIO_KEY, MMIO + " legacy")
    g = Guest(b, "", "vdev virtio-console name con legacy port agent")
    with connect(g, os.path.join(b.run_dir, "qvm", "vm", "con.agent")) as s:
        echo(g, s.fileno(), some_bytes(256 * KIB), 1 << 30)
    g.finish()


def ports_at(b, words, place, rings="packed=0"):
    """Four ports with names: sockets without and with a path, and two files; each gives back what it gets."""
    b.write("cmds", some_bytes(20 * KIB, 2))
    g = Guest(b, words, "vdev virtio-console name con hostdev socket:con.sock port agent port nbd,socket:nbd.sock "
              f"port files,>log port files,<cmds {place}")
    g.until(f"con: device dev=.* {rings}\n")
    g.until("con: ready")
    for i, name in enumerate(("agent", "nbd", "files"), 1):
        g.until(f"con: name id={i} name={name}\n")
    g.until("con: console id=0")
    g.until("con: open id=3 value=1")
    expect("con: open id=1" not in g.run.out() and "con: open id=2" not in g.run.out(), g.said())
    agent = os.path.join(b.run_dir, "qvm", "vm", "con.agent")
    equal(os.stat(agent).st_mode & 0o777, 0o600, "mode of the socket")
    with connect(g, agent) as s:
        g.until("con: open id=1 value=1")
        # A named port waits for its reader: any amount may be on its way.
        echo(g, s.fileno(), some_bytes(512 * KIB, 3), 1 << 30)
    g.until("con: open id=1 value=0")
    with connect(g, b.path("nbd.sock")) as s, connect(g, b.path("nbd.sock")) as second:
        echo(g, s.fileno(), some_bytes(64 * KIB, 4), 1 << 30)
        second.sendall(b"next")
        s.close()
        expect_read(g, second.fileno(), b"next")
    g.finish()
    with open(b.path("log"), "rb") as f:
        equal(f.read() == some_bytes(20 * KIB, 2), True, "the file has what the other file has")
    expect(not os.path.exists(agent), "the socket is still there")


def t_ports_pci(b):
    ports_at(b, "", "")


def t_ports_mmio(b):
    ports_at(b, MMIO_KEY, MMIO)


def t_guest_closes(b):
    """A guest that closes its port, or resets the device, hangs up on the client; the next one is served."""
    g = Guest(b, "", "vdev virtio-console name con port agent")
    agent = os.path.join(b.run_dir, "qvm", "vm", "con.agent")
    g.until("con: ready")
    for letter, back in (("c", "o"), ("r", "")):
        with connect(g, agent) as s:
            echo(g, s.fileno(), b"hello " + letter.encode(), 100)
            g.key(letter)
            equal(read_some(g, s.fileno(), what="end of file"), b"", "the end")
        g.key(back)
    with connect(g, agent) as s:
        echo(g, s.fileno(), some_bytes(10 * KIB), 1 << 30)
    g.finish()


def flood_byte(n):
    return (n * 7 + (n >> 8) * 13 + (n >> 16)) & 0xff


def t_blocked(b):
    """A reader who does not read stops the guest's writer and not its reader; then all is there."""
    size = 2048 * KIB
    g = Guest(b, f"flood={size}", "vdev virtio-console name con port agent")
    with connect(g, os.path.join(b.run_dir, "qvm", "vm", "con.agent")) as s:
        g.until("con: open id=1 value=1")
        g.key("f")
        g.until("con: flood id=1")
        s.sendall(b"x" * 1000)
        g.until("con: got id=1 bytes=1000\n")
        expect("flood done" not in g.run.out(), f"2 MiB went into a socket that nobody reads\n{g.said()}")
        got = b""
        while len(got) < size:
            got += read_some(g, s.fileno())
        period = bytes(flood_byte(n) for n in range(1 << 16))
        for at in range(0, size, 1 << 16):
            part = got[at:at + (1 << 16)]
            # From one 64 KiB to the next each byte is larger by 1, and by what the second term carries over.
            step = flood_byte(at) - flood_byte(0)
            equal(part == bytes((v + step) & 0xff for v in period), True, f"64 KiB from {at} on")
        g.until("con: flood done id=1")
    g.finish()


def t_console_never_waits(b):
    """Nobody reads port 0: the flood is over all the same, and what was dropped is counted."""
    g = Guest(b, "multiport=0 flood=4M", "vdev virtio-console hostdev socket:con.sock")
    with connect(g, b.path("con.sock")) as s:
        g.until("con: ready")
        g.key("f")
        g.until("con: flood done id=0")
        g.run.signal(signal.SIGUSR1)
        g.run.until(r"type=virtio-console .* out=4194304 out_dropped=[1-9]\d+ ", "err")
        s.setblocking(False)
        first = s.recv(KIB)
        equal(first, bytes(flood_byte(n) for n in range(len(first))), "the oldest bytes")
    g.finish()


def set_size(fd, cols, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def t_resize(b):
    """The size of a terminal, at the start and changed; as config space has it, and as control messages."""
    for multi in (0, 1):
        ours, theirs = pty.openpty()
        set_size(theirs, 80, 24)
        g = Guest(b, f"multiport={multi}",
                  f"vdev virtio-console hostdev {os.ttyname(theirs)} {'port other' if multi else ''}")
        g.until(f"con: device dev=\\S+ multiport={multi} ports={1 + multi} cols=80 rows=24")
        g.until("con: ready")
        if multi:
            g.until("con: resize cols=80 rows=24")
        set_size(theirs, 132, 43)
        deadline = time.monotonic() + kvmtest.WAIT_S
        while "con: size cols=132 rows=43" not in g.run.out():
            expect(time.monotonic() < deadline, f"no new size\n{g.said()}")
            g.key("z")
            time.sleep(0.1)
        if multi:
            g.until("con: resize cols=132 rows=43")
        os.write(ours, b"typed")
        expect_read(g, ours, b"typed")
        g.finish()
        os.close(ours)
        os.close(theirs)


def t_emergency(b):
    """Emergency writes reach the console's file, before and while the driver uses the device."""
    g = Guest(b, "", "vdev virtio-console hostdev >out")
    g.until("con: ready")
    g.key("e")
    g.key("e")
    g.until("con: emergency\n(.*\n)*con: emergency")
    g.finish()
    with open(b.path("out"), "rb") as f:
        equal(f.read(), b"!!", "the file")


def t_delayed(b):
    """A peer that is there later is found while the guest runs, and again when it left."""
    g = Guest(b, "multiport=0", "vdev virtio-console hostdev peer.sock delayed forever")
    g.until("con: ready")
    for i in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(b.path("peer.sock"))
            listener.listen()
            listener.settimeout(kvmtest.WAIT_S)
            s, _ = listener.accept()
            with s:
                echo(g, s.fileno(), some_bytes(10 * KIB, i), 1 << 13)
        os.unlink(b.path("peer.sock"))
    g.finish()


def t_delayed_serial(b):
    """What a serial port says before its peer is there is kept for it; a device that never comes is given up."""
    r = b.start(b.machine(cmdline="sleep_ms=60000", serial="hostdev peer.sock delayed 60",
                          extra="vdev ser8250 loc io:0x2f8 intr pic:3 hostdev <never delayed 1"))
    r.until("ev=stream_absent dev=ser8250-1 .*never", "err")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(b.path("peer.sock"))
        listener.listen()
        listener.settimeout(kvmtest.WAIT_S)
        s, _ = listener.accept()
        with s:
            s.settimeout(kvmtest.WAIT_S)
            seen = b""
            while b"hello: ram_end" not in seen:
                more = s.recv(4096)
                expect(more, f"the peer has {seen!r}\n{r.said()}")
                seen += more
    expect(seen.startswith(b"H"), f"the first bytes are missing: {seen!r}")
    r.signal(signal.SIGTERM)
    r.wait(0)


def t_serial_socket(b):
    """A serial port without hostdev is a socket of its VM, for one client after the other."""
    r = b.start(b.machine(cmdline="sleep_ms=60000", serial="name com1"))
    path = os.path.join(b.run_dir, "qvm", "vm", "com1")
    deadline = time.monotonic() + kvmtest.WAIT_S
    for letter in b"ab":
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while s.connect_ex(path) != 0:
            expect(time.monotonic() < deadline, f"no socket at {path}\n{r.said()}")
            time.sleep(0.01)
        with s:
            seen = b""
            while f"key={letter}\n".encode() not in seen:
                expect(time.monotonic() < deadline, f"the guest did not say which key: {seen!r}\n{r.said()}")
                readable, writable, _ = select.select([s], [s], [], 0.1)
                if writable:
                    s.send(bytes([letter]))  # before the guest looks for keys they are lost
                if readable:
                    seen += s.recv(4096)
                time.sleep(0.02)
    r.signal(signal.SIGTERM)
    r.wait(0)
    expect(not os.path.exists(path), "the socket is still there")


def t_one_way(b):
    """A file or a FIFO for both directions is refused with what to write; so is a socket in use."""
    b.write("file", "x")
    os.mkfifo(b.path("fifo"))
    for name in ("file", "fifo"):
        r = b.start(b.machine(serial=f"hostdev {name}"))
        r.wait(64)
        expect(f"hostdev {name}: cannot be opened: bytes go through it one way: write <PATH or >PATH" in r.err(),
               r.said())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(b.path("used.sock"))
        listener.listen()
        r = b.start(b.machine(serial="hostdev socket:used.sock"))
        r.wait(64)
        expect("used.sock: cannot be opened: Address already in use" in r.err(), r.said())


def random_at(b, words, rings):
    r = b.start(b.machine("console", f"entropy=1 bytes=128K {MMIO_KEY} {words}",
                          f"vdev virtio-entropy\nvdev virtio-entropy {MMIO}"))
    r.wait(0)
    expect("guest: done ok" in r.out(), r.said())
    equal(len(re.findall(f"entropy: dev=.* {rings}$", r.out(), re.M)), 2, f"devices\n{r.said()}")


def t_entropy(b):
    """By PCI and by MMIO: bytes arrive in requests of any length, and look random."""
    random_at(b, "", "packed=0")


def t_uart(b):
    """Each register of the 16550A in each width, its interrupt, and bytes both ways."""
    os.mkfifo(b.path("in"))
    r = b.start(b.machine("uart", "", "vdev ser8250 loc io:0x2f8 intr pic:3 hostdev >out hostdev <in"))
    r.until("uart: interrupts=3")
    with open(b.path("in"), "wb") as f:
        f.write(b"from the host\n")
    r.wait(0)
    expect('uart: line="from the host"\n' in r.out() and "guest: done ok" in r.out(), r.said())
    with open(b.path("out"), "rb") as f:
        equal(f.read(), b"from the guest\n", "what the port sent")


def t_hostile(b):
    """Bad chains and registers on every queue of a console with ports, and of entropy: qvm goes on."""
    r = b.start(b.machine("hostile", "every=11 queues=4 rounds=5 wait_ms=10",
                          "vdev virtio-console hostdev >con port a port b\nvdev virtio-entropy"))
    r.wait(0, 300)
    expect("guest: done ok" in r.out(), r.said())


if __name__ == "__main__":
    kvmtest.main(globals())
