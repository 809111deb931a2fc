# SPDX-License-Identifier: Apache-2.0
"""Sound through the mediator: what it adds to the way of a sample, whether anybody hears a gap while both processors
are busy, what a stream costs beside QEMU's virtio-sound, and what 64 streams cost the mixer.

Guests are real VMs with the small driver of tests/guests (sounder); sound devices are clocks without hardware on both
sides. AUDIO_SECONDS=600 plays for ten minutes under load instead of seconds.
"""

import json
import os
import re
import subprocess
import time

from table import Row
from world import TOP, Console, Mediator, Missing, Vm, guest_config

PERIOD_MS = 5
STREAMS = 64
DEVICE = """\
[sound speaker]
{back_end}
rate = 48000
channels = 2
period = 5ms
[voice cluster/sound]
device = speaker
class = safety
role = warning
[voice ivi/sound]
device = speaker
class = best-effort
role = media
"""
BACK_ENDS = ("none", "wav")
PLAY = "period=480 periods=16 play=tone:{hz}:8000:{ms}"


def vdev(hostdev):
    return f"vdev virtio-snd\n    hostdev {hostdev}\n    name sound\n"


def start_mediator(world, back_end="none"):
    line = f"file = {world.shm}/speaker.wav" if back_end == "wav" else "# a clock, and no device"
    return world.start(Mediator, DEVICE.format(back_end=line), run="audio")


def start_vm(world, run_dir, name, hz, ms, hostdev="mediator:sound"):
    config = guest_config(world, name, "sounder.elf", PLAY.format(hz=hz, ms=ms), devices=(), more=vdev(hostdev))
    return world.start(Vm, name, config, run_dir)


def played(vm, seconds):
    line = vm.expect("^snd: played", 0, seconds + 60)
    vm.expect("^guest: done ok", 0, 30)
    vm.stop()
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)}


def sound_stats(mediator):
    stats = mediator.ask({"mediator_stats_request": {"reset_worst": False}}, "mediator_stats")
    return stats["sounds"][0], stats["voices"]


# ---- what the mediator adds ----

def latency_rows(world, rounds):
    """From START to the last message that came back, as the guest's own clock has it."""
    mediated, alone, worst, bound = [], [], [], []
    for _ in range(rounds):
        m = start_mediator(world)
        mediated.append(played(start_vm(world, m.run_dir, "cluster", 1000, 500), 1)["us"] / 1e3)
        device, _ = sound_stats(m)
        worst.append(device["heard_worst_ns"] / 1e6)
        bound.append(device["heard_bound_ns"] / 1e6)
        m.stop()
        alone.append(played(start_vm(world, world.path("alone"), "alone", 1000, 500, "null"), 1)["us"] / 1e3)
    suite = "Sound: what mediation adds"
    added = [a - b for a, b in zip(mediated, alone)]
    return [
        Row(suite, "playing 500 ms: through the mediator, beside qvm's own clock", "ms", mediated, alone,
            "not mediated"),
        Row(suite, "the difference: at most a period", "ms", added, target=("median", "<=", PERIOD_MS)),
        Row(suite, "safety stream, from sending to hearing: worst, beside its bound", "ms", worst, bound, "bound",
            ("ratio", "<=", 1.0)),
    ]


# ---- gaps under load ----

def load_rows(world, rounds):
    seconds = int(os.environ.get("AUDIO_SECONDS", "2" if world.quick else "5"))
    xruns, late, worst, bound = [], [], [], []
    for _ in range(rounds):
        m = start_mediator(world, "wav")
        hogs = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count())]
        try:
            # Longer than we look: a guest that has nothing more to play is late with its STOP, and that is no gap.
            vms = [start_vm(world, m.run_dir, name, hz, seconds * 1000 + 60000)
                   for name, hz in (("ivi", 400), ("cluster", 1000))]
            for vm in vms:
                vm.expect("^snd: started", 0, 60)
            time.sleep(seconds)
            device, voices = sound_stats(m)
        finally:
            for h in hogs:
                h.kill()
                h.wait()
        for vm in vms:
            vm.stop()
        xruns.append(sum(v["xruns"] for v in voices))
        late.append(device["late"])
        worst.append(device["heard_worst_ns"] / 1e6)
        bound.append(device["heard_bound_ns"] / 1e6)
        m.stop()
    suite = f"Sound: two guests play for {seconds} s, all processors loaded"
    return [
        Row(suite, "xruns of both", "xruns", xruns, target=("worst", "<=", 0)),
        Row(suite, "periods that the device was late for", "periods", late, target=("worst", "<=", 0)),
        Row(suite, "safety stream, from sending to hearing: worst, beside its bound", "ms", worst, bound, "bound",
            ("ratio", "<=", 1.0)),
    ]


