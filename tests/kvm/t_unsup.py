# SPDX-License-Identifier: Apache-2.0
"""What nobody serves, from inside the guest and from the log: each policy of `unsupported` for addresses, ports,
registers and instructions, told once a place and counted."""

import re
import signal
import sys

import kvmtest
from kvmtest import SKIPPED, equal, expect

ONES8, ONES32, ONES64 = 0xff, 0xffffffff, 0xffffffffffffffff


def start(b, do, policy="", words="", extra=""):
    """A guest that does @do at 0xf1000000, 0x10000 above a serial port in memory."""
    return b.start(b.machine(guest="unsup", cmdline=f"do={do} {words}",
                             extra=f"{extra} vdev ser8250 name near loc mem:0xf0fefff8 {policy} "
                                   "logger fatal,error,warn,info,debug stderr"))


def said(run, what):
    """Value, #GP and #UD that the guest had for @what."""
    found = re.search(rf"unsup: {what} value=(0x[0-9a-f]+) gp=(\d+) ud=(\d+)", run.out())
    expect(found, f"the guest says nothing of {what}\n{run.said()}")
    return int(found[1], 16), int(found[2]), int(found[3])


def lines(run, ev):
    return [line for line in run.err().splitlines() if f"ev={ev} " in line]


def t_reference_ignore(b):
    """The default: ones are read, writes go nowhere, the guest goes on."""
    r = start(b, "references")
    r.wait(0)
    equal(said(r, "read8"), (ONES8, 0, 0), "a byte")
    equal(said(r, "read64"), (ONES64, 0, 0), "eight bytes")
    equal(said(r, "write32"), (0, 0, 0), "a write")
    equal(said(r, "in32"), (ONES32, 0, 0), "a port")
    equal(said(r, "out8"), (0, 0, 0), "a port written")
    told = lines(r, "unowned_access")
    equal(len(told), 5, f"places told\n{r.said()}")
    expect(re.search(r'space=mem op=write addr=0xf1000010 size=4 value=0xabcd1234 cpu=0 n=1 policy=ignore '
                     r'near="0x10011 above near 0xf0fefff8-0xf0feffff" rip=0x[1-9a-f]', told[2]), told[2])
    expect(re.search(r'space=io op=write addr=0x5556 size=1 value=0x5a .* near="', told[4]), told[4])


def t_reference_fail(b):
    """An exception: what was to be read is as it was before."""
    r = start(b, "references", "unsupported reference fail")
    r.wait(0)
    equal(said(r, "read8"), (0x11, 1, 0), "a byte")
    equal(said(r, "read64"), (0x1111, 1, 0), "eight bytes")
    equal(said(r, "write32"), (0, 1, 0), "a write")
    equal(said(r, "in32"), (0x2222, 1, 0), "a port")
    equal(said(r, "out8"), (0, 1, 0), "a port written")
    expect("unsup: over" in r.out(), r.said())


def t_reference_abort(b):
    """Exit 5, with the place and the state of the processor."""
    r = start(b, "references", "unsupported reference abort")
    r.wait(5)
    told = lines(r, "unowned_access")
    equal(len(told), 1, f"places told\n{r.said()}")
    expect("op=read addr=0xf1000000 size=1" in told[0] and "policy=abort" in told[0], told[0])
    expect(re.search(r"ev=vcpu_state cpu=0 rip=0x\w+ rflags=.* rax=", r.err()), r.said())
    expect(re.search(r"ev=vcpu_state .* cr3=0x\w+", r.err()), r.said())
    expect("unsup: read8" not in r.out(), r.said())


def t_storm(b):
    """Thousands of accesses to hundreds of places: a handful of lines, and all are counted."""
    r = start(b, "storm", words="n=5000 exit=none")
    r.until("unsup: over")
    r.signal(signal.SIGUSR1)
    found = r.until(r"name=access\.unowned value=(\d+)", where="err")
    equal(int(found[1]), 5000, "counted")
    told = lines(r, "unowned_access")
    expect(len(told) <= 34, f"{len(told)} lines for a storm")
    equal(sum("place=others" in line for line in told), 1, f"a line for the others\n{r.err()[-2000:]}")
    r.signal(signal.SIGQUIT)
    r.wait(3)


