#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A loudspeaker that fails under guests that play, by hostctl inject: they notice nothing, the operator is told, and
that the safety stream is not heard is an alarm."""

import os

import wav
from kvmtest import equal, expect
from sysworld import fields, main, wait_for

POLICY = """\
[sound speaker]
file = {folder}/heard.wav
[voice cluster/sound]
device = speaker
class = safety
role = warning
[voice ivi/sound]
device = speaker
class = best-effort
role = media
when-higher = mix
"""
TONES = {"cluster": 1000, "ivi": 1700}
LEVEL = 8192


def start(host):
    """Two guests that play until they are told to stop."""
    host.write(POLICY.format(folder=host.folder), "etc", "mediator.d", "sound.policy")
    host.write("[hostd]\ninject = yes\n", "etc", "hostd.conf")
    for name, hz in TONES.items():
        host.vm(name, "normal", f"play=tone:{hz}:{LEVEL}:600000 periods=16", guest="sounder",
                disks="vdev virtio-snd hostdev mediator:sound")
    host.start()
    consoles = [host.start_vm(name) for name in TONES]
    for console in consoles:
        console.wait("^snd: started")
    return consoles


def speaker(host):
    return host.json("stats")["sounds"][0]


def frames(host):
    return {v["voice"]: v["frames"] for v in host.json("stats")["voices"]}


def plays_on(host):
    """Both guests have played another half second."""
    before = frames(host)
    expect(len(before) == len(TONES), f"voices {before}")
    wait_for("both guests to play on", lambda: all(n >= before[v] + 24000 for v, n in frames(host).items()))


def fails(host, kind, lost):
    """It does so until it is cleared."""
    host.ctl("inject", kind, "speaker", "for=600s")
    wait_for("the alarm", lambda: speaker(host)["alarm"])
    equal(speaker(host)["device_lost"], lost, f"device_lost while it is {kind}")
    rows = host.json("inject", "list")["injections"]
    equal([(r["kind"], r["device"], r["share"], r["ops"]) for r in rows], [(kind, "speaker", "", "all")], "list")
    plays_on(host)
    host.ctl("inject", "clear", str(rows[0]["id"]))
    wait_for("the end of the alarm", lambda: not speaker(host)["alarm"] and not speaker(host)["device_lost"])
    equal(host.json("inject", "list")["injections"], [], "injections")
    plays_on(host)


def loud(host, hz):
    """Windows of 20 ms of what was heard in which the tone has its level."""
    w = wav.Wav(host.path("heard.wav"))
    n = w.rate // 50
    return sum(abs(wav.tone(w.channels[0][i:i + n], w.rate, hz) - LEVEL / 32768) < 0.01
               for i in range(0, w.n - n + 1, n))


def t_sound_fails(host):
    """Gone, and then stalled."""
    consoles = start(host)
    plays_on(host)
    fails(host, "gone", True)
    told = [e["kind"] for e in host.events() if e["subject"] == "speaker"]
    for kind in ("inject_begun", "sound_lost", "safety_not_heard", "inject_ended", "sound_back", "safety_heard_again"):
        expect(told.count(kind) == 1, f"{kind} among {told}")
    fails(host, "stall", False)
    equal(speaker(host)["lost"], 1, "losses")
    for console, name in zip(consoles, TONES):
        host.ctl("stop", name)
        total = fields(console.wait("^snd: played"))
        equal(total["errors"], "0", f"errors of {name}")
        console.wait("^guest: done ok")
    host.end_hostd()
    for hz in TONES.values():
        expect(loud(host, hz) >= 3 * 20, f"{hz} Hz is heard in {loud(host, hz)} windows of 20 ms")
    os.unlink(host.path("heard.wav"))


def t_sound_words(host):
    """What a sound device cannot do, and what there is none of."""
    host.write(POLICY.format(folder=host.folder), "etc", "mediator.d", "sound.policy")
    host.write("[hostd]\ninject = yes\n", "etc", "hostd.conf")
    host.start()
    for words, code, text in ((("error", "speaker"), 2, "gone or stall"),
                              (("gone", "speaker", "count=1"), 2, "gone or stall"),
                              (("stall", "speaker", "ops=read"), 2, "gone or stall"),
                              (("gone", "speakers"), 3, "speakers")):
        said = host.ctl("inject", *words, code=code)
        expect(text in said, f"{words}: {said}")
    host.ctl("inject", "gone", "speaker", "for=600s")
    expect("clear that first" in host.ctl("inject", "gone", "speaker", code=1), "twice")
    host.ctl("inject", "clear")
    wait_for("it to be taken back", lambda: not speaker(host)["device_lost"])
    host.end_hostd()


if __name__ == "__main__":
    main(globals())
