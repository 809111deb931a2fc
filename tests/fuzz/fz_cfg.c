/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration of any bytes, read for both architectures: it is refused with a reason, or it is
 * sound, prints as a plan and is still sound when checked again. The corpus is the golden tests'.
 *
 * Input: the file, in which a '/' is taken as '_', so that no input opens what is not in the folder
 * that the target makes for itself. The same bytes are then read as words of the grammar, one each,
 * or (the first one odd) as whole sentences: what random bytes do not make, a configuration that is
 * nearly right or right, those make.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/fuzz/cfg_sound.h"
#include "tests/fuzz/fuzz.h"

static const char *const words[] = {
	"system", "vm1", "ram", "64m", "0x80000000,64m", "0,0xa0000", "1m,63m", "4g,1g", "512",
	"rom", "0xc0000,0x40000", "cpu", "sched", "10", "12f", "20,5,4,10000000,2500000s",
	"runmask", "1", "2,3", "load", "linux", "0x80080000,linux", "0x1000,linux", "guest",
	"initrd", "data", "fdt", "acpi", "cmdline", "\"a b\nc\"", "vdev", "ioapic", "gic",
	"ser8250",
	"pl011", "virtio-blk", "shmem", "nosuch", "name", "pic", "disk", "a:b", "loc", "0x3f8",
	"0x2f8", "io:0x2f8,8", "mem:0x1c090000", "0x1c0d0000", "0xf8000000", "pci:0:1", "pci:0:2.0",
	"pci:1:99", "intr", "apic", "pic:4", "pic:5,pic:6", "gic:37", "gic:38", "gic:999",
	"hostdev", ">-", "linux", "mediator:disk", "log", "info,debug", "stderr", "loud", "none",
	"reserve", "0xa0000,0x20000", "5", "logger", "slog", "set", "exit-on-halt", "off",
	"fdt-dump-file", "out.dtb", "dryrun", "pass", "dump", "unsupported", "safety", "cluster",
	"instruction", "reference", "register", "abort", "fail", "ignore", "warn", "required",
	"node0", "isolated", "hostvector", "virtio-net", "peer", "vm1/a", "tap:t0", "a", "debug",
	"counter-offset", "slog-buffer", "4k", "message-block-timeout",
	"vdev-message-block-timeout", "100", "|x", "$asinfo_start{a}", "8259", "0x20",
	"timer8254", "hpet", "0xf8008000", "pic:0,pic:8,pic:10", "pci:0:2.0=pci:0x8086/1",
	"0xe0000000,0x1000,rwn", "gic:44=150", "version", "3", "batch", "legacy", "@linux",
	"$env{HOME}", "$env{NO_SUCH}", "#\n", "\n",
};

/* Sound by themselves, after "ram 64m load linux": what is wrong comes of putting them together. */
static const char *const sentences[] = {
	"vdev ioapic intr apic name pic", "vdev ser8250 loc 0x3f8 intr pic:4",
	"vdev ser8250 loc mem:0xf1000000", "vdev ser8250 loc mem:0x1c0a0000 hostdev >- name uart",
	"vdev pl011 loc 0x1c090000 intr gic:37", "vdev pl011 loc 0x1c0b0000 hostdev -",
	"vdev virtio-blk hostdev linux", "vdev virtio-blk hostdev linux loc pci:0:5 name disk",
	"vdev virtio-blk hostdev linux loc 0x1c0d0000", "vdev virtio-blk hostdev mediator:a",
	"vdev gic name irqs version 3", "reserve loc pci:0:1", "reserve intr 40", "reserve intr 5",
	"reserve loc 0xa0000,0x20000", "cpu", "cpu sched 10f runmask 1,2", "cpu runmask 200",
	"cpu sched 20,5,4,10000000,2500000s", "ram 1m", "rom 64k", "ram 0x100000000,1g",
	"initrd load linux", "data load linux", "guest load linux", "cmdline \"a\nb\"", "dryrun",
	"logger error,info slog", "log debug none", "unsupported reference abort", "dump \"|x\"",
	"vdev virtio-net peer tap:t0", "vdev virtio-net name a peer vm/b", "set debug off",
	"vdev hpet loc 0xf8008000 intr pic:0,pic:8,pic:10", "vdev timer8254 intr pic:0",
	"vdev 8259 loc 0x20", "vdev 8259 loc 0xa0", "safety warn", "set slog-buffer 8k",
	"set exit-on-halt off", "sched 5", "name disk",
};

static char folder[] = "/tmp/fz_cfg.XXXXXX";

static void folder_remove(void)
{
	unlink("linux");
	if (chdir("/") == 0)
		rmdir(folder);
}

/* The only folder in which relative names are looked for; made once. */
static void folder_make(void)
{
	static bool made;
	if (made)
		return;
	made = true;
	qassert(mkdtemp(folder) && chdir(folder) == 0);
	FILE *f = fopen("linux", "w");
	qassert(f && fputs("# stand-in\n", f) != EOF && fclose(f) == 0);
	atexit(folder_remove);
}

static void read_bytes(const uint8_t *data, size_t size)
{
	/* Of the exact size, so that a sanitizer sees the first byte beside it. */
	char *text = malloc(size ? size : 1);
	qassert(text);
	for (size_t i = 0; i < size; i++)
		text[i] = data[i] == '/' ? '_' : (char)data[i];
	cfg_sound_read(&cfg_arch_x86, text, size);
	cfg_sound_read(&cfg_arch_arm64, text, size);
	free(text);
}

#define WORDS_MAX 512u
#define SENTENCES_MAX 6u

static void read_words(const uint8_t *data, size_t size)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	qassert(f);
	bool sound = size && data[0] & 1;
	if (sound)
		fputs("ram 64m load linux ", f);
	for (size_t i = 0; i < Q_MIN(size, sound ? SENTENCES_MAX : WORDS_MAX); i++)
		fprintf(f, "%s ", sound ? sentences[data[i] % Q_ARRAY_LEN(sentences)] :
			words[data[i] % Q_ARRAY_LEN(words)]);
	qassert(fclose(f) == 0);
	cfg_sound_read(&cfg_arch_x86, text, len);
	cfg_sound_read(&cfg_arch_arm64, text, len);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	folder_make();
	read_bytes(data, size);
	read_words(data, size);
	return 0;
}
