/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine that a test guest runs on when it is a program of a Linux guest: what rt/<arch>/ does
 * on bare hardware, done by system calls. The console is standard input and output, the power
 * button any input device that sends KEY_POWER, an interrupt a descriptor that has become readable,
 * the command line the words that the program was started with.
 */
#include <asm/fcntl.h>
#include <asm/poll.h>
#include <linux/input-event-codes.h>
#include <linux/time.h>
#include "tests/guests/linux/sys.h"

#define HEAP_BYTES	(48u << 20)
#define LOOK_NS		(20 * RT_NS_PER_MS)	/* how often a busy guest looks at its keys */
#define CALIBRATE_NS	(100 * RT_NS_PER_MS)

struct input_event_64 {
	uint64_t sec, usec;
	uint16_t type, code;
	int32_t value;
};

/* The heap stands where it would on bare hardware: behind the image. */
extern char _image_end[HEAP_BYTES];
char _image_end[HEAP_BYTES] __attribute__((aligned(4096)));

volatile uint32_t rt_irq_count[ARCH_N_IRQ], rt_wake;

enum { FD_CONSOLE, FD_WAKE, FD_BUTTONS, FDS = FD_BUTTONS + 4 };

static struct pollfd fds[FDS];
static uint64_t look_at_keys, look_at_button;
static bool pressed;
static char line[1024];
static size_t n_line;

void linux_wake_by(int fd)
{
	fds[FD_WAKE].fd = fd;
}

/* --- console --- */

static void flush_line(void)
{
	size_t done = 0;

	while (done < n_line) {
		long r = sys_write(1, line + done, n_line - done);
		if (r <= 0 && r != -SYS_EINTR && r != -SYS_EAGAIN)
			break;
		done += r > 0 ? (size_t)r : 0;
	}
	n_line = 0;
}

void rt_putc(char c)
{
	line[n_line++] = c;
	if (c == '\n' || n_line == sizeof(line))
		flush_line();
}

static void poll_fds(struct pollfd *which, unsigned n, const struct timespec *timeout)
{
	for (unsigned i = 0; i < n; i++)
		which[i].revents = 0;
	sys6(__NR_ppoll, (long)which, n, (long)timeout, 0, 0, 0);
}

/*
 * True if @fd may have something. One that never sleeps looks now and then by itself: a system call
 * a round would be its time.
 */
static bool worth_a_look(struct pollfd *fd, unsigned n, uint64_t *next_look, bool force)
{
	uint64_t now = arch_ticks();
	bool any = false;

	if (force || now >= *next_look) {
		const struct timespec at_once = { 0 };
		*next_look = now + rt_ticks(LOOK_NS);
		poll_fds(fd, n, &at_once);
	}
	for (unsigned i = 0; i < n; i++)
		any = any || fd[i].revents & POLLIN;
	return any;
}

int rt_getc(void)
{
	struct pollfd *console = &fds[FD_CONSOLE];
	unsigned char c;

	if (!worth_a_look(console, 1, &look_at_keys, false))
		return -1;
	console->revents = 0;
	look_at_keys = 0;		/* there may be more */
	long r = sys_read(0, &c, 1);
	if (r == 0)
		console->fd = -1;	/* its end: never again */
	return r == 1 ? c : -1;
}

bool rt_power_button(bool force_poll)
{
	struct pollfd *button = &fds[FD_BUTTONS];
	struct input_event_64 e[16];

	if (pressed || !worth_a_look(button, FDS - FD_BUTTONS, &look_at_button, force_poll))
		return pressed;
	for (unsigned i = 0; i < FDS - FD_BUTTONS; i++) {
		if (!(button[i].revents & POLLIN))
			continue;
		button[i].revents = 0;
		long n = sys_read(button[i].fd, e, sizeof(e));
		for (long k = 0; k < n / (long)sizeof(e[0]); k++)
			pressed = pressed || (e[k].type == EV_KEY && e[k].code == KEY_POWER &&
					      e[k].value == 1);
	}
	return pressed;
}

/* --- time --- */

static uint64_t now_ns(void)
{
	struct timespec t;

	sys4(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0, 0);
	return (uint64_t)t.tv_sec * RT_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Linux knows how long a second is, but to read the processor's own counter costs no call. */
static void calibrate(void)
{
	uint64_t began_ns = now_ns(), began = arch_ticks(), ns;

	do {
		const struct timespec nap = { .tv_nsec = RT_NS_PER_MS };
		sys4(__NR_nanosleep, (long)&nap, 0, 0, 0);
		ns = now_ns() - began_ns;
	} while (ns < CALIBRATE_NS);
	/* Fits: not even a second of a counter of some GHz. */
	rt_clock_set((arch_ticks() - began) * 1000000 / ns, "linux");
}

void rt_wait(uint32_t seen, uint64_t until_ticks)
{
	while (rt_wake == seen) {
		uint64_t now = arch_ticks(), count;
		if (now >= until_ticks)
			return;
		uint64_t ns = RT_NS_PER_S;
		if (until_ticks != UINT64_MAX)
			ns = rt_ns(until_ticks - now) + 1;
		const struct timespec t = { .tv_sec = (long)(ns / RT_NS_PER_S),
					    .tv_nsec = (long)(ns % RT_NS_PER_S) };
		poll_fds(fds, FDS, &t);
		for (unsigned i = 0; i < FDS; i++)
			if (fds[i].revents)
				rt_wake = seen + 1;
		if (fds[FD_WAKE].revents & POLLIN &&
		    sys_read(fds[FD_WAKE].fd, &count, sizeof(count)) > 0)
			rt_irq_count[0]++;
	}
}

/* --- start and end --- */

_Noreturn void rt_arch_end(bool ok)
{
	flush_line();
	for (;;)
		sys4(__NR_exit_group, ok ? 0 : 1, 0, 0, 0);
}

static void open_buttons(void)
{
	char path[] = "/dev/input/event0";

	for (unsigned i = 0; i < FDS - FD_BUTTONS; i++) {
		path[sizeof(path) - 2] = (char)('0' + i);
		fds[FD_BUTTONS + i].fd = (int)sys_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
}

__attribute__((used, noreturn)) void linux_start(const long *stack)
{
	static char words[2048];
	const char *const *argv = (const char *const *)(stack + 1);
	size_t n = 0;

	for (long i = 1; i < stack[0]; i++)
		for (const char *s = argv[i];; s++) {
			if (n + 1 < sizeof(words))
				words[n++] = *s ? *s : ' ';
			if (!*s)
				break;
		}
	const struct rt_boot boot = {
		.cmdline = words,
		.map = { { (uint64_t)_image_end, HEAP_BYTES, 1 } },
		.n_map = 1,
	};
	rt_common_init(&boot);
	for (unsigned i = 0; i < FDS; i++)
		fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	fds[FD_CONSOLE].fd = 0;
	open_buttons();
	calibrate();
	guest_main();
	rt_done_ok();
}

SYS_START(linux_start);
