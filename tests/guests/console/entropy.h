/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the console guest that reads virtio-entropy devices. */
#pragma once

/* Reads from every such device, and looks at what came. */
void entropy_run(void);