def registers(b, policy, code):
    r = start(b, "registers", policy)
    r.wait(code)
    if code == 0 and not lines(r, "unsupported_register"):
        print("skipped: this host's KVM does not tell of registers that it does not know")
        sys.exit(SKIPPED)
    return r


def t_register_fail(b):
    r = registers(b, "", 0)
    equal(said(r, "rdmsr"), (0x1111111111111111, 1, 0), "a read")
    equal(said(r, "wrmsr"), (0, 1, 0), "a write")
    told = lines(r, "unsupported_register")
    expect("op=read reg=0x5555 cpu=0 n=1 policy=fail rip=" in told[0], r.said())
    expect("op=write reg=0x5556 value=0x1234567890abcdef" in told[1], r.said())


def t_register_ignore(b):
    r = registers(b, "unsupported register ignore", 0)
    equal(said(r, "rdmsr"), (ONES64, 0, 0), "a read")
    equal(said(r, "wrmsr"), (0, 0, 0), "a write")


def t_register_abort(b):
    r = registers(b, "unsupported register abort", 5)
    expect("op=read reg=0x5555" in lines(r, "unsupported_register")[0], r.said())
    expect("ev=vcpu_state" in r.err(), r.said())


def t_instruction_fail(b):
    """An x87 load from a device: the guest's program gets an exception, as it would from KVM alone."""
    r = start(b, "instruction")
    r.wait(0)
    equal(said(r, "fldl"), (0, 0, 1), "the instruction")


def t_instruction_ignore(b):
    """Stepped over, for its length is known; told with its bytes."""
    r = start(b, "instruction", "unsupported instruction ignore")
    r.wait(0)
    if "ev=no_policy" in r.err():
        print("skipped: this host's KVM tells of the guest's kernel only")
        sys.exit(SKIPPED)
    equal(said(r, "fldl"), (0, 0, 0), "the instruction")
    told = lines(r, "unsupported_instruction")
    equal(len(told), 1, f"places told\n{r.said()}")
    expect(re.search(r'bytes="dd 0[0-7]', told[0]), told[0])


def t_instruction_abort(b):
    r = start(b, "instruction", "unsupported instruction abort")
    if r.process.wait(kvmtest.WAIT_S) == 0 and "ev=no_policy" in r.err():
        print("skipped: this host's KVM tells of the guest's kernel only")
        sys.exit(SKIPPED)
    r.wait(5)
    expect("ev=unsupported_instruction" in r.err() and "ev=vcpu_state" in r.err(), r.said())


def t_instruction_nowhere(b):
    """Code where no memory is has no length: it cannot be ignored, and the guest is told so by an end."""
    r = b.start(b.machine(b.write("nowhere.bin", bytes.fromhex("b8 000000f1 ffe0")),
                          extra="unsupported instruction ignore"))
    r.wait(5)
    equal(r.err().count("its length is not known"), 2, f"where it is told\n{r.said()}")


def tsc(b, extra):
    r = start(b, "tsc", extra=extra)
    r.wait(0)
    return int(re.search(r"unsup: tsc (\d+)", r.out())[1])


def t_counter_offset(b):
    """By default the guest's counter starts at 0; 0 is the host's, N is N behind it."""
    with open("/proc/uptime", encoding="ascii") as f:
        host_s = float(f.read().split()[0])
    if host_s < 300:
        print("skipped: the host's counter is as young as the guest's")
        sys.exit(SKIPPED)
    fresh, same = tsc(b, ""), tsc(b, "set counter-offset 0")
    if fresh > same / 2:
        print("skipped: this host's KVM shows its guests the host's own counter")
        sys.exit(SKIPPED)
    behind = tsc(b, f"set counter-offset {same - 1}")
    expect(behind < same / 2, f"{behind} of {same}")


if __name__ == "__main__":
    kvmtest.main(globals())
