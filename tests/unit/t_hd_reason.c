/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/reason.h: a row an end of a child. */
#include "hostd/reason.h"

#include "tests/unit/fixture.h"

#define EXIT(n) { .known = true, .code = (n) }
#define SIGNAL(n) { .known = true, .signal = (n) }

static const struct {
	struct hd_end end;
	bool off;
	const char *text;
} rows[] = {
	{ { EXIT(0), .was_ready = true }, true, "exit 0: the guest ended" },
	{ { EXIT(0), .was_ready = true, .ended_reason = "guest powered off" }, true,
	  "guest powered off" },
	{ { EXIT(0), .was_ready = true, .asked = HD_STOP_LEAVING, .ended_reason = "guest reset" },
	  true, "guest reset" },
	{ { EXIT(0), .was_ready = true, .asked = HD_STOP_BUTTON,
	    .ended_reason = "guest powered off" },
	  true, "stopped" },
	{ { EXIT(0) }, false, "ended before it was ready" },
	{ { EXIT(0), .quote = "a line" }, false, "ended before it was ready: a line" },
	{ { EXIT(3), .was_ready = true }, false, "exit 3: power cut" },
	{ { EXIT(3), .was_ready = true, .asked = HD_STOP_BUTTON }, true, "stopped" },
	{ { EXIT(3), .was_ready = true, .asked = HD_STOP_CUT }, true, "power cut" },
	{ { EXIT(4), .was_ready = true }, false,
	  "exit 4: watchdog: the guest did not answer in time" },
	{ { EXIT(5), .was_ready = true, .quote = "msr 0x10" }, false,
	  "exit 5: the guest did what is not supported: msr 0x10" },
	{ { EXIT(6), .was_ready = true }, false, "exit 6: a virtual device failed" },
	{ { EXIT(7), .was_ready = true }, false, "exit 7: unexpected error" },
	{ { EXIT(32), .was_ready = true }, false, "exit 32: ended by a virtual device" },
	{ { EXIT(63), .was_ready = true }, false, "exit 63: ended by a virtual device" },
	{ { EXIT(64), .failed_stage = "kvm", .failed_text = "no /dev/kvm: load the module kvm",
	    .quote = "not this" },
	  false, "exit 64: could not start: no /dev/kvm: load the module kvm" },
	{ { EXIT(65), .failed_text = "a:1:2: error: x\na:2:2: error: y\n" }, false,
	  "exit 65: configuration refused: a:1:2: error: x" },
	{ { EXIT(65), .quote = "a:1:2: error: x" }, false,
	  "exit 65: configuration refused: a:1:2: error: x" },
	{ { EXIT(96), .was_ready = true, .quote = "KVM_RUN: Bad address" }, false,
	  "exit 96: fatal error while the guest ran: KVM_RUN: Bad address" },
	{ { EXIT(127), .quote = "cannot execute qvm: No such file" }, false,
	  "exit 127: could not be executed: cannot execute qvm: No such file" },
	{ { EXIT(8), .was_ready = true }, false,
	  "exit 8: ended with an exit code that has no meaning" },
	{ { EXIT(200), .was_ready = true, .quote = "say \x1b" }, false,
	  "exit 200: ended with an exit code that has no meaning: say ?" },
	{ { SIGNAL(9), .was_ready = true }, false, "killed by signal 9 (Killed)" },
	{ { SIGNAL(11) }, false, "killed by signal 11 (Segmentation fault) before it was ready" },
	{ { { .known = true, .signal = 6, .core = true }, .was_ready = true }, false,
	  "killed by signal 6 (Aborted), core dumped" },
	{ { SIGNAL(11), .was_ready = true, .asked = HD_STOP_BUTTON }, false,
	  "killed by signal 11 (Segmentation fault)" },
	{ { SIGNAL(3), .was_ready = true, .asked = HD_STOP_CUT }, true, "power cut" },
	{ { SIGNAL(11), .was_ready = true, .asked = HD_STOP_CUT }, false,
	  "killed by signal 11 (Segmentation fault)" },
	{ { SIGNAL(31), .was_ready = true,
	    .quote = "ev=call_not_allowed why=\"system call open (2) is not allowed\"" },
	  false, "killed by signal 31 (Bad system call): system call open (2) is not allowed" },
	{ { SIGNAL(31), .was_ready = true, .quote = "another error" }, false,
	  "killed by signal 31 (Bad system call)" },
	{ { SIGNAL(9), .was_ready = true, .asked = HD_STOP_KILL }, true,
	  "killed by hostd: it did not end when its power was cut" },
	{ { EXIT(0), .asked = HD_STOP_CUT }, true, "power cut" },
	{ { { .known = false }, .was_ready = true }, false,
	  "an earlier hostd started it: how it ended is unknown" },
	{ { { .known = false }, .was_ready = true, .asked = HD_STOP_BUTTON }, true, "stopped" },
};

START_TEST(each_end)
{
	char buf[HD_REASON_BYTES];

	ck_assert_str_eq(hd_reason(&rows[_i].end, buf, sizeof(buf)), rows[_i].text);
	ck_assert_int_eq(hd_reason_as_asked(&rows[_i].end), rows[_i].off);
	ck_assert_int_eq(hd_reason_is_config(&rows[_i].end), rows[_i].end.exit.code == 65);
}
END_TEST

/* Whatever the code, whatever is quoted: a sentence, cut to fit, never a bare number. */
START_TEST(every_code)
{
	char buf[64], quote[4096];

	memset(quote, 'q', sizeof(quote) - 1);
	quote[sizeof(quote) - 1] = '\0';
	for (int code = 0; code < 256; code++) {
		const struct hd_end e = { .exit = EXIT(code), .was_ready = true, .quote = quote };

		ck_assert_uint_gt(strlen(hd_reason(&e, buf, sizeof(buf))), strlen("exit 123: "));
		ck_assert_uint_lt(strlen(buf), sizeof(buf));
	}
	for (int sig = 1; sig < 65; sig++) {
		const struct hd_end e = { .exit = SIGNAL(sig) };

		ck_assert_ptr_nonnull(strstr(hd_reason(&e, buf, sizeof(buf)), "killed by signal"));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_reason");
	TCase *tc = fixture_case(s, "reason");

	tcase_add_loop_test(tc, each_end, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, every_code);
	return fixture_main(s);
}
