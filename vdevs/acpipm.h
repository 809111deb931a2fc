/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where acpi-pm stands, for what builds the ACPI tables (FADT: PM1a event and control block, reset
 * register and value, no SMI command: the machine is always in ACPI mode; DSDT: \_S5 is 5).
 */
#pragma once

#define VD_ACPIPM_PM1A_EVT 0x600u	/* I/O port, 4 bytes: status, enable */
#define VD_ACPIPM_PM1A_CNT 0x604u	/* 2 bytes */
#define VD_ACPIPM_RESET 0xcf9u		/* 1 byte */
#define VD_ACPIPM_RESET_VALUE 6u
#define VD_ACPIPM_KBD 0x64u		/* 0xfe resets, as a keyboard controller's command */
#define VD_ACPIPM_S5 5u
