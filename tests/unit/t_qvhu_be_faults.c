/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qvhu_be.h: every fault a front end can commit, by raw bytes, and how it is named. */
#include "tests/unit/qvhu_world.h"

#define U32(lo, hi) ((uint64_t)(lo) | (uint64_t)(hi) << 32)
#define INFL(queues, size) ((uint64_t)(queues) | (uint64_t)(size) << 16)

static const struct {
	enum stage stage;
	uint32_t req, flags, len;
	const char *fds;
	const char *want;
	uint64_t w[12];
} fault_rows[] = {
	/* the header */
	{ NEW, 0, 1, 0, "", "unknown request: number" },
	{ NEW, 6, 1, 0, "", "unknown request: number" },
	{ NEW, 41, 1, 0, "", "unknown request: number" },
	{ NEW, UINT32_MAX, 1, 0, "m", "unknown request: number" },
	{ NEW, QVHU_GET_FEATURES, 0, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 2, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 3, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 0x11, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 0x80000001, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 5, 0, "", "GET_FEATURES: a reply" },
	{ NEW, QVHU_GET_FEATURES, 1, 513, "", "GET_FEATURES: payload too large" },
	{ NEW, QVHU_GET_FEATURES, 1, UINT32_MAX, "m", "GET_FEATURES: payload too large" },
	{ NEW, QVHU_GET_FEATURES, 1, 8, "", "GET_FEATURES: length" },
	/* descriptors where none belong */
	{ NEW, QVHU_GET_FEATURES, 1, 0, "e", "GET_FEATURES: number of descriptors" },
	{ NEW, QVHU_SET_OWNER, 1, 0, "ee", "SET_OWNER: number of descriptors" },
	{ MEMORY, QVHU_SET_VRING_NUM, 1, 8, "e", "SET_VRING_NUM: number of descriptors" },
	{ MEMORY, QVHU_SET_VRING_KICK, 1, 8, "ee", "SET_VRING_KICK: number of descriptors" },
	{ NEW, QVHU_SET_MEM_TABLE, 1, 8, "eeeeeeeee", "SET_MEM_TABLE: descriptors" },
	/* features */
	{ NEW, QVHU_SET_FEATURES, 1, 4, "", "SET_FEATURES: length" },
	{ NEW, QVHU_SET_FEATURES, 1, 8, "", "SET_FEATURES: bits not offered", { 1ull << 33 } },
	{ RUNNING, QVHU_SET_FEATURES, 1, 8, "", "SET_FEATURES: changed under a running queue",
	  { 1ull << 32 } },
	{ NEW, QVHU_SET_PROTOCOL_FEATURES, 1, 8, "", "SET_PROTOCOL_FEATURES: bits not offered",
	  { 2 } },
	{ NEW, QVHU_SET_PROTOCOL_FEATURES, 1, 0, "", "SET_PROTOCOL_FEATURES: length" },
	{ NEW, QVHU_GET_CONFIG, 1, 13, "", "GET_CONFIG: feature not negotiated", { U32(0, 1) } },
	{ NEW, QVHU_SET_CONFIG, 1, 13, "", "SET_CONFIG: feature not negotiated", { U32(0, 1) } },
	{ NEW, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: feature not negotiated" },
	{ NEW, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: feature not negotiated" },
	{ NEW, QVHU_GET_MAX_MEM_SLOTS, 1, 0, "", "GET_MAX_MEM_SLOTS: feature not negotiated" },
	{ NEW, QVHU_ADD_MEM_REG, 1, 40, "m", "ADD_MEM_REG: feature not negotiated" },
	{ NEW, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: feature not negotiated" },
	{ NEW, QVHU_RESET_DEVICE, 1, 0, "", "RESET_DEVICE: feature not negotiated" },
	{ NEW, QVHU_SET_STATUS, 1, 8, "", "SET_STATUS: feature not negotiated" },
	{ NEGOTIATED, QVHU_SET_STATUS, 1, 8, "", "SET_STATUS: upper bits", { 256 } },
	{ NEGOTIATED, QVHU_SET_STATUS, 1, 4, "", "SET_STATUS: length" },
	/* config space */
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 12, "", "GET_CONFIG: length or offset" },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 11, "", "GET_CONFIG: length or offset" },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 12, "", "GET_CONFIG: length or offset", { U32(0, 4) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 20, "", "GET_CONFIG: length or offset", { U32(0, 4) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 13, "", "GET_CONFIG: length or offset",
	  { U32(256, 1) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 16, "", "GET_CONFIG: length or offset",
	  { U32(UINT32_MAX, 4) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 16, "", "GET_CONFIG: length or offset",
	  { U32(0, UINT32_MAX) } },
	{ NEGOTIATED, QVHU_SET_CONFIG, 1, 13, "", "SET_CONFIG: length or offset",
	  { U32(16, 1), 2 } },
	/* memory table: count and padding, then gpa, length, user address, file offset */
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "", "SET_MEM_TABLE: number of descriptors",
	  { 1, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 8, "m",
	  "SET_MEM_TABLE: length or number of descriptors" },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "mm",
	  "SET_MEM_TABLE: length or number of descriptors", { 1, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: length or number of descriptors", { 2, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "mm",
	  "SET_MEM_TABLE: length or number of descriptors", { 2, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 296, "m",
	  "SET_MEM_TABLE: length or number of descriptors", { 9, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: length or number of descriptors", { UINT32_MAX } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA + 1, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA, 0, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA, MEM_BYTES - 1, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, -4096ull, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA, 4096, UADDR, 1 } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m", "SET_MEM_TABLE: user address wraps",
	  { 1, GPA, MEM_BYTES, -4096ull } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 72, "mm", "SET_MEM_TABLE: regions overlap",
	  { 2, GPA, MEM_BYTES, UADDR, 0, GPA + 0xf000, MEM_BYTES, UADDR + MEM_BYTES, 0 } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "s",
	  "SET_MEM_TABLE: file shorter than its region", { 1, GPA, 8192, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: file shorter than its region", { 1, GPA, MEM_BYTES, UADDR, 4096 } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: file shorter than its region", { 1, GPA, 4096, UADDR, -4096ull } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "u", "SET_MEM_TABLE: file can shrink",
	  { 1, GPA, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 40, "", "ADD_MEM_REG: number of descriptors" },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 32, "m", "ADD_MEM_REG: length" },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 40, "m", "ADD_MEM_REG: regions overlap",
	  { 0, GPA, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 40, "u", "ADD_MEM_REG: file can shrink",
	  { 0, GPA * 2, MEM_BYTES, UADDR * 2 } },
	{ MEMORY, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: no such region",
	  { 0, GPA + 4096, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: no such region",
	  { 0, GPA, 4096, UADDR } },
	{ NEGOTIATED, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: no such region",
	  { 0, GPA, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_REM_MEM_REG, 1, 8, "", "REM_MEM_REG: length" },
	/* queues */
	{ NEW, QVHU_SET_VRING_NUM, 1, 4, "", "SET_VRING_NUM: length" },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: no such queue", { U32(2, 128) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: no such queue",
	  { U32(UINT32_MAX, 128) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 0) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 127) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 512) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 1u << 31) } },
	{ RUNNING, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: changed under a running queue",
	  { U32(0, 64) } },
	{ NEW, QVHU_SET_VRING_BASE, 1, 8, "", "SET_VRING_BASE: index", { U32(0, 65536) } },
	{ NEW, QVHU_SET_VRING_BASE, 1, 8, "", "SET_VRING_BASE: no such queue", { U32(9, 0) } },
	{ RUNNING, QVHU_SET_VRING_BASE, 1, 8, "",
	  "SET_VRING_BASE: changed under a running queue", { U32(0, 3) } },
	{ NEW, QVHU_GET_VRING_BASE, 1, 8, "", "GET_VRING_BASE: no such queue", { U32(64, 0) } },
	{ NEW, QVHU_GET_VRING_BASE, 1, 9, "", "GET_VRING_BASE: length" },
	{ NEW, QVHU_SET_VRING_ENABLE, 1, 8, "", "SET_VRING_ENABLE: neither 0 nor 1",
	  { U32(0, 2) } },
	{ NEW, QVHU_SET_VRING_ENABLE, 1, 8, "", "SET_VRING_ENABLE: no such queue",
	  { U32(2, 1) } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 39, "", "SET_VRING_ADDR: length" },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: no such queue", { U32(2, 0) } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: flags", { U32(0, 1) } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: alignment",
	  { 0, UADDR + 8, UADDR, UADDR } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: alignment",
	  { 0, UADDR, UADDR + 2, UADDR } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: alignment",
	  { 0, UADDR, UADDR, UADDR + 1 } },
	/* desc, used, avail; 128 entries: 2048, 1030, 262 bytes */
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, 0, UADDR, UADDR } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, GPA, GPA, GPA } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, UADDR + MEM_BYTES - 2032, UADDR, UADDR } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, UADDR, UADDR + MEM_BYTES - 1028, UADDR } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, UADDR, UADDR, UADDR + MEM_BYTES - 260 } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, -16ull, UADDR, UADDR } },
	{ RUNNING, QVHU_SET_VRING_ADDR, 1, 40, "",
	  "SET_VRING_ADDR: changed under a running queue", { 0, UADDR, UADDR, UADDR } },
	/* kick, call, err */
	{ NEW, QVHU_SET_VRING_KICK, 1, 4, "e", "SET_VRING_KICK: length" },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: no such queue", { 2 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: no such queue", { 255 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: upper bits", { 512 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: upper bits", { 1ull << 63 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: descriptor and flag disagree",
	  { QVHU_NOFD } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "", "SET_VRING_KICK: descriptor and flag disagree" },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "p", "SET_VRING_KICK: not an eventfd" },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "m", "SET_VRING_KICK: not an eventfd" },
	{ NEW, QVHU_SET_VRING_CALL, 1, 8, "z", "SET_VRING_CALL: not an eventfd" },
	{ NEW, QVHU_SET_VRING_CALL, 1, 8, "e", "SET_VRING_CALL: no such queue", { 3 } },
	{ NEW, QVHU_SET_VRING_ERR, 1, 8, "", "SET_VRING_ERR: descriptor and flag disagree" },
	{ NEW, QVHU_SET_VRING_ERR, 1, 8, "e", "SET_VRING_ERR: upper bits", { UINT64_MAX } },
	/* in-flight region: length, offset, queues and size */
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 16, "", "GET_INFLIGHT_FD: length" },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: number of queues" },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: number of queues",
	  { 0, 0, INFL(3, 128) } },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: queue size",
	  { 0, 0, INFL(1, 0) } },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: queue size",
	  { 0, 0, INFL(1, 512) } },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "e", "GET_INFLIGHT_FD: number of descriptors",
	  { 0, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "", "SET_INFLIGHT_FD: number of descriptors",
	  { 4224, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: in-flight length",
	  { 2111, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: in-flight length",
	  { 4223, 0, INFL(2, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "s",
	  "SET_INFLIGHT_FD: in-flight file too short", { 4224, 0, INFL(2, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m",
	  "SET_INFLIGHT_FD: in-flight file too short", { UINT64_MAX, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m",
	  "SET_INFLIGHT_FD: in-flight file too short", { 4096, -4096ull, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: in-flight offset",
	  { 4096, 64, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "u",
	  "SET_INFLIGHT_FD: in-flight file can shrink", { 4096, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "e",
	  "SET_INFLIGHT_FD: in-flight file can shrink", { 4096, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "v",
	  "SET_INFLIGHT_FD: in-flight region is not ours", { 4096, 0, INFL(1, 128) } },
};

START_TEST(fault_row)
{
	struct world w;

	world_at(&w, fault_rows[_i].stage);
	/* A fault is acknowledged too, when the front end can ask for that. */
	bool asks = fault_rows[_i].stage >= NEGOTIATED && (fault_rows[_i].flags & 3) == 1;
	say_fds(&w, fault_rows[_i].req, fault_rows[_i].flags | (asks ? QVHU_FLAG_NEED_REPLY : 0),
		fault_rows[_i].w, fault_rows[_i].len, fault_rows[_i].fds);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), fault_rows[_i].want);
	/* It stays ended. */
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	world_close(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qvhu_be_faults");
	TCase *tc = fixture_case(s, "faults");

	tcase_add_loop_test(tc, fault_row, 0, Q_ARRAY_LEN(fault_rows));
	return fixture_main(s);
}
