#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator sees who mistypes, or whose host lacks something: one run names every error with its place,
nothing is started, and each sentence says what to do."""

import json
import os
import shutil
import subprocess
import sys

import kvmtest
import sysworld
from kvmtest import equal, expect
from sysworld import CONFIG, DENIED, FAILED, NO_HOSTD, NO_SUCH, NOT_RUNNING, OK, USAGE, wait_for, worker_done

WRONG_VM = """\
sytem wrong
ram 64q
cpu
vdev virtio-blk hostdv x
load /no/such
"""
WRONG_VM_SAYS = ("wrong.qvmconf:1:1: error: 'sytem' is no option: did you mean 'system'?",
                 "wrong.qvmconf:2:5: error: the length '64q'",
                 "wrong.qvmconf:4:17: error: 'hostdv' is no option of vdev virtio-blk: did you mean 'hostdev'?",
                 "wrong.qvmconf:5:6: error: load /no/such: no such file")

WRONG_POLICY = """\
[device disk]
path = disk.img
slot = 9
[share cluster/data]
device = dsk
class = safty
length = 4Q
[shaer x/y]
"""
WRONG_POLICY_SAYS = ("disk.policy:3: error: unknown key 'slot'; did you mean 'slots'?",
                     "disk.policy:4: error: share 'cluster/data': there is no [device dsk]",
                     "disk.policy:6: error: class = safty: expected safety, normal or best-effort",
                     "disk.policy:7: error: length = 4Q: expected a size",
                     "disk.policy:8: error: section [shaer x/y]")


def says(text, *parts):
    for part in parts:
        expect(part in text, f"{part!r} is missing in:\n{text}")


def one_guest(host):
    host.disk(16)
    host.policy(("cluster", "safety"))
    host.vm("cluster", "safety", "region=4 secs=0 seed=1")
    return host.start()


def run(host, *argv):
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=host.path("etc", "vms"),
                       timeout=sysworld.WAIT_S, check=False)
    return r.returncode, r.stdout + r.stderr


def t_vm(host):
    """A wrong qvmconf: by hostctl start, hostctl check, and qvm itself."""
    one_guest(host)
    host.write(WRONG_VM, "etc", "vms", "wrong.qvmconf")
    for verb in ("start", "check"):
        said = host.ctl(verb, "wrong", code=CONFIG)
        says(said, *WRONG_VM_SAYS)
        for line in WRONG_VM_SAYS:
            equal(said.count(line), 1, f"times that {verb} says {line!r}")
        expect("\n\n" not in said, f"an empty line in {said!r}")
    code, said = run(host, host.path("bin", "qvm"), "--run-dir", host.path("run"), "@wrong.qvmconf")
    equal(code, 65, "exit status of qvm")
    says(said, *WRONG_VM_SAYS)
    s = host.status("wrong")
    equal((s["state"], s["pid"], s["exit_code"]), ("failed", 0, 65), "wrong")
    expect(not os.path.exists(host.path("run", "qvm", "wrong")), "something was started")
    check = host.json("check", code=CONFIG)
    equal((check["ok"], {i["name"]: i["ok"] for i in check["items"]}),
          (False, {"cluster": True, "wrong": False, "mediator": True}), "check of all")
    host.end_hostd()


def t_policy(host):
    """A wrong policy: the mediator does not start, hostd says so, check lists it all; mended, all is well."""
    host.disk(16)
    host.write(WRONG_POLICY, "etc", "mediator.d", "disk.policy")
    host.vm("cluster", "safety", "region=4 secs=1 seed=1")
    host.start(mediator=False)
    wait_for("the refusal", lambda: host.mediator()["state"] == "failed")
    says(host.mediator()["reason"], "configuration refused", "disk.policy:3:")
    says(host.log(), *WRONG_POLICY_SAYS)
    says(host.ctl("check", code=CONFIG), "mediator: REFUSED", *WRONG_POLICY_SAYS)
    says(host.ctl("start", "cluster", code=FAILED), "mediator:data is not there", "The mediator is failed",
         "disk.policy:3:")
    code, said = run(host, host.path("bin", "mediator"), "--run-dir", host.path("run2"), host.path("etc", "mediator.d"))
    equal(code, 65, "exit status of the mediator")
    says(said, *WRONG_POLICY_SAYS)
    host.policy(("cluster", "safety"))
    worker_done(host.start_vm("cluster"))
    host.end_hostd()


def t_missing(host):
    """A kernel, a disk, an image, a share that is not there."""
    one_guest(host)
    host.vm("kernel", "normal", "", disks="", guest="absent")
    says(host.ctl("start", "kernel", code=CONFIG), "kernel.qvmconf:4:6: error: load ", "absent.elf: no such file")
    host.vm("disk", "normal", "", disks="vdev virtio-blk hostdev ../../absent.img")
    says(host.ctl("start", "disk", code=FAILED), "disk.qvmconf:8:25: error: hostdev ../../absent.img: No such file")
    host.vm("share", "normal", "", disks="vdev virtio-blk hostdev mediator:datta")
    said = host.ctl("start", "share", code=CONFIG)
    says(said, "share.qvmconf:8:25: error: ", "is a share without policy", "has a [share share/datta]")
    expect("The mediator" not in said, "the mediator is blamed: " + said)
    host.end_hostd()
    os.rename(host.path("disk.img"), host.path("away.img"))
    host.start(mediator=False)
    says(wait_for("the reason", lambda: host.mediator()["reason"]), "disk.policy:1: error: device 'disk': ",
         "disk.img cannot be opened: No such file")
    says(host.ctl("check", code=CONFIG), "mediator: REFUSED", "disk.img cannot be opened: No such file")
    # It comes by itself once the disk is there.
    os.rename(host.path("away.img"), host.path("disk.img"))
    host.start_vm("cluster").wait("^blk: ready")
    host.end_hostd()


def t_twins(host):
    """A second VM of the same system, a second owner of the disk: refused, with who has it, and the first goes on."""
    one_guest(host)
    cluster = host.start_vm("cluster")
    pid = host.status("cluster")["pid"]
    shutil.copy(host.path("etc", "vms", "cluster.qvmconf"), host.path("etc", "vms", "twin.qvmconf"))
    says(host.ctl("start", "twin", code=CONFIG), "twin.qvmconf: error: system cluster is that of VM cluster as well")
    code, said = run(host, host.path("bin", "qvm"), "--run-dir", host.path("run"), "@cluster.qvmconf")
    equal(code, 64, "exit status of qvm")
    says(said, "a VM named cluster is running already", f"process {pid}")
    code, said = run(host, host.path("bin", "mediator"), "--run-dir", host.path("run2"), host.path("etc", "mediator.d"))
    equal(code, 64, "exit status of the mediator")
    says(said, "disk.policy:1: error: device 'disk'", "disk.img is in use by another process")
    host.vm("thief", "normal", "", disks="vdev virtio-blk hostdev ../../disk.img")
    says(host.ctl("start", "thief", code=CONFIG), "thief.qvmconf:8:25: error: ../../disk.img of 'virtio-blk0' is ",
         "claimed twice: the mediator has it as 'disk'")
    cluster.wait("^blk: init done")
    cluster.key("q")
    worker_done(cluster)
    host.end_hostd()


TYPOS = (
    (("strt", "cluster"), USAGE, "there is no verb 'strt'; did you mean 'start'?"),
    (("frobnicate",), USAGE, "there is no verb 'frobnicate'; see 'hostctl help'"),
    (("start",), USAGE, "usage: hostctl start "),
    (("list", "cluster"), USAGE, "usage: hostctl list"),
    (("start", "clustr"), NO_SUCH, "there is no VM 'clustr'; did you mean 'cluster'?"),
    (("status", "../x"), NO_SUCH, "there is no VM '../x'"),
    (("start", ""), USAGE, "no VM was named"),
    (("--jsn", "list"), USAGE, "unrecognized option '--jsn'"),
    (("start", "--timeout", "soon", "cluster"), USAGE, "--timeout soon: expected seconds"),
    (("priorities", "maybe"), USAGE, "'on' or 'off', not 'maybe'"),
    (("priorities", "off", "--device", "dsk"), NO_SUCH, "the policy has no device 'dsk'; did you mean 'disk'?"),
    (("console", "cluster"), NOT_RUNNING, "cluster is off"),
    ((), USAGE, "hostctl help"),
    (("help", "start"), OK, "usage: hostctl start"),
)


def t_typos(host):
    """hostctl's own command line, and no hostd."""
    said = host.ctl("list", code=NO_HOSTD)
    says(said, "hostd is not running", host.path("run", "hostd.sock"), "start it with")
    one_guest(host)
    for words, code, part in TYPOS:
        says(host.ctl(*words, code=code), part)
    r = host.run_ctl("--json", "start", "clustr")
    error = json.loads(r.stdout)["error"]
    equal((r.returncode, error["exit"], "did you mean" in error["text"]), (NO_SUCH, NO_SUCH, True), "an error as JSON")
    host.end_hostd()
    says(host.ctl("list", code=NO_HOSTD), "hostd is not running")


