#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mediator --simulate: the result of the examples, the same every time; ten thousand shares; what is refused, and how.
Then a policy's own simulated device, in real time: it keeps what is written, and is never quicker than it says."""

import json
import os
import subprocess
import sys

from med import Folder, Mediator, check, image, vublk, vublk_end

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLE = os.path.join(TOP, "conf", "mediator.d", "example.simulate")
GOLDEN = os.path.join(TOP, "tests", "golden", "simulate")


def simulate(*args):
    r = subprocess.run([os.environ["MEDIATOR"], *args], capture_output=True, text=True, timeout=300, check=False)
    return r.returncode, r.stdout, r.stderr


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def result(*args):
    code, out, err = simulate(*args)
    check(code == 0 and not err, f"{args}: exit status {code}: {err}")
    return out


def share(r, name):
    return next(s for s in r["shares"] if s["share"] == name)


# ---- what comes out ----

def example_is_golden():
    """The table to the last figure: integers only, so that every machine has the same."""
    out = result("--simulate", EXAMPLE)
    path = os.path.join(GOLDEN, "example.plan")
    if os.environ.get("PARLEY_GOLDEN_WRITE"):
        write(GOLDEN, "example.plan", out)
    with open(path, encoding="utf-8") as f:
        check(out == f.read(), f"not what {path} has (PARLEY_GOLDEN_WRITE=1 writes it anew):\n{out}")


def json_says_the_same():
    r = json.loads(result("--simulate", EXAMPLE, "--json", "--seconds", "1"))
    check(list(r)[0] == "schema" and r["schema"] == 1 and r["time_ns"] == 10**9, str(r)[:200])
    safe = share(r, "cluster/data")
    check(0 < safe["latency"]["max_ns"] <= safe["bound_ns"] and safe["bound_violations"] == 0, str(safe))
    check(safe["promised"] > 100 and share(r, "ivi/data")["bound_ns"] == 0, str(safe))
    check(share(r, "ivi/data")["throttled"] > 0 and 0.5 < r["devices"][0]["busy"] <= 1, str(r["devices"]))


POLICY = """\
[device disk]
null = 1T
slots = {slots}
reserve = 4
[share cluster/data]
device = disk
class = safety
length = 1M
[share g/n]
device = disk
offset = 1M
length = 1M
weight = 100
[share g/b]
device = disk
class = best-effort
offset = 2M
length = 1M
limit-ops = 50
group = all
[group all]
limit-ops = 2000
"""


def loads_do_what_they_say(folder):
    write(folder, "some.policy", POLICY.format(slots=32))
    path = write(folder, "some.simulate", """\
[simulation]
policy = some.policy
time = 10s
[device disk]
parallel = 8
read = 100us
read-kib = 0ns
[load cluster/data]
pattern = open
rate = 200
[load g/n]
think = 0s
depth = 2
start = 5s
[load g/b]
depth = 4
count = 60
""")
    r = json.loads(result("--simulate", path, "--json"))
    safe, late = share(r, "cluster/data"), share(r, "g/n")
    check(1990 <= safe["read_ops"] <= 2000, f"200 a second for 10 s: {safe['read_ops']}")
    check(safe["latency"]["p50_ns"] < 250000, str(safe))
    # Two at a time, 100 us each, for half of the time.
    check(80000 <= late["read_ops"] <= 101000, str(late["read_ops"]))
    b = [s for s in r["shares"] if s["share"].startswith("g/b#")]
    check(len(b) == 60 and {s["class"] for s in b} == {"best-effort"}, str(len(b)))
    total = sum(s["read_ops"] for s in b)
    check(0.97 * 20000 <= total <= 1.03 * 20000, f"2000 a second together: {total}")
    check(max(s["read_ops"] for s in b) <= 1.03 * 500 + 1, "50 a second each")


def ten_thousand_shares(folder):
    write(folder, "many.policy", POLICY.format(slots=256))
    path = write(folder, "many.simulate", """\
[simulation]
policy = many.policy
time = 1s
[device disk]
parallel = 16
[load cluster/data]
think = 5ms
[load g/n]
count = 4999
think = 2s
write = 1
[load g/b]
count = 5000
pattern = open
rate = 2
arrivals = poisson
""")
    r = json.loads(result("--simulate", path, "--json"))
    check(len(r["shares"]) == 10000, str(len(r["shares"])))
    safe = share(r, "cluster/data")
    check(safe["promised"] > 50 and safe["bound_violations"] == 0, str(safe))
    check(sum(s["write_ops"] for s in r["shares"]) > 3000, "the others are served too")


# ---- what is refused ----

