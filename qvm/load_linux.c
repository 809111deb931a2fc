/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux kernels: the x86 bzImage (Documentation/arch/x86/boot.rst of the kernel) and the arm64
 * Image (Documentation/arch/arm64/booting.rst). Where they go is decided here, from their headers;
 * how they are entered is the architecture's part. Both formats are known everywhere, so that a
 * kernel for the other processor gets a sentence and not a try.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "qvm/load.h"

#if defined(__aarch64__)
#define IS_ARM64 true
#else
#define IS_ARM64 false
#endif

/* ---- bzImage ---- */

#define BZ_SETUP_OFF   0x1f1u
#define BZ_MAGIC       0x53726448u /* "HdrS" */
#define BZ_VERSION_MIN 0x0206u	   /* cmdline_size */
#define BZ_LOADED_HIGH 0x01u
#define BZ_XLF_64      0x01u
#define BZ_LOW_ADDR    0x100000ull
#define BZ_ENTRY_64    0x200u

/* The setup header from file offset 0x1f1 on, as far as it is read here. */
struct bz_header {
	uint8_t setup_sects; /* 0x1f1 */
	uint16_t root_flags;
	uint32_t syssize; /* of the protected-mode part, in 16 bytes */
	uint16_t ram_size, vid_mode, root_dev, boot_flag;
	uint16_t jump;	 /* 0x200 */
	uint32_t header; /* 0x202: BZ_MAGIC */
	uint16_t version;
	uint32_t realmode_swtch;
	uint16_t start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	uint32_t cmd_line_ptr, initrd_addr_max, kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size, hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset, payload_length;
	uint64_t setup_data, pref_address;
	uint32_t init_size;
} __attribute__((packed));
static_assert(offsetof(struct bz_header, header) == 0x202 - BZ_SETUP_OFF, "packed as on disk");
static_assert(offsetof(struct bz_header, pref_address) == 0x258 - BZ_SETUP_OFF,
	      "packed as on disk");

/* Where the protected-mode part goes, and how much memory it needs there. */
static int bz_place(struct load_ctx *c, const struct bz_header *h, uint64_t bytes, uint64_t *ret_at,
		    uint64_t *ret_mem)
{
	bool has_pref = le16toh(h->version) >= 0x020a;
	uint64_t mem = has_pref ? Q_MAX(bytes, (uint64_t)le32toh(h->init_size)) : bytes;
	uint64_t at = has_pref ? le64toh(h->pref_address) : BZ_LOW_ADDR;
	uint64_t align = le32toh(h->kernel_alignment);

	*ret_mem = mem;
	*ret_at = at;
	if (qmem_run(c->mem, gpa(at), mem) == mem || !h->relocatable_kernel)
		return 0;
	if (align < 4096 || align & (align - 1))
		return load_bad(c, "damaged: its alignment 0x%llx is no power of 2",
				(unsigned long long)align);
	if (!load_find(c, mem, align, BZ_LOW_ADDR, UINT32_MAX, false, ret_at))
		return load_bad(c, "needs 0x%llx bytes of RAM in one piece above 1 MiB: see ram",
				(unsigned long long)mem);
	return 0;
}

static int bz_check(struct load_ctx *c, const struct bz_header *h)
{
	if (IS_ARM64)
		return load_bad(c, "is an x86 Linux kernel (bzImage); this is arm64");
	if (le16toh(h->version) < BZ_VERSION_MIN || !(h->loadflags & BZ_LOADED_HIGH))
		return load_bad(c,
				"is a Linux kernel with boot protocol %u.%02u, loaded %s: too old",
				le16toh(h->version) >> 8, le16toh(h->version) & 0xff,
				h->loadflags & BZ_LOADED_HIGH ? "high" : "low");
	return 0;
}