def as_nobody(*argv):
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *argv]


def t_nobody(host):
    """As a user who may not use /dev/kvm: the VM does not start, and one sentence says what to do."""
    readable = subprocess.run(as_nobody(host.path("bin", "qvm"), "--help"), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False) if os.geteuid() == 0 else None
    if not readable or readable.returncode or os.stat("/dev/kvm").st_mode & 0o6:
        print("skipped: needs root, programs that others may run, and a /dev/kvm that others may not use")
        sys.exit(kvmtest.SKIPPED)
    host.vm("a", "normal", "", guest="hello", disks="")
    for folder, _, files in os.walk(host.folder):
        for name in [folder] + [os.path.join(folder, f) for f in files]:
            os.chown(name, 65534, 65534, follow_symlinks=False)
    host.hostd_prefix = as_nobody()
    host.start(mediator=False)
    said = host.ctl("start", "a", code=FAILED)
    says(said, "/dev/kvm may not be opened", "group")
    # Nor may another ordinary user command this hostd.
    r = subprocess.run(["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", *host.argv("list")],
                       capture_output=True, text=True, check=False)
    equal(r.returncode, DENIED, "exit status for another user\n" + r.stdout + r.stderr)
    says(r.stderr, "may not be opened by this user", "group")
    host.end_hostd()


if __name__ == "__main__":
    sysworld.main(globals())