# ---- what a stream costs ----

def cpu_ns(pids):
    """The processor's time of all threads."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total


def share_of_cpu(pids, seconds):
    """Milliseconds of a processor in a second."""
    before, t = cpu_ns(pids), time.monotonic()
    time.sleep(seconds)
    return (cpu_ns(pids) - before) / 1e6 / (time.monotonic() - t)


def ours(world, back_end, seconds):
    m = start_mediator(world, back_end)
    vm = start_vm(world, m.run_dir, "ivi", 400, 60000)
    vm.expect("^snd: started", 0, 60)
    time.sleep(0.3)
    both = share_of_cpu([m.proc.pid, vm.proc.pid], seconds)
    vm.stop()
    m.stop()
    return both


class Qemu(Console):
    """QEMU with a virtio-sound of its own and the same guest."""

    def __init__(self, world, runner, back_end):
        audio = f"wav,id=a,path={world.shm}/qemu.wav" if back_end == "wav" else "none,id=a"
        super().__init__(world, "qemu", [
            runner, "qemu-system-x86_64", "-M", "q35,accel=kvm", "-cpu", "host,-arch-capabilities", "-m", "64M",
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-audiodev", audio,
            "-device", "virtio-sound-pci,audiodev=a", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-kernel", world.guest("sounder.elf"), "-append", "exit=debug " + PLAY.format(hz=400, ms=60000)])


def newqemu():
    runner = os.path.join(os.environ.get("PARLEY_BUILD_ROOT", os.path.join(TOP, "build")), "newqemu", "run")
    return runner if os.path.exists(runner) else None


def theirs(world, runner, back_end, seconds):
    q = world.start(Qemu, runner, back_end)
    q.expect("^snd: started", 0, 60)
    time.sleep(0.3)
    cost = share_of_cpu([q.proc.pid], seconds)
    q.stop()
    return cost


def cost_rows(world, rounds):
    seconds, runner, rows = 1 if world.quick else 3, newqemu(), []
    suite = "Sound: the processor's time of a stream"
    for back_end in BACK_ENDS:
        pairs = []
        for _ in range(rounds):
            pairs.append((ours(world, back_end, seconds), theirs(world, runner, back_end, seconds) if runner else 0))
        rows.append(Row(suite, f"guest, VMM and back end; {back_end}", "ms a second",
                        [a for a, _ in pairs], [b for _, b in pairs] if runner else None, "QEMU 10, virtio-sound",
                        ("ratio", "<=", 1.0) if runner else None,
                        "" if runner else "no QEMU that has it: tools/newqemu"))
    return rows


# ---- many streams ----

def mix_rows(world, rounds):
    periods = "500" if world.quick else "2000"
    found = {}
    for _ in range(rounds):
        out = subprocess.run([world.built("bench", "mixload"), str(STREAMS), periods], check=True, capture_output=True,
                             timeout=120).stdout
        for line in out.splitlines():
            got = json.loads(line)
            found.setdefault(got["rate"], []).append(got["p99_ns"] / 1e6)
    return [Row(f"Sound: {STREAMS} streams mixed, one processor",
                f"a period of {PERIOD_MS} ms, streams of {rate} Hz: p99", "ms", values,
                target=("median", "<=", PERIOD_MS)) for rate, values in found.items()]


def run(world, rounds):
    rows = mix_rows(world, rounds)
    try:
        world.need_kvm()
    except Missing:
        return rows
    return rows + latency_rows(world, rounds) + cost_rows(world, rounds) + load_rows(world, rounds)