int load_bzimage(struct load_ctx *c)
{
	struct load_result *res = c->res;
	struct bz_header h;
	uint64_t at = 0, mem = 0;

	if (c->file_bytes < BZ_SETUP_OFF + sizeof(h))
		return LOAD_NOT_MINE;
	int r = load_read(c, BZ_SETUP_OFF, &h, sizeof(h), "setup header");
	if (r < 0)
		return r;
	if (le32toh(h.header) != BZ_MAGIC || le16toh(h.boot_flag) != 0xaa55)
		return LOAD_NOT_MINE;
	r = bz_check(c, &h);
	if (r < 0)
		return r;
	uint64_t setup = ((h.setup_sects ? h.setup_sects : 4) + 1ull) * 512;
	if (setup >= c->file_bytes)
		return load_bad(c, "damaged: it has nothing behind its setup part");
	uint64_t bytes = c->file_bytes - setup, said = le32toh(h.syssize) * 16ull;
	if (said > Q_ALIGN_UP(bytes, 16))
		return load_bad(c, "damaged: cut short: its header says 0x%llx bytes of kernel, "
				   "the file has 0x%llx",
				(unsigned long long)said, (unsigned long long)bytes);
	r = bz_place(c, &h, bytes, &at, &mem);
	if (r == 0)
		r = load_copy(c, setup, bytes, at, mem);
	if (r < 0)
		return r;
	/* The header ends where the jump at its start goes to; what is behind it is code. */
	uint64_t header_end = 0x202 + (le16toh(h.jump) >> 8);
	res->setup_bytes = (size_t)Q_MIN(header_end - BZ_SETUP_OFF, sizeof(res->setup));
	r = load_read(c, BZ_SETUP_OFF, res->setup, res->setup_bytes, "setup header");
	if (r < 0)
		return r;
	res->kind = LOAD_BZIMAGE;
	res->entry_64 = le16toh(h.version) >= 0x020c && le16toh(h.xloadflags) & BZ_XLF_64;
	res->entry = at + (res->entry_64 ? BZ_ENTRY_64 : 0);
	res->initrd_max = le32toh(h.initrd_addr_max);
	return LOAD_DONE;
}

/* ---- arm64 Image ---- */

#define IMAGE_MAGIC    0x644d5241u /* "ARM\x64" */
#define IMAGE_ALIGN    0x200000ull
#define IMAGE_TEXT_OLD 0x80000ull /* where image_size is 0: kernels before 3.17 */
#define IMAGE_FLAG_BE  1u

struct image_header {
	uint32_t code0, code1;
	uint64_t text_offset, image_size, flags, res2, res3, res4;
	uint32_t magic, res5;
};

/* As soon as RAM of that size is free at a 2 MiB boundary plus text_offset. */
static int image_place(struct load_ctx *c, const struct image_header *h, uint64_t *ret_at,
		       uint64_t *ret_mem)
{
	uint64_t size = le64toh(h->image_size), text = le64toh(h->text_offset), base;

	if (!size)
		text = IMAGE_TEXT_OLD;
	size = Q_MAX(size, c->file_bytes);
	if (text >= IMAGE_ALIGN || size > UINT64_MAX / 2)
		return load_bad(c, "damaged: text offset 0x%llx, size 0x%llx",
				(unsigned long long)text, (unsigned long long)size);
	if (!load_find(c, text + size, IMAGE_ALIGN, 0, UINT64_MAX, false, &base))
		return load_bad(c, "needs 0x%llx bytes of RAM at a multiple of 2 MiB: see ram",
				(unsigned long long)(text + size));
	*ret_at = base + text;
	*ret_mem = size;
	return 0;
}

int load_arm64_image(struct load_ctx *c)
{
	struct image_header h;
	uint64_t at = 0, mem = 0;

	if (c->file_bytes < sizeof(h))
		return LOAD_NOT_MINE;
	int r = load_read(c, 0, &h, sizeof(h), "header");
	if (r < 0)
		return r;
	const uint8_t *b = (const uint8_t *)&h;
	if (IS_ARM64 && b[0] == 0x1f && b[1] == 0x8b)
		return load_bad(c, "is compressed with gzip: unpack it first (gzip -dc %s >Image)",
				c->path);
	if (le32toh(h.magic) != IMAGE_MAGIC)
		return LOAD_NOT_MINE;
	if (!IS_ARM64)
		return load_bad(c, "is an arm64 Linux kernel (Image); this is x86-64");
	if (le64toh(h.flags) & IMAGE_FLAG_BE)
		return load_bad(c, "is a big-endian kernel: guests are little-endian");
	r = image_place(c, &h, &at, &mem);
	if (r == 0)
		r = load_copy(c, 0, c->file_bytes, at, mem);
	if (r < 0)
		return r;
	c->res->kind = LOAD_IMAGE;
	c->res->entry = at;
	return LOAD_DONE;
}
