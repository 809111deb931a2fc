/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns exit states into sentences. Pure, any thread. What the child said itself goes before what
 * its exit code means, and a line of its stderr stands behind a code that says little.
 */
#include "hostd/reason.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/qjail.h"
#include "proto/qp_check.h"

static const struct {
	int first, last;
	const char *text;
	bool quote;	/* the code alone says too little */
} codes[] = {
	{ HD_EXIT_OFF, HD_EXIT_OFF, "the guest ended", false },
	{ HD_EXIT_CUT, HD_EXIT_CUT, "power cut", false },
	{ HD_EXIT_WATCHDOG, HD_EXIT_WATCHDOG, "watchdog: the guest did not answer in time", false },
	{ HD_EXIT_UNSUPPORTED, HD_EXIT_UNSUPPORTED, "the guest did what is not supported", true },
	{ HD_EXIT_VDEV, HD_EXIT_VDEV, "a virtual device failed", true },
	{ HD_EXIT_UNEXPECTED, HD_EXIT_UNEXPECTED, "unexpected error", true },
	{ HD_EXIT_USER_FIRST, HD_EXIT_USER_LAST, "ended by a virtual device", true },
	{ HD_EXIT_START, HD_EXIT_START, "could not start", true },
	{ HD_EXIT_CONFIG, HD_EXIT_CONFIG, "configuration refused", true },
	{ HD_EXIT_FATAL, HD_EXIT_FATAL, "fatal error while the guest ran", true },
	{ HD_EXIT_NOT_RUN, HD_EXIT_NOT_RUN, "could not be executed", true },
};

/* The first line of @s, for "%.*s". */
static int first_line(const char *s)
{
	return (int)Q_MIN(strcspn(s, "\n"), (size_t)400);
}

static void say_code(const struct hd_end *e, char *buf, size_t n)
{
	const char *text = "ended with an exit code that has no meaning", *quote = e->quote;
	bool use_quote = true;

	for (size_t i = 0; i < Q_ARRAY_LEN(codes); i++) {
		if (e->exit.code < codes[i].first || e->exit.code > codes[i].last)
			continue;
		text = codes[i].text;
		use_quote = codes[i].quote;
	}
	/* What was said on the channel is better than what stood in the log. */
	if (e->ended_reason && *e->ended_reason)
		quote = e->ended_reason;
	if (e->failed_text && *e->failed_text)
		quote = e->failed_text;
	if (use_quote && quote)
		snprintf(buf, n, "exit %d: %s: %.*s", e->exit.code, text, first_line(quote), quote);
	else
		snprintf(buf, n, "exit %d: %s", e->exit.code, text);
}

/* What a sealed process has said about the system call that ended it, without its frame. */
static const char *forbidden_call(const struct hd_end *e, int *ret_len)
{
	const char *said = e->exit.signal == SIGSYS && e->quote ? strstr(e->quote, QJAIL_SAID) :
								  NULL;

	if (!said)
		return NULL;
	said += strlen(QJAIL_SAID "\"");
	*ret_len = (int)strcspn(said, "\"");
	return said;
}

static void say_signal(const struct hd_end *e, char *buf, size_t n)
{
	const char *name = strsignal(e->exit.signal);
	int len = 0;
	const char *call = forbidden_call(e, &len);

	snprintf(buf, n, "killed by signal %d (%s)%s%s%s%.*s", e->exit.signal,
		 name ? name : "unknown", e->exit.core ? ", core dumped" : "",
		 e->was_ready ? "" : " before it was ready", call ? ": " : "", len,
		 call ? call : "");
}

static const char *asked_sentence(enum hd_stop_stage asked)
{
	switch (asked) {
	case HD_STOP_BUTTON:
		return "stopped";
	case HD_STOP_CUT:
		return "power cut";
	case HD_STOP_KILL:
		return "killed by hostd: it did not end when its power was cut";
	default:
		return NULL;
	}
}

bool hd_reason_as_asked(const struct hd_end *e)
{
	const struct hd_exit *x = &e->exit;

	if (e->asked == HD_STOP_KILL)
		return true;
	if (!x->known)
		return e->asked >= HD_STOP_BUTTON;
	if (e->asked == HD_STOP_CUT && x->signal)
		return x->signal == 3;	/* SIGQUIT, where there is no channel */
	if (x->signal)
		return false;
	if (x->code == HD_EXIT_CUT)
		return e->asked >= HD_STOP_BUTTON;
	/* Before Ready, status 0 is no success: there never was a VM. */
	return x->code == HD_EXIT_OFF && (e->was_ready || e->asked >= HD_STOP_BUTTON);
}

bool hd_reason_is_config(const struct hd_end *e)
{
	return e->exit.known && !e->exit.signal && e->exit.code == HD_EXIT_CONFIG;
}

const char *hd_reason(const struct hd_end *e, char *buf, size_t buf_bytes)
{
	const char *asked = hd_reason_as_asked(e) ? asked_sentence(e->asked) : NULL;

	if (asked)
		snprintf(buf, buf_bytes, "%s", asked);
	else if (!e->exit.known)
		snprintf(buf, buf_bytes, "an earlier hostd started it: how it ended is unknown");
	else if (e->exit.signal)
		say_signal(e, buf, buf_bytes);
	else if (!e->was_ready && e->exit.code == HD_EXIT_OFF)
		snprintf(buf, buf_bytes, "ended before it was ready%s%.*s", e->quote ? ": " : "",
			 e->quote ? first_line(e->quote) : 0, e->quote ? e->quote : "");
	else if (e->exit.code == HD_EXIT_OFF && e->ended_reason && *e->ended_reason)
		snprintf(buf, buf_bytes, "%.*s", first_line(e->ended_reason), e->ended_reason);
	else
		say_code(e, buf, buf_bytes);
	return qp_text_clean(buf);
}
