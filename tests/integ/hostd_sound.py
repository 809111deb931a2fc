#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sound as an operator sees it: statistics, why a voice is as loud as it is, volume and mute within the policy."""

import os
import subprocess

from hostd_world import CONFIG, USAGE, check, main, same, wait_for

POLICY = """[sound speaker]
[voice cluster/chime]
device = speaker
class = safety
role = chime
[voice ivi/music]
device = speaker
class = best-effort
role = media
gain-limit = 6
"""


class Player:
    """A client without a VM that plays a tone for a time."""

    def __init__(self, host, voice, ms):
        sock = host.dir / "run/mediator" / (voice.replace("/", ".") + ".sock")
        wait_for("the socket", sock.exists)
        self.proc = subprocess.Popen([os.environ["SNDCLIENT"], str(sock), "440", "0.5", str(ms)],
                                     stdout=subprocess.PIPE)
        self.proc.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


def started(host):
    host.policy(POLICY)
    host.start()
    wait_for("the mediator", lambda: host.mediator()["state"] == "running")


def voice(host, name):
    return [v for v in host.json("stats")["voices"] if v["voice"] == name][0]


def test_stats_and_explain(host):
    started(host)
    v = voice(host, "ivi/music")
    same((v["connected"], v["running"], v["frames"], v["by"]), (False, False, 0, ""))
    with Player(host, "ivi/music", 60000):
        wait_for("its frames", lambda: voice(host, "ivi/music")["frames"] > 4800)
        v = voice(host, "ivi/music")
        same((v["connected"], v["running"], v["class"]), (True, True, "best-effort"))
        out = host.ctl("stats")[1]
        check("SHARE" not in out and "speaker" in out and "ivi/music" in out, out)
        with Player(host, "cluster/chime", 60000):
            wait_for("it to be ducked", lambda: voice(host, "ivi/music")["by"] == "cluster/chime")
            check(voice(host, "ivi/music")["why"] == "ducked", voice(host, "ivi/music"))
            out = host.ctl("explain", "ivi/music")[1]
            check("cluster/chime" in out and "stream 0" in out, out)
            lines = host.json("explain", "ivi/music")["lines"]
            check(any("cluster/chime" in line for line in lines), lines)
            sound = wait_for("safety to be heard", lambda: [s for s in host.json("stats")["sounds"]
                                                            if s["heard_worst_ns"]])[0]
            check(sound["heard_bound_ns"] > 0 and sound["periods"] > 0, sound)
        wait_for("it to be loud again", lambda: voice(host, "ivi/music")["by"] == "")


def test_volume_and_mute(host):
    started(host)
    with Player(host, "ivi/music", 60000):
        wait_for("its frames", lambda: voice(host, "ivi/music")["frames"] > 0)
        for word, ppm in (("-20", 100_000), ("-6dB", 501_187), ("-12", 251_188)):
            host.ctl("volume", "ivi/music", word)
            wait_for(f"{word} to be heard", lambda p=ppm: abs(voice(host, "ivi/music")["gain_ppm"] - p) < 2000)
        _, _, err = host.ctl("volume", "ivi/music", "-3", want=CONFIG)
        check("limit" in err, err)
        for word in ("3", "-97", "loud"):
            host.ctl("volume", "ivi/music", word, want=USAGE)
        host.ctl("mute", "ivi/music")
        wait_for("silence", lambda: voice(host, "ivi/music")["gain_ppm"] <= 1)
        host.ctl("mute", "ivi/music", "off")
        wait_for("sound", lambda: voice(host, "ivi/music")["gain_ppm"] > 200_000)
        host.ctl("mute", "ivi/music", "perhaps", want=USAGE)
        _, _, err = host.ctl("mute", "cluster/chime", want=CONFIG)
        check("cannot be muted" in err, err)
        host.ctl("mute", "ivi/musik", want=CONFIG)


if __name__ == "__main__":
    main(globals())
