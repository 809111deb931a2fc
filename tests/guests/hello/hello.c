/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest guest with the whole runtime: says what it was told, ends. */
#include "tests/guests/rt/rt.h"

void guest_main(void)
{
	const struct rt_range *map;
	unsigned n = rt_memmap(&map);

	rt_printf("\nhello from guest cmdline=\"%s\"\n", rt_cmdline());
	rt_printf("hello: ram_end=0x%lx tsc_khz=%lu source=%s\n", rt_ram_end(), rt_tick_khz(),
		  rt_tick_source());
	for (unsigned i = 0; i < n; i++)
		rt_printf("hello: map base=0x%lx size=0x%lx type=%u\n", map[i].base, map[i].size,
			  map[i].type);
	uint64_t ms = rt_arg_u64("sleep_ms", 0);
	uint64_t t0 = arch_ticks(), end = t0 + rt_ticks(ms * RT_NS_PER_MS);
	bool pressed = false;
	while (arch_ticks() < end && !pressed) {
		uint32_t seen = rt_wake;
		pressed = rt_power_button(false);
		int c = rt_getc();
		if (c >= 0)
			rt_printf("hello: key=%d\n", c);
		if (!pressed && c < 0)
			rt_wait(seen, end);
	}
	if (ms)
		rt_printf("hello: slept_ms=%lu pressed=%d\n",
			  rt_ns(arch_ticks() - t0) / RT_NS_PER_MS, pressed);
	if (rt_arg_u64("crash", 0))
		arch_crash();
}
