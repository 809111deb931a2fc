#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""parley-metrics: what Prometheus reads is in its format, line by line; the page is drawn by a browser, where there is
one; and no HTTP client can keep the others out, or reach hostd.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess

from hostd_world import FACTOR, POLICY, WAIT_S, check, main, read_to_end, same, wait_for

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")


def parse(text):
    """The format, strictly: HELP, TYPE, samples of that metric, no metric twice, no series twice. {series: value}"""
    check(text.endswith("\n"), "the last line ends")
    kinds, series, now = {}, {}, None
    lines = text[:-1].split("\n")
    for i, line in enumerate(lines):
        if line.startswith("# HELP "):
            now = line.split(" ")[2]
            check(re.fullmatch(NAME, now) and now not in kinds and len(line.split(" ", 3)[3]) > 8, line)
            check(re.fullmatch(rf"# TYPE {now} (counter|gauge)", lines[i + 1]), lines[i + 1])
        elif line.startswith("# TYPE "):
            kinds[now] = line.split(" ")[3]
            check(now.endswith("_total") == (kinds[now] == "counter"), line)
        else:
            m = SAMPLE.fullmatch(line)
            check(m and m[1] == now, line)
            key = m[1] + "{" + (m[2] or "") + "}"
            check(key not in series, f"twice: {line}")
            series[key] = float(m[3])
    return series


class Metrics:
    def __init__(self, host, where=None):
        self.path = str(host.dir / "metrics.sock")
        self.port = None
        self.log = open(host.dir / "metrics.log", "ab")
        self.proc = subprocess.Popen([os.environ["METRICS"], "--run-dir", str(host.dir / "run"), "--listen",
                                      where or "unix:" + self.path], stdout=self.log, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        same(self.proc.wait(WAIT_S), 0, "its end")
        self.log.close()

    def connect(self):
        s = socket.socket(socket.AF_INET if self.port else socket.AF_UNIX)
        s.settimeout(WAIT_S)
        s.connect(("127.0.0.1", self.port) if self.port else self.path)
        return s

    def raw(self, request):
        """All that comes back."""
        with self.connect() as s:
            s.sendall(request)
            return read_to_end(s)

    def get(self, path, host="localhost", method="GET"):
        """(status, heads, body)"""
        got = self.raw(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        heads, _, body = got.partition(b"\r\n\r\n")
        return int(heads.split()[1]), heads.decode(), body.decode()

    def up(self):
        def answers():
            try:
                return "parley_up 1" in self.get("/metrics")[2]
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        wait_for("hostd's answer", answers)
        return self


def on_a_port(host):
    """A port that was free a moment ago may be taken: then another."""
    for _ in range(20):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        m = Metrics(host, str(port))
        m.port = port
        try:
            return m.up()
        except AssertionError:
            check(m.proc.poll() == 64, "it runs, and does not answer")
    raise AssertionError("no port was free")


def world(host):
    host.policy(POLICY)
    host.vm("cluster", vm="[vm]\nclass = safety\n")
    host.vm("ivi")
    host.start()
    host.ctl("start", "cluster")
    wait_for("the mediator", lambda: host.mediator()["state"] == "running")


def test_format(host):
    world(host)
    with Metrics(host).up() as m:
        status, heads, text = wait_for("all of it", lambda: [m.get("/metrics")] if "parley_share_" in m.get(
            "/metrics")[2] else None)[0]
        same(status, 200)
        check("text/plain; version=0.0.4" in heads, heads)
        got = parse(text)
        share = '{share="cluster/root",device="d0",class="safety"}'
        same((got["parley_up{}"], got['parley_mode{mode="normal"}'], got['parley_mode{mode="safe"}']), (1, 1, 0))
        same(got['parley_vm_state{vm="cluster",class="safety"}'], 2)
        same(got['parley_vm_state{vm="ivi",class="normal"}'], 0)
        same(got['parley_vm_events_total{vm="cluster",counter="exit.io"}'], 42)
        same((got["parley_share_connected" + share], got["parley_share_reads_total" + share]), (0, 0))
        check(got["parley_share_bound_seconds" + share] > 0, "a bound")
        same(got['parley_device_priorities{device="d0"}'], 1)
        # All that hostctl shows of a share and a device is there.
        answer = host.json("stats")
        for family, one in (("share", answer["shares"][0]), ("device", answer["devices"][0])):
            n = len({k.split("{")[0] for k in got if k.startswith(f"parley_{family}_")})
            check(n >= len([v for v in one.values() if isinstance(v, (int, float))]) - 2, f"{family}: {n} of {one}")
        if shutil.which("promtool"):
            p = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True,
                               check=False)
            same(p.returncode, 0, p.stdout + p.stderr)


def test_hostd_goes(host):
    """No old number is told for a new one; a later hostd is found again."""
    world(host)
    with Metrics(host).up() as m:
        host.end()
        wait_for("nothing", lambda: m.get("/metrics")[2].splitlines()[-1] == "parley_up 0")
        same(parse(m.get("/metrics")[2]), {"parley_up{}": 0})
        same(json.loads(m.get("/status.json")[2])["up"], False)
        host.start()
        m.up()


def test_pages(host):
    world(host)
    with Metrics(host).up() as m:
        status, heads, page = m.get("/")
        check(status == 200 and "text/html" in heads and "default-src 'none'" in heads, heads)
        check(not re.search(r"(src|href)=\"(?!data:)", page) and "//cdn" not in page, "nothing from elsewhere")
        s = wait_for("a line", lambda: [j for j in [json.loads(m.get("/status.json")[2])] if j["lines"]])[0]
        same((s["schema"], s["up"], s["mode"]), (1, True, "normal"))
        same([(v["name"], v["state"]) for v in s["vms"]], [("cluster", "running"), ("ivi", "off")])
        same([x["share"] for x in s["shares"]], ["cluster/root", "ivi/root"])
        check(s["lines"][0]["bound_ms"][0] > 0 and len(s["lines"][0]["worst_ms"]) >= 1, s["lines"])
        same(m.get("/nothing")[0], 404)
        for method in ("HEAD", "POST", "PUT", "DELETE"):
            check(m.get("/metrics", method=method)[0] in (400, 405, 501), f"{method}: reads only")


def test_loopback_only(host):
    world(host)
    for where in ("0.0.0.0:9999", "10.0.0.1:80", "*:80", "[::]:80", "localhost:80", "unix:", "-1", "65536", "x", ""):
        p = subprocess.run([os.environ["METRICS"], "--listen", where], capture_output=True, text=True, check=False)
        check(p.returncode == 2 and "this machine only" in p.stderr, (where, p))
    same(subprocess.run([os.environ["METRICS"]], capture_output=True, check=False).returncode, 2, "no default")
    with on_a_port(host) as m:
        for name in ("localhost", f"127.0.0.1:{m.port}", "[::1]"):
            same(m.get("/metrics", host=name)[0], 200, name)
        # A page from elsewhere, by a name that means this machine.
        for name in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""):
            for path in ("/metrics", "/", "/status.json"):
                same(m.get(path, host=name)[0], 403, name + path)


