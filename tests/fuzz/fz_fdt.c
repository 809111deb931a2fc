/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device tree or an overlay that a user gave to a VM: bytes are a file, the first one says which
 * machine it is for. It is refused with a sentence, or joined with the machine's tree into one that
 * is sound, has what the machine decides, and no reference that was to be resolved; the file stays
 * as it was.
 */
#include <libfdt.h>
#include <stdlib.h>

#include "qvm/cfg_int.h"
#include "qvm/fdtuser.h"
#include "tests/fuzz/fuzz.h"

static const struct {
	unsigned gic_version;
	bool has_its;
	const char *config;
} machines[] = {
	{ 3, true, "ram 0x80000000,64M load /bin/sh cpu cpu\n"
		   "vdev pl011 loc 0x1c090000 intr gic:37\n"
		   "vdev virtio-blk loc 0x1c0d0000 intr gic:41 hostdev mediator:disk name disk\n"
		   "vdev wdt-sp805 name dog\n" },
	{ 2, false, "ram 0x80000000,64M load /bin/sh vdev gic version 2 msi 0x30000000,0x50,0x100\n"
		    "vdev pl011 loc 0x1c090000 intr gic:37\nvdev shmem\n" },
	{ 3, false, "ram 0x80000000,64M load /bin/sh cmdline words\n" },
};

static struct vm_cfg *config_of(unsigned kind)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct vm_cfg *cfg = NULL;
	const char *text = machines[kind].config;

	qassert(cfg_parse_text(&cfg_arch_arm64, "fuzz", text, strlen(text), &errs, &cfg) == 0);
	cf_errors_fini(&errs);
	return cfg;
}

static bool has_reference(const void *tree)
{
	for (int at = 0; at >= 0; at = fdt_next_node(tree, at, NULL))
		if (fdt_getprop(tree, at, FDT_PROP_VDEV, NULL))
			return true;
	return false;
}

static void check_tree(const void *tree, size_t room)
{
	qassert(fdt_check_full(tree, room) == 0);
	qassert(fdt_totalsize(tree) <= room);
	qassert(fdt_node_at(tree, "/chosen") >= 0);
	qassert(fdt_node_at(tree, "/cpus") >= 0);
	qassert(!has_reference(tree));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	unsigned kind = fuzz_u8(&in) % Q_ARRAY_LEN(machines);
	struct vm_cfg *cfg = config_of(kind);
	size_t bytes = in.left, room = fdtuser_room(bytes);
	/* Of its exact size, so that a sanitizer sees what reads beyond. */
	uint8_t *file = malloc(bytes + !bytes), *tree = malloc(room);
	uint64_t mpidrs[2] = { fdtgen_mpidr(0), fdtgen_mpidr(1) };
	char text[512] = "";
	const struct fdtgen base = {
		.cfg = cfg, .mpidrs = mpidrs, .gic_version = machines[kind].gic_version,
		.has_its = machines[kind].has_its, .frame = cfg_gic_frame(cfg),
	};

	qassert(file && tree);
	memcpy(file, data + size - bytes, bytes);
	if (bytes <= FDTUSER_BYTES_MAX) {
		if (fdtuser_make(&base, file, bytes, tree, text, sizeof(text)) == 0)
			check_tree(tree, room);
		else
			qassert(text[0]);
	}
	qassert(!memcmp(file, data + size - bytes, bytes));
	free(tree);
	free(file);
	cfg_free(cfg);
	return 0;
}
