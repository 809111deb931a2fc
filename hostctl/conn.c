/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks to hostd: one connection, one request at a time. Main thread. Every way in which it can
 * fail ends in hc_fail(), once.
 */
#include "hostctl/conn.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"

static const char *const words[] = {
	[HC_OK] = "ok",			[HC_FAILED] = "failed",
	[HC_USAGE] = "usage",		[HC_NO_SUCH] = "no-such",
	[HC_ALREADY] = "already",	[HC_DENIED] = "denied",
	[HC_TIMEOUT] = "timeout",	[HC_NO_HOSTD] = "no-hostd",
	[HC_CONFIG] = "config",		[HC_NOT_RUNNING] = "not-running",
};
static_assert(Q_ARRAY_LEN(words) == HC_EXITS, "every exit code has a word");

const char *hc_exit_word(enum hc_exit code)
{
	return (unsigned)code < HC_EXITS ? words[code] : "unknown";
}

enum hc_exit hc_exit_of(Parley__Code code)
{
	switch (code) {
	case PARLEY__CODE__E_OK:
		return HC_OK;
	case PARLEY__CODE__E_USAGE:
		return HC_USAGE;
	case PARLEY__CODE__E_NO_SUCH:
		return HC_NO_SUCH;
	case PARLEY__CODE__E_ALREADY:
		return HC_ALREADY;
	case PARLEY__CODE__E_DENIED:
		return HC_DENIED;
	case PARLEY__CODE__E_TIMEOUT:
		return HC_TIMEOUT;
	case PARLEY__CODE__E_CONFIG:
		return HC_CONFIG;
	case PARLEY__CODE__E_NOT_RUNNING:
		return HC_NOT_RUNNING;
	default:
		return HC_FAILED;
	}
}

enum hc_exit hc_fail(const struct hc *hc, enum hc_exit code, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	for (size_t n = text ? strlen(text) : 0; n && text[n - 1] == '\n'; n--)
		text[n - 1] = '\0';
	if (hc->json) {
		json_t *j = json_pack("{s:i, s:{s:s, s:i, s:s}}", "schema", 1, "error", "code",
				      hc_exit_word(code), "exit", (int)code, "text",
				      text ? text : "");

		if (j)
			json_dumpf(j, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(j);
	}
	fprintf(stderr, "hostctl: %s\n", text ? text : "out of memory");
	free(text);
	return code;
}

enum hc_exit hc_connect(struct hc *hc)
{
	int fd = qfd_connect_unix(hc->socket);

	if (fd == -ENOENT)
		return hc_fail(hc, HC_NO_HOSTD,
			       "hostd is not running: no socket at %s; start it with 'systemctl "
			       "start parley-hostd' or 'hostd', or name its --run-dir", hc->socket);
	if (fd == -ECONNREFUSED)
		return hc_fail(hc, HC_NO_HOSTD,
			       "hostd is not running: nobody listens at %s any more; start it with "
			       "'systemctl start parley-hostd' or 'hostd'", hc->socket);
	if (fd == -EACCES || fd == -EPERM)
		return hc_fail(hc, HC_DENIED,
			       "%s may not be opened by this user: be root, or a member of group "
			       "parley", hc->socket);
	if (fd < 0)
		return hc_fail(hc, HC_NO_HOSTD, "hostd cannot be reached at %s: %s", hc->socket,
			       strerror(-fd));
	hc->chan = qp_chan_new(fd, "hostctl");
	hc->next_id = 1;
	return hc->chan ? HC_OK : hc_fail(hc, HC_FAILED, "out of memory");
}

void hc_disconnect(struct hc *hc)
{
	hc->chan = qp_chan_free(hc->chan);
}

static enum hc_exit told_error(struct hc *hc, Parley__Envelope *take)
{
	enum hc_exit code = hc_exit_of(take->error->code);

	hc_fail(hc, code == HC_OK ? HC_FAILED : code, "%s",
		*take->error->text ? take->error->text : "hostd refused without a word");
	qp_msg_free(take);
	return code == HC_OK ? HC_FAILED : code;
}

static enum hc_exit lost(struct hc *hc, int r)
{
	switch (r) {
	case QP_TIMEOUT:
		return hc_fail(hc, HC_TIMEOUT,
			       "hostd did not answer in time; what was asked may still happen");
	case QP_CLOSED:
		return hc_fail(hc, HC_NO_HOSTD,
			       "hostd ended the connection: it is stopping, or has died");
	case QP_FAULT:
		return hc_fail(hc, HC_FAILED, "what answers at %s does not speak as hostd does: %s",
			       hc->socket, qp_chan_fault(hc->chan));
	default:
		return hc_fail(hc, HC_FAILED, "the connection to hostd failed: %s",
			       r < 0 ? strerror(-r) : "unknown");
	}
}

enum hc_exit hc_ask(struct hc *hc, Parley__Envelope *e, Parley__Envelope__BodyCase want,
		    uint64_t timeout_ns, Parley__Envelope **ret, int *ret_fd)
{
	uint64_t deadline_ns = qnow_ns() + timeout_ns;

	e->id = hc->next_id++;
	int r = qp_chan_send(hc->chan, e, NULL, 0);
	if (r != QP_OK && r != QP_CLOSED)
		return lost(hc, r);
	for (;;) {
		Parley__Envelope *m = NULL;
		int fds[QP_FDS_MAX];
		unsigned n_fds = 0;

		r = qp_chan_wait(hc->chan, deadline_ns, &m, fds, &n_fds);
		if (r != QP_OK)
			return lost(hc, r);
		bool ours = m->id == e->id || m->body_case == PARLEY__ENVELOPE__BODY_ERROR;
		bool good = ours && m->body_case == want;
		for (unsigned i = good && ret_fd ? 1 : 0; i < n_fds; i++)
			qfd_close(&fds[i]);
		if (good) {
			if (ret_fd)
				*ret_fd = n_fds ? fds[0] : -1;
			*ret = m;
			return HC_OK;
		}
		if (ours && m->body_case == PARLEY__ENVELOPE__BODY_ERROR)
			return told_error(hc, m);
		qp_msg_free(m);
		if (ours)
			return hc_fail(hc, HC_FAILED, "hostd gave an answer of another kind");
	}
}

enum hc_exit hc_next_event(struct hc *hc, Parley__Envelope **ret)
{
	return hc_next(hc, PARLEY__ENVELOPE__BODY_EVENT, ret);
}

enum hc_exit hc_next(struct hc *hc, Parley__Envelope__BodyCase want, Parley__Envelope **ret)
{
	for (;;) {
		Parley__Envelope *m = NULL;
		int fds[QP_FDS_MAX];
		unsigned n_fds = 0;
		int r = qp_chan_wait(hc->chan, UINT64_MAX, &m, fds, &n_fds);

		if (r != QP_OK)
			return lost(hc, r);
		for (unsigned i = 0; i < n_fds; i++)
			qfd_close(&fds[i]);
		if (m->body_case == want) {
			*ret = m;
			return HC_OK;
		}
		qp_msg_free(m);
	}
}