def test_hostile(host):
    """Garbage, endless heads, bodies, silence, more clients than there are descriptors: the next one is served."""
    world(host)
    with Metrics(host).up() as m:
        for bad in (b"\0" * 4096, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", os.urandom(2000) + b"\r\n\r\n",
                    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\n\r\n",
                    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                    b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                    b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"z" * 100000,
                    b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"):
            with m.connect() as s:
                try:
                    s.sendall(bad)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
                except OSError:
                    pass        # hung up on, as it should be
            same(m.get("/metrics")[0], 200, f"after {bad[:30]!r}")
        crowd = []
        for _ in range(66):     # more than it has descriptors, not more than can wait besides
            s = socket.socket(socket.AF_UNIX)
            s.connect(m.path)
            s.sendall(b"GET /metr")
            crowd.append(s)
        # They are ended for their silence; who waits comes in.
        def served():
            try:
                return m.get("/metrics")[0] == 200
            except (OSError, IndexError):
                return False        # no room in the backlog, or hung up on
        wait_for("an answer", served, 60 * FACTOR)
        for s in crowd:
            s.close()
        fds = pathlib.Path(f"/proc/{m.proc.pid}/fd")
        wait_for("they are gone", lambda: len(list(fds.iterdir())) < 20)
    same(host.status("cluster")["state"], "running", "hostd and its VMs")


def test_browser(host):
    """The page in Chromium, without a window: it is drawn, and is no empty picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        print("skipped test_browser: this machine has no chromium")
        return
    world(host)
    with on_a_port(host) as m:
        wait_for("two points of a plot", lambda: any(
            len(line["worst_ms"]) > 1 for line in json.loads(m.get("/status.json")[2])["lines"]))
        shot, url = host.dir / "page.png", f"http://127.0.0.1:{m.port}/"
        flags = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 f"--user-data-dir={host.dir / 'browser'}", "--window-size=1100,1200", "--virtual-time-budget=6000"]
        p = subprocess.run([*flags, f"--screenshot={shot}", url], capture_output=True, text=True, check=False,
                           timeout=120 * FACTOR)
        check(shot.exists() and shot.stat().st_size > 10000, p.stderr[-2000:])
        p = subprocess.run([*flags, "--dump-dom", url], capture_output=True, text=True, check=False,
                           timeout=120 * FACTOR)
        for text in ('data-drawn="yes"', "cluster/root", "<polyline", "<td>ivi</td>", ">normal<"):
            check(text in p.stdout, f"{text} is not in the page:\n{p.stdout[-3000:]}{p.stderr[-1000:]}")
        if os.environ.get("PAGE_SHOT"):
            shutil.copy(shot, os.environ["PAGE_SHOT"])


if __name__ == "__main__":
    main(globals())
