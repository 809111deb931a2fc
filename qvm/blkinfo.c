/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the kernel: see blkinfo.h. No state; the main thread, and the I/O thread for a file that
 * comes later.
 */
#include "qvm/blkinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define BLOCK_MAX 4096u

/* What a block device says of itself; what it does not say stays unknown. */
static void find_hints(int fd, struct vd_blk_info *ret)
{
	unsigned physical = 0, io_min = 0, io_best = 0;

	if (ioctl(fd, BLKPBSZGET, &physical) == 0)
		ret->physical_bytes = physical;
	if (ioctl(fd, BLKIOMIN, &io_min) == 0)
		ret->io_min_bytes = io_min;
	if (ioctl(fd, BLKIOOPT, &io_best) == 0)
		ret->io_best_bytes = io_best;
}

int blkinfo_size(int fd, struct vd_blk_info *ret)
{
	struct stat st;
	int block = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	ret->block_bytes = 512;
	if (S_ISREG(st.st_mode)) {
		ret->len_bytes = (uint64_t)st.st_size;
		if ((uint64_t)st.st_blksize <= BLOCK_MAX)
			ret->physical_bytes = ret->discard_bytes = (uint32_t)st.st_blksize;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	if (ioctl(fd, BLKGETSIZE64, &ret->len_bytes) < 0 || ioctl(fd, BLKSSZGET, &block) < 0)
		return -errno;
	if (block > 0)
		ret->block_bytes = (uint32_t)block;
	find_hints(fd, ret);
	return 0;
}

/* Asks the file system for it behind the end: at most a block that nobody sees comes of it. */
static bool can_allocate(int fd, int mode, uint64_t end)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE | mode, (off_t)Q_ALIGN_UP(end, 4096), 4096) == 0;
}

/* A number of the queue of block device @dev, which may be a partition; 0 when there is none. */
static uint64_t queue_number(dev_t dev, const char *what)
{
	static const char *const from[] = { "", "/.." };
	unsigned long long v = 0;
	char path[128];

	for (unsigned i = 0; i < Q_ARRAY_LEN(from) && !v; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/queue/%s", major(dev),
			 minor(dev), from[i], what);
		FILE *f = fopen(path, "re");
		if (f && fscanf(f, "%llu", &v) != 1)
			v = 0;
		if (f)
			fclose(f);
	}
	return v;
}

void blkinfo_abilities(int fd, struct vd_blk_info *info, bool *ret_punch, bool *ret_zero_range)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	if (S_ISREG(st.st_mode)) {
		*ret_punch = can_allocate(fd, FALLOC_FL_PUNCH_HOLE, info->len_bytes);
		*ret_zero_range = can_allocate(fd, FALLOC_FL_ZERO_RANGE, info->len_bytes);
	} else {
		/* The kernel writes zeroes where the device cannot. */
		*ret_zero_range = true;
		*ret_punch = queue_number(st.st_rdev, "discard_max_bytes");
		info->discard_bytes = (uint32_t)queue_number(st.st_rdev, "discard_granularity");
	}
	info->can_discard = *ret_punch;
	info->can_zero = *ret_punch || *ret_zero_range;
}

/* The blocks that direct requests are made of, where the kernel tells (6.1 and later). */
static uint32_t direct_block_bytes(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN))
		return stx.stx_dio_offset_align;
#endif
	return 0;
}

void blkinfo_direct(int fd, struct vd_blk_info *info)
{
	uint32_t block = direct_block_bytes(fd);

	if (block > info->block_bytes && block <= BLOCK_MAX && !(block & (block - 1)))
		info->block_bytes = block;
}
