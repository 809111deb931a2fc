/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file or block device is as a disk: its size, its blocks, what can be done with it.
 */
#pragma once

#include "vdevs/vdev.h"

/* Length, blocks and hints of @fd. 0; -ENOTBLK (neither a file nor a block device), -errno. */
int blkinfo_size(int fd, struct vd_blk_info *ret);
/*
 * Whether holes can be punched into it, and ranges of it zeroed; and so what a disk with its length
 * can. What cannot be found out is false.
 */
void blkinfo_abilities(int fd, struct vd_blk_info *info, bool *ret_punch, bool *ret_zero_range);
/*
 * Larger blocks where direct requests need them: a guest that makes its requests of these keeps
 * what was asked for.
 */
void blkinfo_direct(int fd, struct vd_blk_info *info);
