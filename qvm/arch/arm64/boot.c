/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an arm64 guest starts, whatever it is: at its first instruction with the address of the
 * device tree in x0, as Linux' booting.rst says. The tree stands in RAM that nobody else took.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/arch.h"
#include "qvm/arch/arm64/arm64.h"
#include "qvm/load.h"
#include "qvm/vcpu.h"

static void free_buf(void **p)
{
	free(*p);
}

/* `set fdt-dump-file`: for the operator's eyes, so that it failing does not stop the VM. */
static void dump_fdt(const struct vm *vm, const void *buf, size_t n_bytes)
{
	const char *path = vm->cfg->fdt_dump_file;

	if (!path)
		return;
	int fd QCLEAN(qfd_close) = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : qfd_write_all(fd, buf, n_bytes);
	if (r < 0)
		qlog_err(r, "ev=fdt_dump_failed path=%s", path);
	else
		qlog_info("ev=fdt_saved path=%s", path);
}

/* The tree goes where room is left. */
int arch_load_claims(struct vm *vm)
{
	return 0;
}

int arch_boot(struct vm *vm)
{
	const struct load_ctx c = { .mem = vm->mem, .res = &vm->boot };
	void *buf QCLEAN(free_buf) = malloc(FDT_BYTES);
	size_t n_bytes = 0;
	uint64_t at;

	if (!buf)
		return vm_fail(vm, "load", ENOMEM, "out of memory");
	if (pci_assign(&vm->pci) < 0)
		return vm_fail(vm, "devices", ENOSPC, "the PCI window is too small for the BARs");
	int r = fdt_build(vm, buf, &n_bytes);
	if (r < 0)
		return r;
	dump_fdt(vm, buf, n_bytes);
	if (!load_find(&c, FDT_BYTES, FDT_BYTES, 0, UINT64_MAX, true, &at) ||
	    qmem_fill(vm->mem, gpa(at), buf, n_bytes) < 0)
		return vm_fail(vm, "load", ENOSPC, "no RAM is left for the device tree: see ram");
	return arm64_vcpu_start(vm, &vm->vcpus[0], vm->boot.entry, at);
}
