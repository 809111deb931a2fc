/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk, its two forms: a device with a file of its own, and one behind a vhost-user back end.
 */
#pragma once

#include "vdevs/vdev.h"

/* What the text of hostdev means. */
enum vd_blk_form {
	VD_BLK_FILE,		/* FILE, or <FILE for read-only */
	VD_BLK_BACKEND,		/* mediator:NAME, vhost-user:PATH */
	VD_BLK_UNKNOWN,		/* a form that is not served, or nothing behind the colon */
};
enum vd_blk_form vd_blk_form(const char *hostdev);
