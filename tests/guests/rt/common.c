/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the runtime that knows no processor: formatted output, command line, memory, the
 * clock's arithmetic, the closing line. Owns copies of the command line and the memory map, because
 * the loader may have put the originals into memory that rt_alloc() is about to hand out.
 */
#include "tests/guests/rt/rt.h"

extern char _image_end[];

volatile bool rt_bus_errors_ok;
volatile uint32_t rt_bus_errors;
volatile uint64_t rt_bus_error_was;

static char cmdline[2048];
static struct rt_range map[32];
static unsigned n_map;
static uint64_t ram_base, heap_next, heap_end;
static uint64_t tick_khz;
static uint64_t ns_per_tick;		/* 32.32 */
static const char *tick_source = "none";

void *memcpy(void *dst, const void *src, size_t n)
{
	arch_copy(dst, src, n);
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	arch_fill(dst, (unsigned char)c, n);
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;
	for (; n > 0; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (unsigned char)*a - (unsigned char)*b;
}

static void put_number(uint64_t v, unsigned base, unsigned width, char pad)
{
	char buf[24];
	unsigned n = 0;
	do {
		buf[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v > 0);
	for (unsigned i = n; i < width; i++)
		rt_putc(pad);
	while (n > 0)
		rt_putc(buf[--n]);
}

static void put_conversion(char c, unsigned n_long, unsigned width, char pad, va_list *ap)
{
	uint64_t v;

	if (c == 's') {
		const char *s = va_arg(*ap, const char *);
		while (*s)
			rt_putc(*s++);
		return;
	}
	if (c == 'c') {
		rt_putc((char)va_arg(*ap, int));
		return;
	}
	if (c == '%') {
		rt_putc('%');
		return;
	}
	if (c == 'd') {
		int64_t d = n_long ? va_arg(*ap, int64_t) : va_arg(*ap, int);
		if (d < 0)
			rt_putc('-');
		v = d < 0 ? -(uint64_t)d : (uint64_t)d;
	} else {
		v = n_long ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned);
	}
	put_number(v, c == 'x' ? 16 : 10, width, pad);
}

void rt_vprintf(const char *fmt, va_list ap_in)
{
	va_list ap;

	va_copy(ap, ap_in);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			rt_putc(*fmt);
			continue;
		}
		char pad = *++fmt == '0' ? '0' : ' ';
		unsigned width = 0, n_long = 0;
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned)(*fmt - '0');
		for (; *fmt == 'l'; fmt++)
			n_long++;
		if (!*fmt)
			break;
		put_conversion(*fmt, n_long, width, pad, &ap);
	}
	va_end(ap);
}

void rt_printf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	rt_vprintf(fmt, ap);
	va_end(ap);
}

const char *rt_cmdline(void)
{
	return cmdline;
}

/* Compares the word at @w with "@key="; returns the value's start or NULL. */
static const char *word_value(const char *w, const char *key)
{
	while (*key && *w == *key)
		w++, key++;
	return !*key && *w == '=' ? w + 1 : NULL;
}

bool rt_arg_nth(const char *key, unsigned nth, char *buf, size_t size)
{
	const char *w = cmdline;

	while (*w) {
		while (*w == ' ')
			w++;
		const char *v = word_value(w, key);
		if (v && nth-- == 0) {
			size_t n = 0;
			while (v[n] && v[n] != ' ' && n + 1 < size) {
				buf[n] = v[n];
				n++;
			}
			buf[n] = 0;
			return true;
		}
		while (*w && *w != ' ')
			w++;
	}
	return false;
}

bool rt_arg_str(const char *key, char *buf, size_t size)
{
	unsigned n = 0;

	while (rt_arg_nth(key, n, buf, size))
		n++;
	return n > 0;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

bool rt_parse_u64(const char **text, uint64_t *ret_v)
{
	const char *s = *text;
	int base = 10;
	uint64_t v = 0;

	if (s[0] == '0' && (s[1] | 0x20) == 'x') {
		base = 16;
		s += 2;
	}
	const char *first = s;
	for (; digit_value(*s) < base; s++)
		v = v * (uint64_t)base + (uint64_t)digit_value(*s);
	if (s == first)
		return false;
	char unit = (char)(*s | 0x20);
	unsigned shift = unit == 'k' ? 10 : unit == 'm' ? 20 : unit == 'g' ? 30 : 0;
	if (shift)
		s++;
	*text = s;
	*ret_v = v << shift;
	return true;
}

uint64_t rt_arg_u64(const char *key, uint64_t dflt)
{
	char buf[64];
	const char *s = buf;
	uint64_t v;

	if (!rt_arg_str(key, buf, sizeof(buf)))
		return dflt;
	if (!rt_parse_u64(&s, &v) || *s)
		rt_fail("argument %s=%s is not a number", key, buf);
	return v;
}

unsigned rt_memmap(const struct rt_range **ret_map)
{
	*ret_map = map;
	return n_map;
}

uint64_t rt_ram_base(void)
{
	return ram_base;
}

uint64_t rt_ram_end(void)
{
	return heap_end;
}

uint64_t rt_alloc_left(void)
{
	return heap_end - heap_next;
}

void *rt_alloc(size_t size, size_t align)
{
	uint64_t at = (heap_next + align - 1) & ~(uint64_t)(align - 1);

	if (at > heap_end || size > heap_end - at)
		return NULL;
	heap_next = at + size;
	return memset((void *)at, 0, size);
}

void *rt_need(size_t size, size_t align, const char *what)
{
	void *p = rt_alloc(size, align);

	if (!p)
		rt_fail("no memory for %s: want %lu bytes, have %lu", what, (unsigned long)size,
			(unsigned long)rt_alloc_left());
	return p;
}

/* The heap is the rest of the RAM range that holds the image. */
void rt_common_init(const struct rt_boot *boot)
{
	const uint64_t image_end = (uint64_t)_image_end;

	for (size_t i = 0; boot->cmdline && boot->cmdline[i] && i + 1 < sizeof(cmdline); i++)
		cmdline[i] = boot->cmdline[i];
	n_map = boot->n_map;
	memcpy(map, boot->map, sizeof(map));
	heap_next = heap_end = image_end;
	for (unsigned i = 0; i < n_map; i++)
		if (map[i].type == 1 && map[i].base <= image_end &&
		    image_end - map[i].base <= map[i].size) {
			ram_base = map[i].base;
			heap_end = map[i].base + map[i].size;
		}
	if (heap_end > 0xc0000000)
		heap_end = 0xc0000000;
}

void rt_clock_set(uint64_t khz, const char *source)
{
	tick_khz = khz;
	ns_per_tick = (1000000ull << 32) / khz;
	tick_source = source;
}

uint64_t rt_ns(uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * ns_per_tick >> 32);
}

uint64_t rt_ticks(uint64_t ns)
{
	return ns / 1000000 * tick_khz + ns % 1000000 * tick_khz / 1000000;
}

uint64_t rt_tick_khz(void)
{
	return tick_khz;
}

const char *rt_tick_source(void)
{
	return tick_source;
}

_Noreturn void rt_done_ok(void)
{
	rt_printf("guest: done ok\n");
	rt_arch_end(true);
}

_Noreturn void rt_fail(const char *fmt, ...)
{
	va_list ap;

	rt_printf("guest: FAILED ");
	va_start(ap, fmt);
	rt_vprintf(fmt, ap);
	va_end(ap);
	rt_printf("\n");
	rt_arch_end(false);
}
