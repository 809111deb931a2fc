/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory of a guest: the driver's side of vdev shmem, by PCI or (shmem=ADDR,GSI) by MMIO, in
 * one of several roles; see README.md. The interrupt is routed as an edge: status is read until it
 * says nothing new, so that each further change makes the next edge.
 */
#include "tests/guests/drv/pci.h"
#include "tests/guests/rt/rt.h"

#define PCI_ID		0x00011c05u
#define SIGNATURE	UINT64_C(0x4d534732474d5651)
#define PAGE		4096u
#define NAME_BYTES	32u
#define PAGES_MAX	16u	/* connections of the role hold */
#define WAIT_S		120u

struct factory {
	uint64_t signature, shmem;
	uint32_t vector, status, size;
	char name[NAME_BYTES];
	uint32_t find;
};
struct control {
	uint32_t status, idx, notify, detach;
};
/* The first data page of the roles ask and answer; the others are the payload. */
struct talk {
	uint32_t asked, answered;	/* rounds */
	uint32_t seed, sum;		/* of the payload of this round */
};

static volatile struct factory *factory;
static uint32_t connected;	/* as last seen */
static uint64_t n_bells;

/* ---- the device ---- */

static void find_pci(void)
{
	const unsigned *bdfs;
	unsigned n;

	if (!pci_init())
		rt_fail("no PCI");
	n = pci_functions(&bdfs);
	for (unsigned i = 0; i < n && !factory; i++) {
		if (rt_pci_read(bdfs[i], 0, 4) != PCI_ID)
			continue;
		if (rt_pci_read(bdfs[i], 8, 4) >> 16 != 0x0580)
			rt_fail("class 0x%x", rt_pci_read(bdfs[i], 8, 4));
		pci_enable(bdfs[i]);
		factory = (volatile struct factory *)pci_bar(bdfs[i], 0);
		rt_printf("shmem: pci bdf=0x%x factory=0x%lx window=0x%lx line=%u\n", bdfs[i],
			  (unsigned long)pci_bar(bdfs[i], 0), (unsigned long)pci_bar(bdfs[i], 2),
			  rt_pci_read(bdfs[i], 0x3c, 1));
	}
}

static void find_device(void)
{
	char text[64];

	if (rt_arg_str("shmem", text, sizeof(text))) {
		const char *at = text;
		uint64_t addr;
		if (!rt_parse_u64(&at, &addr))
			rt_fail("shmem=%s", text);
		factory = (volatile struct factory *)(uintptr_t)addr;
	} else {
		find_pci();
	}
	if (!factory || factory->signature != SIGNATURE)
		rt_fail("no shmem");
	int irq = rt_irq_alloc();
	rt_irq_route(factory->vector, irq);
}

static void set_name(const char *name)
{
	for (unsigned i = 0; i < NAME_BYTES; i++) {
		factory->name[i] = *name;
		name += *name != 0;
	}
}

/* The result; @n_pages 0 is find. */
static uint32_t attach(const char *name, uint32_t n_pages)
{
	set_name(name);
	if (n_pages)
		factory->size = n_pages;
	else
		factory->find = 1;
	return factory->status;
}

static volatile struct control *must_attach(const char *name, uint32_t n_pages)
{
	uint32_t result = attach(name, n_pages);

	if (result)
		rt_fail("attach %s: result %u", name, result);
	volatile struct control *c = (volatile struct control *)(uintptr_t)factory->shmem;
	connected = c->status >> 16;
	rt_printf("shmem: ready region=%s index=%u pages=%u at=0x%lx vector=%u connected=0x%x\n",
		  name, c->idx, factory->size, (unsigned long)factory->shmem, factory->vector,
		  connected);
	return c;
}

/* Reads status; tells who came and went. The bells. */
static uint32_t look(volatile struct control *c)
{
	uint32_t status = c->status;

	if (status >> 16 != connected)
		rt_printf("shmem: connected=0x%x\n", status >> 16);
	connected = status >> 16;
	n_bells += (status & 0xffff) != 0;
	return status & 0xffff;
}

static bool is_over(void)
{
	return rt_getc() == 'q' || rt_power_button(false);
}

/* Sleeps until one of @from rings; 0 when somebody ends us, or all @from left. */
static uint32_t wait_bell(volatile struct control *c, uint32_t from)
{
	uint64_t end = arch_ticks() + rt_ticks(WAIT_S * RT_NS_PER_S);

	for (;;) {
		uint32_t seen = rt_wake, bells = look(c) & from;

		if (bells)
			return bells;
		if (is_over() || !(connected & from & ~(1u << c->idx)))
			return 0;
		if (arch_ticks() > end)
			rt_fail("no bell in %u s", WAIT_S);
		rt_wait(seen, end);
	}
}

/* ---- the payload ---- */

static uint64_t *payload(volatile struct control *c)
{
	return (uint64_t *)((uintptr_t)c + 2 * PAGE);
}

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint32_t fill(uint64_t *to, size_t n_words, uint32_t seed)
{
	uint64_t state = (uint64_t)seed << 20 | 0x9e3779b9u, sum = 0;

	for (size_t i = 0; i < n_words; i++)
		sum += to[i] = next(&state);
	return (uint32_t)(sum >> 32 ^ sum);
}

static uint32_t check(const uint64_t *from, size_t n_words, uint32_t seed)
{
	uint64_t state = (uint64_t)seed << 20 | 0x9e3779b9u, sum = 0;

	for (size_t i = 0; i < n_words; i++) {
		uint64_t want = next(&state);
		if (from[i] != want)
			rt_fail("word %lu is 0x%lx, expected 0x%lx", (unsigned long)i,
				(unsigned long)from[i], (unsigned long)want);
		sum += want;
	}
	return (uint32_t)(sum >> 32 ^ sum);
}

