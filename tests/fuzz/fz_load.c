/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's file of any bytes: it is loaded inside guest memory and nowhere else, or it is refused
 * with a sentence. Guest memory is two pieces of RAM and a rom with holes between them, so that
 * what spans them is tried too.
 */
#include <stdio.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/cfg_arch.h"
#include "qvm/load.h"
#include "tests/fuzz/fuzz.h"

#define MIB 0x100000ull

static struct qmem *memory(void)
{
	static struct qmem *mem;
	uint64_t base = cfg_arch_native()->ram_base;

	if (!mem) {
		mem = qmem_new();
		qassert(mem && qmem_add(mem, gpa(base), 4 * MIB, 0, "low") == 0 &&
			qmem_add(mem, gpa(base + 16 * MIB), 16 * MIB, 0, "high") == 0 &&
			qmem_add(mem, gpa(base + 32 * MIB), 4096, QMEM_READONLY, "rom") == 0);
	}
	return mem;
}

static bool is_memory(const struct qmem *mem, uint64_t at, uint64_t len)
{
	while (len > 0) {
		uint64_t part = qmem_run(mem, gpa(at), len);
		if (!part)
			return false;
		at += part, len -= part;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct load_result res;
	char text[512] = "";
	const struct cfg_load cfg = { .path = "guest" };
	int fd QCLEAN(qfd_close) = qfd_memfd("guest", size);
	struct load_ctx c = { .mem = memory(),
			      .res = &res,
			      .fd = fd,
			      .file_bytes = size,
			      .path = "guest",
			      .cfg = &cfg,
			      .text = text,
			      .text_bytes = sizeof(text) };

	if (size == 0 || fd < 0 || qfd_write_all(fd, data, size) < 0)
		return 0;
	memset(&res, 0, sizeof(res));
	int r = load_guest(&c);
	qassert(r <= 0);
	if (r < 0)
		qassert(text[0]);
	else
		qassert(res.kind != LOAD_NONE);
	for (unsigned i = 0; i < res.n_spans; i++)
		qassert(is_memory(c.mem, res.spans[i].gpa, res.spans[i].len_bytes));
	return 0;
}
