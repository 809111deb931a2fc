#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""deb.py TOOLS-DEB BUILD-FOLDER: the Debian package, made, looked into, and installed, upgraded, removed and purged in
a root of its own with dpkg itself. Skipped where dpkg is not."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
NEEDS = ("dpkg", "dpkg-deb", "dpkg-shlibdeps", "systemd-sysusers", "deb-systemd-helper", "strip")
FILES = ("usr/bin/hostd", "usr/bin/hostctl", "usr/bin/qvm", "usr/bin/mediator", "usr/bin/parley-metrics",
         "usr/bin/parley-shm",
         "lib/systemd/system/parley-hostd.service", "lib/systemd/system/parley-mediator@.service",
         "lib/systemd/system/parley-metrics.service", "lib/systemd/system/parley.slice",
         "usr/lib/sysusers.d/parley.conf", "usr/lib/tmpfiles.d/parley.conf",
         "etc/parley/hostd.conf", "usr/share/man/man8/hostd.8.gz", "usr/share/man/man1/hostctl.1.gz",
         "usr/share/man/man1/qvm.1.gz", "usr/share/man/man5/qvmconf.5.gz", "usr/share/doc/parley/copyright",
         "usr/share/doc/parley/changelog.Debian.gz", "usr/share/parley/examples/vms/linux-x86.qvmconf")


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def run(*argv, **more):
    p = subprocess.run(argv, capture_output=True, text=True, check=False, **more)
    check(p.returncode == 0, f"{argv}: exit {p.returncode}\n{p.stdout}{p.stderr}")
    return p.stdout


def make(tool, build, out, revision):
    path = run(tool, "-b", build, "-o", out, "-r", str(revision), "-j", "2").splitlines()[-1]
    check(os.path.exists(path), path)
    return path


def look(deb):
    """Who owns what, what it needs, what is a configuration file; nothing stands where a package may not put it."""
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", deb).splitlines() if ": " in line[:30])
    check(fields["Package"] == "parley" and fields["Version"].endswith("-1"), fields)
    check(fields["Architecture"] == run("dpkg", "--print-architecture").strip(), fields)
    for need in ("libc6", "libevent", "libprotobuf-c1", "libsystemd0", "liburing2"):
        check(need in fields["Depends"], fields["Depends"])
    names = set()
    for line in run("dpkg-deb", "-c", deb).splitlines():
        mode, owner, *_, name = line.split(" -> ")[0].split()
        names.add(name.removeprefix("./"))
        check(owner == "root/root" and (mode[0] == "l" or ("s" not in mode and mode[8] != "w")), line)
        check(name.startswith(("./usr/", "./lib/", "./etc/parley/")) or name.count("/") <= 2, line)
    missing = [f for f in FILES if f not in names]
    check(not missing, f"missing: {missing}")


class Root:
    """A root with nothing but dpkg's own files, in which maintainer scripts run with DPKG_ROOT."""

    def __init__(self, path):
        self.path = path
        for name in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "etc", "usr/bin"):
            (path / name).mkdir(parents=True)
        for name in ("status", "available"):
            (path / "var/lib/dpkg" / name).touch()

    def dpkg(self, *args):
        # Its dependencies are the host's; in the root they are not.
        return run("dpkg", f"--root={self.path}", "--force-not-root", "--force-script-chrootless", "--force-depends",
                   "--force-confold", f"--log={self.path}/dpkg.log", *args)

    def status(self):
        p = subprocess.run(["dpkg-query", f"--admindir={self.path}/var/lib/dpkg", "-W", "-f", "${Status} ${Version}",
                            "parley"], capture_output=True, text=True, check=False)
        return p.stdout

    def has(self, name):
        return os.path.lexists(self.path / name)


def install(root, first, second):
    root.dpkg("-i", first)
    check(root.status().startswith("install ok installed"), root.status())
    check("parley:" in (root.path / "etc/group").read_text(), "the group")
    wanted = root.path / "etc/systemd/system/multi-user.target.wants/parley-hostd.service"
    check(os.path.islink(wanted), "the service is started with the host")
    check(run(str(root.path / "usr/bin/hostd"), "--version").startswith("hostd (Parley)"), "it runs")
    conf = root.path / "etc/parley/hostd.conf"
    conf.write_text("[hostd]\nstop-timeout = 33s\n")
    guest = root.path / "etc/parley/vms/cluster.qvmconf"
    guest.write_text("system cluster\n")
    root.dpkg("-i", second)
    check(root.status().endswith("-2"), root.status())
    check("33s" in conf.read_text() and guest.exists(), "what an operator wrote outlives an upgrade")
    check(os.path.islink(wanted), "and so does the service")


def remove(root):
    (root.path / "var/lib/parley/run").mkdir(parents=True, exist_ok=True)
    root.dpkg("-r", "parley")
    left = [f for f in FILES if root.has(f) and not f.startswith("etc/")]
    check(not left, f"left behind: {left}")
    check(root.has("etc/parley/hostd.conf") and root.has("etc/parley/vms/cluster.qvmconf"), "the configuration stays")
    root.dpkg("-P", "parley")
    check(not root.has("etc/parley/hostd.conf") and not root.has("var/lib/parley/run"), "purged")
    check(root.has("etc/parley/vms/cluster.qvmconf"), "a guest is no file of the package")
    check("installed" not in root.status().replace("not-installed", ""), root.status())
    units = list((root.path / "etc/systemd").rglob("parley*")) if root.has("etc/systemd") else []
    check(not units, units)


def main():
    tool, build = sys.argv[1:]
    missing = [n for n in NEEDS if not shutil.which(n, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    if missing:
        print("skipped: this machine has no " + ", ".join(missing))
        return SKIP
    with tempfile.TemporaryDirectory(prefix="parley deb.") as folder:
        first, second = (make(tool, build, folder, n) for n in (1, 2))
        look(first)
        if os.geteuid() != 0:
            print("made and looked into; not installed: only root may give files to root")
            return 0
        root = Root(pathlib.Path(folder) / "root")
        install(root, first, second)
        remove(root)
        if shutil.which("lintian"):
            said = subprocess.run(["lintian", "--fail-on", "error", "--allow-root", first], capture_output=True,
                                  text=True, check=False)
            check(said.returncode == 0, said.stdout + said.stderr)
    print("made, installed, upgraded, removed, purged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