static size_t n_words(void)
{
	return (factory->size - 1) * (size_t)PAGE / sizeof(uint64_t);
}

/* ---- roles ---- */

static volatile struct talk *talk_of(volatile struct control *c)
{
	return (volatile struct talk *)((uintptr_t)c + PAGE);
}

/* Asks rounds= times: fills the payload, rings, and finds it answered and changed as agreed. */
static void role_ask(const char *name, uint32_t n_pages)
{
	uint32_t n_rounds = (uint32_t)rt_arg_u64("rounds", 20);
	volatile struct control *c = must_attach(name, n_pages);
	volatile struct talk *t = talk_of(c);
	uint64_t end = arch_ticks() + rt_ticks(WAIT_S * RT_NS_PER_S);

	while (!(connected & ~(1u << c->idx))) {	/* until there is somebody to ask */
		uint32_t seen = rt_wake;
		look(c);
		if (arch_ticks() > end)
			rt_fail("nobody came");
		if (!(connected & ~(1u << c->idx)))
			rt_wait(seen, end);
	}
	for (uint32_t i = 1; i <= n_rounds; i++) {
		t->seed = i;
		t->sum = fill(payload(c), n_words(), i);
		arch_mb();
		t->asked = i;
		c->notify = ~0u;
		while (t->answered != i)
			if (!wait_bell(c, 0xffff & ~(1u << c->idx)))
				rt_fail("round %u was not answered", i);
		arch_mb();
		if (check(payload(c), n_words(), i | 1u << 31) != t->sum)
			rt_fail("the sum of round %u is wrong", i);
	}
	rt_printf("shmem: asked rounds=%u bytes=%lu bells=%lu irqs=%u\n", n_rounds,
		  (unsigned long)(n_rounds * n_words() * 8), (unsigned long)n_bells, rt_wake);
	c->detach = 1;
	if (c->status != UINT32_MAX)
		rt_fail("the window is open after detach");
}

/* Answers until who asks has left. */
static void role_answer(const char *name, uint32_t n_pages)
{
	volatile struct control *c = must_attach(name, n_pages);
	volatile struct talk *t = talk_of(c);
	uint32_t n = 0, bells, others = 0xffff & ~(1u << c->idx);
	bool met = false;

	while (!is_over()) {
		uint32_t seen = rt_wake;

		bells = look(c) & others;
		met |= (connected & others) != 0;
		if (met && !(connected & others) && !bells && !rt_arg_u64("stay", 0))
			break;
		if (t->asked != t->answered) {
			arch_mb();
			if (check(payload(c), n_words(), t->seed) != t->sum)
				rt_fail("the sum of round %u is wrong", t->asked);
			t->sum = fill(payload(c), n_words(), t->seed | 1u << 31);
			arch_mb();
			t->answered = t->asked;
			n++;
			c->notify = ~0u;
		} else if (!bells) {
			rt_wait(seen, arch_ticks() + rt_ticks(RT_NS_PER_S));
		}
	}
	rt_printf("shmem: answered rounds=%u bells=%lu\n", n, (unsigned long)n_bells);
}

/* Tries each name= and says what came of it. */
static void role_try(uint32_t n_pages)
{
	char name[64];

	for (unsigned i = 0; rt_arg_nth("name", i, name, sizeof(name)); i++) {
		uint32_t result = attach(name, rt_arg_u64("find", 0) ? 0 : n_pages);
		rt_printf("shmem: try name=%s result=%u pages=%u at=0x%lx\n", name, result,
			  factory->size, (unsigned long)factory->shmem);
	}
}

/* Connects n= times and stays; tells bells and who comes and goes on the first. */
static void role_hold(const char *name, uint32_t n_pages)
{
	unsigned n = (unsigned)rt_arg_u64("n", 1);
	volatile struct control *first = NULL;

	for (unsigned i = 0; i < n && i < PAGES_MAX; i++) {
		volatile struct control *c = must_attach(name, n_pages);
		first = first ? first : c;
	}
	rt_printf("shmem: held n=%u\n", n);
	while (!is_over()) {
		uint32_t seen = rt_wake, bells = look(first);

		if (bells)
			rt_printf("shmem: bells=0x%x first=0x%lx\n", bells,
				  (unsigned long)*(volatile uint64_t *)((uintptr_t)first + PAGE));
		else
			rt_wait(seen, arch_ticks() + rt_ticks(RT_NS_PER_S));
	}
}

/* Create and detach without end, over one window. */
static void role_cycle(const char *name, uint32_t n_pages)
{
	unsigned n = (unsigned)rt_arg_u64("rounds", 1000);

	for (unsigned i = 0; i < n; i++) {
		uint32_t result = attach(name, n_pages);
		if (result)
			rt_fail("round %u: result %u", i, result);
		volatile struct control *c = (volatile struct control *)(uintptr_t)factory->shmem;
		*(volatile uint32_t *)((uintptr_t)c + PAGE) = i;
		c->detach = 0;
	}
	rt_printf("shmem: cycled rounds=%u\n", n);
}

void guest_main(void)
{
	char role[16] = "answer", name[64] = "x";
	uint32_t n_pages = (uint32_t)rt_arg_u64("pages", 65);

	rt_arg_str("role", role, sizeof(role));
	rt_arg_str("name", name, sizeof(name));
	find_device();
	if (!strcmp(role, "ask"))
		role_ask(name, n_pages);
	else if (!strcmp(role, "answer"))
		role_answer(name, n_pages);
	else if (!strcmp(role, "try"))
		role_try(n_pages);
	else if (!strcmp(role, "hold"))
		role_hold(name, n_pages);
	else if (!strcmp(role, "cycle"))
		role_cycle(name, n_pages);
	else
		rt_fail("role=%s", role);
}