REFUSED = (
    # (what is in the file, exit status, what it says)
    ("[simulation]\npolicy = some.policy\nseed = x\n[device disk]\nparralel = 2\n[load g/q]\nsize = 3\n", 65,
     ["w.simulate:3: error: seed = x: expected a number",
      "w.simulate:5: error: unknown key 'parralel'; did you mean 'parallel'?",
      "w.simulate:7: error: size = 3: expected sizes",
      "w.simulate:6: error: the policy has no [share g/q]"]),
    ("[simulation]\npolicy = some.policy\n[load g/b]\n", 65,
     ["error: device 'disk' (", "has no model: expected a section [device disk]"]),
    ("[simulation]\npolicy = bad.policy\n[device disk]\n[load g/b]\nrate = 4\n", 65,
     ["w.simulate:4: error: load of 'g/b': rate belongs to pattern = open",
      "bad.policy:1: error: device 'disk': reserve 9 of 4 slots"]),
    ("[simulation]\npolicy = some.policy\n[device disk]\n[load cluster/data]\ncount = 5\n", 65,
     ["some.policy:1: error: device 'disk': its safety shares are promised 5 requests at once"]),
    ("[simulation]\npolicy = some.policy\n[device disk]\nsize = 1M\n[load cluster/data]\n", 65,
     ["some.policy:9: error: share 'g/n': offset 1048576 + length 1048576 is beyond the end"]),
    ("[simulation]\npolicy = some.policy\n[device disk]\n[load g/b]\ncount = 9999\n", 65,
     ["10001 shares: expected 10000 or fewer"]),
)

USAGE = (
    (("--simulate",), "--simulate"),
    (("--json", "x.policy"), "--seconds and --json belong to --simulate"),
    (("--simulate", "x", "y.policy"), "takes its policy from FILE"),
    (("--simulate", "x", "--check"), "serves nobody"),
    (("--simulate", "x", "--seconds", "0"), "expected a number from 0.001 to 86400"),
)


def refused(folder):
    write(folder, "some.policy", POLICY.format(slots=32))
    write(folder, "bad.policy", "[device disk]\nnull = 1M\nslots = 4\nreserve = 9\n[share g/b]\ndevice = disk\n")
    for text, want, says in REFUSED:
        code, out, err = simulate("--simulate", write(folder, "w.simulate", text))
        check(code == want and not out, f"{text!r}: exit status {code}: {out}{err}")
        for line in says:
            check(line in err, f"{text!r}: no {line!r} in:\n{err}")
    code, _, err = simulate("--simulate", os.path.join(folder, "absent"))
    check(code == 65 and "cannot be read" in err, f"{code} {err}")
    for args, says in USAGE:
        code, _, err = simulate(*args)
        check(code == 2 and says in err, f"{args}: {code} {err}")


# ---- in real time ----

DEVICE = """\
[device disk]
path = disk.img
simulate = yes
sim-parallel = 3
sim-read = 2ms
sim-write = 1ms
sim-read-kib = 0ns
sim-write-kib = 0ns
sim-flush = 3ms
[share a/data]
device = disk
class = safety
length = 2M
[share b/data]
device = disk
offset = 2M
length = 2M
"""


def a_simulated_disk_keeps_its_time(folder):
    image(os.path.join(folder, "disk.img"), 4)
    with Mediator(folder, DEVICE) as m:
        one = vublk(m.socket("a/data"), "--ops", 50, "--verify", "--bs", 65536)
        two = vublk(m.socket("b/data"), "--ops", 200, "--verify", "--bs", 4096, "--depth", 8, "--read", 50,
                    "--flush", 10)
        first, second = vublk_end(one), vublk_end(two)
        check(first["p50_us"] >= 2000 and second["p50_us"] >= 1000, f"{first} {second}")
        check(second["flushes"] > 0, f"{second}")
    # What was written is in the file, not in the model.
    with open(os.path.join(folder, "disk.img"), "rb") as f:
        check(any(f.read(2 << 20)), "nothing was written")


WRONG_DEVICES = (
    ("simulate = yes\ndirect = yes", "expected simulate or direct, and not both"),
    ("sim-spread = 5", "sim-spread: expected more than 0 with distribution = uniform, and none without"),
    ("sim-distribution = gauss", "sim-distribution = gauss: expected fixed, uniform, exponential or bimodal"),
    ("sim-parallel = 0", "sim-parallel = 0: expected a number from 1 to 1024"),
)


def wrong_devices(folder):
    image(os.path.join(folder, "disk.img"), 4)
    for keys, says in WRONG_DEVICES:
        path = write(folder, "w.policy", f"[device disk]\npath = disk.img\n{keys}\n[share a/b]\ndevice = disk\n")
        code, _, err = simulate("--check", path)
        check(code == 65 and says in err, f"{keys}: {code} {err}")


def main():
    example_is_golden()
    json_says_the_same()
    with Folder() as folder:
        loads_do_what_they_say(folder)
        ten_thousand_shares(folder)
        refused(folder)
        wrong_devices(folder)
    with Folder(shm=True) as folder:
        a_simulated_disk_keeps_its_time(folder)
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
