/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that shares our memory and sleeps until we have died. What takes long about the end of
 * our address space is then its to do, and nobody waits for it.
 */
#pragma once

/* Main thread, before anything is opened that must close when we die. 0 or -errno: then the next
 * mediator comes later, and nothing else is wrong. */
int keeper_start(void);
